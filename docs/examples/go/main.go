// Command worker is a worker for nginx's webtransport_pass grpc://..., with
// three applications.
//
//	worker [--quiet] unix:/path | host:port
package main

//go:generate protoc -I ../../../src/proto --go_out=. --go-grpc_out=. webtransport.proto

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"example.com/worker/wtpb"
)

// How long sessions may take to end when the process is told to.
const shutdownTime = 2 * time.Second

// What happens is told here, errors by package log.
var info = log.New(os.Stdout, "", 0)

func main() {
	log.SetFlags(0)

	address, quiet, ok := arguments(os.Args[1:])
	if !ok {
		fmt.Fprintln(os.Stderr,
			"usage: worker [--quiet] unix:/path | host:port")
		os.Exit(2)
	}

	listener, err := listen(address)
	if err != nil {
		log.Fatalf("cannot listen on %s: %v", address, err)
	}

	fmt.Printf("listening on %s\n", address)

	if quiet {
		info.SetOutput(io.Discard)
	}

	worker := newWorker(map[string]App{
		"/echo":    Echo{},
		"/chat":    NewChat(),
		"/cursors": NewCursors(),
	})

	server := grpc.NewServer()
	wtpb.RegisterWorkerServer(server, worker)

	stop, cancel := signal.NotifyContext(context.Background(),
		syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	stopped := make(chan struct{})

	go func() {
		<-stop.Done()
		shutDown(server, worker)
		close(stopped)
	}()

	// It returns as soon as the socket is closed, but sessions go on.
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}

	<-stopped
}

// shutDown says goodbye to all sessions.  GracefulStop takes no more of them,
// tells nginx by GOAWAY, and waits for the calls that are under way.
func shutDown(server *grpc.Server, worker *worker) {
	timeout := time.AfterFunc(shutdownTime, server.Stop)
	defer timeout.Stop()

	worker.goAway()
	server.GracefulStop()
}

// arguments allows for options after the address, which package flag does not.
func arguments(args []string) (address string, quiet, ok bool) {
	for _, arg := range args {
		switch {
		case arg == "--quiet":
			quiet = true
		case strings.HasPrefix(arg, "-") || address != "":
			return "", false, false
		default:
			address = arg
		}
	}

	return address, quiet, address != ""
}
