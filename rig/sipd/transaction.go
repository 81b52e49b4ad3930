package sipd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
)

// ErrNoAnswer says that a request of ours got no final answer in 64 times T1.
var ErrNoAnswer = errors.New("no answer")

// AnswerError is a final answer that is not a 2xx.
type AnswerError struct {
	Method string
	Status int
	Reason string
}

// Error says what was answered to what.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.Method, e.Status, e.Reason)
}

// memory holds what must be known of a transaction after its end, so that a
// retransmission is recognised (RFC 3261 section 17, timers J and K). All
// entries live equally long. The zero value is ready.
type memory struct {
	entries map[string]remembered
	order   []string // oldest first
}

type remembered struct {
	pkt   []byte
	to    netip.AddrPort
	from  time.Time // an answer goes out then
	until time.Time
	// said is the journal's entry of an answer.
	said timeline.Event
}

func (m *memory) get(key string) (remembered, bool) {
	m.forget()
	e, ok := m.entries[key]
	return e, ok
}

func (m *memory) put(key string, e remembered) {
	m.forget()
	if m.entries == nil {
		m.entries = map[string]remembered{}
	}
	if _, ok := m.entries[key]; !ok {
		m.order = append(m.order, key)
	}
	m.entries[key] = e
}

func (m *memory) forget() {
	now := time.Now()
	for len(m.order) > 0 && !now.Before(m.entries[m.order[0]].until) {
		delete(m.entries, m.order[0])
		m.order = m.order[1:]
	}
}

// transactions are those of the requests of handsets, which are answered, and those
// of our own requests.
type transactions struct {
	*port

	// invitation handles an answer to an INVITE of ours; false: it is none.
	invitation func(res *sip.Response, branch string, h hop) bool

	mu       sync.Mutex
	answered memory                        // requests of handsets
	finished memory                        // transactions of ours
	waiting  map[string]chan *sip.Response // transactions of ours, by branch and method
	unacked  map[string]chan struct{}      // final answers to INVITE, closed by the ACK
}

// lifetime is 64 times T1: timers B, F, H and J.
func (t *transactions) lifetime() time.Duration { return 64 * t.cfg.T1 }

// transaction names a request so that its retransmission has the same name,
// also for a client of RFC 2543 whose branch says nothing.
func transaction(req *sip.Request, h hop) string {
	branch, _ := req.Via().Params.Get("branch")
	return fmt.Sprintf("%s|%v|%s|%s|%d", req.Method, h.peer, branch, string(*req.CallID()), req.CSeq().SeqNo)
}

// reply sends a final answer as an effect has it (nil: as it is) and remembers
// it. What reply returns is still to be done: it sends a late answer, and
// repeats that to an INVITE until the ACK comes (RFC 3261 sections 13.3.1.4 and
// 17.2.1).
func (t *transactions) reply(req *sip.Request, res *sip.Response, h hop, effect Effect) (rest func()) {
	delay, _ := effect.(Delay)
	to := answerTo(req, h)
	now := time.Now()
	e := remembered{pkt: []byte(res.String()), to: to, from: now.Add(delay.By), until: now.Add(t.lifetime()), said: timeline.Event{
		Kind: timeline.SIPResponse, Src: h.peer, Dst: h.local, Message: string(req.Method), Status: res.StatusCode,
		Fields: map[string]string{"sip.Call-ID": string(*req.CallID()), "sip.CSeq": fmt.Sprintf("%d %s", req.CSeq().SeqNo, req.CSeq().MethodName)},
	}}
	acked := make(chan struct{})
	key := ackKey(req)
	t.mu.Lock()
	t.answered.put(transaction(req, h), e)
	if req.Method == sip.INVITE {
		t.unacked[key] = acked
	}
	t.mu.Unlock()
	h.peer = to
	method := string(req.Method)
	late := func() {
		t.record(e.said)
		t.send(e.pkt, h, method)
	}
	if delay.By == 0 {
		t.record(e.said)
		t.post(e.pkt, h, method, effect)
	}
	switch {
	case req.Method == sip.INVITE:
		return func() {
			if t.after(delay.By, late) {
				t.untilAcked(e, h, key, acked, res.StatusCode)
			}
		}
	case delay.By > 0:
		return func() { t.after(delay.By, late) }
	default:
		return nil
	}
}

// after does something when a delay, if there is one, is over. It returns false
// if the server ended before.
func (t *transactions) after(delay time.Duration, do func()) bool {
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		do()
		return true
	case <-t.done:
		return false
	}
}

// untilAcked sends the answer to an INVITE again until the ACK comes.
func (t *transactions) untilAcked(e remembered, h hop, key string, acked <-chan struct{}, status int) {
	late := time.NewTimer(t.lifetime())
	defer late.Stop()
	for wait := t.cfg.T1; ; wait = min(2*wait, t.cfg.T2) {
		again := time.NewTimer(wait)
		select {
		case <-acked:
		case <-t.done:
		case <-late.C:
			t.odd(h, "INVITE", fmt.Sprintf("no ACK of %d", status))
			t.mu.Lock()
			delete(t.unacked, key)
			t.mu.Unlock()
		case <-again.C:
			t.repeat(e, h, "INVITE")
			continue
		}
		again.Stop()
		return
	}
}

