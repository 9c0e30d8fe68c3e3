package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// listen takes what nginx's grpc://... takes: unix:/path or host:port.
func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return net.Listen("tcp", address)
	}

	if err := removeStale(path); err != nil {
		return nil, err
	}

	// The file goes when the listener is closed.
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}

	// nginx's worker processes run as another user, and connecting takes
	// the right to write.  Who may come here is up to the directory.
	if err := os.Chmod(path, 0o666); err != nil {
		listener.Close()
		return nil, err
	}

	return listener, nil
}

// removeStale removes the socket that a worker which was killed has left.
func removeStale(path string) error {
	file, err := os.Lstat(path)

	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case file.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}

	probe, err := net.DialTimeout("unix", path, time.Second)

	switch {
	case err == nil:
		probe.Close()
		return fmt.Errorf("%s is in use", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	default:
		return err
	}
}
