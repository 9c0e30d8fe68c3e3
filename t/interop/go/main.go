// The scenario of t/lib/interop.py, for webtransport-go.
//
//	client <url> <SHA-256 of the certificate> [features...]
//
// prints a JSON object: a result for each feature.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/webtransport-go"
)

const (
	bulkSize = 1 << 20
	streams  = 100
)

var (
	codes     = []uint32{0, 42, 255, 256, 0xffffffff}
	protocols = []string{"interop-1", "interop-2"}

	// what the other side sees last
	seenThere = map[string]bool{"bidi-in": true, "uni-out": true,
		"datagram-out": true, "reset-out": true, "stop-out": true}

	base      string
	tlsConfig *tls.Config
)

// what differs between the versions is in old.go and new.go

var unsupported = map[string]string{
	"drain-in":  "no API for DRAIN",
	"drain-out": "no API for DRAIN",
}

func main() {
	base = os.Args[1]
	hash, err := hex.DecodeString(os.Args[2])
	if err != nil {
		panic(err)
	}
	tlsConfig = &tls.Config{
		InsecureSkipVerify: true,
		NextProtos:         []string{"h3"},
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if found := sha256.Sum256(raw[0]); !bytes.Equal(found[:], hash) {
				return errors.New("another certificate")
			}
			return nil
		},
	}

	slowness := 1.0
	if value := os.Getenv("WT_SLOWNESS"); value != "" {
		slowness, _ = strconv.ParseFloat(value, 64)
	}

	results := map[string]string{}
	for _, feature := range os.Args[3:] {
		if why, ok := unsupported[feature]; ok {
			results[feature] = "unsupported: " + why
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(),
			time.Duration(10*slowness*float64(time.Second)))
		done := make(chan error, 1)
		go func() { done <- perform(ctx, feature) }()
		select {
		case err = <-done:
		case <-ctx.Done():
			err = errors.New("timeout")
		}
		cancel()
		if err != nil {
			results[feature] = "failed: " + err.Error()
		} else {
			results[feature] = "ok"
		}
	}
	json.NewEncoder(os.Stdout).Encode(results)
}

func perform(ctx context.Context, feature string) error {
	var offered []string
	if feature == "protocol" {
		offered = protocols
	}
	switch feature {
	case "pooling":
		return pooling(ctx)
	case "close-out":
		return closeOut(ctx, 0xffffffff, "bye ä")
	}

	rsp, session, err := dial(ctx, "/"+feature, offered)
	if feature == "reject" {
		if err == nil || rsp == nil || rsp.StatusCode != http.StatusForbidden {
			return fmt.Errorf("%v, %v", rsp, err)
		}
		return nil
	}
	if err != nil {
		return err
	}

	switch feature {
	case "session":
	case "protocol":
		err = expect(chosen(session), "interop-2")
	case "bidi-out":
		err = bidiOut(ctx, session, "ping", "pong")
	case "bidi-in":
		err = bidiIn(ctx, session)
	case "uni-out":
		err = uniOut(ctx, session)
	case "uni-in":
		err = uniIn(ctx, session)
	case "datagram-out":
		err = session.SendDatagram([]byte("ping"))
	case "datagram-in":
		var data []byte
		if data, err = session.ReceiveDatagram(ctx); err == nil {
			err = expect(string(data), "ping")
		}
	case "reset-out":
		err = resetOut(ctx, session)
	case "reset-in":
		err = resetIn(ctx, session)
	case "stop-out":
		err = stopOut(ctx, session)
	case "stop-in":
		err = stopIn(ctx, session)
	case "bulk":
		err = bulk(ctx, session)
	case "streams":
		for i := 0; i < streams && err == nil; i++ {
			err = bidiOut(ctx, session, "ping", "ping")
		}
	case "close-in":
		_, err = session.AcceptStream(ctx)
		var closed *webtransport.SessionError
		if !errors.As(err, &closed) {
			return err
		}
		return expect(fmt.Sprint(uint32(closed.ErrorCode), closed.Message),
			fmt.Sprint(uint32(0xfffffffe), "ende ü"))
	default:
		err = errors.New("not written")
	}
	if err != nil {
		return err
	}

	// whoever sees the last of it closes the session
	if !seenThere[feature] {
		return session.CloseWithError(0, "")
	}
	<-session.Context().Done()
	return nil
}

