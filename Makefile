# The two commands that do everything on a fresh machine with Go, Node.js, npm, Python
# and Debian's packages: "make demo" and "make test". Neither needs an account or
# a server elsewhere. "make help" lists the others.

GO ?= go
BIN := bin

.PHONY: help demo build check test flaky vet lint golangci-lint release-check vulnerabilities short platforms tidy services \
	chaos python-servers histories storm conformance interop interop-sdk interop-servers bench bench-bridge bench-scale field-table \
	lab interop-table browser screenshots bin/test/browser fuzz house clean

help: ## prints this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-17s %s\n", $$1, $$2 }'

demo: ## the main job: sign in once, and watch the later sessions need no browser
	@echo "Building the command; the first time that takes a minute, and its modules are downloaded."
	@$(MAKE) --no-print-directory build
	@$(BIN)/handstamp demo

build: ## builds the command into bin/
	@$(GO) build -o $(BIN)/handstamp ./cmd/handstamp

check: vet lint short platforms ## what to run before a commit: a minute or three, needs nothing installed

# SUITES="library lab" runs only these; BUSY=4 runs beside four busy loops.
test: $(BIN)/suites ## everything, with a table at the end; about half an hour on two cores
	@$(BIN)/suites -busy $(or $(BUSY),0) $(SUITES)

flaky: $(BIN)/suites ## looks for tests that fail now and then: ten short runs, and three beside 20 busy loops
	@$(BIN)/suites flaky

.PHONY: recordings
recordings: build ## draws docs/recordings again, from real runs of the command
	@$(GO) run ./tools/recordings $(BIN)/handstamp docs/recordings

.PHONY: $(BIN)/suites
$(BIN)/suites:
	@CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./tools/suites

# The second line is the library as its users have it: with the oldest versions that its
# go.mod allows, and as the oldest Go that it names would read it.
vet: ## go vet of all modules, and of the library's alone
	$(GO) vet work
	GOWORK=off $(GO) vet ./...

lint: golangci-lint ## golangci-lint of all modules
	$(BIN)/golangci-lint run $$($(GO) run ./tools/modules list | sed 's,.*,./&/...,')

golangci-lint:
	@cd tools/lint && GOWORK=off $(GO) build -o ../../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# What makes the deb and the rpm, pinned, and of the version that goreleaser contains.
$(BIN)/nfpm: tools/packaging/go.mod
	@cd tools/packaging && GOWORK=off $(GO) build -o ../../$@ github.com/goreleaser/nfpm/v2/cmd/nfpm

# goreleaser itself takes minutes to build: what it would make is made and tested without it.
release-check: ## goreleaser check, and a snapshot of a release in dist/; ten minutes
	cd tools/packaging && GOWORK=off $(GO) build -o ../../$(BIN)/goreleaser github.com/goreleaser/goreleaser/v2
	$(BIN)/goreleaser check
	PACKAGES_TOKEN=none $(BIN)/goreleaser release --snapshot --clean --skip=docker

vulnerabilities: ## govulncheck of library and command, where its database can be reached
	@scripts/vulnerabilities

# Go keeps the result of a test whose files outside of its module have changed, as pages do.
short: ## the short tests of all modules
	$(GO) test -short -parallel 8 work
	$(GO) test -count=1 ./tools/house ./tools/pages

platforms: ## builds and vets all modules for the systems of a release
	@scripts/platforms

tidy: ## go mod tidy of all modules
	$(GO) run ./tools/modules tidy
	cd tools/lint && GOWORK=off $(GO) mod tidy

# What some tests drive for real, installed as root where it is missing. A test
# that cannot have what it needs says so and is skipped.
services:
	@scripts/services

# The figures about the code's shape; CHECKOUT=folder measures another tree.
house: ## measures the code: complexity, sizes, jumps between files
	@$(GO) run ./tools/house $(or $(CHECKOUT),.)

# A random server against a random MCP host, with the bridge between: 2,000 runs, and how soon
# runs find each of the bugs that a bridge could have. CHAOS_SEED=n repeats run n.
chaos: ## 2,000 random runs of the bridge
	cd bridge/chaos && $(GO) test -race -count=1 -timeout 30m -run TestChaos -seed 0 -runs 2000
	cd bridge/chaos && CHAOS_SEED= HANDSTAMP_TEST_LONG=1 $(GO) test -count=1 -timeout 30m -run TestMutants

conformance: $(BIN)/suites ## the official conformance suite
	@$(BIN)/suites conformance

conformance/node_modules/.package-lock.json: conformance/package-lock.json
	cd conformance && npm ci --no-audit --no-fund

# mcp-remote, whose logins are imported, and which the bridge is measured beside.
bench/bridge/node_modules/.package-lock.json: bench/bridge/package-lock.json
	cd bench/bridge && npm ci --no-audit --no-fund --ignore-scripts

# The bridge between the official SDKs, Go and TypeScript, of both eras, and between
# hosts and servers that others wrote. With HANDSTAMP_TEST_UPDATE=1 it writes what it
# sees into docs/eras.md and docs/bridge-peers.md. Without Python or PyPI what they
# have is left out, unless HANDSTAMP_TEST_REQUIRE names python.
interop-sdk: $(BIN)/suites ## the bridge between the official SDKs, and others' hosts and servers
	@$(BIN)/suites interop-sdk

bridge/interop/node_modules/.package-lock.json: bridge/interop/package-lock.json
	cd bridge/interop && npm ci --ignore-scripts --no-audit --no-fund

