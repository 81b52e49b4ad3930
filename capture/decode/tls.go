package decode

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

const (
	recordCCS       = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
	recordHeartbeat = 24

	maxRecord    = 16<<10 + 2048 // RFC 5246, section 6.2.3
	maxHandshake = 256 << 10
)

// tlsConn reads what a TLS connection says in clear.
type tlsConn struct {
	c     *pair
	tls13 bool
	dir   [2]tlsSide
}

type tlsSide struct {
	started   bool
	dead      bool // nothing readable comes any more
	encrypted bool // after ChangeCipherSpec
	record    []byte
	handshake []byte
}

func (t *tlsConn) data(d *reading, i int, b []byte) {
	s := &t.dir[i]
	if s.dead {
		return
	}
	s.record = append(s.record, b...)
	for !s.dead {
		r := s.record
		if !s.started && i == 0 && len(r) > 0 && r[0]&0x80 != 0 {
			if len(r) < 2 {
				return
			}
			n := 2 + int(binary.BigEndian.Uint16(r)&0x7fff)
			if len(r) < n {
				return
			}
			s.started = true
			s.record = r[n:]
			t.sslv2(d, r[2:n])
			continue
		}
		if len(r) < 5 {
			return
		}
		s.started = true
		n := int(binary.BigEndian.Uint16(r[3:]))
		if r[0] < recordCCS || r[0] > recordHeartbeat || r[1] != 3 || n > maxRecord {
			why := "TLS: no record where one should begin"
			if status, found := bytes.CutPrefix(r, []byte("HTTP/")); found && i == 1 {
				words := strings.Fields(string(status[:min(len(status), 40)]))
				why = "HTTP in clear, in answer to a ClientHello"
				if len(words) > 1 {
					why = "HTTP " + words[1] + " in clear, in answer to a ClientHello"
				}
			}
			t.giveUp(d, i, why)
			return
		}
		if r[0] == recordData {
			e := t.event(d, i, timeline.TLSData)
			e.Bytes = int64(n)
			d.emit(e)
			s.kill()
			return
		}
		if len(r) < 5+n {
			return
		}
		s.record = r[5+n:]
		t.oneRecord(d, i, r[0], r[5:5+n])
	}
}

func (t *tlsConn) gap(_ *reading, i int, _ int64) { t.dir[i].dead = true }

func (t *tlsConn) end(*reading, int, bool) {}

func (s *tlsSide) kill() { s.dead, s.record, s.handshake = true, nil, nil }

func (t *tlsConn) giveUp(d *reading, i int, why string) {
	e := t.event(d, i, timeline.Malformed)
	e.Reason = clip(why)
	d.emit(e)
	t.dir[i].kill()
}

func (t *tlsConn) event(d *reading, i int, kind timeline.Kind) timeline.Event {
	e := d.of(t.c, i, kind)
	e.Transport = timeline.HTTPS
	return e
}

func (t *tlsConn) oneRecord(d *reading, i int, kind byte, b []byte) {
	s := &t.dir[i]
	switch kind {
	case recordCCS:
		s.encrypted = !t.tls13 // in TLS 1.3 it says nothing (RFC 8446, section 5)
	case recordAlert:
		if s.encrypted || len(b) != 2 {
			return
		}
		e := t.event(d, i, timeline.TLSAlert)
		e.Reason, e.Status = alertName(b[1]), int(b[1])
		level := map[byte]string{1: "warning", 2: "fatal"}[b[0]]
		if level == "" {
			level = fmt.Sprint(b[0])
		}
		e.Fields = map[string]string{"tls.alert_message.level": level}
		d.emit(e)
	case recordHandshake:
		if s.encrypted {
			return
		}
		if len(s.handshake)+len(b) > maxHandshake {
			t.giveUp(d, i, "TLS: handshake message longer than 256 KiB")
			return
		}
		s.handshake = append(s.handshake, b...)
		for len(s.handshake) >= 4 {
			n := 4 + int(binary.BigEndian.Uint32(s.handshake)&0xffffff)
			if n > maxHandshake {
				t.giveUp(d, i, "TLS: handshake message longer than 256 KiB")
				return
			}
			if len(s.handshake) < n {
				return
			}
			msg := s.handshake[:n]
			s.handshake = s.handshake[n:]
			t.message(d, i, msg[0], msg[4:])
		}
	}
}

