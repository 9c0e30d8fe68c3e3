package main

import (
	"errors"
	"io"
)

// Echo sends everything back: a bidirectional stream on itself, a
// unidirectional one on a new one, datagrams, and also the ways in which a
// stream can end.
type Echo struct{ BaseApp }

func (Echo) Stream(s *Session, stream *Stream) error {
	back := stream

	if !stream.Bidirectional() {
		var err error

		if back, err = s.OpenUni(); err != nil {
			return err
		}
	}

	_, err := io.Copy(back, stream)
	if err == nil {
		return back.CloseWrite()
	}

	// A stream that was stopped cannot be reset any more, so this is for
	// the other case only.
	var streamError *StreamError

	if errors.As(err, &streamError) {
		back.Reset(streamError.Code)
	}

	return err
}

func (Echo) Datagram(s *Session, data []byte) {
	s.SendDatagram(data)
}
