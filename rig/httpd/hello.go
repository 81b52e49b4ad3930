package httpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
)

const (
	recordHandshake   = 22
	recordAlert       = 21
	recordChangeSpec  = 20
	maxHello          = 64 << 10
	versionSSL2       = 0x0002
	versionSSL3       = 0x0300
	extServerName     = 0
	extGroups         = 10
	extSignatures     = 13
	extALPN           = 16
	extVersions       = 43
	handshakeHello    = 1
	suiteEmptyRenego  = 0x00ff
	suiteFallbackSCSV = 0x5600
)

// hello is what a ClientHello says. The service reads it itself, because
// crypto/tls reports nothing of one that it cannot answer. It shares no code with
// capture/decode, which reads the same ClientHello off the cable: the two are the
// two witnesses of a handshake, and a bug in a common parser would make them
// agree.
type hello struct {
	framing    string // "TLS" or "SSLv2"
	version    uint16 // of the hello itself
	versions   []uint16
	suites     []uint32 // three bytes each in SSLv2's framing
	extensions []uint16
	sni        string
	alpn       []string
	groups     []uint16
	signatures []uint16
}

// max is the newest version offered.
func (h *hello) max() uint16 {
	best := uint16(0)
	for _, v := range h.versions {
		if !grease(v) && v > best {
			best = v
		}
	}
	if best == 0 {
		return h.version
	}
	return best
}

// tooOld says why no server written in Go can shake hands with this handset;
// empty when one can.
func (h *hello) tooOld() string {
	const need = "this handset needs a server older than Go speaks: "
	switch {
	case h.framing == "SSLv2":
		return need + "its ClientHello is framed as in SSLv2, offering " + versionName(h.max()) + " at most"
	case h.max() <= versionSSL3:
		return need + "it offers " + versionName(h.max()) + " at most"
	}
	known := map[uint32]bool{}
	for _, id := range everySuite() {
		known[uint32(id)] = true
	}
	var offered []string
	for _, s := range h.suites {
		if known[s] {
			return ""
		}
		if s != suiteEmptyRenego && s != suiteFallbackSCSV && (s > 0xffff || !grease(uint16(s))) {
			offered = append(offered, suiteName(s))
		}
	}
	return need + "it offers no cipher suite that Go has, only " + strings.Join(offered, " ")
}

// onlySHA1 tells a client of TLS 1.2 that takes no newer signature, which is
// also what one means that names none (RFC 5246, 7.4.1.4.1). Go makes no such
// signatures in TLS 1.2 any more.
func (h *hello) onlySHA1() bool {
	const sha256 = 4 // and what came after it, in the upper byte
	return h.max() == tls.VersionTLS12 && !slices.ContainsFunc(h.signatures, func(s uint16) bool { return s>>8 >= sha256 && !grease(s) })
}

// fields are the hello under Wireshark's names, as capture/decode writes them.
func (h *hello) fields() map[string]string {
	f := map[string]string{"tls.handshake.version": hex16(h.version)}
	set := func(name, value string) {
		if value != "" {
			f[name] = value
		}
	}
	if h.framing == "SSLv2" {
		set("tls.handshake.cipherspec", join(h.suites, ",", func(s uint32) string { return fmt.Sprintf("0x%06x", s) }))
		return f
	}
	set("tls.handshake.ciphersuite", join(h.suites, ",", func(s uint32) string { return fmt.Sprintf("0x%04x", s) }))
	set("tls.handshake.extension.type", join(h.extensions, ",", hex16))
	set("tls.handshake.extensions.supported_version", join(h.versions, ",", hex16))
	set("tls.handshake.extensions_server_name", h.sni)
	set("tls.handshake.extensions_alpn_str", strings.Join(h.alpn, ","))
	set("tls.handshake.extensions_supported_group", join(h.groups, ",", hex16))
	set("tls.handshake.sig_hash_alg", join(h.signatures, ",", hex16))
	return f
}

func hex16(v uint16) string { return fmt.Sprintf("0x%04x", v) }

// spoken is what the first bytes of a connection are.
type spoken uint8

