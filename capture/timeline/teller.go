package timeline

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// teller turns events into lines, one after another. It remembers what a line
// needs to know of earlier ones, and no event: a capture may have millions.
type teller struct {
	start time.Time
	own   map[string]bool
	as    form

	rows []row
	fold *transferFold // the blocks of a transfer that the last line sums up

	transfers map[flowKey]*progress
	tries     map[flowKey]int // row of the SYN that is not answered yet
	bound     map[string]int  // row that says that a MAC is bound
	redirect  map[string]string
	offset    *time.Duration // of the time that the handset was given against the capture's clock
}

// flowKey names a flow, whichever way a frame goes.
type flowKey struct{ low, high netip.AddrPort }

func flowOf(e *Event) flowKey {
	if e.Src.Compare(e.Dst) <= 0 {
		return flowKey{e.Src, e.Dst}
	}
	return flowKey{e.Dst, e.Src}
}

// progress is how far a TFTP transfer has come.
type progress struct {
	file     string
	data     int // the highest block of data
	complete bool
}

// transferFold sums up consecutive blocks and acknowledgements of one transfer.
type transferFold struct {
	file                 string
	flow                 flowKey
	first, last          int // frames
	row                  int
	events               int
	data, acks           int64
	again, late          int64 // DATA sent again, DATA after the end
	bytes                int64
	firstData, lastData  int64
	firstAck, lastAck    int64
	complete             bool
	otherAddress, asking string
	port                 uint16 // of the client, where another transfer is under way
}

// maxTransfers bounds what is remembered of transfers that nobody ended.
const maxTransfers = 1024

func newTeller(start time.Time, own map[string]bool, as form) *teller {
	return &teller{
		start: start, own: own, as: as, transfers: map[flowKey]*progress{}, tries: map[flowKey]int{}, bound: map[string]int{}, redirect: map[string]string{},
	}
}

// add takes the next event.
func (t *teller) add(e *Event) {
	if e.Kind == TFTPData || e.Kind == TFTPAck {
		t.block(e)
		return
	}
	t.unfold()
	switch e.Kind {
	case TCPTryAgain:
		if i, ok := t.tries[flowOf(e)]; ok {
			t.rows[i].again++
			return
		}
	case TCPOpen, TCPRefused, TCPReset:
		if i, ok := t.tries[flowOf(e)]; ok {
			t.rows[i].open = false
			delete(t.tries, flowOf(e))
		}
	case DHCPDecline:
		if i, ok := t.bound[e.SrcMAC]; ok {
			t.rows[i].words += ", and declined"
			delete(t.bound, e.SrcMAC)
		}
	case TFTPRead, TFTPWrite:
		t.begins(e)
	default: // the others change no earlier line
	}
	r := row{frames: frames(e.Frame, e.Frame), at: since(t.start, e.At), dir: way(e, t.own), mark: mark(e), words: words(e, t.as)}
	if t.as == long {
		r.words = t.explained(e, r.words)
	}
	switch e.Kind {
	case TCPTry:
		r.open = true
		t.tries[flowOf(e)] = len(t.rows)
	case Bound:
		t.bound[e.SrcMAC] = len(t.rows)
	default: // nothing later changes it
	}
	t.rows = append(t.rows, r)
}

// begins remembers a transfer.
func (t *teller) begins(e *Event) {
	if len(t.transfers) >= maxTransfers {
		clear(t.transfers)
	}
	// The server answers from a port of its own: the flow is known by the client's end.
	t.transfers[flowKey{low: e.Src}] = &progress{file: e.File}
}

// transfer is the one that a block belongs to.
func (t *teller) transfer(e *Event) (p *progress, client netip.AddrPort) {
	for _, end := range []netip.AddrPort{e.Src, e.Dst} {
		if p := t.transfers[flowKey{low: end}]; p != nil && p.file == e.File {
			return p, end
		}
	}
	return &progress{}, netip.AddrPort{}
}

// block puts a block or an acknowledgement into the line of its transfer.
func (t *teller) block(e *Event) {
	flow := flowOf(e)
	p, client := t.transfer(e)
	f := t.fold
	if f == nil || f.file != e.File || f.flow != flow {
		t.unfold()
		f = &transferFold{file: e.File, flow: flow, first: e.Frame, row: len(t.rows), firstData: -1, firstAck: -1}
		t.fold = f
		t.rows = append(t.rows, row{at: since(t.start, e.At)})
		for key, other := range t.transfers {
			if other != p && !other.complete && key.low.Addr() == client.Addr() && other.data > 0 {
				f.port = client.Port()
			}
		}
	}
	f.events++
	f.first, f.last = cmp.Or(f.first, e.Frame), max(f.last, e.Frame)
	number := int64(e.Number)
	if e.Kind == TFTPData {
		f.data++
		switch {
		case p.complete:
			f.late++
		case e.Number <= p.data && p.data > 0:
			f.again++
		default:
			f.bytes += e.Bytes
			p.data = e.Number
		}
		if f.firstData < 0 {
			f.firstData = number
		}
		f.lastData = number
		if asked := e.Fields["tftp.request_frame.dst"]; asked != "" {
			f.asking, f.otherAddress = asked, e.Src.Addr().String()
		}
	} else {
		f.acks++
		if f.firstAck < 0 {
			f.firstAck = number
		}
		f.lastAck = number
		f.complete = f.complete || e.Complete
		p.complete = p.complete || e.Complete
	}
	if f.events == 1 {
		r := &t.rows[f.row]
		r.frames, r.dir, r.mark, r.words = frames(f.first, f.last), way(e, t.own), mark(e), words(e, t.as)+f.oddities()
	}
}