func (t *tlsConn) message(d *reading, i int, kind byte, b []byte) {
	switch kind {
	case 1:
		t.clientHello(d, i, b)
	case 2:
		t.serverHello(d, i, b)
	case 11:
		t.certificate(d, i, b)
	}
}

// cursor reads fields off a message; bad reports that it was too short.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) next(n int) []byte {
	if n > len(c.b) {
		c.bad = true
		c.b = nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) num(size int) int {
	n := 0
	for _, b := range c.next(size) {
		n = n<<8 | int(b)
	}
	return n
}

// vector reads a length of the given size and as many bytes.
func (c *cursor) vector(size int) []byte { return c.next(c.num(size)) }

// extensions reads the extensions of a hello, if it has any, and lists their
// types among its fields.
func (c *cursor) extensions(fields map[string]string, read func(kind int, v cursor)) {
	if len(c.b) == 0 || c.bad {
		return
	}
	var types []string
	for x := (cursor{b: c.vector(2)}); len(x.b) > 0 && !x.bad; {
		kind := x.num(2)
		v := cursor{b: x.vector(2)}
		types = append(types, hex16(kind))
		read(kind, v)
		c.bad = c.bad || x.bad
	}
	fields["tls.handshake.extension.type"] = strings.Join(types, ",")
}

func hexes(b []byte, size int) string {
	var s strings.Builder
	for len(b) >= size {
		if s.Len() > 0 {
			s.WriteByte(',')
		}
		s.WriteString("0x" + hex.EncodeToString(b[:size]))
		b = b[size:]
	}
	return s.String()
}

func hex16(n int) string { return fmt.Sprintf("0x%04x", n) }

// clientHello reads a ClientHello as it was on the cable. The HTTPS service has
// a parser of its own, and the two share nothing: they are the two witnesses of a
// handshake. A ClientHello that one of them cannot read is then a disagreement,
// which is never blamed on the handset.
func (t *tlsConn) clientHello(d *reading, i int, b []byte) {
	e := t.event(d, i, timeline.TLSClientHello)
	c := cursor{b: b}
	f := map[string]string{"tls.handshake.version": hex16(c.num(2))}
	c.next(32)
	c.vector(1)
	f["tls.handshake.ciphersuite"] = hexes(c.vector(2), 2)
	c.vector(1)
	c.extensions(f, func(kind int, v cursor) {
		switch kind {
		case 0:
			names := cursor{b: v.vector(2)}
			if names.num(1) == 0 {
				f["tls.handshake.extensions_server_name"] = clip(string(names.vector(2)))
			}
		case 10:
			f["tls.handshake.extensions_supported_group"] = hexes(v.vector(2), 2)
		case 11:
			f["tls.handshake.extensions_ec_point_format"] = hexes(v.vector(1), 1)
		case 13:
			f["tls.handshake.sig_hash_alg"] = hexes(v.vector(2), 2)
		case 16:
			var protocols []string
			for p := (cursor{b: v.vector(2)}); len(p.b) > 0 && !p.bad; {
				protocols = append(protocols, clip(string(p.vector(1))))
			}
			f["tls.handshake.extensions_alpn_str"] = strings.Join(protocols, ",")
		case 43:
			f["tls.handshake.extensions.supported_version"] = hexes(v.vector(1), 2)
		}
	})
	if c.bad {
		t.giveUp(d, i, "TLS: ClientHello cut short")
		return
	}
	e.Fields = f
	d.emit(e)
}

func isSSLv2Hello(b []byte) bool {
	return len(b) >= 5 && b[0]&0x80 != 0 && b[2] == 1 && (b[3] == 0 && b[4] == 2 || b[3] == 3)
}