const (
	nothing spoken = iota
	helloWhole
	helloBroken
	notTLS
)

// peekHello reads r until it has seen a whole ClientHello, or knows that none
// comes. It returns all that it read, which may be more than the hello.
func peekHello(r io.Reader) (read []byte, h *hello, what spoken, err error) {
	buf := make([]byte, 4096)
	for {
		h, what, err := parseHello(read)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			return read, h, what, err
		}
		if len(read) >= maxHello {
			return read, nil, helloBroken, fmt.Errorf("no whole ClientHello in %d bytes", len(read))
		}
		n, readErr := r.Read(buf)
		read = append(read, buf[:n]...)
		if n == 0 && readErr != nil {
			if len(read) == 0 {
				what = nothing
			}
			return read, nil, what, readErr
		}
	}
}

// parseHello reads the ClientHello at the start of a stream. It returns
// io.ErrUnexpectedEOF when more bytes are needed.
func parseHello(stream []byte) (*hello, spoken, error) {
	switch {
	case len(stream) == 0:
		return nil, nothing, io.ErrUnexpectedEOF
	case stream[0]&0x80 != 0:
		if len(stream) < 3 {
			return nil, helloBroken, io.ErrUnexpectedEOF
		}
		if stream[2] != handshakeHello {
			return nil, notTLS, nil
		}
		return parseSSL2(stream)
	case stream[0] != recordHandshake:
		return nil, notTLS, nil
	}
	// A message may be spread over several records (RFC 8446, 5.1).
	var message []byte
	for rest := stream; ; {
		if len(rest) < 5 {
			return nil, helloBroken, io.ErrUnexpectedEOF
		}
		if rest[0] != recordHandshake || rest[1] != 3 {
			return nil, helloBroken, fmt.Errorf("record type %d, version %d.%d where a ClientHello was begun", rest[0], rest[1], rest[2])
		}
		size := int(rest[3])<<8 | int(rest[4])
		if size == 0 || size > 1<<14+2048 {
			return nil, helloBroken, fmt.Errorf("a record of %d bytes", size)
		}
		rest = rest[5:]
		message = append(message, rest[:min(size, len(rest))]...)
		if len(message) > 0 && message[0] != handshakeHello {
			return nil, helloBroken, fmt.Errorf("handshake message %d where a ClientHello belongs", message[0])
		}
		if len(message) >= 4 {
			length := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
			if length > maxHello {
				return nil, helloBroken, fmt.Errorf("a ClientHello of %d bytes", length)
			}
			if len(message) >= 4+length {
				h, err := parseMessage(message[4 : 4+length])
				if err != nil {
					return h, helloBroken, err
				}
				return h, helloWhole, nil
			}
		}
		if len(rest) < size {
			return nil, helloBroken, io.ErrUnexpectedEOF
		}
		rest = rest[size:]
	}
}

// parseSSL2 reads the framing that old clients used to reach newer servers
// (RFC 5246, E.2).
func parseSSL2(stream []byte) (*hello, spoken, error) {
	size := int(stream[0]&0x7f)<<8 | int(stream[1])
	if size < 9 {
		return nil, helloBroken, fmt.Errorf("an SSLv2 ClientHello of %d bytes", size)
	}
	if len(stream) < 2+size {
		return nil, helloBroken, io.ErrUnexpectedEOF
	}
	b := cursor(stream[3 : 2+size])
	h := &hello{framing: "SSLv2"}
	version, _ := b.number(2)
	h.version = uint16(version) //nolint:gosec // G115: two bytes
	specs, _ := b.number(2)
	b.take(4) // lengths of session id and challenge
	suites, ok := b.take(specs)
	if !ok {
		return h, helloBroken, errors.New("an SSLv2 ClientHello whose cipher specs are cut off")
	}
	for {
		s, ok := suites.number(3)
		if !ok {
			return h, helloWhole, nil
		}
		h.suites = append(h.suites, uint32(s)) //nolint:gosec // G115: three bytes
	}
}