bridge/interop/peers/node_modules/.package-lock.json: bridge/interop/peers/package-lock.json
	cd bridge/interop/peers && npm ci --ignore-scripts --no-audit --no-fund

# Authorization servers that others wrote, with the library and the command. It
# is a module of its own, so that their modules are not ours.
interop: $(BIN)/suites ## authorization servers that others wrote
	@$(BIN)/suites interop

# The servers that PyPI has, in virtual environments. Without Python or PyPI their
# tests are skipped, unless HANDSTAMP_TEST_REQUIRE names python.
python-servers:
	@scripts/python-servers

# The same; writes docs/interop-servers.md.
interop-servers: interop/node_modules/.package-lock.json python-servers ## runs them and writes docs/interop-servers.md
	cd interop && HANDSTAMP_TEST_REQUIRE="interop python" $(GO) test -count=1 -timeout 60m -parallel 1 -args -page ../docs/interop-servers.md

interop/node_modules/.package-lock.json: interop/package-lock.json
	cd interop && npm ci --ignore-scripts --no-audit --no-fund

# The warm path and its peers, in one run, as a table with ratios.
bench: ## the warm path of the library and of its peers
	@$(GO) run ./bench

# The bridge and its peers, likewise; about three minutes. Writes
# docs/bridge-bench.md and its plot. mcp-remote takes part where npm can be had.
bench-bridge: ## the bridge and its peers; three minutes
	@$(GO) run ./bench/bridge

# A million logins in PostgreSQL and ten thousand in files, each figure beside its floor; ten
# minutes on an idle machine. Writes docs/scale.md and its plot.
bench-scale: ## a million logins in PostgreSQL, ten thousand in files; ten minutes
	@$(GO) run ./bench/scale

# What servers, networks and hosts were seen to do, with the bridge and mcp-remote side by
# side; about four minutes. Writes a part of docs/field.md. The test in bridge/field, a part of
# make test, demands that the bridge is right in every row.
field-table: bench/bridge/node_modules/.package-lock.json ## the bridge in trouble, beside mcp-remote
	@$(GO) run ./bridge/field

# The second-session suite: our library and our bridge through every cell.
lab: build ## the second-session suite, every cell
	@$(BIN)/handstamp lab run

# The same with the peers that npm and Go's modules have; writes
# docs/interop.md. Ten minutes with one process in a cell; with 1,20 much longer,
# and on a small machine twenty of some peers do not even start in time.
PROCESSES ?= 1
interop-table: build lab/peers/node_modules/.package-lock.json ## the same with peers; writes docs/interop.md
	$(GO) build -o $(BIN)/gosdk ./lab/peers/gosdk
	cd lab/peers/mcpgo && $(GO) build -o ../../../$(BIN)/mcpgo .
	@$(GO) run ./lab/peers -processes $(PROCESSES)

lab/peers/node_modules/.package-lock.json: lab/peers/package-lock.json
	cd lab/peers && npm ci --no-audit --no-fund

# Debian's Chromium over the pages that users see: those of a login, of handstamp serve, of the
# hosted example and of the lab, by keyboard, at 320 px, in light and dark, with axe-core. Without Chromium it is
# skipped, unless HANDSTAMP_TEST_REQUIRE names browser.
browser: $(BIN)/suites ## Chromium over the pages of login, serve and the lab
	@$(BIN)/suites browser

bin/test/browser:
	@mkdir -p $@
	@$(GO) build -o $@/ ./cmd/handstamp ./test/browser/loginpages ./examples/hosted

test/browser/node_modules/.package-lock.json: test/browser/package-lock.json
	cd test/browser && npm ci --ignore-scripts --no-audit --no-fund

screenshots: bin/test/browser test/browser/node_modules/.package-lock.json ## writes docs/screenshots
	@node test/browser/screenshots.mjs

# Random operations of many clients on each store, under faults, checked afterwards; a minute and
# a half are in make test. HISTORY_TIME=1h is how long each store's lasts, HISTORY_SEED=n repeats
# the choices of a run. It writes what it saw into docs/stores.md.
HISTORY_TIME ?= 5m
HISTORY_SEED ?= 0
histories: ## long histories of every store under faults, and kills at every write; half an hour
	cd test/history && HANDSTAMP_TEST_LONG=1 HANDSTAMP_TEST_UPDATE=1 HANDSTAMP_TEST_REQUIRE="postgres redis" \
		$(GO) test -count=1 -timeout 6h -v . -time $(HISTORY_TIME) -seed $(HISTORY_SEED)

# The kills and freezes that make test has a few of: 5,000 bridges killed around a
# refresh, 50 times five bridges killed at one login, and 200 refreshes frozen for up
# to 90 s. At most ten minutes, on a machine that does nothing else.
storm: ## kills and freezes, by the thousand
	HANDSTAMP_TEST_STORM=1 $(GO) test -count=1 -timeout 25m -v -run 'TestKilled|TestFrozen' ./cmd/handstamp

# Five minutes a target by default; make fuzz FUZZTIME=10s for a look.
FUZZTIME ?= 5m
fuzz: ## every fuzz target, FUZZTIME each
	@scripts/fuzz $(FUZZTIME)

clean: ## removes what was built and installed
	rm -rf $(BIN) conformance/node_modules bench/bridge/node_modules bridge/interop/node_modules bridge/interop/peers/node_modules interop/node_modules interop/.venv lab/peers/node_modules test/browser/node_modules
