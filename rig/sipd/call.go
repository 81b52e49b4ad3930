package sipd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
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
	c        *calls
	user     string
	callID   string
	local    *sip.FromHeader // with our tag
	hop      hop
	invite   *sip.Request // ours; nil for a call of the handset
	branch   string       // of invite
	inviteAt time.Time

	// Guarded by the calls' mu.
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

// calls are those that the server makes and takes.
type calls struct {
	*transactions

	registrar *registrar

	mu      sync.Mutex
	dialogs map[string]*Dialog // by Call-ID
}

// User is the user that is called or calls.
func (d *Dialog) User() string { return d.user }

// State returns how far the call has come.
func (d *Dialog) State() State {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.state
}

// Dialogs returns the calls that are not over, the handset's own among them.
func (c *calls) Dialogs() []*Dialog {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.SortedFunc(maps.Values(c.dialogs), func(a, b *Dialog) int { return strings.Compare(a.callID, b.callID) })
	return slices.DeleteFunc(all, func(d *Dialog) bool { return d.state == Over })
}

// Ring calls a registered user and returns when the handset rings, or has
// answered at once. The error is an *AnswerError if it refuses, and wraps
// ErrNotRegistered, ErrNoAnswer or ctx's error else.
func (c *calls) Ring(ctx context.Context, user string) (*Dialog, error) {
	b, ok := c.registrar.find(user)
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
	d := c.invite(user, target, record, h)
	if err := d.ring(ctx); err != nil {
		return nil, fmt.Errorf("call to user %q: %w", user, err)
	}
	return d, nil
}

// Call is Ring, and waits until the handset has answered. When ctx ends before,
// the call is cancelled.
func (c *calls) Call(ctx context.Context, user string) (*Dialog, error) {
	d, err := c.Ring(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := d.Await(ctx); err != nil {
		return nil, fmt.Errorf("call to user %q: %w", user, errors.Join(err, d.giveUp(ctx)))
	}
	return d, nil
}

// invite makes a call known, with its INVITE ready to be sent.
func (c *calls) invite(user string, target, record sip.Uri, h hop) *Dialog {
	d := &Dialog{
		c: c, user: user, callID: c.newCallID(h), local: c.caller(record, h), hop: h, branch: c.newBranch(), inviteAt: time.Now(),
		state: Calling, remote: &sip.ToHeader{Address: record, Params: sip.NewParams()}, target: target, seq: 1,
		changed: make(chan struct{}),
	}
	d.invite = outgoing(sip.INVITE, target, d.local, d.remote, d.callID, d.seq, d.branch, h)
	d.invite.AppendHeader(contact(h))
	d.invite.AppendHeader(sip.NewHeader("Allow", allow))
	d.invite.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	d.invite.SetBody(session(h))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enter(d)
	return d
}

// enter makes a dialog known and forgets those long over. mu is held.
func (c *calls) enter(d *Dialog) {
	maps.DeleteFunc(c.dialogs, func(_ string, old *Dialog) bool {
		return old.state == Over && time.Since(old.inviteAt) > 2*c.lifetime()
	})
	c.dialogs[d.callID] = d
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
	late := time.NewTimer(d.c.lifetime())
	defer late.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for wait := d.c.cfg.T1; ; {
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
				d.c.sendRequest(pkt, sip.INVITE, d.hop)
				again.Reset(wait)
				wait *= 2
			}
		case <-late.C:
			if !heard {
				err := fmt.Errorf("INVITE to %v: %w in %v", d.hop.peer, ErrNoAnswer, d.c.lifetime())
				d.end(err)
				return err
			}
		case <-d.c.done:
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
		case <-d.c.done:
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
	late := time.NewTimer(d.c.lifetime())
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
		case <-d.c.done:
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
	res, _, err := d.c.exchange(ctx, req, d.hop)
	if err == nil && !res.IsSuccess() && res.StatusCode != sip.StatusCallTransactionDoesNotExists {
		err = &AnswerError{Method: "CANCEL", Status: res.StatusCode, Reason: res.Reason}
	}
	return err
}

func (d *Dialog) bye(ctx context.Context) error {
	d.c.mu.Lock()
	d.seq++
	req := d.inside(sip.BYE, d.seq, d.c.newBranch())
	d.c.mu.Unlock()
	d.end(nil)
	res, _, err := d.c.exchange(ctx, req, d.hop)
	if err == nil && !res.IsSuccess() && res.StatusCode != sip.StatusCallTransactionDoesNotExists {
		err = &AnswerError{Method: "BYE", Status: res.StatusCode, Reason: res.Reason}
	}
	return err
}

// inside builds a request within the dialog (RFC 3261 section 12.2.1.1). mu is
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
func (c *calls) invitation(res *sip.Response, branch string, h hop) bool {
	c.mu.Lock()
	d := c.dialogs[string(*res.CallID())]
	if d == nil || d.branch != branch || res.To() == nil {
		c.mu.Unlock()
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
			if at := res.Contact(); at != nil {
				d.target = at.Address
			}
			for _, r := range slices.Backward(res.GetHeaders("Record-Route")) {
				d.routes = append(d.routes, r.Value())
			}
			d.ack = []byte(d.inside(sip.ACK, d.invite.CSeq().SeqNo, d.c.newBranch()).String())
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
	c.mu.Unlock()
	if ack != nil {
		c.sendRequest(ack, sip.ACK, hop{d.hop.peer, h.local})
	}
	return true
}

func (d *Dialog) look() (state State, heard bool, changed <-chan struct{}, err error) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return d.state, d.heard, d.changed, d.err
}

func (d *Dialog) end(err error) {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.state == Over {
		return
	}
	d.state, d.err = Over, err
	close(d.changed)
	d.changed = make(chan struct{})
}

// invited answers a call of the handset, or a change to a call that is on: the
// rig is always at home.
func (c *calls) invited(req *sip.Request, h hop, d *decision) *sip.Response {
	res := c.response(req, h, sip.StatusOK)
	res.AppendHeader(contact(h))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	res.SetBody(session(h))
	d.then(func() { c.takeCall(req, res, h) })
	return res
}

// takeCall makes a call of the handset known, or takes its change to one that is
// on; res is our answer.
func (c *calls) takeCall(req *sip.Request, res *sip.Response, h hop) {
	id := string(*req.CallID())
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.dialogs[id]
	if old != nil && old.state != Over {
		if at := req.Contact(); at != nil {
			old.target = at.Address
		}
		return
	}
	d := &Dialog{
		c: c, user: req.From().Address.User, callID: id, hop: h, inviteAt: time.Now(), state: Talking,
		local:   &sip.FromHeader{Address: res.To().Address, Params: res.To().Params},
		remote:  &sip.ToHeader{Address: req.From().Address, Params: req.From().Params},
		target:  req.From().Address,
		changed: make(chan struct{}),
	}
	if at := req.Contact(); at != nil {
		d.target = at.Address
	}
	for _, r := range req.GetHeaders("Record-Route") {
		d.routes = append(d.routes, r.Value())
	}
	c.enter(d)
}

// known reports whether a request belongs to a call that is on.
func (c *calls) known(req *sip.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.dialogs[string(*req.CallID())]
	return d != nil && d.state != Over
}

// hungUp ends the call that a BYE of the handset belongs to.
func (c *calls) hungUp(req *sip.Request) {
	c.mu.Lock()
	d := c.dialogs[string(*req.CallID())]
	c.mu.Unlock()
	if d != nil {
		d.end(nil)
	}
}
