package sipd

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Notice is a NOTIFY as a test wants it, sound or not.
type Notice struct {
	// User is notified at its latest contact; or at To, registered or not.
	User string
	To   netip.AddrPort
	// Local is our end, needed with To when the server's port is bound to an
	// unspecified address.
	Local netip.AddrPort
	// Event is the value of that header, whatever it is; empty: no such header.
	Event string
	// Headers are set behind all others, in this order: SetHeader{"CSeq", "x"}.
	Headers []SetHeader
	// Body with its type; none if empty.
	ContentType, Body string
	// CutTo is how many bytes of it are sent, if above 0.
	CutTo int
}

// String is what a notice is, for the journal.
func (n Notice) String() string {
	event := "no event"
	if n.Event != "" {
		event = fmt.Sprintf("event %q", n.Event)
	}
	parts := []string{"sends NOTIFY with " + event}
	for _, e := range n.Headers {
		parts = append(parts, e.String())
	}
	if n.Body != "" {
		parts = append(parts, fmt.Sprintf("with %d bytes of %s", len(n.Body), n.ContentType))
	}
	if n.CutTo > 0 {
		parts = append(parts, Cut{n.CutTo}.String())
	}
	return strings.Join(parts, ", ")
}

func (n Notice) check() error {
	if strings.ContainsAny(n.Event+n.ContentType, "\r\n") {
		return fmt.Errorf("event %q, content type %q", n.Event, n.ContentType)
	}
	for _, e := range n.Headers {
		if err := e.check(); err != nil {
			return err
		}
	}
	if n.CutTo < 0 {
		return fmt.Errorf("cut to %d bytes", n.CutTo)
	}
	return nil
}

// request is the notice as one request of its own, sound but for its parts.
func (n Notice) request(target sip.Uri, from *sip.FromHeader, to sip.Uri, callID, branch string, h hop) *sip.Request {
	req := outgoing(sip.NOTIFY, target, from, &sip.ToHeader{Address: to, Params: sip.NewParams()}, callID, 1, branch, h)
	req.AppendHeader(contact(h))
	if n.Event != "" {
		req.AppendHeader(sip.NewHeader("Event", n.Event))
	}
	req.AppendHeader(sip.NewHeader("Subscription-State", "active"))
	if n.Body != "" {
		req.AppendHeader(sip.NewHeader("Content-Type", n.ContentType))
	}
	req.SetBody([]byte(n.Body))
	return req
}

// spoil makes of the request what Headers and CutTo say.
func (n Notice) spoil(pkt []byte) []byte {
	for _, e := range n.Headers {
		pkt = e.edit(pkt)
	}
	if n.CutTo > 0 {
		pkt = Cut{n.CutTo}.edit(pkt)
	}
	return pkt
}
