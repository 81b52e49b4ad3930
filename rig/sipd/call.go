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

// State is how far a call has come.
type State string

// The states of a call.
const (
	Calling State = "calling" // nothing was heard of it, or 100 only
	Ringing State = "ringing" // 101 to 199
	Talking State = "talking" // 2xx
	Over    State = "over"
)

// Dialog is a call with a handset. Its methods are safe for concurrent use.
type Dialog struct {
	s        *Server
	user     string
	callID   string
	local    *sip.FromHeader // with our tag
	hop      hop
	invite   *sip.Request // ours; nil for a call of the handset
	branch   string       // of invite
	inviteAt time.Time

	// Guarded by s.mu.
	state   State
	heard   bool // a provisional answer came
	remote  *sip.ToHeader
	target  sip.Uri
	routes  []string
	seq     uint32
	ack     []byte // of the 2xx, to be sent again
	err     error  // why it is over before it was answered
	changed chan struct{}
}

// User is the user that is called or calls.
func (d *Dialog) User() string { return d.user }

// State returns how far the call has come.
func (d *Dialog) State() State {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.state
}

// Dialogs returns the calls that are not over, the handset's own among them.
func (s *Server) Dialogs() []*Dialog {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedFunc(maps.Values(s.dialogs), func(a, b *Dialog) int { return strings.Compare(a.callID, b.callID) })
	return slices.DeleteFunc(all, func(d *Dialog) bool { return d.state == Over })
}

// Notify sends a NOTIFY with an Event header ("check-sync",
// "check-sync;reboot=true") to a registered user: to its latest contact,
// addressed to its address of record. It is sent again until a final answer
// comes. The error is nil for a 2xx, an *AnswerError for another answer, and
// wraps ErrNotRegistered, ErrNoAnswer or ctx's error else. What came of it is
// journalled.
func (s *Server) Notify(ctx context.Context, user, event string) error {
	b, ok := s.find(user)
	if !ok {
		return fmt.Errorf("NOTIFY %s to user %q: %w", event, user, ErrNotRegistered)
	}
	target, h, err := b.reach()
	if err != nil {
		return fmt.Errorf("NOTIFY %s to user %q: %w", event, user, err)
	}
	return s.notify(ctx, event, target, b.AOR, h)
}

// NotifyAt is Notify to a user at an address, registered or not. The local end
// is needed only when the server's port is bound to an unspecified address.
func (s *Server) NotifyAt(ctx context.Context, user, event string, to, local netip.AddrPort) error {
	h := hop{to, local}
	if !local.IsValid() {
		h.local = s.sock.Local()
	}
	target := sip.Uri{Scheme: "sip", User: user, Host: to.Addr().String(), Port: int(to.Port())}
	return s.notify(ctx, event, target, "sip:"+user+"@"+h.local.Addr().String(), h)
}

func (s *Server) notify(ctx context.Context, event string, target sip.Uri, aor string, h hop) error {
	if strings.ContainsAny(event, "\r\n") || event == "" {
		return fmt.Errorf("NOTIFY: event %q", event)
	}
	var record sip.Uri
	if err := sip.ParseUri(aor, &record); err != nil {
		return fmt.Errorf("NOTIFY: address of record %q: %w", aor, err)
	}
	callID := s.newCallID(h)
	req := outgoing(sip.NOTIFY, target, s.caller(record, h), &sip.ToHeader{Address: record, Params: sip.NewParams()}, callID, 1, s.newBranch(), h)
	req.AppendHeader(contact(h))
	req.AppendHeader(sip.NewHeader("Event", event))
	req.AppendHeader(sip.NewHeader("Subscription-State", "active"))
	req.SetBody(nil) // Content-Length: 0
	res, sent, err := s.exchange(ctx, req, h)
	e := timeline.Event{
		Kind: timeline.Note, Src: h.peer, Dst: h.local, Message: "NOTIFY", Number: sent,
		Fields: map[string]string{"sip.Event": event, "sip.Call-ID": callID, "sip.to.addr": aor},
	}
	if err != nil {
		e.Reason = err.Error()
		s.record(e)
		return err
	}
	e.Status, e.Reason = res.StatusCode, fmt.Sprintf("NOTIFY answered %d %s", res.StatusCode, res.Reason)
	s.record(e)
	if !res.IsSuccess() {
		return &AnswerError{Method: "NOTIFY", Status: res.StatusCode, Reason: res.Reason}
	}
	return nil
}

