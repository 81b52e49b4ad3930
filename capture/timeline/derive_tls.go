package timeline

import (
	"net/netip"
	"strings"
)

// refused reports a refusal once per connection: over TLS 1.2 both the wire and
// the service see it.
func (d *deriver) refused(e *Event, handset, server netip.AddrPort, reason string) {
	if reason == "" || d.s.Refusals[handset] {
		return
	}
	remember(&d.s.Refusals, handset, true)
	refusal := Event{Kind: Refused, SrcMAC: e.SrcMAC, Src: handset, Dst: server, Transport: HTTPS, Reason: reason}
	if cert := e.Fields["tls.cert"]; cert != "" {
		refusal.Fields = map[string]string{"tls.cert": cert}
	}
	d.emit(refusal)
}

// handshakeRefusal returns why a handshake that the service saw fail failed,
// as far as that is the certificate; else the empty string.
func handshakeRefusal(e *Event) string {
	for _, text := range []string{e.Fields["tls.alert"], e.Reason} {
		if name := alertName(text); aboutCertificate(name) {
			return name
		}
	}
	if e.Fields["tls.alert"] != "" || e.Fields["tls.alert_message.desc"] != "" || e.Fields["tls.cert"] == "" {
		return "" // another alert, or no certificate was shown yet
	}
	// A stack without alerts just goes away once it has seen the certificate.
	if strings.Contains(e.Reason, "by the handset") {
		return "without an alert: " + e.Reason
	}
	return ""
}

// alertName brings the name of an alert into the form of RFC 8446, section 6:
// crypto/tls writes "remote error: tls: unknown certificate authority".
func alertName(text string) string {
	text = strings.ToLower(text)
	if i := strings.LastIndex(text, "tls: "); i >= 0 {
		text = text[i+len("tls: "):]
	}
	switch text {
	case "unknown certificate authority":
		return "unknown_ca"
	case "expired certificate":
		return "certificate_expired"
	case "revoked certificate":
		return "certificate_revoked"
	case "unknown certificate":
		return "certificate_unknown"
	}
	return strings.ReplaceAll(text, " ", "_")
}

func aboutCertificate(alert string) bool {
	switch alert {
	case "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown", "unknown_ca",
		"no_certificate", "bad_certificate_status_response", "bad_certificate_hash_value":
		return true
	}
	return false
}
