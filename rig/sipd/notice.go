package sipd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
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

// Flood is what became of notices.
type Flood struct {
	Sent     int
	Answered int
	// Status counts final answers by their code.
	Status map[int]int
}

// String says it in the words of a report.
func (f Flood) String() string {
	parts := []string{fmt.Sprintf("%d sent, %d answered", f.Sent, f.Answered)}
	for _, code := range slices.Sorted(maps.Keys(f.Status)) {
		parts = append(parts, fmt.Sprintf("%d with %d", f.Status[code], code))
	}
	return strings.Join(parts, ", ")
}

// maxFlood bounds a flood, in messages.
const maxFlood = 100_000

// NotifyRaw sends one notice once, without sending it again, and waits so long
// for a final answer. The status is 0 if none came, which is no error: whoever
// sends nonsense may be ignored. An answer without our branch does not count;
// it stands in the journal as an oddity. Errors are those of NotifyFlood.
func (s *Server) NotifyRaw(ctx context.Context, n Notice, wait time.Duration) (status int, err error) {
	f, err := s.NotifyFlood(ctx, n, 1, 0, wait)
	for code := range f.Status {
		status = code
	}
	return status, err
}

// NotifyFlood sends a notice so many times, each as a request of its own and
// none sent again, with the spacing between two; then it waits until all are
// answered or so long. The error wraps ErrNotRegistered or ctx's error, or says
// what is wrong with the notice; what was sent until then is told and journalled
// all the same.
func (s *Server) NotifyFlood(ctx context.Context, n Notice, count int, spacing, wait time.Duration) (Flood, error) {
	f := Flood{Status: map[int]int{}}
	if count < 1 || count > maxFlood || spacing < 0 || wait < 0 {
		return f, fmt.Errorf("NOTIFY to user %q: %d notices, %v apart, waiting %v: 1 to %d, no time below 0", n.User, count, spacing, wait, maxFlood)
	}
	target, aor, h, err := s.address(n)
	if err != nil {
		return f, fmt.Errorf("NOTIFY to user %q: %w", n.User, err)
	}
	if err := n.check(); err != nil {
		return f, fmt.Errorf("NOTIFY to user %q: %w", n.User, err)
	}
	answers := make(chan *sip.Response, count+16)
	open := map[string]bool{} // transactions without a final answer
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key := range s.waiting {
			if s.waiting[key] == answers {
				delete(s.waiting, key)
				s.finished.put(key, remembered{until: time.Now().Add(s.lifetime())})
			}
		}
	}()
	note := timeline.Event{
		Kind: timeline.Note, Src: h.peer, Dst: h.local, Message: "NOTIFY", Number: count, Reason: n.String(),
		Fields: map[string]string{"sip.Event": n.Event, "sip.to.addr": aor.String()},
	}
	s.record(note)
	defer func() {
		note.Number, note.Reason = f.Sent, "NOTIFY: "+f.String()
		s.record(note)
	}()

	next := time.NewTimer(0)
	defer next.Stop()
	for f.Sent < count || len(open) > 0 {
		select {
		case <-next.C:
			if f.Sent == count {
				return f, nil // waited long enough
			}
			branch := s.newBranch()
			key := clientKey(branch, sip.NOTIFY)
			open[key] = true
			s.mu.Lock()
			s.waiting[key] = answers
			s.mu.Unlock()
			s.sendRequest(n.packet(s, target, aor, branch, h), sip.NOTIFY, h)
			if f.Sent++; f.Sent < count {
				next.Reset(spacing)
			} else {
				next.Reset(wait)
			}
		case res := <-answers:
			branch, _ := res.Via().Params.Get("branch")
			if key := clientKey(branch, sip.NOTIFY); !res.IsProvisional() && open[key] {
				delete(open, key)
				f.Answered++
				f.Status[res.StatusCode]++
			}
		case <-s.done:
			return f, fmt.Errorf("NOTIFY to user %q: %w", n.User, net.ErrClosed)
		case <-ctx.Done():
			return f, fmt.Errorf("NOTIFY to user %q: %w", n.User, context.Cause(ctx))
		}
	}
	return f, nil
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

// address says whom a notice goes to, and how.
func (s *Server) address(n Notice) (target, aor sip.Uri, h hop, err error) {
	if !n.To.IsValid() {
		b, ok := s.find(n.User)
		if !ok {
			return target, aor, h, ErrNotRegistered
		}
		if target, h, err = b.reach(); err != nil {
			return target, aor, h, err
		}
		if err := sip.ParseUri(b.AOR, &aor); err != nil {
			return target, aor, h, fmt.Errorf("address of record %q: %w", b.AOR, err)
		}
		return target, aor, h, nil
	}
	if n.User == "" {
		return target, aor, h, errors.New("no user")
	}
	h = hop{n.To, n.Local}
	if !n.Local.IsValid() {
		h.local = s.sock.Local()
	}
	target = sip.Uri{Scheme: "sip", User: n.User, Host: n.To.Addr().String(), Port: int(n.To.Port())}
	aor = sip.Uri{Scheme: "sip", User: n.User, Host: h.local.Addr().String()}
	return target, aor, h, nil
}

// packet is the notice as it is sent, as one request of its own.
func (n Notice) packet(s *Server, target, aor sip.Uri, branch string, h hop) []byte {
	req := outgoing(sip.NOTIFY, target, s.caller(aor, h), &sip.ToHeader{Address: aor, Params: sip.NewParams()}, s.newCallID(h), 1, branch, h)
	req.AppendHeader(contact(h))
	if n.Event != "" {
		req.AppendHeader(sip.NewHeader("Event", n.Event))
	}
	req.AppendHeader(sip.NewHeader("Subscription-State", "active"))
	if n.Body != "" {
		req.AppendHeader(sip.NewHeader("Content-Type", n.ContentType))
	}
	req.SetBody([]byte(n.Body))
	pkt := []byte(req.String())
	for _, e := range n.Headers {
		pkt = e.edit(pkt)
	}
	if n.CutTo > 0 {
		pkt = Cut{n.CutTo}.edit(pkt)
	}
	return pkt
}
