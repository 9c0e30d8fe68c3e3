package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/worker/wtpb"
)

// Codes with which this worker closes sessions, as in WebSocket.
const (
	goingAway     = 1001
	internalError = 1011
	overloaded    = 1013
)

// Streams of a session that are served at a time; more end the session.
const maxStreams = 1024

// ErrClosed is returned when the session has ended, or is about to.
var ErrClosed = errors.New("session closed")

// A Session is a session of a client.  All methods may be called from any
// goroutine.
type Session struct {
	ID      string
	Request *wtpb.Connect // what the client asked for

	call       grpc.BidiStreamingServer[wtpb.EventBatch, wtpb.CommandBatch]
	app        App
	ctx        context.Context
	cancel     context.CancelFunc
	tasks      sync.WaitGroup
	maxCommand int

	// One lock for the session and its streams: the order of commands is
	// the order in which they have changed the state.
	mu       sync.Mutex
	out      outbox
	accepted bool
	closing  bool // the last command was sent
	over     bool // nothing can be sent any more
	streams  map[uint64]*Stream
	serving  int
	bidi     opening
	uni      opening
}

// opening counts the streams that we may open.
type opening struct {
	next   uint64
	credit uint32
	more   *sync.Cond
}

func newSession(
	call grpc.BidiStreamingServer[wtpb.EventBatch, wtpb.CommandBatch],
	app App, id string, request *wtpb.Connect,
) *Session {
	s := &Session{
		ID:         id,
		Request:    request,
		call:       call,
		app:        app,
		maxCommand: int(cmp.Or(request.MaxCommand, 65536)),
		streams:    make(map[uint64]*Stream),
	}

	s.ctx, s.cancel = context.WithCancel(call.Context())
	s.out = newOutbox(&s.mu, s.maxCommand)
	s.bidi = opening{5, request.StreamsBidi, sync.NewCond(&s.mu)}
	s.uni = opening{7, request.StreamsUni, sync.NewCond(&s.mu)}

	return s
}

// Context ends with the session.  It has the call's metadata, in which are the
// fields of webtransport_set_header.
func (s *Session) Context() context.Context {
	return s.ctx
}

// Accept accepts the session.
func (s *Session) Accept() {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.answered() {
		return
	}

	s.accepted = true
	s.out.put(&wtpb.Command{Kind: &wtpb.Command_Accept{
		Accept: &wtpb.Accept{
			StreamWindow: streamWindow,
			Notify: []wtpb.Accept_Notify{
				wtpb.Accept_STREAM_CREDIT,
			},
		},
	}})
}

// Reject refuses the session with an HTTP status.  A page learns no more than
// that it failed; to tell it why, Accept and Close.
func (s *Session) Reject(httpStatus uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.answered() {
		return
	}

	s.closing = true
	s.out.put(&wtpb.Command{Kind: &wtpb.Command_Reject{
		Reject: &wtpb.Reject{Status: httpStatus},
	}})
}

// OpenBidi opens a bidirectional stream, when the client allows one more.
func (s *Session) OpenBidi() (*Stream, error) {
	return s.open(&s.bidi, wtpb.Open_BIDI)
}

// OpenUni opens a unidirectional stream, when the client allows one more.
func (s *Session) OpenUni() (*Stream, error) {
	return s.open(&s.uni, wtpb.Open_UNI)
}

// SendDatagram sends a datagram, or drops it: datagrams are for what is soon
// outdated, and must not pile up.
func (s *Session) SendDatagram(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.out.full() {
		s.send(&wtpb.Command{Kind: &wtpb.Command_Datagram{
			Datagram: &wtpb.Datagram{Data: data},
		}})
	}
}

// Close ends the session.  What was written is delivered first, if the client
// takes it within flushMs milliseconds.  Before Accept it is a Reject.
func (s *Session) Close(code uint32, reason string, flushMs uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.dismiss(403, code, reason, flushMs)
}

// Go runs something beside the callbacks; it has to end with the session.
func (s *Session) Go(task func() error) {
	s.tasks.Add(1)

	go func() {
		defer s.tasks.Done()
		s.guard(task)
	}()
}

