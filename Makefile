# The two commands that do everything on a fresh machine with Go, Node.js, npm, Python
# and Debian's packages:
#
#   make demo   the main job: sign in once, and watch the later sessions walk in
#   make test   vet, linter, all tests with the race detector, the official suite,
#               and authorization servers that others wrote
#
# Neither needs an account or anybody's server.

GO ?= go
BIN := bin

.PHONY: chaos python-servers storm demo build test vet lint staticcheck unit conformance interop interop-sdk interop-servers services bench bench-bridge field-table lab interop-table fuzz clean

demo: build
	@$(BIN)/handstamp demo

build:
	@$(GO) build -o $(BIN)/handstamp ./cmd/handstamp

test: services vet lint unit conformance interop interop-sdk lab

# What some tests drive for real, installed as root where it is missing. A test
# that cannot have what it needs says so and is skipped.
services:
	@scripts/services

vet:
	$(GO) vet ./...

lint: staticcheck
	$(BIN)/staticcheck ./...
	@unformatted=$$($$($(GO) env GOROOT)/bin/gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }

staticcheck:
	cd tools && $(GO) build -o ../$(BIN)/staticcheck honnef.co/go/tools/cmd/staticcheck

unit: bench/bridge/node_modules/.package-lock.json
	HANDSTAMP_TEST_REQUIRE=mcp-remote HANDSTAMP_TEST_LONG=1 $(GO) test -race -timeout 25m $$($(GO) list ./... | grep -v -e /conformance -e /bridge/interop -e /bridge/chaos)
	cd bridge/chaos && HANDSTAMP_TEST_LONG=1 $(GO) test -race -count=1 -timeout 15m

# A random server against a random MCP host, with the bridge between: 2,000 runs, and how soon
# runs find each of the bugs that a bridge could have. CHAOS_SEED=n repeats run n.
chaos:
	cd bridge/chaos && $(GO) test -race -count=1 -timeout 30m -run TestChaos -seed 0 -runs 2000
	cd bridge/chaos && CHAOS_SEED= HANDSTAMP_TEST_LONG=1 $(GO) test -count=1 -timeout 30m -run TestMutants

conformance: node_modules
	HANDSTAMP_TEST_REQUIRE=conformance $(GO) test -count=1 -timeout 15m ./conformance/...

node_modules: conformance/node_modules/.package-lock.json
.PHONY: node_modules

conformance/node_modules/.package-lock.json: conformance/package-lock.json
	cd conformance && npm ci --no-audit --no-fund

# mcp-remote, whose logins are imported, and which the bridge is measured beside.
bench/bridge/node_modules/.package-lock.json: bench/bridge/package-lock.json
	cd bench/bridge && npm ci --no-audit --no-fund --ignore-scripts

# The bridge between the official SDKs, Go and TypeScript, of both eras, and between
# hosts and servers that others wrote. With HANDSTAMP_TEST_UPDATE=1 it writes what it
# sees into docs/eras.md and docs/bridge-peers.md. Without Python or PyPI what they
# have is left out, unless HANDSTAMP_TEST_REQUIRE names python.
interop-sdk: bridge/interop/node_modules/.package-lock.json bridge/interop/peers/node_modules/.package-lock.json python-servers
	HANDSTAMP_TEST_REQUIRE="sdks $$HANDSTAMP_TEST_REQUIRE" $(GO) test -count=1 -timeout 10m ./bridge/interop

bridge/interop/node_modules/.package-lock.json: bridge/interop/package-lock.json
	cd bridge/interop && npm ci --ignore-scripts --no-audit --no-fund

bridge/interop/peers/node_modules/.package-lock.json: bridge/interop/peers/package-lock.json
	cd bridge/interop/peers && npm ci --ignore-scripts --no-audit --no-fund

# Authorization servers that others wrote, with the library and the command. It
# is a module of its own, so that their modules are not ours.
interop: staticcheck interop/node_modules/.package-lock.json python-servers
	cd interop && $(GO) vet ./... && ../$(BIN)/staticcheck ./...
	cd interop && HANDSTAMP_TEST_REQUIRE="interop $$HANDSTAMP_TEST_REQUIRE" $(GO) test -race -count=1 -timeout 15m ./...

# The servers that PyPI has, in virtual environments. Without Python or PyPI their
# tests are skipped, unless HANDSTAMP_TEST_REQUIRE names python.
python-servers:
	@scripts/python-servers

# The same; writes docs/interop-servers.md.
interop-servers: interop/node_modules/.package-lock.json python-servers
	cd interop && HANDSTAMP_TEST_REQUIRE="interop python" $(GO) test -count=1 -timeout 15m -parallel 1 -args -page ../docs/interop-servers.md

interop/node_modules/.package-lock.json: interop/package-lock.json
	cd interop && npm ci --ignore-scripts --no-audit --no-fund

# The warm path and its peers, in one run, as a table with ratios.
bench:
	@$(GO) run ./bench

# The bridge and its peers, likewise; about three minutes. Writes
# docs/bridge-bench.md and its plot. mcp-remote takes part where npm can be had.
bench-bridge:
	@$(GO) run ./bench/bridge

# What servers, networks and hosts were seen to do, with the bridge and mcp-remote side by
# side; about four minutes. Writes a part of docs/field.md. The test in bridge/field, a part of
# make test, demands that the bridge is right in every row.
field-table: bench/bridge/node_modules/.package-lock.json
	@$(GO) run ./bridge/field

# The second-session suite: our library and our bridge through every cell.
lab: build
	@$(BIN)/handstamp lab run

# The same with the peers that npm and Go's modules have; writes
# docs/interop.md. Ten minutes with one process in a cell; with 1,20 much longer,
# and on a small machine twenty of some peers do not even start in time.
PROCESSES ?= 1
interop-table: build lab/peers/node_modules/.package-lock.json
	$(GO) build -o $(BIN)/gosdk ./lab/peers/gosdk
	cd lab/peers/mcpgo && $(GO) build -o ../../../$(BIN)/mcpgo .
	@$(GO) run ./lab/peers -processes $(PROCESSES)

lab/peers/node_modules/.package-lock.json: lab/peers/package-lock.json
	cd lab/peers && npm ci --no-audit --no-fund

# The kills and freezes that make test has a few of: 5,000 bridges killed around a
# refresh, 50 times five bridges killed at one login, and 200 refreshes frozen for up
# to 90 s. At most ten minutes, on a machine that does nothing else.
storm:
	HANDSTAMP_TEST_STORM=1 $(GO) test -count=1 -timeout 25m -v -run 'TestKilled|TestFrozen' ./cmd/handstamp

# Five minutes a target by default; make fuzz FUZZTIME=10s for a look.
FUZZTIME ?= 5m
fuzz:
	@scripts/fuzz $(FUZZTIME)

clean:
	rm -rf $(BIN) conformance/node_modules bench/bridge/node_modules bridge/interop/node_modules bridge/interop/peers/node_modules interop/node_modules interop/.venv lab/peers/node_modules
