package httpd

import (
	"fmt"
	"iter"
	"net/http"
)

// ChunkFlaw is what is wrong with a body in chunks.
type ChunkFlaw string

// The flaws of a body in chunks (RFC 9112, 7.1). Behind each of them the rig
// closes the connection.
const (
	// ChunkRight: nothing is.
	ChunkRight ChunkFlaw = ""
	// ChunkBadSize: the second size line is no number; of a body of one chunk
	// the last one's.
	ChunkBadSize ChunkFlaw = "a size line that is no number"
	// ChunkNoLast: the chunk of size 0 is missing.
	ChunkNoLast ChunkFlaw = "no last chunk"
	// ChunkTooShort: the first chunk holds a byte less than it says.
	ChunkTooShort ChunkFlaw = "a chunk that is shorter than it says"
	// ChunkTooLong: the first chunk holds a byte more than it says; it holds two
	// or more, because one that says 0 is the last.
	ChunkTooLong ChunkFlaw = "a chunk that is longer than it says"
	// ChunkHuge: the first chunk says a size that no 64 bits hold.
	ChunkHuge ChunkFlaw = "a chunk size of 17 digits"
	// ChunkAndLength: a Content-Length stands beside it.
	ChunkAndLength ChunkFlaw = "a Content-Length besides"
)

// Chunked sends the body in chunks, unasked.
type Chunked struct {
	// Size is that of a chunk, in bytes; 0: 16384.
	Size int
	// Flaw is what is wrong with it; the zero value: nothing.
	Flaw ChunkFlaw
}

func (e Chunked) String() string {
	s := fmt.Sprintf("sends chunks of %d bytes", orElse(e.Size, chunk))
	if e.Flaw != ChunkRight {
		s += ", with " + string(e.Flaw)
	}
	return s
}

func (e Chunked) check() error {
	if e.Size < 0 {
		return fmt.Errorf("chunks of %d bytes", e.Size)
	}
	switch e.Flaw {
	case ChunkTooLong:
		if e.Size == 1 {
			return fmt.Errorf("a chunk of 1 byte that says 0 is the last one, not %s", e.Flaw)
		}
		return nil
	case ChunkRight, ChunkBadSize, ChunkNoLast, ChunkTooShort, ChunkHuge, ChunkAndLength:
		return nil
	default:
		return fmt.Errorf("chunks with %q", e.Flaw)
	}
}

// Most flaws need a chunk to be in.
func (e Chunked) suits(x *exchange) bool {
	switch e.Flaw {
	case ChunkRight, ChunkAndLength:
		return x.a.isFile || len(x.a.body) > 0
	case ChunkNoLast:
		return x.r.Method != http.MethodHead && (x.a.isFile || len(x.a.body) > 0)
	case ChunkTooLong:
		return x.sends() > 1
	default:
		return x.sends() > 0
	}
}

func (e Chunked) alter(x *exchange) {
	x.a.lines = append(x.a.lines, "Transfer-Encoding: chunked")
	x.a.chunked = &e
	x.a.unfit = e.Flaw != ChunkRight && e.Flaw != ChunkAndLength
	if e.Flaw != ChunkAndLength {
		x.a.lengths = []string{}
	}
	if e.Flaw != ChunkRight {
		x.keep = false
	}
}

// parts cuts a body into chunks.
func (e Chunked) parts(body []byte) iter.Seq[part] {
	return func(yield func(part) bool) {
		size := orElse(e.Size, chunk)
		for n := 0; len(body) > 0; n++ {
			data := body[:min(size, len(body))]
			body = body[len(data):]
			said := fmt.Sprintf("%x", len(data))
			switch {
			case n == 1 && e.Flaw == ChunkBadSize:
				said = "xyz"
			case n == 0 && e.Flaw == ChunkTooShort:
				said = fmt.Sprintf("%x", len(data)+1)
			case n == 0 && e.Flaw == ChunkTooLong:
				said = fmt.Sprintf("%x", len(data)-1)
			case n == 0 && e.Flaw == ChunkHuge:
				said = "10000000000000000"
			}
			lead := []byte(said + "\r\n")
			for len(data) > 0 {
				p := part{lead: lead, data: data[:min(chunk, len(data))]}
				data, lead = data[len(p.data):], nil
				if len(data) == 0 {
					p.tail = []byte("\r\n")
				}
				if !yield(p) {
					return
				}
			}
			if n == 0 && len(body) == 0 && e.Flaw == ChunkBadSize {
				yield(part{lead: []byte("xyz\r\n\r\n")})
				return
			}
		}
		if e.Flaw != ChunkNoLast {
			yield(part{lead: []byte("0\r\n\r\n")})
		}
	}
}
