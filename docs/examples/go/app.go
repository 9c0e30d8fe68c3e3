package main

import "example.com/worker/wtpb"

// An App is an application.  One object serves all sessions of its path, so
// its fields are what they share, and need a lock.
//
// Connect, Datagram and Closed are called one after the other for a session;
// while one of them runs, nothing more of the session is read.  Stream has a
// goroutine for each stream.
type App interface {
	// Connect is called when a client asks for a session; it calls Accept
	// or Reject, or sees to it that this happens later.
	Connect(s *Session)

	// Stream serves a stream that the client has opened.  What is still
	// open when it returns is ended; if it returns a StreamError, reset
	// and stopped with its code; any other error closes the session.
	Stream(s *Session, stream *Stream) error

	// Datagram is called with each datagram.
	Datagram(s *Session, data []byte)

	// Closed is the last call.  The session's streams have ended already.
	Closed(s *Session, closed *wtpb.Closed)
}

// BaseApp accepts every session and ignores what comes; to be embedded.
type BaseApp struct{}

func (BaseApp) Connect(s *Session) {
	s.Accept()
}

func (BaseApp) Stream(*Session, *Stream) error { return nil }

func (BaseApp) Datagram(*Session, []byte) {}

func (BaseApp) Closed(*Session, *wtpb.Closed) {}
