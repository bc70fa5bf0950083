//go:build !unix

package service

import "net"

// listenPrivately listens at a Unix socket in a folder of the user's.
func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }

// abandoned reports whether the program that made a socket has ended.
func abandoned(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err != nil
}
