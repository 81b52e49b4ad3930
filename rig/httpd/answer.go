package httpd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// chunk is how much is written at once: one TLS record.
const chunk = 16 << 10

// answer is what is about to be sent.
type answer struct {
	status int
	lines  []string // further header lines
	body   []byte
	isFile bool
	departure
}

// departure is how an answer goes out otherwise than it should. The zero value:
// not at all.
type departure struct {
	before     []byte  // goes out before the head
	version    string  // in place of that of the request
	statusLine *string // in place of the right one
	lengths    []string
	connection *string                       // what the Connection line says; "": there is none
	edit       func(lines []string) []string // of the head
	tail       string                        // behind its lines
	lineEnd    string
	bare       bool // no head
	chunked    *Chunked
	noise      []byte // in place of all
	delay      Delay
	pace       *Trickle
	cut        *cut
	again      bool
	unfit      bool // by its own head this is no whole answer
}

// exchange is a request with its answer.
type exchange struct {
	c       *conn
	r       *request
	auth    Auth
	verdict verdict
	a       answer
	asked   *ask // the challenge that a holds; nil: none
	keep    bool
	effect  fault.Effect
	others  map[string][]byte // content found for WrongFile, by name
}

func text(status int, lines ...string) answer {
	a := answer{status: status, lines: lines}
	if status != http.StatusNoContent && status != http.StatusNotModified {
		a.body = fmt.Appendf(nil, "%d %s\n", status, statusText(status))
		a.lines = append(a.lines, "Content-Type: text/plain")
	}
	return a
}

// exchange reads one request and answers it. It returns whether the
// connection goes on, and if not, why.
func (c *conn) exchange(done <-chan struct{}) (keep bool, why string) {
	r, err := readRequest(c.br)
	if bad := (*requestError)(nil); errors.As(err, &bad) {
		return c.refuse(done, bad)
	}
	if err != nil {
		return false, c.quiet(false, err)
	}
	c.behind = false // it asks on: it took the answer before
	// A body is only read once answered; a handset has none to send.
	defer func() { _ = r.Body.Close() }()

	x := &exchange{c: c, r: r, auth: c.srv.cfg.Auth(r.name)}
	x.verdict = c.srv.gate.judge(x.auth, r, c.space(r), c.src.Addr())
	c.recordRequest(r, x.verdict.fields)
	if strings.HasPrefix(r.RequestURI, "//") {
		c.oddity(fmt.Sprintf("target %q begins with more than one slash: read as %q", r.target(), r.name), nil)
	}
	x.keep = !r.Close && r.Header.Get("Expect") == "" && r.ContentLength <= maxBody
	x.decide()
	if ok, why := c.send(done, x); !ok {
		return false, why
	}
	if x.keep {
		if _, err := io.CopyN(io.Discard, r.Body, maxBody+1); errors.Is(err, io.EOF) {
			return true, ""
		}
	}
	c.finish()
	return false, "closed by the rig"
}

// decide fills in the answer, and how it departs from the right one.
func (x *exchange) decide() {
	c, r := x.c, x.r
	point := fault.Point{Message: r.Method, File: r.named(), Phase: "answer"}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		x.a = text(http.StatusMethodNotAllowed, "Allow: GET, HEAD")
	case x.verdict.status == http.StatusUnauthorized:
		point = fault.Point{Message: "401", Phase: "challenge"}
		x.asked = x.auth.ask(x.verdict.stale)
	case x.verdict.status != 0:
		x.a = text(x.verdict.status)
	default:
		x.a = c.lookup(r)
	}
	if x.asked != nil {
		x.a = text(http.StatusUnauthorized)
	}
	x.effect = c.fault(point, func(e fault.Effect) bool {
		if _, ok := e.(challenging); ok {
			return x.asked != nil
		}
		_, ok := e.(answering)
		picks, picky := e.(choosy)
		return ok && (!picky || picks.suits(x))
	})
	if e, ok := x.effect.(challenging); ok {
		e.ask(x.asked)
	}
	if e, ok := x.effect.(answering); ok {
		e.alter(x)
	}
	if x.asked != nil && x.a.status == http.StatusUnauthorized {
		x.a.lines = append(x.a.lines, c.srv.gate.ask(*x.asked, c.space(r), c.src.Addr())...)
	}
}

