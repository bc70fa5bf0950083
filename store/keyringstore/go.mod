module github.com/handstamp/handstamp/store/keyringstore

go 1.25.0

require (
	github.com/godbus/dbus/v5 v5.2.2
	github.com/handstamp/handstamp v0.1.0
	github.com/zalando/go-keyring v0.2.8
)

require (
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/gofrs/flock v0.13.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
)
