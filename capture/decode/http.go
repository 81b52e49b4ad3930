package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

// Bounds of what is held of HTTP.
const (
	maxQueue = 256
)

// httpConn pairs the answers of a connection with its requests.
type httpConn struct {
	c     *pair
	queue []asked
	side  [2]httpSide
}

type asked struct{ method, file string }

type httpState int

const (
	inHead httpState = iota
	inLength
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	untilClose
	lost // no longer in step
)

// httpSide reads the messages of one direction.
type httpSide struct {
	state httpState
	line  []byte // the head or line that is not complete yet
	left  int64  // bytes to come of the body or chunk
	size  int64  // the body's announced length, -1: none
	sum   hash.Hash
	count int64
	torn  bool           // bytes of the body are missing in the recording
	reply timeline.Event // what is reported of the message at its end
}

func (h *httpConn) data(d *reading, i int, b []byte) {
	s := &h.side[i]
	for len(b) > 0 && s.state != lost {
		switch s.state {
		case inHead:
			b = h.head(d, i, b)
		case inLength, inChunk, untilClose:
			n := int64(len(b))
			if s.state != untilClose {
				n = min(n, s.left)
			}
			s.sum.Write(b[:n])
			s.count += n
			s.left -= n
			b = b[n:]
			h.progress(d, i)
		case inChunkSize, inChunkEnd, inTrailer:
			b = h.chunkLine(d, i, b)
		case lost:
		}
	}
}

// progress moves on once all announced bytes are there.
func (h *httpConn) progress(d *reading, i int) {
	s := &h.side[i]
	if s.left > 0 {
		return
	}
	switch s.state {
	case inLength:
		h.finished(d, i, true, "")
	case inChunk:
		s.state = inChunkEnd
	default: // the others do not count down
	}
}

// take collects up to and including mark; done reports that it is there.
func (s *httpSide) take(b []byte, limit int) (rest []byte, done, tooLong bool) {
	j := bytes.IndexByte(b, '\n')
	if j < 0 {
		s.line = append(s.line, b...)
		return nil, false, len(s.line) > limit
	}
	s.line = append(s.line, b[:j+1]...)
	return b[j+1:], true, len(s.line) > limit
}

func (h *httpConn) head(d *reading, i int, b []byte) []byte {
	s := &h.side[i]
	rest, done, tooLong := s.take(b, maxHead)
	if tooLong {
		h.giveUp(d, i, "HTTP: head longer than 64 KiB")
		return nil
	}
	if !done {
		return nil
	}
	if blank := bytes.TrimRight(s.line, "\r\n"); len(blank) == 0 {
		s.line = s.line[:0] // empty lines before a message (RFC 9112, section 2.2)
		return rest
	}
	if i == 0 && h.garbage(d, i) {
		return nil
	}
	if !bytes.HasSuffix(s.line, []byte("\n\r\n")) && !bytes.HasSuffix(s.line, []byte("\n\n")) {
		return rest
	}
	text := bytes.TrimRight(s.line, "\r\n")
	m, ok := parseHead(text)
	s.line = s.line[:0]
	if !ok {
		h.giveUp(d, i, "HTTP: header field without a name")
		return nil
	}
	if i == 0 {
		h.request(d, m)
	} else {
		h.response(d, m)
	}
	return rest
}

// garbage gives up early on a client whose first line is no request line.
func (h *httpConn) garbage(d *reading, i int) bool {
	line, _, _ := bytes.Cut(h.side[i].line, []byte("\n"))
	if bytes.Contains(line, []byte(" HTTP/")) {
		return false
	}
	h.giveUp(d, i, "HTTP: no request line")
	return true
}

func (h *httpConn) giveUp(d *reading, i int, why string) {
	s := &h.side[i]
	e := d.of(h.c, i, timeline.Malformed)
	e.Transport, e.Reason = timeline.HTTP, why
	d.emit(e)
	if s.state != inHead && i == 1 {
		h.finished(d, i, false, why)
	}
	s.state, s.line = lost, nil
}

