package main

import (
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/quic-go/webtransport-go"
)

// Byte i of a generated stream is i % period.
const period = 251

// A multiple of the period, so that a stream is made of equal chunks.
var pattern = makePattern(256 * period)

func makePattern(size int) []byte {
	bytes := make([]byte, size)

	for i := range bytes {
		bytes[i] = byte(i % period)
	}

	return bytes
}

// io.Copy would allocate one for every stream.
var buffers = sync.Pool{New: func() any {
	buffer := make([]byte, 32<<10)
	return &buffer
}}

func copyStream(to io.Writer, from io.Reader) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)

	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, *buffer)

	return err
}

// These hide ReadFrom and WriteTo, with which io.CopyBuffer would not use the
// buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// echo sends back bidirectional streams on themselves, unidirectional ones on
// new ones, and datagrams.
func echo(session *webtransport.Session) {
	go echoDatagrams(session)
	go echoUni(session)

	serveStreams(session, func(stream *webtransport.Stream) error {
		return copyStream(stream, stream)
	})
}

func echoDatagrams(session *webtransport.Session) {
	for {
		data, err := session.ReceiveDatagram(session.Context())
		if err != nil {
			return
		}

		// Full: it is lost, as datagrams may be.
		_ = session.SendDatagram(data)
	}
}

func echoUni(session *webtransport.Session) {
	for {
		stream, err := session.AcceptUniStream(session.Context())
		if err != nil {
			return
		}

		go func() {
			back, err := session.OpenUniStreamSync(session.Context())
			if err != nil {
				return
			}

			if err := copyStream(back, stream); err != nil {
				back.CancelWrite(1)
				return
			}

			_ = back.Close()
		}()
	}
}

func discard(session *webtransport.Session) {
	serveStreams(session, func(stream *webtransport.Stream) error {
		return copyStream(io.Discard, stream)
	})
}

func generate(session *webtransport.Session) {
	serveStreams(session, func(stream *webtransport.Stream) error {
		digits, err := io.ReadAll(io.LimitReader(stream, 32))
		if err != nil {
			return err
		}

		count, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			return fmt.Errorf("no number of bytes: %w", err)
		}

		for count > 0 {
			n := min(count, int64(len(pattern)))

			if _, err := stream.Write(pattern[:n]); err != nil {
				return err
			}

			count -= n
		}

		return nil
	})
}

// serveStreams returns when the session has ended.
func serveStreams(
	session *webtransport.Session, serve func(*webtransport.Stream) error,
) {
	for {
		stream, err := session.AcceptStream(session.Context())
		if err != nil {
			return
		}

		go func() {
			if err := serve(stream); err != nil {
				stream.CancelRead(1)
				stream.CancelWrite(1)

				return
			}

			_ = stream.Close()
		}()
	}
}
