// Command echo is the echo server of the benchmark on webtransport-go.
//
//	echo --listen 127.0.0.1:port --cert file --key file
//	echo --version
//
// It has three paths: /echo sends everything back, /discard reads the client's
// streams, /generate sends as many bytes as the client asks for.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

const (
	// Streams that a client may have open; the benchmark needs 100.
	maxStreams = 1000

	// Sessions are silent for minutes when their memory is measured.
	idleTimeout = 10 * time.Minute
)

func main() {
	listen := flag.String("listen", "", "address and port")
	cert := flag.String("cert", "", "certificate")
	key := flag.String("key", "", "its key")
	version := flag.Bool("version", false, "print versions and exit")
	flag.Parse()

	if *version {
		printVersion()
		return
	}

	log.SetOutput(io.Discard)

	if err := serve(*listen, *cert, *key); err != nil {
		log.SetOutput(flag.CommandLine.Output())
		log.Fatal(err)
	}
}

func serve(listen, cert, key string) error {
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}

	address, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		return err
	}

	socket, err := net.ListenUDP("udp", address)
	if err != nil {
		return err
	}

	server := newServer(certificate)
	fmt.Println("ready")

	return server.Serve(socket)
}

func newServer(certificate tls.Certificate) *webtransport.Server {
	mux := http.NewServeMux()

	server := &webtransport.Server{
		CheckOrigin: func(*http.Request) bool { return true },
		H3: &http3.Server{
			Handler: mux,
			TLSConfig: http3.ConfigureTLSConfig(&tls.Config{
				Certificates: []tls.Certificate{certificate},
			}),
			QUICConfig: &quic.Config{
				MaxIncomingStreams:    maxStreams,
				MaxIncomingUniStreams: maxStreams,
				MaxIdleTimeout:        idleTimeout,
			},
		},
	}

	for path, serve := range map[string]func(*webtransport.Session){
		"/echo": echo, "/discard": discard, "/generate": generate,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			session, err := server.Upgrade(w, r)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}

			serve(session)
		})
	}

	return server
}

func printVersion() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		log.Fatal(errors.New("no build information"))
	}

	versions := []string{runtime.Version()}

	for _, module := range info.Deps {
		name := module.Path[strings.LastIndex(module.Path, "/")+1:]

		if name == "webtransport-go" || name == "quic-go" {
			versions = append(versions, name+" "+module.Version)
		}
	}

	fmt.Println(strings.Join(versions, ", "))
}