// ---- for the worker ---------------------------------------------------------

// run serves the session to its end; events came along with Connect.
func (s *Session) run(events []*wtpb.Event) error {
	info.Printf("session %s: %q from %s",
		s.ID, s.Request.Path, s.Request.RemoteAddr)

	s.tasks.Add(1)
	go s.write()

	s.guard(func() error {
		s.app.Connect(s)
		return nil
	})

	closed, err := s.read(events)
	s.finish()
	s.tasks.Wait()

	if closed == nil {
		closed = &wtpb.Closed{Reason: fmt.Sprint(err)}
	}

	info.Printf("session %s: closed by %s, code %d %q",
		s.ID, closed.By, closed.Code, closed.Reason)

	s.guard(func() error {
		s.app.Closed(s, closed)
		return nil
	})

	return err
}

// goAway ends the session because the process ends.
func (s *Session) goAway() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.dismiss(503, goingAway, "worker restarts", 1000)
}

// read handles events until Closed, and returns it.
func (s *Session) read(events []*wtpb.Event) (*wtpb.Closed, error) {
	for {
		for _, event := range events {
			if closed := event.GetClosed(); closed != nil {
				return closed, nil
			}

			if err := s.handle(event); err != nil {
				return nil, err
			}
		}

		// A session that takes nothing is not read either: this is what
		// keeps its memory bounded.
		s.waitForRoom()

		batch, err := s.call.Recv()
		if err == io.EOF {
			return nil, status.Error(codes.Aborted,
				"the call was ended without Closed")
		}

		if err != nil {
			return nil, err
		}

		events = batch.Events
	}
}

// write sends what the others put into the outbox.  It has a goroutine of its
// own, because sending waits for nginx.
func (s *Session) write() {
	defer s.tasks.Done()

	for {
		batch := s.nextBatch()
		if batch == nil {
			return
		}

		// What was wrong is told to Recv, too.
		if err := s.call.Send(batch); err != nil {
			s.finish()
		}

		s.mu.Lock()
		s.out.sent()
		s.mu.Unlock()
	}
}

func (s *Session) nextBatch() *wtpb.CommandBatch {
	s.mu.Lock()
	defer s.mu.Unlock()

	for s.out.empty() && !s.over {
		s.out.filled.Wait()
	}

	if s.over {
		return nil
	}

	return s.out.take()
}

func (s *Session) waitForRoom() {
	s.mu.Lock()
	defer s.mu.Unlock()

	for s.out.full() && !s.over {
		s.out.room.Wait()
	}
}

// finish wakes everything that waits, to find that the session is over.
func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.closing = true
	s.over = true
	s.wakeAll()
	s.cancel()
}

func (s *Session) wakeAll() {
	s.out.filled.Broadcast()
	s.out.room.Broadcast()
	s.bidi.more.Broadcast()
	s.uni.more.Broadcast()

	for _, stream := range s.streams {
		stream.readable.Broadcast()
		stream.writable.Broadcast()
	}
}

// ---- events -----------------------------------------------------------------