// caller is the From of our requests.
func (s *Server) caller(record sip.Uri, h hop) *sip.FromHeader {
	host := record.Host
	if host == "" {
		host = h.local.Addr().String()
	}
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: userAgent, Host: host, Port: record.Port}, Params: sip.NewParams()}
	from.Params.Add("tag", s.cfg.Text())
	return from
}

// reach says where requests to a binding go: to the address in its contact, or
// to the source of its REGISTER if that is a name.
func (b Binding) reach() (target sip.Uri, h hop, err error) {
	if err := sip.ParseUri(b.Contact, &target); err != nil {
		return target, h, fmt.Errorf("contact %q: %w", b.Contact, err)
	}
	h = hop{b.Src, b.Dst}
	if addr, err := netip.ParseAddr(target.Host); err == nil && !addr.IsUnspecified() {
		h.peer = withPort(addr.Unmap(), target.Port)
	}
	return target, h, nil
}

// Ring calls a registered user and returns when the handset rings, or has
// answered at once. The error is an *AnswerError if it refuses, and wraps
// ErrNotRegistered, ErrNoAnswer or ctx's error else.
func (s *Server) Ring(ctx context.Context, user string) (*Dialog, error) {
	b, ok := s.find(user)
	if !ok {
		return nil, fmt.Errorf("call to user %q: %w", user, ErrNotRegistered)
	}
	target, h, err := b.reach()
	if err != nil {
		return nil, fmt.Errorf("call to user %q: %w", user, err)
	}
	var record sip.Uri
	if err := sip.ParseUri(b.AOR, &record); err != nil {
		return nil, fmt.Errorf("call to user %q: address of record %q: %w", user, b.AOR, err)
	}
	d := s.invite(user, target, record, h)
	if err := d.ring(ctx); err != nil {
		return nil, fmt.Errorf("call to user %q: %w", user, err)
	}
	return d, nil
}

// Call is Ring, and waits until the handset has answered. When ctx ends before,
// the call is cancelled.
func (s *Server) Call(ctx context.Context, user string) (*Dialog, error) {
	d, err := s.Ring(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := d.Await(ctx); err != nil {
		return nil, fmt.Errorf("call to user %q: %w", user, errors.Join(err, d.giveUp(ctx)))
	}
	return d, nil
}

// invite makes a call known, with its INVITE ready to be sent.
func (s *Server) invite(user string, target, record sip.Uri, h hop) *Dialog {
	d := &Dialog{
		s: s, user: user, callID: s.newCallID(h), local: s.caller(record, h), hop: h, branch: s.newBranch(), inviteAt: time.Now(),
		state: Calling, remote: &sip.ToHeader{Address: record, Params: sip.NewParams()}, target: target, seq: 1,
		changed: make(chan struct{}),
	}
	d.invite = outgoing(sip.INVITE, target, d.local, d.remote, d.callID, d.seq, d.branch, h)
	d.invite.AppendHeader(contact(h))
	d.invite.AppendHeader(sip.NewHeader("Allow", allow))
	d.invite.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	d.invite.SetBody(session(h))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enter(d)
	return d
}

// enter makes a dialog known and forgets those long over. s.mu is held.
func (s *Server) enter(d *Dialog) {
	maps.DeleteFunc(s.dialogs, func(_ string, old *Dialog) bool {
		return old.state == Over && time.Since(old.inviteAt) > 2*s.lifetime()
	})
	s.dialogs[d.callID] = d
}

// session describes a call without sound: the rig has none to give, and none
// is to clutter the wire.
func session(h hop) []byte {
	family := "IP4"
	if h.local.Addr().Is6() {
		family = "IP6"
	}
	where := family + " " + h.local.Addr().String()
	return []byte("v=0\r\no=ip88rig 1 1 IN " + where + "\r\ns=ip88rig\r\nc=IN " + where +
		"\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0 8 18\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:18 G729/8000\r\na=inactive\r\n")
}

// ring sends the INVITE until something is heard (RFC 3261 section 17.1.1, timers
// A and B), and waits until it rings.
func (d *Dialog) ring(ctx context.Context) error {
	pkt := []byte(d.invite.String())
	late := time.NewTimer(d.s.lifetime())
	defer late.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for wait := d.s.cfg.T1; ; {
		state, heard, changed, err := d.look()
		switch state {
		case Ringing, Talking:
			return nil
		case Over:
			return err
		case Calling:
		}
		select {
		case <-changed:
		case <-again.C:
			if !heard {
				d.s.sendRequest(pkt, sip.INVITE, d.hop)
				again.Reset(wait)
				wait *= 2
			}
		case <-late.C:
			if !heard {
				err := fmt.Errorf("INVITE to %v: %w in %v", d.hop.peer, ErrNoAnswer, d.s.lifetime())
				d.end(err)
				return err
			}
		case <-d.s.done:
			return fmt.Errorf("INVITE to %v: %w", d.hop.peer, net.ErrClosed)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("INVITE to %v: %w", d.hop.peer, context.Cause(ctx)), d.giveUp(ctx))
		}
	}
}

