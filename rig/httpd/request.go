package httpd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxHead bounds a request head, in bytes.
const maxHead = 64 << 10

// maxBody bounds what is read of a request's body to keep the connection.
const maxBody = 1 << 20

// request is a head as it was read.
type request struct {
	*http.Request
	// names are the header names in order, as written.
	names []string
	// file is the path as written, without its leading slash and query; name is
	// the same decoded once, without any leading slash.
	file, name string
}

// requestError is a head that is answered with status and ends the connection.
type requestError struct {
	status int
	reason string
	// refused is what there is of the request; nil when nothing could be read.
	refused *request
}

func (e *requestError) Error() string { return e.reason }

// readRequest reads one head. The error is a *requestError, or that of the
// connection: io.EOF when it ended before a request began.
func readRequest(br *bufio.Reader) (*request, error) {
	head, err := peekHead(br)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	r := &request{}
	named := false
	for _, l := range lines[1:] {
		name, _, ok := strings.Cut(l, ":")
		if !ok || name == "" || name[0] == ' ' || name[0] == '\t' {
			continue
		}
		r.names = append(r.names, name)
		named = named || strings.EqualFold(name, "Host")
	}
	// The body, if any, begins right behind the head in br.
	r.Request, err = http.ReadRequest(br)
	switch {
	case err != nil:
		return nil, &requestError{http.StatusBadRequest, fmt.Sprintf("malformed request %s: %v", firstLine(head), cause(err)), nil}
	case r.ProtoMajor != 1:
		return nil, &requestError{http.StatusHTTPVersionNotSupported, fmt.Sprintf("request in %s", r.Proto), nil}
	}
	if err := r.path(); err != nil {
		return nil, &requestError{http.StatusBadRequest, fmt.Sprintf("target %q %v", r.target(), err), r}
	}
	if r.ProtoAtLeast(1, 1) && !named {
		return nil, &requestError{http.StatusBadRequest, "HTTP/1.1 request without a Host line (RFC 9112, 3.2)", r}
	}
	return r, nil
}

// cause leaves out what url.Error repeats of the request line: it may hold
// user-info.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return errors.New(withoutUser(err.Error()))
}

// peekHead waits for a whole head, which stays in br.
func peekHead(br *bufio.Reader) ([]byte, error) {
	// Empty lines before a request are passed over (RFC 9112, 2.2).
	for range 8 {
		b, err := br.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '\r' && b[0] != '\n' {
			break
		}
		_, _ = br.Discard(1)
	}
	for seen := 0; ; {
		b, err := br.Peek(max(br.Buffered(), seen+1))
		if end := headEnd(b, max(0, seen-3)); end > 0 {
			return bytes.Clone(b[:end]), nil
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || len(b) >= br.Size():
			return nil, &requestError{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("request %s has a head of more than %d bytes", firstLine(b), br.Size()), nil}
		case err != nil && len(b) > 0 && isTimeout(err):
			return nil, &requestError{http.StatusRequestTimeout, fmt.Sprintf("request %s: its head was not finished in time", firstLine(b)), nil}
		case err != nil && len(b) > 0 && errors.Is(err, io.EOF):
			return nil, &requestError{http.StatusBadRequest, fmt.Sprintf("request %s is cut off after %d bytes", firstLine(b), len(b)), nil}
		case err != nil:
			return nil, err
		}
		seen = len(b)
	}
}

// headEnd is the length of the head in b, 0 when it is not whole. Bare line
// feeds count, as net/http takes them.
func headEnd(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		if i+1 < len(b) && b[i+1] == '\n' {
			return i + 2
		}
		if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
			return i + 3
		}
	}
	return 0
}

// entity is the request's body, which stays to be read; of a great one only the
// beginning.
func (r *request) entity() string {
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1)) // what is missing makes the hash wrong
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
	return string(b)
}

// named is the file as rules name it.
func (r *request) named() string { return strings.TrimLeft(r.file, "/") }

// target is the request target as written, without user-info.
func (r *request) target() string { return withoutUser(r.RequestURI) }

// path sets file and name, and says why the path could lead out of the
// published tree.
func (r *request) path() error {
	written := r.RequestURI
	if !strings.HasPrefix(written, "/") { // absolute form (RFC 9112, 3.2.2)
		written = r.URL.EscapedPath()
	}
	written, _, _ = strings.Cut(written, "?")
	written, _, _ = strings.Cut(written, "#")
	r.file = strings.TrimPrefix(written, "/")
	name, err := url.PathUnescape(r.file)
	if err != nil {
		return errors.New("is escaped wrongly")
	}
	r.name = strings.TrimLeft(name, "/")
	switch {
	case strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return errors.New("holds a control byte")
	case strings.ContainsRune(name, '\\'):
		return errors.New("holds a backslash")
	}
	for part := range strings.SplitSeq(r.name, "/") {
		if part == ".." {
			return errors.New("leads upwards")
		}
	}
	return nil
}
