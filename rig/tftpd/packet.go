package tftpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Opcodes (RFC 1350 section 5, RFC 2347).
const (
	opRRQ   = 1
	opWRQ   = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// Error codes (RFC 1350 section 5; OptionRefused is RFC 2347).
const (
	NotDefined        uint16 = 0
	FileNotFound      uint16 = 1
	AccessViolation   uint16 = 2
	DiskFull          uint16 = 3
	IllegalOperation  uint16 = 4
	UnknownTransferID uint16 = 5
	FileExists        uint16 = 6
	NoSuchUser        uint16 = 7
	OptionRefused     uint16 = 8
)

// Limits of what is negotiated.
const (
	defaultBlockSize = 512   // RFC 1350
	minBlockSize     = 8     // RFC 2348
	maxBlockSize     = 65464 // RFC 2348
	minTimeout       = 1     // seconds, RFC 2349
	maxTimeout       = 255   // seconds, RFC 2349
	// maxWindow is the most blocks in flight that the server grants. RFC 7440
	// allows the answer to be smaller than what was asked for, and measured no
	// gain beyond this.
	maxWindow = 64
	// maxName is the longest file name looked up, in bytes.
	maxName = 255
	// maxRequest is the longest request, in bytes (RFC 2347).
	maxRequest = 512
)

type option struct{ name, value string }

// request is a read or write request.
type request struct {
	op   uint16
	file string // as the client wrote it
	mode string // lower case
	opts []option
	// odd says what of the options could not be read and was ignored.
	odd []string
}

// parseRequest reads an RRQ or WRQ, opcode included. Options that are cut or
// malformed are left out and named in odd; only a request without file name or
// mode is an error.
func parseRequest(b []byte) (request, error) {
	if len(b) < 2 {
		return request{}, errors.New("shorter than an opcode")
	}
	req := request{op: binary.BigEndian.Uint16(b)}
	if req.op != opRRQ && req.op != opWRQ {
		return req, fmt.Errorf("opcode %d is not a request", req.op)
	}
	if len(b) > maxRequest {
		req.odd = append(req.odd, fmt.Sprintf("request of %d bytes, RFC 2347 allows %d", len(b), maxRequest))
	}
	rest := string(b[2:])
	var ok bool
	if req.file, rest, ok = strings.Cut(rest, "\x00"); !ok {
		return req, errors.New("file name without a NUL behind it")
	}
	if req.mode, rest, ok = strings.Cut(rest, "\x00"); !ok {
		return req, errors.New("mode without a NUL behind it")
	}
	req.mode = strings.ToLower(req.mode)
	for rest != "" {
		var o option
		if o.name, rest, ok = strings.Cut(rest, "\x00"); !ok {
			req.odd = append(req.odd, fmt.Sprintf("option %q without a NUL behind its name", o.name))
			break
		}
		if o.value, rest, ok = strings.Cut(rest, "\x00"); !ok {
			req.odd = append(req.odd, fmt.Sprintf("option %q without a NUL behind its value", o.name))
			break
		}
		req.opts = append(req.opts, o)
	}
	return req, nil
}

// terms are what a transfer was agreed to be.
type terms struct {
	blockSize int
	window    int
	timeout   int // seconds; 0: the server's own
	accepted  []option
}

// negotiate answers the options of a read request (RFC 2347): the ones it
// knows, in the client's order and spelling. Unknown ones are left out, as the
// RFC says; values out of range, and options given twice, are left out and
// named in odd.
func negotiate(opts []option, size int) (t terms, odd []string) {
	t = terms{blockSize: defaultBlockSize, window: 1}
	seen := map[string]bool{}
	for _, o := range opts {
		name := strings.ToLower(o.name)
		if seen[name] {
			odd = append(odd, fmt.Sprintf("option %s given twice", name))
			continue
		}
		seen[name] = true
		var lowest, highest uint64
		switch name {
		case "blksize":
			lowest, highest = minBlockSize, maxBlockSize
		case "timeout":
			lowest, highest = minTimeout, maxTimeout
		case "windowsize":
			lowest, highest = 1, 65535
		case "tsize":
			highest = 1<<63 - 1
		default:
			continue
		}
		v, err := strconv.ParseUint(o.value, 10, 63)
		if err != nil || v < lowest || v > highest {
			odd = append(odd, fmt.Sprintf("option %s=%q out of range %d to %d", name, o.value, lowest, highest))
			continue
		}
		n := int(v)
		switch name {
		case "blksize":
			t.blockSize = n
		case "timeout":
			t.timeout = n // RFC 2349: the same value or nothing
		case "windowsize":
			n = min(n, maxWindow)
			t.window = n
		case "tsize":
			n = size
		}
		t.accepted = append(t.accepted, option{o.name, strconv.Itoa(n)})
	}
	return t, odd
}

// optionAck builds the OACK.
func optionAck(accepted []option) []byte {
	b := []byte{0, opOAck}
	for _, o := range accepted {
		b = append(append(b, o.name...), 0)
		b = append(append(b, o.value...), 0)
	}
	return b
}

// errorPacket builds an ERROR. A NUL in the text would end it early.
func errorPacket(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, opError}, code)
	b = append(b, strings.ReplaceAll(text, "\x00", " ")...)
	return append(b, 0)
}

