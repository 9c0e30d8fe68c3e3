package main

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/worker/wtpb"
)

const (
	// Bytes of a stream that nginx sends before it needs credit from us.
	streamWindow = 65536

	// What fits a batch besides the data: ids, tags, lengths.
	overhead = 64
)

// A StreamError tells that the client gave up its sending side, when reading,
// or that it wants no more of the stream, when writing.
type StreamError struct {
	Code uint32
	what string
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("stream %s by the client, code %d", e.what, e.Code)
}

// A Stream is an io.Reader and an io.Writer, as far as its kind allows.  Both
// wait: Write for a client that is slow, and a client for a Read.
type Stream struct {
	ID uint64

	session  *Session
	readable *sync.Cond
	writable *sync.Cond

	receiving bool
	chunks    [][]byte
	unread    int
	owed      uint64 // has been read, but nginx has no credit for it yet
	reset     *StreamError

	sending bool
	credit  uint64
	stopped *StreamError
}

func newStream(s *Session, id uint64) *Stream {
	// The low bits of an id tell what it is: 1 is set if we have opened the
	// stream, 2 if it is unidirectional.
	ours := id&1 != 0
	bidi := id&2 == 0

	return &Stream{
		ID:        id,
		session:   s,
		readable:  sync.NewCond(&s.mu),
		writable:  sync.NewCond(&s.mu),
		receiving: bidi || !ours,
		sending:   bidi || ours,
		credit:    uint64(s.Request.StreamWindow),
	}
}

// Bidirectional tells whether both sides can send.
func (st *Stream) Bidirectional() bool {
	return st.ID&2 == 0
}

// Read reads the bytes that came next, and returns io.EOF after the last ones.
func (st *Stream) Read(p []byte) (int, error) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()

	for len(st.chunks) == 0 {
		if err := st.readError(); err != nil {
			return 0, err
		}

		st.readable.Wait()
	}

	n := copy(p, st.chunks[0])
	st.chunks[0] = st.chunks[0][n:]

	if len(st.chunks[0]) == 0 {
		st.chunks = st.chunks[1:]
	}

	st.unread -= n
	st.owed += uint64(n)

	// Not for every few bytes: half a window is early enough to keep the
	// client sending.
	if st.receiving && st.owed >= streamWindow/2 {
		st.session.send(&wtpb.Command{Kind: &wtpb.Command_Credit{
			Credit: &wtpb.Credit{StreamId: st.ID, Bytes: st.owed},
		}})
		st.owed = 0
	}

	return n, nil
}

// Write sends bytes, as fast as the client takes them.
func (st *Stream) Write(p []byte) (int, error) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()

	for written := 0; ; {
		if err := st.writeError(); err != nil {
			return written, err
		}

		if written == len(p) {
			return written, nil
		}

		switch {
		case st.credit == 0:
			st.writable.Wait()
		case st.session.out.full():
			st.session.out.room.Wait()
		default:
			n := min(len(p)-written, int(st.credit),
				st.session.maxCommand-overhead)
			st.credit -= uint64(n)
			// A Writer must not keep what belongs to its caller.
			chunk := append([]byte(nil), p[written:written+n]...)
			st.send(chunk, false, wtpb.Open_NONE)
			written += n
		}
	}
}

// CloseWrite ends our sending side; doing so twice is no error.
func (st *Stream) CloseWrite() error {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()

	if st.session.closing {
		return ErrClosed
	}

	if st.stopped != nil {
		return st.stopped
	}

	if st.sending {
		st.send(nil, true, wtpb.Open_NONE)
		st.endSending()
	}

	return nil
}

// Reset gives up our sending side; what has not left is lost.
func (st *Stream) Reset(code uint32) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()

	if st.sending {
		st.session.send(&wtpb.Command{Kind: &wtpb.Command_Reset_{
			Reset_: st.abort(code),
		}})
		st.endSending()
	}
}

// Stop asks the client not to send any more; a reader sees the end.
func (st *Stream) Stop(code uint32) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()

	if st.receiving {
		st.session.send(&wtpb.Command{Kind: &wtpb.Command_Stop{
			Stop: st.abort(code),
		}})
		st.chunks = nil
		st.endReceiving()
	}
}

// ---- for the session, which holds the lock ----------------------------------

func (st *Stream) receive(data []byte, fin bool) error {
	if len(data) > 0 {
		st.chunks = append(st.chunks, data)
		st.unread += len(data)
	}

	if st.unread > streamWindow {
		return status.Errorf(codes.InvalidArgument,
			"stream %d exceeds its window", st.ID)
	}

	if fin {
		st.endReceiving()
	}

	st.readable.Broadcast()

	return nil
}

func (st *Stream) receiveReset(code uint32) {
	if st.receiving {
		st.reset = &StreamError{code, "reset"}
		st.endReceiving()
	}
}

func (st *Stream) receiveStop(code uint32) {
	if st.sending {
		st.stopped = &StreamError{code, "stopped"}
		st.endSending()
	}
}

func (st *Stream) send(data []byte, fin bool, open wtpb.Open) {
	st.session.send(&wtpb.Command{Kind: &wtpb.Command_Data{
		Data: &wtpb.StreamData{
			StreamId: st.ID, Data: data, Fin: fin, Open: open,
		},
	}})
}

// ---- helpers ----------------------------------------------------------------

// readError tells why there is nothing more to read, if so.
func (st *Stream) readError() error {
	switch {
	case st.session.closing:
		return ErrClosed
	case st.reset != nil:
		return st.reset
	case !st.receiving:
		return io.EOF
	default:
		return nil
	}
}

func (st *Stream) writeError() error {
	switch {
	case st.session.closing:
		return ErrClosed
	case st.stopped != nil:
		return st.stopped
	case !st.sending:
		return errors.New("stream is not open for writing")
	default:
		return nil
	}
}

func (st *Stream) abort(code uint32) *wtpb.StreamAbort {
	return &wtpb.StreamAbort{StreamId: st.ID, Code: proto.Uint32(code)}
}

func (st *Stream) endReceiving() {
	st.receiving = false
	st.readable.Broadcast()
	st.forget()
}

func (st *Stream) endSending() {
	st.sending = false
	st.writable.Broadcast()
	st.forget()
}

func (st *Stream) forget() {
	if !st.receiving && !st.sending {
		delete(st.session.streams, st.ID)
	}
}
