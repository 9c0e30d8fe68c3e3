//go:build old

package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/quic-go/webtransport-go"
)

func init() {
	unsupported["protocol"] = "no API for protocols"
	unsupported["pooling"] = "one session per connection"
}

func dial(ctx context.Context, path string, _ []string) (*http.Response, *webtransport.Session, error) {
	dialer := webtransport.Dialer{TLSClientConfig: tlsConfig}
	return dialer.Dial(ctx, base+path, nil)
}

func closeOut(ctx context.Context, code webtransport.SessionErrorCode, reason string) error {
	_, session, err := dial(ctx, "/close-out", nil)
	if err != nil {
		return err
	}
	return session.CloseWithError(code, reason)
}

func dialMany(context.Context, string, int) ([]*webtransport.Session, error) {
	return nil, errors.New("no API")
}

func chosen(*webtransport.Session) string { return "" }