// space names the server as the handset sees it: half of the protection space
// (RFC 9110, 11.5); the realm is the other.
func (c *conn) space(r *request) string {
	return string(c.srv.transport()) + "://" + strings.ToLower(r.Host)
}

func (c *conn) recordRequest(r *request, fields map[string]string) {
	e := c.event(timeline.HTTPRequest)
	e.Message, e.File, e.Fields = r.Method, r.file, fields
	for name, value := range map[string]string{
		"http.host":            r.Host,
		"http.user_agent":      r.Header.Get("User-Agent"),
		"http.request.uri":     r.target(),
		"http.request.version": r.Proto,
		"http.connection":      r.Header.Get("Connection"),
		"http.range":           r.Header.Get("Range"),
		"http.accept_encoding": strings.Join(r.Header.Values("Accept-Encoding"), ", "),
		"http.headers":         strings.Join(r.names, " "),
	} {
		if value != "" {
			e.Fields[name] = value
		}
	}
	c.srv.cfg.Record(e)
}

// refuse answers what is not a proper request, and ends the connection.
func (c *conn) refuse(done <-chan struct{}, bad *requestError) (keep bool, why string) {
	r := bad.refused
	if r != nil {
		c.recordRequest(r, map[string]string{})
	} else {
		r = &request{Request: &http.Request{ProtoMajor: 1, ProtoMinor: 1}}
	}
	c.oddity(bad.reason, nil)
	if ok, why := c.send(done, &exchange{c: c, r: r, a: text(bad.status)}); !ok {
		return false, why
	}
	c.finish()
	return false, "closed by the rig after a bad request"
}

func (c *conn) lookup(r *request) answer {
	content, err := c.srv.cfg.Lookup(r.name, c.src)
	switch {
	case err == nil:
		return answer{status: http.StatusOK, body: content, isFile: true, lines: []string{"Content-Type: application/octet-stream"}}
	case errors.Is(err, fs.ErrNotExist):
		return text(http.StatusNotFound)
	case errors.Is(err, fs.ErrPermission):
		return text(http.StatusForbidden)
	default:
		c.oddity(fmt.Sprintf("file %q: %v", r.file, err), nil)
		return text(http.StatusInternalServerError)
	}
}

// sends tells how much of the body is to go out.
func (x *exchange) sends() int64 {
	if x.r.Method == http.MethodHead {
		return 0
	}
	return int64(len(x.a.body))
}

// head is the answer's head, in the version of the request: a client of
// HTTP/1.0 may know no other (RFC 9110, 6.2).
func (x *exchange) head() []byte {
	a := x.a
	if a.bare {
		return a.before
	}
	version := fmt.Sprintf("HTTP/1.%d", min(x.r.ProtoMinor, 1))
	first := fmt.Sprintf("%s %d %s", orElse(a.version, version), a.status, statusText(a.status))
	if a.statusLine != nil {
		first = *a.statusLine
	}
	lines := x.lines()
	if a.edit != nil {
		lines = a.edit(lines)
	}
	end := orElse(a.lineEnd, "\r\n")
	return fmt.Appendf(slices.Clip(a.before), "%s%s%s%s%s%s", first, end, strings.Join(lines, end), end, a.tail, end)
}

// lines are those of the head, as they are before an edit.
func (x *exchange) lines() []string {
	a := x.a
	lines := []string{"Date: " + x.c.srv.cfg.Now().UTC().Format(http.TimeFormat), "Server: ip88rig"}
	lines = append(lines, a.lines...)
	switch {
	case a.lengths != nil:
		for _, n := range a.lengths {
			lines = append(lines, "Content-Length: "+n)
		}
	case a.body != nil || a.isFile:
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(a.body)))
	}
	switch {
	case a.connection != nil:
		if *a.connection != "" {
			lines = append(lines, "Connection: "+*a.connection)
		}
	case !x.keep:
		lines = append(lines, "Connection: close")
	case !x.r.ProtoAtLeast(1, 1):
		lines = append(lines, "Connection: keep-alive")
	}
	return lines
}

