package timeline

import (
	"fmt"
	"net/netip"
	"strconv"
)

// connections are the TCP connections to the web servers, by the handset's end, as
// both witnesses know them.
type connections map[netip.AddrPort]*port

// port is an end of the handset, with the connections that it opened one after
// another. The nth that the wire shows is the nth that the journal ends.
type port struct {
	conns []*connection
	ended int // in the journal, since the wire showed the first
	// blurred: from here on it is not known which connection the journal speaks of.
	// One that no service got has no entry, one of the recording before has one too
	// many.
	blurred bool
	sure    int // how many could be distinguished before
}

// connection is one connection. What a fault of the service, an oddity or an
// altered frame has touched may look different in the journal than on the wire;
// the number of its bytes is the same.
type connection struct {
	// closed: the journal has its end.
	closed bool
	// sent and received are the bytes of each direction as the handset's cable
	// shows them, where it ended in order; wrote and read those of the journal.
	sent, received, wrote, read int64
	sentWhole, receivedWhole    bool

	touched bool
	// shown are the answers on the wire, journalled those of the journal, served its
	// files.
	shown, journalled, served []answer
}

// answer is one answer in clear. Bytes of one that is not whole say nothing.
type answer struct {
	file   string
	status int
	get    bool
	bytes  int64
	whole  bool
}

// latest is the connection that the wire shows at this end; nil: it began before
// the recording.
func (cs connections) latest(end netip.AddrPort) *connection {
	p := cs[end]
	if p == nil {
		return nil
	}
	return p.conns[len(p.conns)-1]
}

// speaksOf is the connection that the journal speaks of; nil: it is not known.
func (p *port) speaksOf() *connection {
	if !p.blurred && p.ended != len(p.conns)-1 {
		p.blurred, p.sure = true, min(p.ended, len(p.conns))
		if p.ended > len(p.conns)-1 {
			p.sure = 0 // the one too many may be any of them
		}
	}
	if p.blurred {
		return nil
	}
	return p.conns[p.ended]
}

// wire folds what the cable shows.
func (cs connections) wire(e *Event) {
	switch e.Kind {
	case TCPOpen:
		if cs[e.Src] == nil {
			cs[e.Src] = &port{}
		}
		cs[e.Src].conns = append(cs[e.Src].conns, &connection{})
	case TCPClosed:
		if c := cs.latest(e.Src); c != nil {
			c.sent, c.sentWhole = e.Bytes, true
		} else if c := cs.latest(e.Dst); c != nil {
			c.received, c.receivedWhole = e.Bytes, true
		}
	case HTTPResponse:
		if c := cs.latest(e.Dst); c != nil && e.Status >= 200 {
			c.shown = append(c.shown, answer{e.File, e.Status, e.Message == "GET", e.Bytes, e.Complete})
		}
	default: // the others are counted elsewhere
	}
}

// journal folds the entries of the web servers.
func (cs connections) journal(e *Event) {
	p := cs[e.Src]
	if p == nil {
		return // it began before the recording
	}
	c := p.speaksOf()
	if c == nil {
		return
	}
	switch e.Kind {
	case FaultFired, ServiceOddity:
		c.touched = true
	case HTTPResponse:
		c.journalled = append(c.journalled, answer{e.File, e.Status, e.Message == "GET", e.Bytes, true})
	case Served:
		c.served = append(c.served, answer{e.File, e.Status, true, e.Bytes, e.Complete})
	case ConnClosed:
		out, err := strconv.ParseInt(e.Fields["bytes.out"], 10, 64)
		in, err2 := strconv.ParseInt(e.Fields["bytes.in"], 10, 64)
		if err == nil && err2 == nil {
			c.wrote, c.read, c.closed = out, in, true
		}
		p.ended++
	default: // the others are counted elsewhere
	}
}

// quarrels says where bytes differ. A service may have written more than the cable
// carried where the handset went away, and read less where the service did. Over
// TLS only the two ends can read the files, so their bytes are compared with those
// of the connection as a whole.
func (cs connections) quarrels(altered map[netip.AddrPort]bool) []string {
	var out []string
	for end, p := range cs {
		if altered[end] {
			continue
		}
		conns := p.conns
		if p.blurred {
			conns = conns[:p.sure]
		}
		for _, c := range conns {
			c.quarrels(func(format string, args ...any) {
				out = append(out, fmt.Sprintf("connection from %s: ", end)+fmt.Sprintf(format, args...))
			})
		}
	}
	return out
}

func (c *connection) quarrels(say func(format string, args ...any)) {
	if c.closed && c.receivedWhole && c.received != c.wrote {
		say("%d bytes on the wire to the handset, %d in the journal", c.received, c.wrote)
	}
	if c.closed && c.sentWhole && c.read > c.sent {
		say("%d bytes on the wire from the handset, %d in the journal", c.sent, c.read)
	}
	if c.touched {
		return
	}
	if n := c.files(); c.closed && n > c.wrote {
		say("files of %d bytes in the journal, and %d were sent", n, c.wrote)
	}
	c.answers(say)
}

// files sums up what was served.
func (c *connection) files() (bytes int64) {
	for _, a := range c.served {
		bytes += a.bytes
	}
	return bytes
}

// answers compares answer by answer in clear, and file by file.
func (c *connection) answers(say func(format string, args ...any)) {
	if len(c.shown) > len(c.journalled) {
		say("%d answers on the wire, %d in the journal", len(c.shown), len(c.journalled))
	}
	for i, a := range c.shown {
		if i < len(c.journalled) && a.whole && (a.status != c.journalled[i].status || a.get && a.bytes != c.journalled[i].bytes) {
			say("%d with %d bytes on the wire, %d with %d in the journal", a.status, a.bytes, c.journalled[i].status, c.journalled[i].bytes)
		}
	}
	for i, a := range c.served {
		if w, ok := c.matching(i); ok && a.whole && w.whole && a.bytes != w.bytes {
			say("%q: %d bytes on the wire, %d in the journal", a.file, w.bytes, a.bytes)
		}
	}
}

// matching finds the answer on the wire that carried a served file.
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
