// Command worker is the echo worker of the benchmark, for webtransport_pass:
//
//	worker unix:/path
//	worker grpc:/path
//
// It keeps no state at all: each event is answered with a command.  It relies
// on overflow "block", as writing waits while nginx does not read.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"strings"
)

func main() {
	log.SetFlags(0)

	if len(os.Args) != 2 {
		log.Fatal("usage: worker unix:/path | grpc:/path")
	}

	kind, path, _ := strings.Cut(os.Args[1], ":")

	serve := map[string]func(net.Listener) error{
		"unix": serveSocket, "grpc": serveGRPC,
	}[kind]
	if serve == nil {
		log.Fatalf("unknown address %q", os.Args[1])
	}

	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("ready")
	log.Fatal(serve(listener))
}