// send writes the answer, or as much of it as its departure allows. It returns
// whether the connection is still good, and if not, why; it is over then.
func (c *conn) send(done <-chan struct{}, x *exchange) (ok bool, why string) {
	a := x.a
	c.released = c.srv.release()
	if a.delay.For > 0 && a.delay.AfterBytes == 0 && !c.wait(done, a.delay.For) {
		return false, ending(errEnded)
	}
	if a.noise != nil {
		if _, err := c.paced(done, a.pace, c.out(), a.noise); err != nil {
			return false, ending(err)
		}
		c.finish()
		return false, "closed by the rig after the garbage"
	}
	for times := 1; ; times-- {
		if !a.cut.nothing() && !a.bare {
			e := c.event(timeline.HTTPResponse)
			e.Message, e.File, e.Status = x.r.Method, x.r.file, a.status
			e.Bytes = x.sends()
			c.srv.cfg.Record(e)
		}
		s := &stream{c: c, x: x, done: done, pace: a.pace, sum: sha256.New()}
		s.run()
		if ok, why := c.sent(x, s); !ok {
			return false, why
		}
		if !a.again || times == 0 {
			return true, ""
		}
	}
}

// sent tells how an answer went out, and what follows from it.
func (c *conn) sent(x *exchange, s *stream) (ok bool, why string) {
	file := x.a.isFile && x.r.Method == http.MethodGet
	whole := s.err == nil && s.all && !s.broken && !x.a.unfit
	if file {
		e := c.event(timeline.Served)
		e.File, e.Status, e.Bytes, e.SHA256 = x.r.file, x.a.status, s.bytes, hex.EncodeToString(s.sum.Sum(nil))
		e.Complete = whole
		switch {
		case s.err != nil:
			e.Reason = ending(s.err)
		case s.effect != nil:
			e.Reason = s.effect.String()
		case x.effect != nil:
			e.Reason = x.effect.String()
		}
		c.srv.cfg.Record(e)
	}
	switch {
	case s.err != nil && isTimeout(s.err):
		c.oddity(fmt.Sprintf("file %q: the handset took nothing for %s, %s of %d bytes were written", x.r.file, c.srv.cfg.Stall, strconv.FormatInt(s.bytes, 10), len(x.a.body)), nil)
		return false, "closed by the rig: the handset took nothing more"
	case s.err != nil:
		return false, ending(s.err)
	case s.then != nil:
		return false, s.then()
	}
	done := fault.Point{Message: "done", File: x.r.named(), Phase: "done", Bytes: s.bytes, Within: true}
	if !file || !whole || !s.reaches(done) {
		return true, ""
	}
	e := c.fault(done, func(e fault.Effect) bool {
		i, ok := e.(interrupting)
		return ok && i.within(true)
	})
	if e, ok := e.(interrupting); ok {
		e.interrupt(s)
		switch {
		case s.err != nil:
			return false, ending(s.err)
		case s.then != nil:
			return false, s.then()
		}
	}
	return true, ""
}

// out is where payload goes.
func (c *conn) out() io.Writer {
	if c.tls != nil {
		return c.tls
	}
	return c.raw
}

var errEnded = errors.New("the service ends")

// part is what is written at once: some of the body, with what a transfer
// coding puts around it.
type part struct{ lead, data, tail []byte }

// parts cuts the body for writing.
func (a *answer) parts() iter.Seq[part] {
	if a.chunked != nil {
		return a.chunked.parts(a.body)
	}
	return func(yield func(part) bool) {
		for p := range slices.Chunk(a.body, chunk) {
			if !yield(part{data: p}) {
				return
			}
		}
	}
}

