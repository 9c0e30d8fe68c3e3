package main

import "example.com/bench/wtpb"

// answer is what one batch of a session is answered with; nil if nothing is to
// be said.
func answer(batch *wtpb.EventBatch) (reply *wtpb.CommandBatch, closed bool) {
	var commands []*wtpb.Command

	for _, event := range batch.Events {
		if event.GetClosed() != nil {
			closed = true
		}

		if command := answerEvent(event); command != nil {
			commands = append(commands, command)
		}
	}

	if commands != nil {
		reply = &wtpb.CommandBatch{Commands: commands}
	}

	return reply, closed
}

func answerEvent(event *wtpb.Event) *wtpb.Command {
	switch kind := event.Kind.(type) {
	case *wtpb.Event_Connect:
		return &wtpb.Command{Kind: &wtpb.Command_Accept{
			Accept: &wtpb.Accept{},
		}}
	case *wtpb.Event_Data:
		return &wtpb.Command{Kind: &wtpb.Command_Data{
			Data: turnRound(kind.Data),
		}}
	case *wtpb.Event_Datagram:
		return &wtpb.Command{Kind: &wtpb.Command_Datagram{
			Datagram: kind.Datagram,
		}}
	case *wtpb.Event_Ping:
		return &wtpb.Command{Kind: &wtpb.Command_Pong{Pong: kind.Ping}}
	default:
		return nil
	}
}

// turnRound makes an event's data a command's.  A bidirectional stream is
// answered on itself, the client's unidirectional stream 6 on our stream 7, and
// so on: both numbers rise, so there is nothing to remember.
func turnRound(data *wtpb.StreamData) *wtpb.StreamData {
	if data.StreamId&2 != 0 {
		data.StreamId ^= 1
	} else {
		data.Open = wtpb.Open_NONE
	}

	return data
}
