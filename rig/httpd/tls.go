package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

// handshake makes c.tls. It returns why there is none, and then the
// connection is over and the outcome recorded.
func (c *conn) handshake(ctx context.Context) string {
	c.deadline(c.raw.SetDeadline, c.srv.cfg.Idle)
	read, h, what, err := peekHello(c.raw)
	switch what {
	case nothing:
		return c.quiet(true, err)
	case notTLS:
		c.oddity(fmt.Sprintf("HTTP or something else spoken to the TLS port: %s", firstLine(read)), nil)
		c.finish()
		return "closed after something that is not TLS"
	case helloWhole, helloBroken:
	}
	sni := ""
	if h != nil {
		sni = h.sni
		e := c.event(timeline.TLSClientHello)
		e.Fields = h.fields()
		if h.framing == "SSLv2" {
			e.Message = h.framing
		}
		c.srv.cfg.Record(e)
	}
	c.pend(sni)
	if what == helloBroken {
		why := "no whole ClientHello: " + ending(err)
		c.settle(false, why, nil)
		c.finish()
		return why
	}
	config := c.srv.tls.Clone()
	f := &flights{Conn: &replayed{Conn: c.raw, first: read}, c: c, done: ctx.Done(), config: config}
	first := f.ask(afterHello, nil)
	if f.ended != "" {
		return f.ended
	}
	if len(first) > 0 { // an alert that is only a warning
		_, _ = c.raw.Write(first)
	}
	if why := h.tooOld(); why != "" {
		c.settle(false, why, nil)
		// The version of SSL 3.0 and an alert that it knows (RFC 6101, 5.4).
		_, _ = c.raw.Write([]byte{recordAlert, 3, 0, 0, 2, 2, 40})
		c.finish()
		return "no handshake possible"
	}
	if h.onlySHA1() {
		// RSA key exchange needs no signature.
		config.CipherSuites = slices.DeleteFunc(slices.Clone(config.CipherSuites), func(id uint16) bool {
			return !strings.HasPrefix(tls.CipherSuiteName(id), "TLS_RSA_")
		})
	}
	c.pending.Fields["tls.cert"] = ""
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, name, err := c.srv.cfg.Certificate(hello)
		if f.label != "" {
			name = f.label
			cert, err = c.srv.other(name)
		}
		if err == nil && cert == nil {
			err = errors.New("no certificate to show")
		}
		c.pending.Fields["tls.cert"] = name
		return cert, err
	}
	// c.tls stays nil while faults may end the connection: that takes no lock of
	// the handshake's.
	shaken := tls.Server(f, config)
	err = shaken.HandshakeContext(ctx)
	if f.ended == "" && err == nil {
		f.over()
	}
	if f.ended != "" {
		return f.ended
	}
	c.tls = shaken
	state := c.tls.ConnectionState()
	if state.Version != 0 {
		c.pending.Fields["tls.version"] = tls.VersionName(state.Version)
		c.pending.Fields["tls.cipher"] = tls.CipherSuiteName(state.CipherSuite)
	}
	if err != nil {
		why := "handshake: " + ending(err)
		alert := c.alert(err)
		c.settle(false, why, alert)
		if alert != nil {
			why = "handshake: alert " + alert.name
		}
		c.finish()
		return why
	}
	c.pending.Fields["tls.finished"] = "true"
	c.pending.Fields["tls.resumed"] = strconv.FormatBool(state.DidResume)
	c.deadline(c.raw.SetDeadline, c.srv.cfg.Idle)
	return ""
}

// pend begins the one Handshake event of the connection.
func (c *conn) pend(sni string) {
	e := c.event(timeline.Handshake)
	e.Fields = map[string]string{}
	if sni != "" {
		e.Fields["tls.sni"] = sni
	}
	c.pending = &e
}

// settle records the outcome of the handshake, once. A handshake counts as
// complete when the handset goes on to use the connection: some clients check
// the certificate only after the last message, and send their alert, or close,
// then.
func (c *conn) settle(complete bool, reason string, a *alert) {
	if c.pending == nil {
		return
	}
	e := *c.pending
	c.pending = nil
	e.Complete = complete
	if !complete {
		e.Reason = reason
	}
	if a != nil {
		e.Reason = a.name
		e.Status = a.number
		e.Fields["tls.alert_message.desc"] = strconv.Itoa(a.number)
	}
	c.srv.cfg.Record(e)
}

// alert is one that the handset sent.
type alert struct {
	number int
	name   string // as in RFC 8446: "bad_certificate"
}

// alert finds the handset's alert in err or, because crypto/tls passes over
// warnings and takes close_notify for an end, in what was seen in clear.
func (c *conn) alert(err error) *alert {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		// The type behind op.Err is not exported; AlertError has the same texts.
		for n := range 256 {
			if tls.AlertError(n).Error() == op.Err.Error() {
				return &alert{n, alertName(n)}
			}
		}
	}
	if n := c.raw.watch.last(); n >= 0 {
		return &alert{n, alertName(n)}
	}
	return nil
}

// alertWatch follows the records of a stream for as long as they are in clear.
// The zero value is at the start.
type alertWatch struct {
	head  []byte
	left  int // of the record's body
	kind  byte
	body  []byte
	off   bool
	alert []byte
}

// see takes the next bytes of the stream.
func (w *alertWatch) see(b []byte) {
	for len(b) > 0 && !w.off {
		if w.left == 0 {
			n := min(5-len(w.head), len(b))
			w.head = append(w.head, b[:n]...)
			b = b[n:]
			if len(w.head) < 5 {
				return
			}
			w.kind, w.left = w.head[0], int(w.head[3])<<8|int(w.head[4])
			// After a change of specs all is ciphertext; and this may not be TLS.
			w.off = w.head[1] != 3 || w.kind < recordChangeSpec || w.kind > recordHandshake+1 || w.kind == recordChangeSpec || w.left == 0
			w.head, w.body = w.head[:0], w.body[:0]
			continue
		}
		n := min(w.left, len(b))
		if w.kind == recordAlert && w.left <= 2 {
			w.body = append(w.body, b[:n]...)
			if len(w.body) == 2 {
				w.alert = append(w.alert[:0], w.body...)
			}
		}
		w.left -= n
		b = b[n:]
	}
}

// last is the number of the last alert in clear; -1: none.
func (w *alertWatch) last() int {
	if len(w.alert) != 2 {
		return -1
	}
	return int(w.alert[1])
}

// alertName is the name of RFC 8446, 6 or of an older standard.
func alertName(n int) string {
	names := map[int]string{
		0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
		30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
		43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
		47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
		60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
		86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
		110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
		113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
		116: "certificate_required", 120: "no_application_protocol",
	}
	if name, ok := names[n]; ok {
		return name
	}
	return "alert " + strconv.Itoa(n)
}