// repeat sends an answer once more, unless it is still to be sent at all.
func (t *transactions) repeat(e remembered, h hop, method string) {
	if !time.Now().Before(e.from) {
		effect := t.fault(method, PhaseAgain, h, e.pkt)
		if _, drop := effect.(Drop); !drop {
			again := e.said
			again.Reason = "sent again"
			t.record(again)
		}
		t.post(e.pkt, h, method, effect)
	}
}

// ackKey joins an INVITE and its ACK, which has a branch of its own if the
// answer was a 2xx.
func ackKey(req *sip.Request) string {
	return string(*req.CallID()) + "|" + strconv.FormatUint(uint64(req.CSeq().SeqNo), 10)
}

func (t *transactions) acknowledge(req *sip.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := ackKey(req)
	if acked, ok := t.unacked[key]; ok {
		close(acked)
		delete(t.unacked, key)
	}
}

// clientKey names a transaction of ours (RFC 3261 section 17.1.3).
func clientKey(branch string, method sip.RequestMethod) string {
	return branch + "|" + string(method)
}

// respond hands an answer of a handset to whoever waits for it.
func (t *transactions) respond(res *sip.Response, h hop) {
	via, cseq, id := res.Via(), res.CSeq(), res.CallID()
	if via == nil || cseq == nil || id == nil {
		t.odd(h, "", fmt.Sprintf("malformed answer %d: no Via, CSeq or Call-ID", res.StatusCode))
		return
	}
	branch, _ := via.Params.Get("branch")
	if cseq.MethodName == sip.INVITE && t.invitation(res, branch, h) {
		return
	}
	key := clientKey(branch, cseq.MethodName)
	t.mu.Lock()
	waiting, found := t.waiting[key]
	_, late := t.finished.get(key)
	t.mu.Unlock()
	switch {
	case found:
		select {
		case waiting <- res:
		default: // a flood of provisional answers
		}
	case !late:
		t.odd(h, string(cseq.MethodName), fmt.Sprintf("answer %d to nothing that was asked", res.StatusCode))
	}
}

// exchange sends a request other than INVITE again and again (RFC 3261 section
// 17.1.2: after T1, 2 T1 and so on up to T2) until a final answer comes. It
// returns how often it was sent.
func (t *transactions) exchange(ctx context.Context, req *sip.Request, h hop) (res *sip.Response, sent int, err error) {
	branch, _ := req.Via().Params.Get("branch")
	key := clientKey(branch, req.Method)
	answers := make(chan *sip.Response, 16)
	t.await(key, answers)
	defer t.finish(answers)

	pkt := []byte(req.String())
	late := time.NewTimer(t.lifetime())
	defer late.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	wait := t.cfg.T1
	for {
		select {
		case <-again.C:
			sent++
			t.sendRequest(pkt, req.Method, h)
			again.Reset(wait)
			wait = min(2*wait, t.cfg.T2)
		case res := <-answers:
			if !res.IsProvisional() {
				return res, sent, nil
			}
			wait = t.cfg.T2
			again.Reset(wait)
		case <-late.C:
			return nil, sent, fmt.Errorf("%s to %v: %w in %v, sent %d times", req.Method, h.peer, ErrNoAnswer, t.lifetime(), sent)
		case <-t.done:
			return nil, sent, fmt.Errorf("%s to %v: %w", req.Method, h.peer, net.ErrClosed)
		case <-ctx.Done():
			return nil, sent, fmt.Errorf("%s to %v: %w", req.Method, h.peer, context.Cause(ctx))
		}
	}
}

// await hands the answers to a transaction of ours to a channel.
func (t *transactions) await(key string, answers chan *sip.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting[key] = answers
}

// finish ends the transactions whose answers go to a channel.
func (t *transactions) finish(answers chan *sip.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.waiting {
		if t.waiting[key] == answers {
			delete(t.waiting, key)
			t.finished.put(key, remembered{until: time.Now().Add(t.lifetime())})
		}
	}
}

// repeated answers a request that came before as it was answered then. It returns
// false for a new one.
func (t *transactions) repeated(req *sip.Request, h hop) bool {
	t.mu.Lock()
	before, again := t.answered.get(transaction(req, h))
	t.mu.Unlock()
	if again {
		t.repeat(before, hop{before.to, h.local}, string(req.Method))
	}
	return again
}

// sendRequest sends a request of ours once, unless a fault has it otherwise.
func (t *transactions) sendRequest(pkt []byte, method sip.RequestMethod, h hop) {
	t.post(pkt, h, string(method), t.fault(string(method), PhaseRequest, h, pkt))
}
