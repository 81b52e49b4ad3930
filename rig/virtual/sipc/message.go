package sipc

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

func line(m *strings.Builder, name, value string) {
	m.WriteString(name + ": " + value + "\r\n")
}

// values returns every value of a header under any of its names.
func values(m sip.Message, names ...string) []string {
	var out []string
	for _, name := range names {
		for _, h := range m.GetHeaders(name) {
			out = append(out, h.Value())
		}
	}
	return out
}

// value returns the first one, blank without one.
func value(m sip.Message, names ...string) string {
	if all := values(m, names...); len(all) > 0 {
		return strings.TrimSpace(all[0])
	}
	return ""
}

// seconds reads a header of delta seconds, with or without a comment or
// parameters after it (Retry-After); -1 without one.
func seconds(m sip.Message, name string) int {
	v := value(m, name)
	end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		v = v[:end]
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// escapeUser is the user part of a URI (RFC 3261, 25.1: user).
func escapeUser(s string) string {
	const plain = "-_.!~*'()&=+$,;?/"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unescape(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

// quoteName is a display name with the blank after it.
func quoteName(s string) string {
	if s == "" {
		return ""
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `" `
}

// splitList parts a header at commas outside of quotes and angle brackets.
func splitList(s string) []string {
	var out []string
	start, quoted, angle := 0, false, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case s[i] == '<':
			angle = true
		case s[i] == '>':
			angle = false
		case s[i] == ',' && !angle:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// cutContact parts a name-addr or addr-spec into its URI and header parameters.
func cutContact(s string) (uri, params string, ok bool) {
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		uri, params, ok = strings.Cut(s[i+1:], ">")
		return uri, params, ok
	}
	uri, params, _ = strings.Cut(s, ";")
	return uri, params, uri != ""
}

// addrOf is where a URI with a literal address leads.
func addrOf(uri string) (netip.AddrPort, bool) {
	var u sip.Uri
	if sip.ParseUri(uri, &u) != nil {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil {
		return netip.AddrPort{}, false
	}
	port := uint16(defaultPort)
	if u.Port > 0 && u.Port <= 0xffff {
		port = uint16(u.Port)
	}
	return netip.AddrPortFrom(addr, port), true
}

func tagOf(params sip.HeaderParams) string {
	tag, _ := params.Get("tag")
	return tag
}

const (
	defaultPort = 5060
	magic       = "z9hG4bK" // RFC 3261, 8.1.1.7
	allow       = "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY"

	timeoutT1s = 64 // timers B, F, H and J: 64 T1
	slowestT1s = 8  // T2: 4 s at a T1 of 500 ms

	// Registrations that failed are tried again after 30 s, 60 s, ... 30 min at a
	// T1 of 500 ms (RFC 5626, 4.5), the first half certain, the rest by chance.
	retryT1s    = 60
	maxRetryT1s = 3600
)
