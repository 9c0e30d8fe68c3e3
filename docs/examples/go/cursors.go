package main

import (
	"encoding/json"
	"sync"

	"example.com/worker/wtpb"
)

// Datagrams that are longer say more than where a cursor is.
const maxPosition = 100

// Cursors shows everybody everybody else's mouse.  A client sends its position
// as a datagram, {"x": 0.5, "y": 0.25}, parts of the page's size; the others
// get it with a number, {"id": 7, "x": 0.5, "y": 0.25}, and in the end
// {"id": 7, "gone": true}.  Any datagram may be lost, the last one too, so a
// page should also forget cursors that have not moved for some time.
type Cursors struct {
	BaseApp

	mu      sync.Mutex
	numbers map[*Session]int
	last    int
}

type position struct {
	ID   int      `json:"id,omitempty"`
	X    *float64 `json:"x,omitempty"`
	Y    *float64 `json:"y,omitempty"`
	Gone bool     `json:"gone,omitempty"`
}

// NewCursors returns a page without cursors.
func NewCursors() *Cursors {
	return &Cursors{numbers: make(map[*Session]int)}
}

// Connect gives the session its number.
func (c *Cursors) Connect(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.last++
	c.numbers[s] = c.last
	s.Accept()
}

// Datagram passes on what was understood, never what was received.
func (c *Cursors) Datagram(s *Session, data []byte) {
	var at position

	if len(data) > maxPosition || json.Unmarshal(data, &at) != nil ||
		!isPart(at.X) || !isPart(at.Y) {
		return
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	c.tellOthers(s, position{ID: c.numbers[s], X: at.X, Y: at.Y})
}

// Closed takes the cursor away.
func (c *Cursors) Closed(s *Session, _ *wtpb.Closed) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.tellOthers(s, position{ID: c.numbers[s], Gone: true})
	delete(c.numbers, s)
}

func isPart(value *float64) bool {
	return value != nil && *value >= 0 && *value <= 1
}

// tellOthers is called with the lock held; sending a datagram does not wait.
func (c *Cursors) tellOthers(s *Session, at position) {
	data, err := json.Marshal(at)
	if err != nil {
		panic(err) // numbers that were JSON before
	}

	for other := range c.numbers {
		if other != s {
			other.SendDatagram(data)
		}
	}
}