// answer is what a client may send within a transfer: an ACK or an ERROR.
type answer struct {
	op    uint16
	block uint16 // of an ACK
	code  uint16 // of an ERROR
	text  string // of an ERROR
}

// parseAnswer reads an ACK or an ERROR. Bytes after an ACK are padding; the
// text of an ERROR may lack its NUL, as many clients' does.
func parseAnswer(b []byte) (answer, error) {
	if len(b) < 2 {
		return answer{}, errors.New("shorter than an opcode")
	}
	a := answer{op: binary.BigEndian.Uint16(b)}
	switch a.op {
	case opAck, opError:
		if len(b) < 4 {
			return a, fmt.Errorf("%s of %d bytes", opName(a.op), len(b))
		}
	default:
		return a, fmt.Errorf("%s instead of an ACK", opName(a.op))
	}
	v := binary.BigEndian.Uint16(b[2:])
	if a.op == opAck {
		a.block = v
		return a, nil
	}
	a.code = v
	a.text, _, _ = strings.Cut(string(b[4:]), "\x00")
	return a, nil
}

func opName(op uint16) string {
	switch op {
	case opRRQ:
		return "RRQ"
	case opWRQ:
		return "WRQ"
	case opData:
		return "DATA"
	case opAck:
		return "ACK"
	case opError:
		return "ERROR"
	case opOAck:
		return "OACK"
	}
	return "opcode " + strconv.Itoa(int(op))
}

// checkName says what is wrong with a file name (without its one leading
// slash) before anybody looks it up; why is empty for a good one. A NUL cannot
// be in it: it ended the name.
func checkName(name string) (code uint16, why string) {
	switch {
	case name == "":
		return FileNotFound, "no file name"
	case len(name) > maxName:
		return AccessViolation, fmt.Sprintf("file name of %d bytes, at most %d", len(name), maxName)
	case strings.HasPrefix(name, "/"), len(name) > 1 && name[1] == ':':
		return AccessViolation, "absolute file name"
	case strings.Contains(name, `\`):
		return AccessViolation, "backslash in the file name"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return AccessViolation, "control byte in the file name"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return AccessViolation, `".." in the file name`
		}
	}
	return 0, ""
}

// netascii translates content as RFC 1350 and RFC 764 want it on the wire: a
// line ends in CR LF, and a CR that ends none is followed by NUL. A receiver
// that undoes this holds the same bytes again.
func netascii(content []byte) []byte {
	out := make([]byte, 0, len(content)+len(content)/16)
	for _, c := range content {
		switch c {
		case '\n':
			out = append(out, '\r', '\n')
		case '\r':
			out = append(out, '\r', 0)
		default:
			out = append(out, c)
		}
	}
	return out
}