// unfold ends the line that sums up blocks.
func (t *teller) unfold() {
	if f := t.fold; f != nil && f.events > 1 {
		r := &t.rows[f.row]
		r.frames, r.dir, r.mark, r.words = frames(f.first, f.last), bothWays, "", f.words()
	}
	t.fold = nil
}

// finish returns the lines. Nothing may be added after it.
func (t *teller) finish() []row {
	t.unfold()
	for i := range t.rows {
		r := &t.rows[i]
		if r.again > 0 {
			r.words += fmt.Sprintf(", %d times", r.again+1)
		}
		if r.open && t.as == long {
			r.words += ", not answered"
		}
	}
	return t.rows
}

// explained adds to the words of an event what earlier events say about it.
func (t *teller) explained(e *Event, text string) string {
	switch e.Kind {
	case HTTPRequest:
		location, ok := t.redirect[e.SrcMAC]
		if !ok || e.By != Wire {
			return text
		}
		delete(t.redirect, e.SrcMAC)
		if u, err := url.Parse(location); err == nil && strings.TrimPrefix(u.RequestURI(), "/") != e.File {
			text += ", not the Location /" + path(strings.TrimPrefix(u.RequestURI(), "/")) + " before it"
		}
	case HTTPResponse:
		if location := e.Fields["http.location"]; location != "" && e.By == Wire && e.DstMAC != "" {
			t.redirect[e.DstMAC] = location
		}
	case SNTPResponse:
		given, ok := ntpTime(e.Fields["ntp.xmt"])
		if !ok {
			return text
		}
		offset := given.Sub(e.At)
		t.offset = &offset
		text += ", " + given.UTC().Format("2006-01-02 15:04:05")
		if offset.Abs() > time.Second {
			text += fmt.Sprintf(" (the capture's clock %+.0f s)", offset.Seconds())
		}
	case TLSCertificate:
		now, whose := e.At, "by the capture's clock"
		if t.offset != nil {
			now, whose = e.At.Add(*t.offset), "by the time that SNTP gave"
		}
		const day = "2006-01-02"
		today := now.UTC().Format(day)
		switch {
		case e.Fields["x509.not_after"] == "":
		case today > e.Fields["x509.not_after"]:
			text += ", expired " + whose
		case today < e.Fields["x509.not_before"]:
			text += ", not yet valid " + whose
		}
	default: // nothing earlier matters
	}
	return text
}

// ntpTime is the moment of an NTP timestamp, "0x" and 16 digits (RFC 5905, section
// 6). Seconds below 2^31 belong to the era that begins in 2036.
func ntpTime(text string) (time.Time, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	if err != nil || n == 0 {
		return time.Time{}, false
	}
	const from1900 = 2208988800
	seconds := int64(n >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	fraction := int64(n & (1<<32 - 1) * 1e9 >> 32)
	return time.Unix(seconds-from1900, fraction).UTC(), true
}

// oddities says what is not as it should be with the blocks.
func (f *transferFold) oddities() string {
	var b strings.Builder
	if f.again > 0 {
		fmt.Fprintf(&b, ", %s", counted(f.again, f.data, "repeated"))
	}
	if f.late > 0 {
		fmt.Fprintf(&b, ", %s", counted(f.late, f.data, "after the end"))
	}
	if f.otherAddress != "" {
		fmt.Fprintf(&b, ", from %s, not from %s that was asked", f.otherAddress, f.asking)
	}
	if f.port != 0 {
		fmt.Fprintf(&b, ", to port %d", f.port)
	}
	return b.String()
}

// counted is "repeated" of all, "2 repeated" of some.
func counted(n, of int64, what string) string {
	if n == of {
		return what
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (f *transferFold) words() string {
	var parts []string
	if f.data > 0 {
		text := fmt.Sprintf("%d DATA (%s, %d bytes", f.data, span(f.firstData, f.lastData), f.bytes)
		parts = append(parts, text+")")
	}
	if f.acks > 0 {
		parts = append(parts, fmt.Sprintf("%d ACK (%s)", f.acks, span(f.firstAck, f.lastAck)))
	}
	text := strings.Join(parts, ", ") + " of " + printable(f.file) + f.oddities()
	if f.complete {
		text += ", complete"
	}
	return text
}

func span(first, last int64) string {
	if first == last {
		return fmt.Sprintf("block %d", first)
	}
	return fmt.Sprintf("blocks %d to %d", first, last)
}

func frames(first, last int) string {
	switch first {
	case 0:
		return ""
	case last:
		return strconv.Itoa(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func since(start, at time.Time) string { return fmt.Sprintf("%.6f", at.Sub(start).Seconds()) }
