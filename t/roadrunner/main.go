// RoadRunner with the plugins that the tests need, and nothing else: the whole
// of it has message brokers, key-value stores and workflows, and takes long to
// build.  Its command line is as much of RoadRunner's own:
//
//	rr serve -c .rr.yaml [-o key=value]...
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/roadrunner-server/config/v3"
	endure "github.com/roadrunner-server/endure/pkg/container"
	"github.com/roadrunner-server/grpc/v3"
	"github.com/roadrunner-server/http/v3"
	"github.com/roadrunner-server/logger/v3"
	"github.com/roadrunner-server/server/v3"
)

// The release in which these versions of the plugins came together.
const version = "2.12.3"

const grace = 10 * time.Second

const usage = "usage: rr serve -c .rr.yaml [-o key=value]..."

type values []string

func (v *values) String() string {
	return strings.Join(*v, " ")
}

func (v *values) Set(value string) error {
	*v = append(*v, value)
	return nil
}

func main() {
	var override values

	flags := flag.NewFlagSet("rr serve", flag.ExitOnError)
	path := flags.String("c", ".rr.yaml", "configuration")
	flags.Var(&override, "o", "key=value, instead of the configuration's")

	if len(os.Args) < 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}

	// it ends the process if an argument is wrong
	_ = flags.Parse(os.Args[2:])

	if err := serve(*path, override); err != nil {
		fmt.Fprintln(os.Stderr, "rr:", err)
		os.Exit(1)
	}
}

func serve(path string, override []string) error {
	container, err := endure.NewContainer(nil,
		endure.SetLogLevel(endure.ErrorLevel),
		endure.GracefulShutdownTimeout(grace))
	if err != nil {
		return err
	}

	err = container.RegisterAll(
		&config.Plugin{
			Path:    path,
			Prefix:  "rr",
			Timeout: grace,
			Flags:   override,
			Version: version,
		},
		&logger.Plugin{},
		&server.Plugin{},
		&http.Plugin{},
		&grpc.Plugin{},
	)
	if err != nil {
		return err
	}

	if err = container.Init(); err != nil {
		return err
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	failed, err := container.Serve()
	if err != nil {
		return err
	}

	fmt.Println("RoadRunner", version, "is serving")

	select {
	case e := <-failed:
		return fmt.Errorf("%s: %w", e.VertexID, e.Error)
	case <-signals:
		return container.Stop()
	}
}
