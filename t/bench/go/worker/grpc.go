package main

import (
	"math"
	"net"

	"google.golang.org/grpc"

	"example.com/bench/wtpb"
)

type service struct {
	wtpb.UnimplementedWorkerServer
}

func serveGRPC(listener net.Listener) error {
	server := grpc.NewServer(grpc.MaxConcurrentStreams(math.MaxUint32))
	wtpb.RegisterWorkerServer(server, service{})

	return server.Serve(listener)
}

// Session serves a session per call.
func (service) Session(
	call grpc.BidiStreamingServer[wtpb.EventBatch, wtpb.CommandBatch],
) error {
	for {
		batch, err := call.Recv()
		if err != nil {
			return err
		}

		reply, closed := answer(batch)

		if reply != nil {
			if err := call.Send(reply); err != nil {
				return err
			}
		}

		if closed {
			return nil
		}
	}
}
