package httpd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
func (c *conn) exchange() (keep bool, why string) {
	r, err := readRequest(c.br)
	if bad := (*requestError)(nil); errors.As(err, &bad) {
		return c.refuse(bad)
	}
	if err != nil {
		return false, c.quiet(false, err)
	}
	// A body is only read once answered; a handset has none to send.
	defer func() { _ = r.Body.Close() }()

	auth := c.srv.cfg.Auth(r.name)
	verdict := c.srv.gate.judge(auth, r, c.space(r), c.src.Addr())
	c.recordRequest(r, verdict.fields)
	if strings.HasPrefix(r.RequestURI, "//") {
		c.oddity(fmt.Sprintf("target %q begins with more than one slash: read as %q", r.target(), r.name), nil)
	}

	var a answer
	point := fault.Point{Message: r.Method, File: strings.TrimLeft(r.file, "/"), Phase: "answer"}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		a = text(http.StatusMethodNotAllowed, "Allow: GET, HEAD")
	case verdict.status == http.StatusUnauthorized:
		point = fault.Point{Message: "401", Phase: "challenge"}
		a = text(http.StatusUnauthorized, "WWW-Authenticate: "+c.srv.gate.challenge(auth, c.space(r), c.src.Addr(), verdict.stale))
	case verdict.status != 0:
		a = text(verdict.status)
	default:
		a = c.lookup(r)
	}

	keep = !r.Close && r.Header.Get("Expect") == "" && r.ContentLength <= maxBody
	effect := c.fault(point)
	if s, ok := effect.(Status); ok {
		a = text(s.Code, s.lines()...)
		effect = nil
		if s.Code == http.StatusUnauthorized {
			c.srv.gate.mark(auth.Realm, c.space(r), c.src.Addr())
		}
	}
	ok, why := c.send(r, a, keep, effect)
	if !ok {
		return false, why
	}
	if keep {
		if _, err := io.CopyN(io.Discard, r.Body, maxBody+1); errors.Is(err, io.EOF) {
			return true, ""
		}
	}
	c.finish()
	return false, "closed by the rig"
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
		"http.accept_encoding": r.Header.Get("Accept-Encoding"),
		"http.headers":         strings.Join(r.names, " "),
	} {
		if value != "" {
			e.Fields[name] = value
		}
	}
	c.srv.cfg.Record(e)
}

// refuse answers what is not a proper request, and ends the connection.
func (c *conn) refuse(bad *requestError) (keep bool, why string) {
	r := bad.refused
	if r != nil {
		c.recordRequest(r, map[string]string{})
	} else {
		r = &request{Request: &http.Request{ProtoMajor: 1, ProtoMinor: 1}}
	}
	c.oddity(bad.reason, nil)
	if ok, why := c.send(r, text(bad.status), false, nil); !ok {
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

// head is the answer's head, in the version of the request: a client of
// HTTP/1.0 may know no other (RFC 9110, 6.2).
func (c *conn) head(r *request, a answer, keep bool) []byte {
	b := fmt.Appendf(nil, "HTTP/1.%d %d %s\r\n", min(r.ProtoMinor, 1), a.status, statusText(a.status))
	b = fmt.Appendf(b, "Date: %s\r\nServer: ip88rig\r\n", c.srv.cfg.Now().UTC().Format(http.TimeFormat))
	for _, l := range a.lines {
		b = fmt.Appendf(b, "%s\r\n", l)
	}
	if a.body != nil || a.isFile {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(a.body))
	}
	switch {
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case !r.ProtoAtLeast(1, 1):
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// send writes the answer, or as much of it as effect allows. It returns
// whether the connection is still good, and if not, why; it is over then.
func (c *conn) send(r *request, a answer, keep bool, effect Effect) (ok bool, why string) {
	body := a.body
	if r.Method == http.MethodHead {
		body = nil
	}
	limit := int64(-1)
	var then func() string
	switch e := effect.(type) {
	case nil, Status:
	case Reset:
		limit, then = e.AfterBytes, c.reset
	case FallSilent:
		limit, then = e.AfterBytes, c.silence
	}
	if limit != 0 {
		e := c.event(timeline.HTTPResponse)
		e.Message, e.File, e.Status, e.Bytes = r.Method, r.file, a.status, int64(len(body))
		c.srv.cfg.Record(e)
	}
	part := body
	if limit >= 0 {
		part = body[:min(limit, int64(len(body)))]
	}
	var written int64
	var err error
	if limit != 0 {
		written, err = c.write(c.head(r, a, keep), part)
	}
	_, cut := effect.(Reset)
	if a.isFile && r.Method == http.MethodGet {
		sum := sha256.Sum256(a.body)
		e := c.event(timeline.Served)
		e.File, e.Status, e.Bytes, e.SHA256 = r.file, a.status, written, hex.EncodeToString(sum[:])
		e.Complete = err == nil && !cut && limit != 0 && written == int64(len(body))
		if err != nil {
			e.Reason = ending(err)
		} else if effect != nil {
			e.Reason = effect.String()
		}
		c.srv.cfg.Record(e)
	}
	switch {
	case err != nil && isTimeout(err):
		c.oddity(fmt.Sprintf("file %q: the handset took nothing for %s, %s of %d bytes were written", r.file, c.srv.cfg.Stall, strconv.FormatInt(written, 10), len(body)), nil)
		return false, "closed by the rig: the handset took nothing more"
	case err != nil:
		return false, ending(err)
	case then != nil:
		return false, then()
	}
	return true, ""
}

// write sends head and body and returns how much of the body went out.
func (c *conn) write(head, body []byte) (written int64, err error) {
	var out io.Writer = c.raw
	if c.tls != nil {
		out = c.tls
	}
	defer func() { _ = c.raw.SetWriteDeadline(time.Time{}) }()
	for rest := body; head != nil || len(rest) > 0; {
		n := min(chunk-min(len(head), chunk), len(rest))
		c.deadline(c.raw.SetWriteDeadline, c.srv.cfg.Stall)
		part := rest[:n]
		if head != nil {
			part = append(slices.Clip(head), part...)
		}
		sent, err := out.Write(part)
		written += int64(max(0, sent-len(head)))
		if err != nil {
			return written, err
		}
		head, rest = nil, rest[n:]
	}
	return written, nil
}
