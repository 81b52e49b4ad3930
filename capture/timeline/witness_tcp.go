package timeline

import (
	"fmt"
	"net/netip"
	"strconv"
)

// connections are those to the web servers, by the handset's end, as both
// witnesses know them.
type connections map[netip.AddrPort]*connection

// connection is one of them. What a fault of the service, an oddity or an
// altered frame has touched may be told in other words than the wire has; its
// bytes are the same bytes.
type connection struct {
	// opened and closed count the SYNs on the wire and the ends in the journal: of
	// an end that served twice nobody can tell which is which.
	opened, closed int
	// sent and received are the bytes of each direction as the handset's cable
	// shows them, where it ended in order; wrote and read those of the journal.
	sent, received, wrote, read int64
	sentWhole, receivedWhole    bool

	touched bool
	// shown are the answers on the wire, told those of the journal, served its
	// files.
	shown, told, served []answer
}

// answer is one answer in clear. Bytes of one that is not whole say nothing.
type answer struct {
	file   string
	status int
	get    bool
	bytes  int64
	whole  bool
}

func (cs connections) of(end netip.AddrPort) *connection {
	c := cs[end]
	if c == nil {
		c = &connection{}
		cs[end] = c
	}
	return c
}

// wire folds what the cable shows.
func (cs connections) wire(e *Event) {
	switch e.Kind {
	case TCPOpen:
		cs.of(e.Src).opened++
	case TCPClosed:
		if c := cs[e.Src]; c != nil {
			c.sent, c.sentWhole = e.Bytes, true
		} else if c := cs[e.Dst]; c != nil {
			c.received, c.receivedWhole = e.Bytes, true
		}
	case HTTPResponse:
		if e.Status >= 200 {
			c := cs.of(e.Dst)
			c.shown = append(c.shown, answer{e.File, e.Status, e.Message == "GET", e.Bytes, e.Complete})
		}
	default: // the others are counted elsewhere
	}
}

// journal folds what the web servers say.
func (cs connections) journal(e *Event) {
	c := cs.of(e.Src)
	switch e.Kind {
	case FaultFired, ServiceOddity:
		c.touched = true
	case HTTPResponse:
		c.told = append(c.told, answer{e.File, e.Status, e.Message == "GET", e.Bytes, true})
	case Served:
		c.served = append(c.served, answer{e.File, e.Status, true, e.Bytes, e.Complete})
	case ConnClosed:
		out, err := strconv.ParseInt(e.Fields["bytes.out"], 10, 64)
		in, err2 := strconv.ParseInt(e.Fields["bytes.in"], 10, 64)
		if err == nil && err2 == nil {
			c.closed++
			c.wrote, c.read = out, in
		}
	default: // the others are counted elsewhere
	}
}

// quarrels says where bytes differ. A service may have written more than the
// cable had where the handset went away, and read less where it did; over TLS
// the files are in bytes that nobody but the two ends can read, so that they are
// held against those of the connection as a whole.
func (cs connections) quarrels(altered map[netip.AddrPort]bool) []string {
	var out []string
	for end, c := range cs {
		if c.opened != 1 || altered[end] {
			continue // it began before the recording, or the end was used again
		}
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("connection from %s: ", end)+fmt.Sprintf(format, args...))
		}
		if c.closed == 1 && c.receivedWhole && c.received != c.wrote {
			say("%d bytes on the wire to the handset, %d in the journal", c.received, c.wrote)
		}
		if c.closed == 1 && c.sentWhole && c.read > c.sent {
			say("%d bytes on the wire from the handset, %d in the journal", c.sent, c.read)
		}
		if c.touched {
			continue
		}
		if n := c.files(); c.closed == 1 && n > c.wrote {
			say("files of %d bytes in the journal, and %d were sent", n, c.wrote)
		}
		c.answers(say)
	}
	return out
}

// files sums up what was served.
func (c *connection) files() (bytes int64) {
	for _, a := range c.served {
		bytes += a.bytes
	}
	return bytes
}

// answers holds answer by answer in clear, and file by file.
func (c *connection) answers(say func(format string, args ...any)) {
	if len(c.shown) > len(c.told) {
		say("%d answers on the wire, %d in the journal", len(c.shown), len(c.told))
	}
	for i, a := range c.shown {
		if i < len(c.told) && a.whole && (a.status != c.told[i].status || a.get && a.bytes != c.told[i].bytes) {
			say("%d with %d bytes on the wire, %d with %d in the journal", a.status, a.bytes, c.told[i].status, c.told[i].bytes)
		}
	}
	for i, a := range c.served {
		if w, ok := c.matching(i); ok && a.whole && w.whole && a.bytes != w.bytes {
			say("%q: %d bytes on the wire, %d in the journal", a.file, w.bytes, a.bytes)
		}
	}
}

// matching finds the answer on the wire that a served file is.
func (c *connection) matching(i int) (answer, bool) {
	same := func(a answer) bool { return a.get && a.file == c.served[i].file && a.status == c.served[i].status }
	nth := 0
	for _, a := range c.served[:i] {
		if same(a) {
			nth++
		}
	}
	for _, a := range c.shown {
		if !same(a) {
			continue
		}
		if nth == 0 {
			return a, true
		}
		nth--
	}
	return answer{}, false
}
