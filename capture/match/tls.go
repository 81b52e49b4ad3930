package match

import (
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

func tlsMatchers() registry[params] {
	return registry[params]{
		"RefuseCertificate":       refuseCertificate{},
		"SendNothingAfterRefusal": sendNothingAfterRefusal{},
		"AcceptCertificate":       acceptCertificate{},
		"OpenTLS":                 openTLS{},
	}
}

// about reports whether an event is about one of the certificates: also where the
// event does not name one, or where none is asked for.
func about(certs []string, e *timeline.Event) bool {
	cert := e.Fields["tls.cert"]
	return len(certs) == 0 || cert == "" || slices.Contains(certs, cert)
}

func of(certs []string) string {
	if len(certs) == 0 {
		return "the certificate"
	}
	return "the certificate " + strings.Join(certs, " or ")
}

type refuseCertificate struct {
	Certs []string `json:"certs,omitempty"`
}

// RefuseCertificate claims that the handset refuses the certificate, by an
// alert or by closing the connection, and sends no request over that
// connection. Certificates may be named as the service names them ("tls.cert");
// none: any. A request over a handshake that was completed before is an
// acceptance, and final.
func RefuseCertificate(certs ...string) Matcher { return claims(refuseCertificate{Certs: certs}) }

func (m refuseCertificate) says() string { return "refuse " + of(m.Certs) }

func (m refuseCertificate) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"refused"}, Line: 1, Problem: "no handshake was seen", presence: true}
	var refused, complete *timeline.Event
	for e := range v.Brief.All() {
		switch e.Kind {
		case timeline.Refused:
			if refused == nil && about(m.Certs, e) {
				refused = e
				vd.OK, vd.Seen = true, []string{line(e)}
			}
		case timeline.Handshake:
			if refused != nil || !about(m.Certs, e) {
				continue
			}
			vd.Seen = append(vd.Seen, line(e))
			vd.Problem = "no handshake was refused because of it"
			if e.Complete {
				complete = e
			}
		case timeline.HTTPRequest:
			switch {
			case e.Transport != timeline.HTTPS:
			case refused != nil && e.Src == refused.Src:
				vd.OK, vd.Final, vd.Line = false, true, 2
				vd.Seen = append(vd.Seen, line(e))
				vd.Problem = "it sent a request over the connection that it had refused"
				return vd
			case refused == nil && complete != nil && e.Src == complete.Src:
				vd.Final = true
				vd.Seen = append(vd.Seen, line(e))
				vd.Problem = "it accepted it and sent a request"
				return vd
			}
		default: // the others are not about certificates
		}
	}
	return vd
}

type sendNothingAfterRefusal struct{}

// SendNothingAfterRefusal claims that a certificate is refused in the window
// and that no handshake is completed and no request comes over HTTPS in all of
// it. It holds once the handset is known to have gone on.
func SendNothingAfterRefusal() Matcher { return claims(sendNothingAfterRefusal{}) }

func (m sendNothingAfterRefusal) says() string {
	return "refuse the certificate and send nothing over HTTPS"
}

func (m sendNothingAfterRefusal) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"refused", "no handshake completed, no request"}, Line: 1, Problem: "it refused nothing"}
	var last *timeline.Event
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.Refused:
			if last == nil {
				vd.Seen = append(vd.Seen, line(e))
			}
			last = e
		case e.Kind == timeline.Handshake && e.Complete, e.Kind == timeline.HTTPRequest && e.Transport == timeline.HTTPS:
			if last == nil {
				vd.Seen = append(vd.Seen, "nothing was refused before this")
			}
			vd.Seen = append(vd.Seen, line(e))
			vd.Final, vd.Line = true, len(vd.Seen)
			vd.Problem = "it completed a handshake"
			if e.Kind == timeline.HTTPRequest {
				vd.Problem = "it sent a request"
			}
			return vd
		}
	}
	if last != nil {
		vd.Line, vd.OK = 0, over(v, last.Seq)
		vd.Problem = "it is not yet known whether it sends something"
	}
	return vd
}

type acceptCertificate struct {
	Certs []string `json:"certs,omitempty"`
}

// AcceptCertificate claims a completed handshake with the certificate, followed
// by a request over the same connection. Certificates may be named as the
// service names them; none: any.
func AcceptCertificate(certs ...string) Matcher { return claims(acceptCertificate{Certs: certs}) }

func (m acceptCertificate) says() string { return "accept " + of(m.Certs) }

func (m acceptCertificate) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"handshake complete", "a request over HTTPS"}, Line: 1, Problem: "no handshake was seen", presence: true}
	var complete *timeline.Event
	var others []string
	for e := range v.Brief.All() {
		switch e.Kind {
		case timeline.Refused:
			others = append(others, line(e))
			if complete == nil {
				vd.Problem = "it refused it: " + e.Reason
			}
		case timeline.Handshake:
			switch {
			case !about(m.Certs, e):
			case e.Complete:
				complete, vd.Line, vd.Problem = e, 2, "no request came over it"
			case complete == nil:
				others = append(others, line(e))
				if vd.Problem == "no handshake was seen" {
					vd.Problem = "no handshake was completed"
				}
			}
		case timeline.HTTPRequest:
			if e.Transport == timeline.HTTPS && complete != nil && e.Src == complete.Src {
				vd.OK, vd.Final, vd.Seen = true, true, []string{line(complete), line(e)}
				return vd
			}
		default: // the others are not about certificates
		}
	}
	if complete != nil {
		vd.Seen = []string{line(complete)}
	}
	vd.Seen = append(vd.Seen, others...)
	return vd
}

type openTLS struct{}

// OpenTLS claims that the handset opens a TLS connection: a ClientHello.
func OpenTLS() Matcher { return claims(openTLS{}) }

func (m openTLS) says() string { return "open a TLS connection" }

func (m openTLS) judge(v timeline.View) Verdict {
	return first(v, "ClientHello", "it did not", func(e *timeline.Event) bool {
		// The end of a handshake may be that of one the handset opened a boot ago.
		return e.Kind == timeline.TLSClientHello && fromHandset(v, e)
	})
}
