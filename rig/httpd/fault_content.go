package httpd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Compressed sends the file compressed by gzip, though the handset did not say
// that it takes that (RFC 9110, 8.4 and 12.5.3). To one that did it lies about it,
// or does nothing.
type Compressed struct {
	// HeaderOnly says so in the head and sends the file as it is.
	HeaderOnly bool
	// BodyOnly compresses it and says nothing.
	BodyOnly bool
}

func (e Compressed) String() string {
	switch {
	case e.HeaderOnly:
		return "says that the file is compressed, which it is not"
	case e.BodyOnly:
		return "compresses the file and does not say so"
	default:
		return "compresses the file, unasked"
	}
}

func (e Compressed) check() error {
	if e.HeaderOnly && e.BodyOnly {
		return errors.New("compressed in head only and in body only")
	}
	return nil
}

func (e Compressed) suits(x *exchange) bool {
	return x.a.isFile && (e.HeaderOnly || e.BodyOnly || !Takes(x.r.Header.Values("Accept-Encoding"), "gzip"))
}

func (e Compressed) alter(x *exchange) {
	if !e.BodyOnly {
		x.a.lines = append(x.a.lines, "Content-Encoding: gzip")
	}
	if e.HeaderOnly {
		return
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(x.a.body) // a buffer takes all
	_ = w.Close()
	x.a.body = b.Bytes()
}

// Corrupt flips bits of one byte of the file.
type Corrupt struct {
	// Offset is which byte, from 0; below 0 it counts from the end, -1 is the
	// last one.
	Offset int64
	// Mask are the bits; 0: the lowest.
	Mask uint8
}

func (e Corrupt) String() string {
	if e.Offset < 0 {
		return fmt.Sprintf("flips bits %#02x of byte %d from the end", orElse(e.Mask, 1), -e.Offset)
	}
	return fmt.Sprintf("flips bits %#02x of byte %d", orElse(e.Mask, 1), e.Offset)
}

func (e Corrupt) suits(x *exchange) bool {
	_, ok := e.place(int(x.sends()))
	return x.a.isFile && ok
}

// place is which of n bytes is meant, if there is such a one.
func (e Corrupt) place(n int) (int64, bool) {
	at := e.Offset
	if at < 0 {
		at += int64(n)
	}
	return at, at >= 0 && at < int64(n)
}

// flip returns b with the bits flipped; b stays as it is.
func (e Corrupt) flip(b []byte) []byte {
	at, ok := e.place(len(b))
	if !ok {
		return b
	}
	b = slices.Clone(b)
	b[at] ^= orElse(e.Mask, 1)
	return b
}

func (e Corrupt) alter(x *exchange) { x.a.body = e.flip(x.a.body) }

// WrongFile serves the content of another file.
type WrongFile struct {
	// Name is that file's, without leading slash.
	Name string
}

func (e WrongFile) String() string { return fmt.Sprintf("serves the content of %q", e.Name) }

func (e WrongFile) check() error {
	if e.Name == "" || strings.HasPrefix(e.Name, "/") {
		return fmt.Errorf("file name %q", e.Name)
	}
	return nil
}

func (e WrongFile) suits(x *exchange) bool {
	if !x.a.isFile {
		return false
	}
	content, err := x.c.srv.cfg.Lookup(e.Name, x.c.src)
	if err != nil || bytes.Equal(content, x.a.body) {
		return false // the same says nothing wrong
	}
	if x.others == nil {
		x.others = map[string][]byte{}
	}
	x.others[e.Name] = content
	return true
}

// alter takes what suits has found: a moment later it may not be there any more.
func (e WrongFile) alter(x *exchange) { x.a.body = x.others[e.Name] }

// Truncate serves the beginning of the file as if it were all.
type Truncate struct {
	// Bytes is how much; 0: an empty file.
	Bytes int64
}

func (e Truncate) String() string {
	return fmt.Sprintf("serves the first %d bytes as the whole", e.Bytes)
}

func (e Truncate) check() error {
	if e.Bytes < 0 {
		return fmt.Errorf("a file of %d bytes", e.Bytes)
	}
	return nil
}

func (e Truncate) suits(x *exchange) bool { return x.a.isFile && e.Bytes < int64(len(x.a.body)) }

func (e Truncate) alter(x *exchange) { x.a.body = x.a.body[:e.Bytes] }

// Garbage sends bytes that mean nothing in place of the answer, or of a flight
// of the TLS handshake, and closes the connection.
type Garbage struct {
	// Bytes is how many, 1 to 1 MiB.
	Bytes int
	// Seed makes them.
	Seed uint64
}

func (e Garbage) String() string { return fmt.Sprintf("sends %d bytes of garbage", e.Bytes) }

func (e Garbage) check() error {
	if e.Bytes < 1 || e.Bytes > 1<<20 {
		return fmt.Errorf("%d bytes of garbage", e.Bytes)
	}
	return nil
}

func (e Garbage) alter(x *exchange) { x.a.noise = e.make() }

func (e Garbage) make() []byte {
	random := rand.New(rand.NewPCG(e.Seed, 0)) //nolint:gosec // G404: repeatable, not secret
	b := make([]byte, e.Bytes)
	for i := range b {
		b[i] = byte(random.Uint32()) //nolint:gosec // G115: any byte will do
	}
	return b
}

// Takes tells whether the lines of an Accept-Encoding name a coding that the
// client takes (RFC 9110, 12.5.3).
func Takes(lines []string, coding string) bool {
	others := false
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, weight, _ := strings.Cut(member, ";")
		_, q, _ := strings.Cut(weight, "=")
		v, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		taken := err != nil || v > 0
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, coding), strings.EqualFold(name, "x-"+coding):
			return taken
		case name == "*":
			others = taken
		}
	}
	return others
}
