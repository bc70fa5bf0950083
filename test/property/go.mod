// Not released: it has no tags.
module github.com/handstamp/handstamp/test/property

go 1.26.0

require (
	github.com/handstamp/handstamp v0.1.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/gofrs/flock v0.13.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
)
