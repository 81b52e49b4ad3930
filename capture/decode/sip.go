package decode

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

// looksLikeSIP recognises a SIP message by its first line, whatever the port.
func looksLikeSIP(data []byte) bool {
	line, _, found := bytes.Cut(data, []byte("\n"))
	if !found {
		return false
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	return bytes.HasPrefix(line, []byte("SIP/2.0 ")) || bytes.HasSuffix(line, []byte(" SIP/2.0"))
}

// isKeepAlive says whether a datagram at a SIP port only keeps a NAT binding open:
// blank lines (RFC 5626, section 4.4.1), STUN (RFC 8489, section 5), or what
// vendors send in their place, a few bytes without a line's end.
func isKeepAlive(data []byte) bool {
	const cookie = "\x21\x12\xa4\x42"
	switch {
	case len(bytes.Trim(data, " \t\r\n\x00")) == 0:
		return true
	case len(data) >= 20 && data[0]&0xc0 == 0 && string(data[4:8]) == cookie:
		return true
	}
	return len(data) < 16 && !bytes.ContainsAny(data, "\r\n:/")
}

// decodeSIP reads the head of RFC 3261, and of a session in the body the first
// medium. Of credentials it reports the scheme and the user's name only.
func (d *reading) decodeSIP(data []byte) {
	if isKeepAlive(data) {
		return
	}
	if !looksLikeSIP(data) {
		if d.missing > 0 {
			d.cutShort("SIP")
			return
		}
		d.malformed("SIP: no request or status line")
		return
	}
	text, body, whole := bytes.Cut(data, []byte("\r\n\r\n"))
	if !whole && d.missing > 0 {
		// The last line is not whole.
		text = bytes.TrimSuffix(text[:bytes.LastIndexByte(text, '\n')], []byte("\r"))
	}
	h, ok := parseHead(text)
	if !ok {
		d.malformed("SIP: header field without a name")
		return
	}
	for i, f := range h.fields {
		h.fields[i].name = longForm(f.name)
	}
	f := map[string]string{}
	seq, method, _ := strings.Cut(h.get("cseq"), " ")
	method = clip(strings.TrimSpace(method))
	var e timeline.Event
	if rest, found := strings.CutPrefix(h.first, "SIP/2.0 "); found {
		code, phrase, _ := strings.Cut(rest, " ")
		status, err := strconv.Atoi(code)
		if err != nil || status < 100 || status > 699 {
			d.malformed("SIP: status line without a status")
			return
		}
		e = d.event(timeline.SIPResponse)
		e.Status, e.Message = status, method
		f["sip.Status-Code"] = code
		f["sip.reason"] = clip(phrase)
	} else {
		parts := strings.Split(h.first, " ")
		if len(parts) != 3 || parts[0] == "" {
			d.malformed("SIP: request line of other than three words")
			return
		}
		e = d.event(timeline.SIPRequest)
		e.Message = clip(parts[0])
		f["sip.Method"] = e.Message
		f["sip.r-uri"] = clip(hidePassword(parts[1]))
	}
	h.set(f, "sip.Call-ID", "call-id")
	h.set(f, "sip.CSeq", "cseq")
	f["sip.CSeq.seq"], f["sip.CSeq.method"] = clip(seq), method
	for name, header := range map[string]string{"From": "from", "To": "to", "contact": "contact"} {
		value := h.get(header)
		uri := uriOf(value)
		if uri == "" {
			continue
		}
		user, host := userHost(uri)
		if user != "" {
			f["sip."+name+".user"] = clip(user)
		}
		if display := displayOf(value); name == "From" && display != "" {
			f["sip.from.display.info"] = clip(display)
		}
		if host != "" {
			f["sip."+name+".host"] = clip(host)
		}
		if tag, found := parameter(after(value, uri), "tag"); found {
			f["sip."+name+".tag"] = clip(tag)
		}
	}
	if contacts := h.all("contact"); len(contacts) > 0 {
		f["sip.contact"] = clip(hidePasswords(strings.Join(contacts, ",")))
	}
	// Not the field itself, but the value that holds: the contact's own comes first.
	if ttl := expiry(h, d.src, d.dst); ttl != "" {
		f["sip.Expires"] = ttl
	}
	h.set(f, "sip.User-Agent", "user-agent")
	h.set(f, "sip.Server", "server")
	h.set(f, "sip.Event", "event")
	h.set(f, "sip.Subscription-State", "subscription-state")
	h.set(f, "sip.Allow", "allow")
	h.set(f, "sip.Supported", "supported")
	for _, name := range []string{"authorization", "proxy-authorization"} {
		if v := h.get(name); v != "" {
			f["sip.auth.scheme"] = scheme(v)
			if user, found := parameter(v, "username"); found {
				f["sip.auth.username"] = clip(user)
			}
			if realm, found := parameter(v, "realm"); found {
				f["sip.auth.realm"] = clip(realm)
			}
		}
	}
	for _, name := range []string{"www-authenticate", "proxy-authenticate"} {
		if v := h.get(name); v != "" {
			f["sip.WWW-Authenticate"] = scheme(v)
			f["sip.WWW-Authenticate.text"] = challenge(v)
		}
	}
	if media := mediaOf(body); media != "" {
		f["sdp.media"] = clip(media)
	}
	if d.missing > 0 {
		e.Reason = "cut by the capture"
	}
	e.Fields = f
	d.emit(e)
}

// mediaOf is the first media description of a session (RFC 8866, section 5.14),
// without its "m=".
func mediaOf(body []byte) string {
	for line := range bytes.Lines(body) {
		if media, found := bytes.CutPrefix(line, []byte("m=")); found {
			return string(bytes.TrimRight(media, "\r\n"))
		}
	}
	return ""
}

// longForm undoes the compact forms of RFC 3261, section 7.3.3.
func longForm(name string) string {
	switch name {
	case "i":
		return "call-id"
	case "m":
		return "contact"
	case "f":
		return "from"
	case "t":
		return "to"
	case "v":
		return "via"
	case "o":
		return "event"
	case "k":
		return "supported"
	case "l":
		return "content-length"
	case "c":
		return "content-type"
	}
	return name
}

// uriOf takes the URI out of a From, To or Contact field.
func uriOf(s string) string {
	if i := strings.IndexByte(s, '<'); i >= 0 {
		if j := strings.IndexByte(s[i:], '>'); j >= 0 {
			return s[i+1 : i+j]
		}
		return ""
	}
	uri, _, _ := strings.Cut(s, ";")
	return strings.TrimSpace(uri)
}

// displayOf takes the display name out of a From field, without its quotes.
func displayOf(s string) string {
	name, _, found := strings.Cut(s, "<")
	if quoted, ok := strings.CutPrefix(strings.TrimSpace(s), `"`); ok {
		var b strings.Builder
		for i := 0; i < len(quoted) && quoted[i] != '"'; i++ {
			if quoted[i] == '\\' && i+1 < len(quoted) {
				i++
			}
			b.WriteByte(quoted[i])
		}
		return b.String()
	}
	if !found {
		return ""
	}
	return strings.TrimSpace(name)
}

func after(s, part string) string {
	_, rest, _ := strings.Cut(s, part)
	return rest
}

func userHost(uri string) (user, host string) {
	_, rest, found := strings.Cut(uri, ":")
	if !found {
		return "", ""
	}
	if u, h, found := strings.Cut(rest, "@"); found {
		user, _, _ = strings.Cut(u, ":")
		rest = h
	}
	rest, _, _ = strings.Cut(rest, ";")
	host, _, _ = strings.Cut(rest, "?")
	return user, host
}

// hidePassword takes the password out of a URI's user part.
func hidePassword(uri string) string {
	at := strings.IndexByte(uri, '@')
	if at < 0 {
		return uri
	}
	before := uri[:at]
	start := 0
	if i := strings.Index(before, "://"); i >= 0 {
		start = i + 3
	} else if i := strings.IndexByte(before, ':'); i >= 0 {
		start = i + 1
	}
	if i := strings.IndexByte(before[start:], ':'); i >= 0 {
		return before[:start+i] + uri[at:]
	}
	return uri
}

func hidePasswords(s string) string {
	contacts := splitQuoted(s)
	for i, contact := range contacts {
		parts := strings.Split(contact, "<")
		for j := range parts {
			parts[j] = hidePassword(parts[j])
		}
		contacts[i] = strings.Join(parts, "<")
	}
	return strings.Join(contacts, ",")
}

// expiry reports for how long a REGISTER, or its answer, holds, in seconds: the
// parameter of the contact at one of the two ends, of the only contact, or the
// Expires field (RFC 3261, section 10.2.1.1).
func expiry(h head, ends ...netip.AddrPort) string {
	var contacts []string
	for _, line := range h.all("contact") {
		contacts = append(contacts, splitQuoted(line)...)
	}
	mine := ""
	for _, c := range contacts {
		_, host := userHost(uriOf(c))
		for _, end := range ends {
			if host == end.String() || host == end.Addr().String() {
				mine = c
			}
		}
	}
	if mine == "" && len(contacts) == 1 {
		mine = contacts[0]
	}
	if mine != "" {
		if v, found := parameter(after(mine, uriOf(mine)), "expires"); found {
			return clip(v)
		}
	}
	return clip(h.get("expires"))
}

// splitQuoted splits a list at commas outside quotes and angle brackets.
func splitQuoted(s string) []string {
	var parts []string
	depth, quoted, from := 0, false, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			depth++
		case c == '>':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}

// sipConn reads the messages of a SIP connection; Content-Length says where each
// ends (RFC 3261, section 18.3).
type sipConn struct {
	c    *pair
	side [2]sipSide
}

type sipSide struct {
	buffer []byte
	lost   bool // no longer in step
}

// speaksSIP says whether a connection is to a SIP port, or begins like SIP.
func (d *reading) speaksSIP(c *pair, first []byte) bool {
	if slices.Contains(d.ports.SIP, c.ends[0].Port()) || slices.Contains(d.ports.SIP, c.ends[1].Port()) {
		return true
	}
	return bytes.Contains(first, []byte("\r\n")) && looksLikeSIP(first)
}

func (s *sipConn) data(d *reading, i int, b []byte) {
	side := &s.side[i]
	if side.lost {
		return
	}
	side.buffer = append(side.buffer, b...)
	for {
		side.buffer = bytes.TrimLeft(side.buffer, "\r\n\x00") // keep-alives between messages
		head, _, whole := bytes.Cut(side.buffer, []byte("\r\n\r\n"))
		if !whole {
			if len(side.buffer) > maxHead {
				side.giveUp(d, s.c, i, "SIP: head longer than 64 KiB")
			}
			return
		}
		h, ok := parseHead(head)
		if !ok || !looksLikeSIP(side.buffer) {
			side.giveUp(d, s.c, i, "SIP: no request or status line")
			return
		}
		for j, f := range h.fields {
			h.fields[j].name = longForm(f.name)
		}
		length, err := strconv.Atoi(strings.TrimSpace(h.get("content-length")))
		if h.get("content-length") == "" {
			length, err = 0, nil
		}
		if err != nil || length < 0 || length > maxHead {
			side.giveUp(d, s.c, i, "SIP: no usable Content-Length")
			return
		}
		end := len(head) + 4 + length
		if len(side.buffer) < end {
			return
		}
		message := side.buffer[:end]
		side.buffer = side.buffer[end:]
		d.within(s.c, i, func() { d.decodeSIP(message) })
	}
}

func (s *sipConn) gap(_ *reading, i int, _ int64) { s.side[i].lost = true }

func (s *sipConn) end(*reading, int, bool) {}

func (s *sipSide) giveUp(d *reading, c *pair, i int, why string) {
	s.lost, s.buffer = true, nil
	d.within(c, i, func() { d.malformed(why) })
}