func (h *httpConn) request(d *reading, m head) {
	words := strings.Fields(m.first)
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") {
		h.giveUp(d, 0, "HTTP: request line of other than three words")
		return
	}
	e := d.of(h.c, 0, timeline.HTTPRequest)
	e.Transport = timeline.HTTP
	e.Message = clip(words[0])
	target := words[1]
	if scheme, rest, absolute := strings.Cut(target, "://"); absolute && !strings.Contains(scheme, "/") {
		_, path, _ := strings.Cut(rest, "/")
		target = path
	}
	e.File = clip(strings.TrimPrefix(target, "/"))
	f := map[string]string{"http.request.version": clip(words[2])}
	m.set(f, "http.host", "host")
	m.set(f, "http.user_agent", "user-agent")
	m.set(f, "http.accept_encoding", "accept-encoding")
	m.set(f, "http.connection", "connection")
	m.set(f, "http.range", "range")
	if v := m.get("authorization"); v != "" {
		f["http.authorization.scheme"] = scheme(v)
		if user, found := credentialUser(v); found {
			f["http.authorization.username"] = clip(user)
		}
	}
	e.Fields = f
	d.emit(e)
	if len(h.queue) < maxQueue {
		h.queue = append(h.queue, asked{e.Message, e.File})
	}
	s := &h.side[0]
	h.body(d, 0, m, false)
	if s.state == untilClose { // a request has no body unless it says so
		s.state = inHead
	}
}

// credentialUser returns the user's name of Basic or Digest credentials, never
// the password.
func credentialUser(v string) (string, bool) {
	kind, rest, _ := strings.Cut(v, " ")
	if strings.EqualFold(kind, "basic") {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
		user, _, found := strings.Cut(string(b), ":")
		return user, err == nil && found
	}
	return parameter(rest, "username")
}

func (h *httpConn) response(d *reading, m head) {
	version, rest, _ := strings.Cut(m.first, " ")
	code, phrase, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/") || err != nil || status < 100 || status > 999 {
		h.giveUp(d, 1, "HTTP: no status line")
		return
	}
	e := d.of(h.c, 1, timeline.HTTPResponse)
	e.Transport, e.Status = timeline.HTTP, status
	var q asked
	if len(h.queue) > 0 {
		q = h.queue[0]
		if status >= 200 {
			h.queue = h.queue[1:]
		}
	}
	e.Message, e.File = q.method, q.file
	f := map[string]string{"http.response.version": clip(version), "http.response.phrase": clip(phrase)}
	m.set(f, "http.server", "server")
	m.set(f, "http.content_type", "content-type")
	m.set(f, "http.content_encoding", "content-encoding")
	m.set(f, "http.content_length_header", "content-length")
	m.set(f, "http.transfer_encoding", "transfer-encoding")
	if v := m.get("location"); v != "" {
		f["http.location"] = clip(hidePassword(v))
	}
	m.set(f, "http.connection", "connection")
	m.set(f, "http.retry_after", "retry-after")
	if challenges := m.all("www-authenticate"); len(challenges) > 0 {
		words := make([]string, len(challenges))
		for i, c := range challenges {
			words[i], challenges[i] = challenge(c), scheme(c)
		}
		f["http.www_authenticate"] = strings.Join(challenges, ",")
		f["http.www_authenticate.text"] = strings.Join(words, "; ")
	}
	e.Fields = f
	s := &h.side[1]
	s.reply = e
	bodyless := q.method == "HEAD" || status < 200 || status == 204 || status == 304
	h.body(d, 1, m, bodyless)
	if status == 101 {
		s.state = lost
	}
}