// parseMessage reads the body of a ClientHello (RFC 5246, 7.4.1.2).
func parseMessage(body []byte) (*hello, error) {
	b := cursor(body)
	h := &hello{framing: "TLS"}
	version, _ := b.number(2)
	h.version = uint16(version) //nolint:gosec // G115: two bytes
	b.take(32)                  // random
	b.block(1)                  // session id
	suites, _ := b.block(2)
	for _, s := range suites.numbers() {
		h.suites = append(h.suites, uint32(s))
	}
	if _, ok := b.block(1); !ok { // compression
		return h, errors.New("a ClientHello that is cut off")
	}
	if len(b) == 0 {
		return h, nil // without extensions, as before RFC 3546
	}
	extensions, ok := b.block(2)
	if !ok || len(b) > 0 {
		return h, errors.New("a ClientHello whose extensions have a wrong length")
	}
	for len(extensions) > 0 {
		id, _ := extensions.number(2)
		data, ok := extensions.block(2)
		if !ok {
			return h, fmt.Errorf("a ClientHello whose extension %d is cut off", id)
		}
		h.extensions = append(h.extensions, uint16(id)) //nolint:gosec // G115: two bytes
		h.extension(id, data)
	}
	return h, nil
}

func (h *hello) extension(id int, data cursor) {
	switch id {
	case extServerName:
		list, _ := data.block(2)
		kind, _ := list.number(1)
		if name, ok := list.block(2); ok && kind == 0 {
			h.sni = string(name)
		}
	case extGroups:
		list, _ := data.block(2)
		h.groups = list.numbers()
	case extSignatures:
		list, _ := data.block(2)
		h.signatures = list.numbers()
	case extALPN:
		list, _ := data.block(2)
		for {
			name, ok := list.block(1)
			if !ok {
				return
			}
			h.alpn = append(h.alpn, string(name))
		}
	case extVersions:
		list, _ := data.block(1)
		h.versions = list.numbers()
	}
}

// cursor reads big-endian numbers and blocks; it is empty after a failure.
type cursor []byte

func (c *cursor) take(n int) (cursor, bool) {
	if n > len(*c) {
		*c = nil
		return nil, false
	}
	head := (*c)[:n]
	*c = (*c)[n:]
	return head, true
}

func (c *cursor) number(size int) (int, bool) {
	b, ok := c.take(size)
	n := 0
	for _, x := range b {
		n = n<<8 | int(x)
	}
	return n, ok
}

// block is a length of that many bytes and what it counts.
func (c *cursor) block(size int) (cursor, bool) {
	n, ok := c.number(size)
	if !ok {
		return nil, false
	}
	return c.take(n)
}

func (c *cursor) numbers() []uint16 {
	var all []uint16
	for {
		n, ok := c.number(2)
		if !ok {
			return all
		}
		all = append(all, uint16(n)) //nolint:gosec // G115: two bytes
	}
}

func join[T any](all []T, between string, name func(T) string) string {
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = name(x)
	}
	return strings.Join(names, between)
}

func versionName(v uint16) string {
	switch {
	case v == versionSSL2:
		return "SSLv2"
	case v == versionSSL3:
		return "SSLv3"
	case v >= tls.VersionTLS10 && v <= tls.VersionTLS13:
		return tls.VersionName(v)
	default:
		return hex16(v)
	}
}

func suiteName(s uint32) string {
	if s > 0xffff {
		return fmt.Sprintf("0x%06x", s)
	}
	return tls.CipherSuiteName(uint16(s)) // 0x…, where Go has no name
}

// grease tells the values of RFC 8701, which mean nothing.
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// firstLine shows what was spoken instead, for the journal.
func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	text := withoutUser(strings.TrimRight(string(line), "\r"))
	return strconv.Quote(text[:min(len(text), 80)])
}

// withoutUser takes user-info out of a URL: it may hold a password.
func withoutUser(s string) string {
	begin, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	end := strings.IndexAny(rest, "/? ")
	if end < 0 {
		end = len(rest)
	}
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return begin + "://" + rest
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	first []byte
}

func (c *replayed) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
