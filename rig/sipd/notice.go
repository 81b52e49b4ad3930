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
	// Headers are set after all others, in this order: SetHeader{"CSeq", "x"}.
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

// notifier sends NOTIFY.
type notifier struct {
	*transactions

	registrar *registrar
}

// Notify sends a NOTIFY with an Event header ("check-sync",
// "check-sync;reboot=true") to a registered user: to its latest contact,
// addressed to its address of record. It is sent again until a final answer
// comes. The error is nil for a 2xx, an *AnswerError for another answer, and
// wraps ErrNotRegistered, ErrNoAnswer or ctx's error else. What came of it is
// journalled.
func (n *notifier) Notify(ctx context.Context, user, event string) error {
	return n.notify(ctx, Notice{User: user, Event: event})
}

// NotifyAt is Notify to a user at an address, registered or not. The local end
// is needed only when the server's port is bound to an unspecified address.
func (n *notifier) NotifyAt(ctx context.Context, user, event string, to, local netip.AddrPort) error {
	return n.notify(ctx, Notice{User: user, Event: event, To: to, Local: local})
}

func (n *notifier) notify(ctx context.Context, what Notice) error {
	target, aor, h, err := n.address(what)
	if err != nil {
		return fmt.Errorf("NOTIFY %s to user %q: %w", what.Event, what.User, err)
	}
	if strings.ContainsAny(what.Event, "\r\n") || what.Event == "" {
		return fmt.Errorf("NOTIFY: event %q", what.Event)
	}
	callID := n.newCallID(h)
	req := what.request(target, n.caller(aor, h), aor, callID, n.newBranch(), h)
	res, sent, err := n.exchange(ctx, req, h)
	e := timeline.Event{
		Kind: timeline.Note, Src: h.peer, Dst: h.local, Message: "NOTIFY", Number: sent,
		Fields: map[string]string{"sip.Event": what.Event, "sip.Call-ID": callID, "sip.to.addr": aor.String()},
	}
	if err != nil {
		e.Reason = err.Error()
		n.record(e)
		return err
	}
	e.Status, e.Reason = res.StatusCode, fmt.Sprintf("NOTIFY answered %d %s", res.StatusCode, res.Reason)
	n.record(e)
	if !res.IsSuccess() {
		return &AnswerError{Method: "NOTIFY", Status: res.StatusCode, Reason: res.Reason}
	}
	return nil
}

// NotifyRaw sends one notice once, without sending it again, and waits so long
// for a final answer. The status is 0 if none came, which is no error: whoever
// sends nonsense may be ignored. An answer without our branch does not count;
// it stands in the journal as an oddity. Errors are those of NotifyFlood.
func (n *notifier) NotifyRaw(ctx context.Context, what Notice, wait time.Duration) (status int, err error) {
	f, err := n.NotifyFlood(ctx, what, 1, 0, wait)
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
func (n *notifier) NotifyFlood(ctx context.Context, what Notice, count int, spacing, wait time.Duration) (Flood, error) {
	f := Flood{Status: map[int]int{}}
	if count < 1 || count > maxFlood || spacing < 0 || wait < 0 {
		return f, fmt.Errorf("NOTIFY to user %q: %d notices, %v apart, waiting %v: 1 to %d, no time below 0", what.User, count, spacing, wait, maxFlood)
	}
	target, aor, h, err := n.address(what)
	if err != nil {
		return f, fmt.Errorf("NOTIFY to user %q: %w", what.User, err)
	}
	if err := what.check(); err != nil {
		return f, fmt.Errorf("NOTIFY to user %q: %w", what.User, err)
	}
	answers := make(chan *sip.Response, count+16)
	open := map[string]bool{} // transactions without a final answer
	defer n.finish(answers)
	note := timeline.Event{
		Kind: timeline.Note, Src: h.peer, Dst: h.local, Message: "NOTIFY", Number: count, Reason: what.String(),
		Fields: map[string]string{"sip.Event": what.Event, "sip.to.addr": aor.String()},
	}
	n.record(note)
	defer func() {
		note.Number, note.Reason = f.Sent, "NOTIFY: "+f.String()
		n.record(note)
	}()

	next := time.NewTimer(0)
	defer next.Stop()
	for f.Sent < count || len(open) > 0 {
		select {
		case <-next.C:
			if f.Sent == count {
				return f, nil // waited long enough
			}
			branch := n.newBranch()
			key := clientKey(branch, sip.NOTIFY)
			open[key] = true
			n.await(key, answers)
			req := what.request(target, n.caller(aor, h), aor, n.newCallID(h), branch, h)
			n.sendRequest(what.spoil([]byte(req.String())), sip.NOTIFY, h)
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
		case <-n.done:
			return f, fmt.Errorf("NOTIFY to user %q: %w", what.User, net.ErrClosed)
		case <-ctx.Done():
			return f, fmt.Errorf("NOTIFY to user %q: %w", what.User, context.Cause(ctx))
		}
	}
	return f, nil
}

// address says whom a notice goes to, and how.
func (n *notifier) address(what Notice) (target, aor sip.Uri, h hop, err error) {
	if !what.To.IsValid() {
		b, ok := n.registrar.find(what.User)
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
	if what.User == "" {
		return target, aor, h, errors.New("no user")
	}
	h = hop{what.To, what.Local}
	if !what.Local.IsValid() {
		h.local = n.sock.Local()
	}
	target = sip.Uri{Scheme: "sip", User: what.User, Host: what.To.Addr().String(), Port: int(what.To.Port())}
	aor = sip.Uri{Scheme: "sip", User: what.User, Host: h.local.Addr().String()}
	return target, aor, h, nil
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