// Await waits until the handset has answered. It returns an *AnswerError if it
// refuses, and ctx's error when that ends first.
func (d *Dialog) Await(ctx context.Context) error {
	for {
		state, _, changed, err := d.look()
		switch state {
		case Talking:
			return nil
		case Over:
			if err == nil {
				err = errors.New("the call is over")
			}
			return err
		case Calling, Ringing:
		}
		select {
		case <-changed:
		case <-d.s.done:
			return net.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("no answer yet: %w", context.Cause(ctx))
		}
	}
}

// giveUp hangs up although ctx has ended; the transactions' own timers bound it.
func (d *Dialog) giveUp(ctx context.Context) error {
	return d.Hangup(context.WithoutCancel(ctx))
}

// Hangup ends the call: BYE if it was answered, CANCEL if it only rings. It is
// over afterwards in any case; the error says what was not as it should be.
func (d *Dialog) Hangup(ctx context.Context) error {
	defer d.end(nil)
	cancelled := false
	late := time.NewTimer(d.s.lifetime())
	defer late.Stop()
	for {
		state, heard, changed, _ := d.look()
		switch {
		case state == Over:
			return nil
		case state == Talking:
			return d.bye(ctx)
		case heard && !cancelled:
			// A CANCEL before anything was heard is forbidden (RFC 3261 section 9.1).
			cancelled = true
			if err := d.cancel(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("call to user %q: %w", d.user, ErrNoAnswer)
		case <-d.s.done:
			return net.ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("call to user %q: hanging up: %w", d.user, context.Cause(ctx))
		}
	}
}

// cancel sends a CANCEL, which has the INVITE's branch; the INVITE then ends
// with 487, or with a 2xx that crossed.
func (d *Dialog) cancel(ctx context.Context) error {
	req := outgoing(sip.CANCEL, d.invite.Recipient, d.local, d.invite.To(), d.callID, d.invite.CSeq().SeqNo, d.branch, d.hop)
	req.SetBody(nil)
	res, _, err := d.s.exchange(ctx, req, d.hop)
	if err == nil && !res.IsSuccess() && res.StatusCode != sip.StatusCallTransactionDoesNotExists {
		err = &AnswerError{Method: "CANCEL", Status: res.StatusCode, Reason: res.Reason}
	}
	return err
}

func (d *Dialog) bye(ctx context.Context) error {
	d.s.mu.Lock()
	d.seq++
	req := d.inside(sip.BYE, d.seq, d.s.newBranch())
	d.s.mu.Unlock()
	d.end(nil)
	res, _, err := d.s.exchange(ctx, req, d.hop)
	if err == nil && !res.IsSuccess() && res.StatusCode != sip.StatusCallTransactionDoesNotExists {
		err = &AnswerError{Method: "BYE", Status: res.StatusCode, Reason: res.Reason}
	}
	return err
}

// inside builds a request within the dialog (RFC 3261 section 12.2.1.1). s.mu is
// held.
func (d *Dialog) inside(method sip.RequestMethod, seq uint32, branch string) *sip.Request {
	req := outgoing(method, d.target, d.local, d.remote, d.callID, seq, branch, d.hop)
	for _, r := range d.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	req.SetBody(nil)
	return req
}

// invitation handles an answer to an INVITE of ours; false: it is none.
func (s *Server) invitation(res *sip.Response, branch string, h hop) bool {
	s.mu.Lock()
	d := s.dialogs[string(*res.CallID())]
	if d == nil || d.branch != branch || res.To() == nil {
		s.mu.Unlock()
		return false
	}
	var ack []byte
	switch {
	case res.IsProvisional():
		d.heard = true
		if d.state == Calling && res.StatusCode > 100 {
			d.state = Ringing
		}
	case res.IsSuccess():
		if d.ack == nil {
			d.remote = &sip.ToHeader{DisplayName: res.To().DisplayName, Address: res.To().Address, Params: res.To().Params}
			if c := res.Contact(); c != nil {
				d.target = c.Address
			}
			for _, r := range slices.Backward(res.GetHeaders("Record-Route")) {
				d.routes = append(d.routes, r.Value())
			}
			d.ack = []byte(d.inside(sip.ACK, d.invite.CSeq().SeqNo, d.s.newBranch()).String())
			if d.state != Over {
				d.state = Talking
			}
		}
		ack = d.ack
	default:
		// RFC 3261 section 17.1.1.3: the transaction's own ACK.
		req := outgoing(sip.ACK, d.invite.Recipient, d.local, &sip.ToHeader{Address: res.To().Address, Params: res.To().Params},
			d.callID, d.invite.CSeq().SeqNo, d.branch, d.hop)
		req.SetBody(nil)
		ack = []byte(req.String())
		if d.state != Over {
			d.state = Over
			d.err = &AnswerError{Method: "INVITE", Status: res.StatusCode, Reason: res.Reason}
		}
	}
	close(d.changed)
	d.changed = make(chan struct{})
	s.mu.Unlock()
	if ack != nil {
		s.sendRequest(ack, sip.ACK, hop{d.hop.peer, h.local})
	}
	return true
}

func (d *Dialog) look() (state State, heard bool, changed <-chan struct{}, err error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.state, d.heard, d.changed, d.err
}

func (d *Dialog) end(err error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.state == Over {
		return
	}
	d.state, d.err = Over, err
	close(d.changed)
	d.changed = make(chan struct{})
}

// invited answers a call of the handset, or a change to a call that is on: the
// rig is always at home.
func (s *Server) invited(req *sip.Request, h hop, d *decision) *sip.Response {
	res := s.response(req, h, sip.StatusOK)
	res.AppendHeader(contact(h))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	res.SetBody(session(h))
	d.then(func() { s.takeCall(req, res, h) })
	return res
}

// takeCall makes a call of the handset known, or takes its change to one that is
// on; res is our answer.
func (s *Server) takeCall(req *sip.Request, res *sip.Response, h hop) {
	id := string(*req.CallID())
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.dialogs[id]
	if old != nil && old.state != Over {
		if c := req.Contact(); c != nil {
			old.target = c.Address
		}
		return
	}
	d := &Dialog{
		s: s, user: req.From().Address.User, callID: id, hop: h, inviteAt: time.Now(), state: Talking,
		local:   &sip.FromHeader{Address: res.To().Address, Params: res.To().Params},
		remote:  &sip.ToHeader{Address: req.From().Address, Params: req.From().Params},
		target:  req.From().Address,
		changed: make(chan struct{}),
	}
	if c := req.Contact(); c != nil {
		d.target = c.Address
	}
	for _, r := range req.GetHeaders("Record-Route") {
		d.routes = append(d.routes, r.Value())
	}
	s.enter(d)
}

// known tells whether a request belongs to a call that is on.
func (s *Server) known(req *sip.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dialogs[string(*req.CallID())]
	return d != nil && d.state != Over
}

// hungUp ends the call that a BYE of the handset belongs to.
func (s *Server) hungUp(req *sip.Request) {
	s.mu.Lock()
	d := s.dialogs[string(*req.CallID())]
	s.mu.Unlock()
	if d != nil {
		d.end(nil)
	}
}
