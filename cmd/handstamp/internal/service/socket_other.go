//go:build !unix

package service

import "net"

// listenPrivately listens at a Unix socket in a folder of the user's.
func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