func expect(found, wanted string) error {
	if found != wanted {
		return fmt.Errorf("%q instead of %q", found, wanted)
	}
	return nil
}

// ---- streams and their ends

func bidiOut(ctx context.Context, session *webtransport.Session, data, answer string) error {
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err = stream.Write([]byte(data)); err != nil {
		return err
	}
	if err = stream.Close(); err != nil {
		return err
	}
	found, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	return expect(string(found), answer)
}

func bidiIn(ctx context.Context, session *webtransport.Session) error {
	stream, err := session.AcceptStream(ctx)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if err = expect(string(data), "ping"); err != nil {
		return err
	}
	if _, err = stream.Write([]byte("pong")); err != nil {
		return err
	}
	return stream.Close()
}

func uniOut(ctx context.Context, session *webtransport.Session) error {
	stream, err := session.OpenUniStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err = stream.Write([]byte("ping")); err != nil {
		return err
	}
	return stream.Close()
}

func uniIn(ctx context.Context, session *webtransport.Session) error {
	stream, err := session.AcceptUniStream(ctx)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	return expect(string(data), "ping")
}

func bulk(ctx context.Context, session *webtransport.Session) error {
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	data := make([]byte, bulkSize)
	for i := range data {
		data[i] = byte(i*7 + i>>8)
	}
	go func() {
		stream.Write(data)
		stream.Close()
	}()
	found, err := io.ReadAll(stream)
	if err != nil {
		return err
	}
	if !bytes.Equal(found, data) {
		return fmt.Errorf("%d other bytes", len(found))
	}
	return nil
}

func pooling(ctx context.Context) error {
	sessions, err := dialMany(ctx, "/pooling", 3)
	if err != nil {
		return err
	}
	for i, session := range sessions {
		name := strconv.Itoa(i)
		if err := bidiOut(ctx, session, name, name); err != nil {
			return err
		}
	}
	for _, session := range sessions {
		session.CloseWithError(0, "")
	}
	return nil
}

// ---- codes

// opened is a stream on which a byte has come back: both sides know of it.
func opened(ctx context.Context, session *webtransport.Session) (*webtransport.Stream, error) {
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = stream.Write([]byte("x")); err != nil {
		return nil, err
	}
	_, err = stream.Read(make([]byte, 1))
	return stream, err
}

// report says which codes were sent, so that the other side compares.
func report(ctx context.Context, session *webtransport.Session) error {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(codes), " ", ","), "[]")
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err = stream.Write([]byte(text)); err != nil {
		return err
	}
	return stream.Close()
}

func resetOut(ctx context.Context, session *webtransport.Session) error {
	for _, code := range codes {
		stream, err := opened(ctx, session)
		if err != nil {
			return err
		}
		stream.CancelWrite(webtransport.StreamErrorCode(code))
	}
	return report(ctx, session)
}

func stopOut(ctx context.Context, session *webtransport.Session) error {
	for _, code := range codes {
		stream, err := opened(ctx, session)
		if err != nil {
			return err
		}
		stream.CancelRead(webtransport.StreamErrorCode(code))
	}
	return report(ctx, session)
}

// resetIn: the other side resets its half of a stream with the code that it
// reads.
func resetIn(ctx context.Context, session *webtransport.Session) error {
	for _, code := range codes {
		stream, err := session.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintln(stream, code); err != nil {
			return err
		}
		_, err = io.ReadAll(stream)
		if err = carries(err, code); err != nil {
			return err
		}
	}
	return nil
}

// stopIn: the other side stops our half of a stream with the code that it
// reads; only a write shows it.
func stopIn(ctx context.Context, session *webtransport.Session) error {
	for _, code := range codes {
		stream, err := session.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(stream, code)
		for err == nil && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			_, err = stream.Write([]byte("x"))
		}
		if err = carries(err, code); err != nil {
			return err
		}
	}
	return nil
}

func carries(err error, code uint32) error {
	var streamError *webtransport.StreamError
	if !errors.As(err, &streamError) {
		return fmt.Errorf("%d: %v", code, err)
	}
	return expect(fmt.Sprint(uint32(streamError.ErrorCode)), fmt.Sprint(code))
}
