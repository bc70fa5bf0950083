module github.com/handstamp/handstamp

go 1.25.0

ignore node_modules // npm may be writing there while go lists packages

require (
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/gofrs/flock v0.13.0
	golang.org/x/oauth2 v0.35.0
	golang.org/x/sys v0.41.0
)