// sslv2 reads a ClientHello in the frame of SSLv2 (RFC 5246, appendix E.2).
func (t *tlsConn) sslv2(d *reading, b []byte) {
	c := cursor{b: b}
	kind := c.num(1)
	version := c.num(2)
	specs, id, challenge := c.num(2), c.num(2), c.num(2)
	list := c.next(specs)
	c.next(id)
	c.next(challenge)
	if kind != 1 || c.bad {
		t.giveUp(d, 0, "TLS: neither a record nor an SSLv2 ClientHello")
		return
	}
	e := t.event(d, 0, timeline.TLSClientHello)
	e.Message = "SSLv2"
	e.Fields = map[string]string{
		"tls.handshake.version":    hex16(version),
		"tls.handshake.cipherspec": hexes(list, 3),
	}
	d.emit(e)
}

func (t *tlsConn) serverHello(d *reading, i int, b []byte) {
	e := t.event(d, i, timeline.TLSServerHello)
	c := cursor{b: b}
	version := c.num(2)
	random := c.next(32)
	c.vector(1)
	suite := c.num(2)
	c.num(1)
	f := map[string]string{
		"tls.handshake.version":     hex16(version),
		"tls.handshake.ciphersuite": hex16(suite),
	}
	c.extensions(f, func(kind int, v cursor) {
		if kind == 43 {
			selected := v.num(2)
			t.tls13 = selected >= 0x0304
			f["tls.handshake.extensions.supported_version"] = hex16(selected)
		}
	})
	if c.bad {
		t.giveUp(d, i, "TLS: ServerHello cut short")
		return
	}
	if isRetry(random) {
		e.Message = "HelloRetryRequest"
	}
	e.Fields = f
	d.emit(e)
}

// isRetry recognises a HelloRetryRequest by its random (RFC 8446, section 4.1.3).
func isRetry(random []byte) bool {
	sum := sha256.Sum256([]byte("HelloRetryRequest"))
	return string(random) == string(sum[:])
}

func (t *tlsConn) certificate(d *reading, i int, b []byte) {
	e := t.event(d, i, timeline.TLSCertificate)
	c := cursor{b: b}
	list := cursor{b: c.vector(3)}
	for len(list.b) > 0 && !list.bad {
		der := list.vector(3)
		if list.bad {
			break
		}
		if e.Number == 0 {
			sum := sha256.Sum256(der)
			e.SHA256 = hex.EncodeToString(sum[:])
			e.Fields = leafFacts(der)
		}
		e.Number++
		e.Bytes += int64(len(der))
	}
	if c.bad || list.bad {
		t.giveUp(d, i, "TLS: Certificate cut short")
		return
	}
	d.emit(e)
}

// leafFacts says what a certificate is: whose, issued by whom, for when, with
// which key. It is nil for one that cannot be read.
func leafFacts(der []byte) map[string]string {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	key := c.PublicKeyAlgorithm.String()
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		key += " " + strconv.Itoa(k.N.BitLen())
	case *ecdsa.PublicKey:
		key += " " + k.Curve.Params().Name
	}
	const day = "2006-01-02"
	return map[string]string{
		"x509.subject": clip(c.Subject.CommonName), "x509.issuer": clip(c.Issuer.CommonName), "x509.names": clip(strings.Join(names, ",")),
		"x509.not_before": c.NotBefore.UTC().Format(day), "x509.not_after": c.NotAfter.UTC().Format(day), "x509.key": key,
	}
}

// alertName is the description in the IANA registry of TLS alerts.
func alertName(n byte) string {
	names := map[byte]string{
		0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
		22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate",
		42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
		45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca",
		49: "access_denied", 50: "decode_error", 51: "decrypt_error", 52: "too_many_cids_requested",
		60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
		86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
		110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
		113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
		116: "certificate_required", 120: "no_application_protocol", 121: "ech_required",
	}
	if name := names[n]; name != "" {
		return name
	}
	return fmt.Sprintf("alert_%d", n)
}
