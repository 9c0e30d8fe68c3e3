package main

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/worker/wtpb"
)

// worker is the service that nginx calls: Session here, Deliver in deliver.go.
type worker struct {
	wtpb.UnimplementedWorkerServer

	routes map[string]App

	mu       sync.Mutex
	sessions map[*Session]struct{}
	leaving  bool
}

func newWorker(routes map[string]App) *worker {
	return &worker{
		routes:   routes,
		sessions: make(map[*Session]struct{}),
	}
}

// Session serves one session: a call is a session, and ends with it.  All
// calls share one HTTP/2 connection, or a few.
//
// The call ends with OK after Closed.  An error that ends it before Accept is
// an HTTP status for the client, after Accept a close code.
func (w *worker) Session(
	call grpc.BidiStreamingServer[wtpb.EventBatch, wtpb.CommandBatch],
) error {
	batch, err := call.Recv()
	if err != nil {
		return err
	}

	connect := firstConnect(batch)
	if connect == nil {
		return status.Error(codes.InvalidArgument,
			"first event is not Connect")
	}

	app, ok := w.routes[string(connect.Path)]
	if !ok {
		app = notFound{}
	}

	session := newSession(call, app, batch.SessionId, connect)

	if !w.add(session) {
		session.goAway()
	}

	defer w.remove(session)

	return session.run(batch.Events[1:])
}

// goAway ends all sessions, and those that still come.
func (w *worker) goAway() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.leaving = true

	for session := range w.sessions {
		session.goAway()
	}
}

// add tells whether the process takes sessions.
func (w *worker) add(session *Session) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.sessions[session] = struct{}{}

	return !w.leaving
}

func (w *worker) remove(session *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()

	delete(w.sessions, session)
}

func firstConnect(batch *wtpb.EventBatch) *wtpb.Connect {
	if len(batch.Events) == 0 {
		return nil
	}

	return batch.Events[0].GetConnect()
}

// notFound is for paths that have no application.
type notFound struct{ BaseApp }

func (notFound) Connect(s *Session) {
	s.Reject(404)
}
