package main

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"example.com/worker/wtpb"
)

// Above this many bytes that nginx has not taken, datagrams are dropped,
// streams wait, and nothing more is read from the session.
const maxOutput = 262144

// An outbox holds commands until they are sent.  It belongs to a session, whose
// lock guards it.
type outbox struct {
	filled *sync.Cond
	room   *sync.Cond

	commands []*wtpb.Command
	size     int // bytes of commands, and of the batch that is being sent
	sending  int
	maxBatch int
}

func newOutbox(mu *sync.Mutex, maxBatch int) outbox {
	return outbox{
		filled:   sync.NewCond(mu),
		room:     sync.NewCond(mu),
		maxBatch: maxBatch,
	}
}

// put never waits: who sends much looks at full first.
func (o *outbox) put(command *wtpb.Command) {
	o.commands = append(o.commands, command)
	o.size += sizeInBatch(command)
	o.filled.Signal()
}

func (o *outbox) full() bool {
	return o.size >= maxOutput
}

func (o *outbox) empty() bool {
	return len(o.commands) == 0
}

// take makes a batch of what there is, as far as nginx accepts it in one.
func (o *outbox) take() *wtpb.CommandBatch {
	n := 0

	for ; n < len(o.commands); n++ {
		size := sizeInBatch(o.commands[n])

		if n > 0 && o.sending+size > o.maxBatch {
			break
		}

		o.sending += size
	}

	batch := &wtpb.CommandBatch{Commands: o.commands[:n:n]}
	o.commands = o.commands[n:]

	return batch
}

// sent forgets the batch that take has returned.
func (o *outbox) sent() {
	o.size -= o.sending
	o.sending = 0
	o.room.Broadcast()
}

// sizeInBatch counts the tag and the length in front of the command, too.
func sizeInBatch(command *wtpb.Command) int {
	return proto.Size(command) + 6
}