func (s *Session) handle(event *wtpb.Event) error {
	// Not under the lock: the application will want to send.
	if datagram := event.GetDatagram(); datagram != nil {
		s.guard(func() error {
			s.app.Datagram(s, datagram.Data)
			return nil
		})

		return nil
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.closing {
		return nil // nobody's business any more
	}

	switch kind := event.Kind.(type) {
	case *wtpb.Event_Connect:
		return status.Error(codes.InvalidArgument, "second Connect")
	case *wtpb.Event_Data:
		return s.handleData(kind.Data)
	case *wtpb.Event_Reset_:
		if stream := s.streams[kind.Reset_.StreamId]; stream != nil {
			stream.receiveReset(kind.Reset_.GetCode())
		}
	case *wtpb.Event_Stop:
		if stream := s.streams[kind.Stop.StreamId]; stream != nil {
			stream.receiveStop(kind.Stop.GetCode())
		}
	case *wtpb.Event_Credit:
		s.handleCredit(kind.Credit)
	case *wtpb.Event_Ping:
		s.send(&wtpb.Command{Kind: &wtpb.Command_Pong{
			Pong: kind.Ping,
		}})
	}

	// Others may come, from a newer nginx: they are to be ignored.
	return nil
}

func (s *Session) handleData(data *wtpb.StreamData) error {
	stream := s.streams[data.StreamId]

	if data.Open != wtpb.Open_NONE {
		if s.serving == maxStreams {
			s.close(overloaded, "too many streams", 0)
			return nil
		}

		stream = s.addStream(data.StreamId)
		s.serving++
		s.tasks.Add(1)
		go s.serve(stream)
	}

	// It may have crossed with our Stop.
	if stream == nil || !stream.receiving {
		return nil
	}

	return stream.receive(data.Data, data.Fin)
}

func (s *Session) handleCredit(credit *wtpb.Credit) {
	s.bidi.credit += credit.Bidi
	s.bidi.more.Broadcast()
	s.uni.credit += credit.Uni
	s.uni.more.Broadcast()

	// The stream may have ended in the meantime.
	if stream := s.streams[credit.StreamId]; stream != nil {
		stream.credit += credit.Bytes
		stream.writable.Broadcast()
	}
}

// ---- helpers; the lock is held, but for guard, serve and open ---------------

func (s *Session) serve(stream *Stream) {
	defer s.tasks.Done()

	s.guard(func() error {
		err := s.app.Stream(s, stream)
		var streamError *StreamError

		switch {
		case err == nil:
			err = stream.CloseWrite()
			stream.Stop(0)
		case errors.As(err, &streamError):
			stream.Reset(streamError.Code)
			stream.Stop(streamError.Code)
		}

		return err
	})

	s.mu.Lock()
	s.serving--
	s.mu.Unlock()
}

// guard sees to it that an error of the application ends its session, and
// nothing else.
func (s *Session) guard(call func() error) {
	defer func() {
		if trouble := recover(); trouble != nil {
			s.fail("%v\n%s", trouble, debug.Stack())
		}
	}()

	err := call()
	var streamError *StreamError

	if err != nil && !errors.Is(err, ErrClosed) &&
		!errors.As(err, &streamError) {
		s.fail("%v", err)
	}
}

func (s *Session) fail(format string, args ...any) {
	log.Printf("session %s: %s", s.ID, fmt.Sprintf(format, args...))

	s.mu.Lock()
	defer s.mu.Unlock()

	s.dismiss(500, internalError, "internal error", 0)
}

func (s *Session) open(kind *opening, open wtpb.Open) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for kind.credit == 0 && !s.closing {
		kind.more.Wait()
	}

	if s.closing {
		return nil, ErrClosed
	}

	if !s.accepted {
		return nil, errors.New("the session is not accepted yet")
	}

	stream := s.addStream(kind.next)
	kind.credit--
	kind.next += 4
	stream.send(nil, false, open)

	return stream, nil
}

func (s *Session) addStream(id uint64) *Stream {
	stream := newStream(s, id)
	s.streams[id] = stream

	return stream
}

// answered tells whether it is too late for Accept and Reject.
func (s *Session) answered() bool {
	return s.accepted || s.closing
}

func (s *Session) send(command *wtpb.Command) {
	// Nothing may come before Accept, nor after Close.
	if s.accepted && !s.closing {
		s.out.put(command)
	}
}

func (s *Session) close(code uint32, reason string, flushMs uint32) {
	s.send(&wtpb.Command{Kind: &wtpb.Command_Close{
		Close: &wtpb.Close{
			Code: code, Reason: reason, FlushMs: flushMs,
		},
	}})

	s.closing = true
	s.wakeAll()
}

// dismiss ends the session politely, whatever state it is in.
func (s *Session) dismiss(
	httpStatus, code uint32, reason string, flushMs uint32,
) {
	if s.accepted {
		s.close(code, reason, flushMs)
	} else if !s.closing {
		s.closing = true
		s.out.put(&wtpb.Command{Kind: &wtpb.Command_Reject{
			Reject: &wtpb.Reject{Status: httpStatus},
		}})
	}
}
