package main

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/worker/wtpb"
)

// The key of Context.meta under which nginx keeps the path for us.
const metaPath = "path"

// Deliver handles one batch of a session.  Any process may get any batch, and
// the same one again after a failure: so what it needs to know comes with the
// batch, and the answer depends on nothing else.
//
// Chat and cursors would have to reach other sessions, which takes the control
// API; they are refused.
func (w *worker) Deliver(
	_ context.Context, batch *wtpb.EventBatch,
) (*wtpb.CommandBatch, error) {
	answer := &wtpb.CommandBatch{SessionId: batch.SessionId, Seq: batch.Seq}

	for _, event := range batch.Events {
		var command *wtpb.Command

		switch kind := event.Kind.(type) {
		case *wtpb.Event_Connect:
			command = w.answerConnect(string(kind.Connect.Path))
		case *wtpb.Event_Closed:
			// The place to clean up; also follows a Reject.
		default:
			if batch.Context.GetMeta()[metaPath] != "/echo" {
				return nil, status.Error(codes.FailedPrecondition,
					"no application in Context.meta")
			}

			command = echoEvent(event)
		}

		if command != nil {
			answer.Commands = append(answer.Commands, command)
		}
	}

	return answer, nil
}

func (w *worker) answerConnect(path string) *wtpb.Command {
	if path == "/echo" {
		return &wtpb.Command{Kind: &wtpb.Command_Accept{
			Accept: &wtpb.Accept{
				Session: &wtpb.UpdateRequest{
					Meta: map[string]string{metaPath: path},
				},
			},
		}}
	}

	httpStatus := uint32(404)
	if _, known := w.routes[path]; known {
		httpStatus = 501
	}

	return &wtpb.Command{Kind: &wtpb.Command_Reject{
		Reject: &wtpb.Reject{Status: httpStatus},
	}}
}

// echoEvent returns nil for an event that needs no answer.
func echoEvent(event *wtpb.Event) *wtpb.Command {
	switch kind := event.Kind.(type) {
	case *wtpb.Event_Data:
		return echoData(kind.Data)
	case *wtpb.Event_Reset_:
		return &wtpb.Command{Kind: &wtpb.Command_Reset_{
			Reset_: echoAbort(kind.Reset_),
		}}
	case *wtpb.Event_Stop:
		return &wtpb.Command{Kind: &wtpb.Command_Stop{
			Stop: echoAbort(kind.Stop),
		}}
	case *wtpb.Event_Datagram:
		return &wtpb.Command{Kind: &wtpb.Command_Datagram{
			Datagram: &wtpb.Datagram{Data: kind.Datagram.Data},
		}}
	case *wtpb.Event_Ping:
		return &wtpb.Command{Kind: &wtpb.Command_Pong{
			Pong: kind.Ping,
		}}
	case *wtpb.Event_Result:
		return echoResult(kind.Result)
	default:
		return nil
	}
}

func echoData(data *wtpb.StreamData) *wtpb.Command {
	back := &wtpb.StreamData{
		StreamId: otherSide(data.StreamId),
		Data:     data.Data,
		Fin:      data.Fin,
	}

	if back.StreamId != data.StreamId {
		back.Open = data.Open
	}

	return &wtpb.Command{Kind: &wtpb.Command_Data{Data: back}}
}

func echoAbort(abort *wtpb.StreamAbort) *wtpb.StreamAbort {
	return &wtpb.StreamAbort{
		StreamId: otherSide(abort.StreamId),
		Code:     proto.Uint32(abort.GetCode()),
	}
}

// echoResult hears of a stream that could not be opened, and tells the client
// not to send more for it.
func echoResult(result *wtpb.Result) *wtpb.Command {
	if codes.Code(result.Status) != codes.ResourceExhausted {
		return nil
	}

	return &wtpb.Command{Kind: &wtpb.Command_Stop{
		Stop: &wtpb.StreamAbort{StreamId: otherSide(result.StreamId)},
	}}
}

// otherSide returns the stream on which the echo travels.  The one of the
// client's unidirectional stream 6 is our stream 7, and so on: both rise, and
// nothing has to be remembered.
func otherSide(id uint64) uint64 {
	if id&2 != 0 {
		return id ^ 1
	}

	return id
}