// stream is an answer on its way.
type stream struct {
	c    *conn
	x    *exchange
	done <-chan struct{} // when the service ends
	pace *Trickle
	head []byte // not sent yet

	bytes  int64 // of the body that were written
	sum    hash.Hash
	all    bool // nothing was left out
	err    error
	effect fault.Effect  // what interrupted it
	then   func() string // how the connection ends in the middle; nil: it does not
	broken bool          // by then
	stuck  bool          // no place behind is reached
}

// run writes head and body.
func (s *stream) run() {
	a := &s.x.a
	s.head = s.x.head()
	defer func() { _ = s.c.raw.SetWriteDeadline(time.Time{}) }()
	limit := int64(-1)
	if k := a.cut; k != nil {
		s.then, s.broken = k.then, !k.whole
		switch limit = k.body; {
		case k.nothing():
			return
		case k.head > 0:
			s.head = s.head[:min(k.head, int64(len(s.head)))]
			s.put(part{})
			return
		}
	}
	if s.x.r.Method == http.MethodHead {
		s.put(part{})
		return
	}
	late := a.delay.AfterBytes
	next := int64(chunk)
	for p := range a.parts() {
		if s.bytes >= next {
			next = s.bytes - s.bytes%chunk + chunk
			if s.point(); s.err != nil || s.effect != nil && s.then != nil {
				return
			}
		}
		if left := late - s.bytes; late > 0 && left < int64(len(p.data)) {
			s.put(part{lead: p.lead, data: p.data[:left]})
			s.fail(s.pause(a.delay.For))
			p.lead, p.data, late = nil, p.data[left:], 0
		}
		if left := limit - s.bytes; limit >= 0 && left <= int64(len(p.data)) {
			s.put(part{lead: p.lead, data: p.data[:left]})
			s.all = s.err == nil && s.bytes == int64(len(a.body))
			return
		}
		if s.put(p); s.err != nil {
			return
		}
	}
	s.put(part{})
	s.all = s.err == nil
}

// reaches tells whether p is a place that a rule waits for, and the handset is
// there: it has acknowledged all that was written before.
func (s *stream) reaches(p fault.Point) bool {
	p.Service = by
	if s.stuck || !s.c.srv.cfg.Faults.Awaits(p) {
		return false
	}
	s.stuck = !s.c.drain()
	select {
	case <-s.done: // nobody waits for it any more
		s.stuck = true
	default:
	}
	return !s.stuck
}

// point asks for a fault in the middle of a file.
func (s *stream) point() {
	p := fault.Point{Message: "body", File: s.x.r.named(), Phase: "body", Bytes: s.bytes, Within: true}
	if !s.x.a.isFile || !s.reaches(p) {
		return
	}
	e := s.c.fault(p, func(e fault.Effect) bool {
		i, ok := e.(interrupting)
		return ok && i.within(false)
	})
	if i, ok := e.(interrupting); ok {
		s.effect = e
		i.interrupt(s)
	}
}

// put writes a part, behind the head if that is not sent yet.
func (s *stream) put(p part) {
	if s.err != nil {
		return
	}
	if s.head != nil {
		pace := s.pace
		if pace != nil && !pace.Head {
			pace = nil
		}
		if pace != nil || s.pace != nil {
			_, err := s.c.paced(s.done, pace, s.c.out(), s.head)
			s.fail(err)
		} else {
			p.lead = append(slices.Clip(s.head), p.lead...)
		}
		s.head = nil
	}
	if s.err != nil || len(p.lead)+len(p.data)+len(p.tail) == 0 {
		return
	}
	n, err := s.c.paced(s.done, s.pace, s.c.out(), slices.Concat(p.lead, p.data, p.tail))
	took := min(max(0, n-len(p.lead)), len(p.data))
	s.bytes += int64(took)
	s.sum.Write(p.data[:took])
	s.fail(err)
}

func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *stream) pause(d time.Duration) error {
	if !s.c.wait(s.done, d) {
		return errEnded
	}
	return nil
}