// body decides how long the message's body is (RFC 9112, section 6.3).
func (h *httpConn) body(d *reading, i int, m head, none bool) {
	s := &h.side[i]
	s.sum, s.count, s.left, s.size, s.torn = sha256.New(), 0, 0, -1, false
	encoding := strings.ToLower(m.get("transfer-encoding"))
	lengths := m.all("content-length")
	switch {
	case none:
		s.size = 0
		h.finished(d, i, true, "")
	case strings.HasSuffix(encoding, "chunked"):
		s.state = inChunkSize
	case len(lengths) > 0 && encoding == "":
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		same := true
		for _, l := range lengths {
			same = same && l == lengths[0]
		}
		if err != nil || n < 0 || !same {
			e := d.of(h.c, i, timeline.Malformed)
			e.Transport, e.Reason = timeline.HTTP, "HTTP: no usable Content-Length"
			d.emit(e)
			s.state = untilClose
			return
		}
		s.size, s.left, s.state = n, n, inLength
		h.progress(d, i)
	default:
		s.state = untilClose
	}
}

func (h *httpConn) chunkLine(d *reading, i int, b []byte) []byte {
	s := &h.side[i]
	rest, done, tooLong := s.take(b, maxHead)
	if tooLong {
		h.giveUp(d, i, "HTTP: chunk line longer than 64 KiB")
		return nil
	}
	if !done {
		return nil
	}
	line := strings.TrimRight(string(s.line), "\r\n")
	s.line = s.line[:0]
	switch s.state {
	case inChunkEnd:
		if line != "" {
			h.giveUp(d, i, "HTTP: chunk longer than announced")
			return nil
		}
		s.state = inChunkSize
	case inTrailer:
		if line == "" {
			h.finished(d, i, true, "")
		}
	case inHead, inLength, inChunk, untilClose, lost, inChunkSize:
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		if err != nil || n < 0 {
			h.giveUp(d, i, "HTTP: no chunk size")
			return nil
		}
		s.left, s.state = n, inChunk
		if n == 0 {
			s.state = inTrailer
		}
	}
	return rest
}

// finished reports a message whose body has ended, one way or the other.
func (h *httpConn) finished(d *reading, i int, complete bool, why string) {
	s := &h.side[i]
	s.state = inHead
	if i == 0 {
		return
	}
	e := s.reply
	now := d.of(h.c, i, e.Kind)
	e.At, e.Frame = now.At, now.Frame
	e.Fields = maps.Clone(e.Fields)
	e.Bytes = s.count
	switch {
	case s.torn:
		e.Reason = "bytes of the body are missing in the recording"
	case complete:
		e.Complete = true
		e.SHA256 = hex.EncodeToString(s.sum.Sum(nil))
	default:
		e.Reason = why
	}
	d.emit(e)
}

// gap passes over bytes that the recording does not hold: within a body of
// known length one can go on after it, elsewhere not.
func (h *httpConn) gap(d *reading, i int, size int64) {
	s := &h.side[i]
	switch {
	case s.state == untilClose:
		s.torn = true
	case (s.state == inLength || s.state == inChunk) && size <= s.left:
		s.torn = true
		s.left -= size
		h.progress(d, i)
	default:
		if s.state != inHead && s.state != lost && i == 1 {
			s.torn = true
			h.finished(d, i, false, "")
		}
		if s.state == inHead && len(s.line) > 0 && d.missing > 0 {
			d.within(h.c, i, func() { d.cutShort("HTTP " + strings.TrimSpace(string(s.line))) })
		}
		s.state, s.line = lost, nil
	}
}

func (h *httpConn) end(d *reading, i int, reset bool) {
	s := &h.side[i]
	how := "closed"
	if reset {
		how = "reset"
	}
	switch s.state {
	case inHead:
		if len(s.line) > 0 {
			e := d.of(h.c, i, timeline.Malformed)
			e.Transport, e.Reason = timeline.HTTP, "HTTP: "+how+" within a head"
			d.emit(e)
		}
	case untilClose:
		h.finished(d, i, !reset, how+" by the server's end")
	case inLength:
		h.finished(d, i, false, fmt.Sprintf("%s after %d of %d bytes", how, s.count, s.size))
	case inChunk, inChunkSize, inChunkEnd, inTrailer:
		h.finished(d, i, false, fmt.Sprintf("%s within a chunked body after %d bytes", how, s.count))
	case lost:
	}
	s.state, s.line = lost, nil
}
