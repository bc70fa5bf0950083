// Not released: it has no tags.
module github.com/handstamp/handstamp/tools

go 1.26.0

require (
	github.com/handstamp/handstamp v0.1.0
	github.com/handstamp/handstamp/lab/mcpserver v0.1.0
	go.yaml.in/yaml/v3 v3.0.4
	golang.org/x/crypto/x509roots/fallback v0.0.0-20261030153154-30a33513ff6d
	golang.org/x/mod v0.41.0
)
