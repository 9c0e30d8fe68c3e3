package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Codes with which a session or stream is ended.
const (
	oneStreamOnly = 1
	lineTooLong   = 2
	tooSlow       = 3
)

const (
	maxLine = 1000

	// A member who is that many lines behind is thrown out.
	maxBehind = 100
)

// Letters and digits of any script.
var nameFormat = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,32}$`)

// Chat is a room.  A client enters with a bidirectional stream and leaves by
// ending it; on it go lines to the room, and lines from the room.  Its name is
// the query's "name".  Every process is a room of its own.
type Chat struct {
	BaseApp

	mu      sync.Mutex
	members map[*Session]*member
	guests  int
}

// member is somebody in the room.
type member struct {
	name  string
	lines chan string
}

// NewChat returns an empty room.
func NewChat() *Chat {
	return &Chat{members: make(map[*Session]*member)}
}

// Stream serves a member: here what it says, in deliver what it hears.
func (c *Chat) Stream(s *Session, stream *Stream) error {
	m := c.enter(s, stream)
	if m == nil {
		stream.Stop(oneStreamOnly)
		stream.Reset(oneStreamOnly)

		return nil
	}

	delivered := make(chan struct{})

	s.Go(func() error {
		defer close(delivered)
		return deliver(s.Context(), stream, m.lines)
	})

	err := c.listen(stream, m.name)

	if errors.Is(err, bufio.ErrBufferFull) {
		s.Close(lineTooLong, "line too long", 1000)
		err = ErrClosed
	}

	// It hears all that was said before it left.
	c.leave(s)
	<-delivered

	return err
}

// listen tells the room the member's lines.
func (c *Chat) listen(stream *Stream, name string) error {
	lines := bufio.NewReaderSize(stream, maxLine+1)

	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return nil
		}

		if err != nil {
			return err
		}

		text := strings.TrimRight(string(line), "\r\n")
		text = strings.ToValidUTF8(text, "\uFFFD")
		c.say(fmt.Sprintf("%s: %s", name, text))
	}
}

// deliver tells a member the room's lines, as fast as it reads.
func deliver(
	ctx context.Context, stream *Stream, lines <-chan string,
) error {
	for {
		select {
		case <-ctx.Done():
			return ErrClosed
		case line, ok := <-lines:
			if !ok {
				return nil
			}

			_, err := io.WriteString(stream, line+"\n")
			var stopped *StreamError

			if errors.As(err, &stopped) {
				// Whoever does not listen may not talk: this
				// ends listen.
				stream.Stop(stopped.Code)
			}

			if err != nil {
				return err
			}
		}
	}
}

// enter returns nil if this stream makes nobody a member.
func (c *Chat) enter(s *Session, stream *Stream) *member {
	c.mu.Lock()
	defer c.mu.Unlock()

	if !stream.Bidirectional() || c.members[s] != nil {
		return nil
	}

	m := &member{name: c.chooseName(s), lines: make(chan string, maxBehind)}
	c.members[s] = m
	c.tell(fmt.Sprintf("* %s joined", m.name))

	return m
}

func (c *Chat) leave(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.remove(s)
}

func (c *Chat) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.tell(line)
}

// tell sends a line to everybody, and waits for nobody.  The lock is held.
func (c *Chat) tell(line string) {
	var slow []*Session

	for s, m := range c.members {
		select {
		case m.lines <- line:
		default:
			slow = append(slow, s)
		}
	}

	// Not in the loop: whoever leaves is announced to the others.
	for _, s := range slow {
		s.Close(tooSlow, "too slow", 0)
		c.remove(s)
	}
}

// remove makes the others hear of it, too.  The lock is held, so nobody writes
// to a channel that is closed.
func (c *Chat) remove(s *Session) {
	m := c.members[s]
	if m == nil {
		return
	}

	delete(c.members, s)
	close(m.lines)
	c.tell(fmt.Sprintf("* %s left", m.name))
}

func (c *Chat) chooseName(s *Session) string {
	// What can be parsed of it will do.
	query, _ := url.ParseQuery(string(s.Request.Query))

	if name := query.Get("name"); nameFormat.MatchString(name) {
		return name
	}

	c.guests++

	return fmt.Sprintf("guest%d", c.guests)
}
