//go:build !old

package main

import (
	"context"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/webtransport-go"
)

var quicConfig = &quic.Config{
	EnableDatagrams:                  true,
	EnableStreamResetPartialDelivery: true,
}

func dial(ctx context.Context, path string, protocols []string) (*http.Response, *webtransport.Session, error) {
	transport := webtransport.Transport{
		TLSClientConfig:      tlsConfig,
		QUICConfig:           quicConfig,
		ApplicationProtocols: protocols,
		// without these there is no flow control
		Config: &webtransport.Config{
			MaxIncomingStreams:    100,
			MaxIncomingUniStreams: 100,
			MaxIncomingData:       1 << 20,
		},
	}
	return transport.Dial(ctx, base+path, nil)
}

func connect(ctx context.Context) (*webtransport.ClientConn, error) {
	address := base[len("https://"):]
	qconn, err := quic.DialAddr(ctx, address, tlsConfig, quicConfig)
	if err != nil {
		return nil, err
	}
	var transport webtransport.Transport
	return transport.NewClientConn(qconn)
}

// closeOut: what Transport.Dial has connected ends the connection together
// with the session, so that the code never leaves; this does not.
func closeOut(ctx context.Context, code webtransport.SessionErrorCode, reason string) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	_, session, err := conn.Dial(ctx, base+"/close-out", nil)
	if err != nil {
		return err
	}
	if err = session.CloseWithError(code, reason); err != nil {
		return err
	}

	// when this is answered, the code has arrived
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/reject", nil)
	if err != nil {
		return err
	}
	rsp, err := conn.RoundTrip(request)
	if err == nil {
		rsp.Body.Close()
	}
	return err
}

func dialMany(ctx context.Context, path string, count int) ([]*webtransport.Session, error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	var sessions []*webtransport.Session
	for range count {
		_, session, err := conn.Dial(ctx, base+path, nil)
		if err != nil {
			return nil, err
		}
		sessions = append(sessions, session)
	}
	return sessions, nil
}

func chosen(session *webtransport.Session) string {
	return session.SessionState().ApplicationProtocol
}
