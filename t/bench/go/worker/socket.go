package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"log"
	"net"

	"google.golang.org/protobuf/proto"

	"example.com/bench/wtpb"
)

const bufferSize = 256 << 10

// serveSocket serves a session per connection.
func serveSocket(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}

		go func() {
			defer conn.Close()

			if err := serveConn(conn); err != nil && err != io.EOF {
				log.Print(err)
			}
		}()
	}
}

func serveConn(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, bufferSize)
	var event, out []byte

	for {
		var err error

		if event, err = readFrame(in, event); err != nil {
			return err
		}

		var batch wtpb.EventBatch

		if err := proto.Unmarshal(event, &batch); err != nil {
			return err
		}

		reply, closed := answer(&batch)

		if reply != nil {
			if out, err = appendFrame(out, reply); err != nil {
				return err
			}
		}

		// One write for all that has come in one piece.
		if len(out) > 0 && (in.Buffered() == 0 || len(out) > bufferSize) {
			if _, err := conn.Write(out); err != nil {
				return err
			}

			out = out[:0]
		}

		if closed {
			return nil
		}
	}
}

// readFrame uses the buffer again, if it is large enough.
func readFrame(in *bufio.Reader, buffer []byte) ([]byte, error) {
	var head [4]byte

	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}

	size := int(binary.BigEndian.Uint32(head[:]))

	if size > cap(buffer) {
		buffer = make([]byte, size)
	}

	_, err := io.ReadFull(in, buffer[:size])

	return buffer[:size], err
}

func appendFrame(out []byte, batch *wtpb.CommandBatch) ([]byte, error) {
	start := len(out)

	out, err := proto.MarshalOptions{}.MarshalAppend(
		append(out, 0, 0, 0, 0), batch)
	if err != nil {
		return nil, err
	}

	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4))

	return out, nil
}
