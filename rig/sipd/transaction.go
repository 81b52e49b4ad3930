package sipd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
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

// lifetime is 64 times T1: timers B, F, H and J.
func (s *Server) lifetime() time.Duration { return 64 * s.cfg.T1 }

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
func (s *Server) reply(req *sip.Request, res *sip.Response, h hop, effect Effect) (rest func()) {
	delay, _ := effect.(Delay)
	to := answerTo(req, h)
	now := time.Now()
	e := remembered{pkt: []byte(res.String()), to: to, from: now.Add(delay.By), until: now.Add(s.lifetime()), said: timeline.Event{
		Kind: timeline.SIPResponse, Src: h.peer, Dst: h.local, Message: string(req.Method), Status: res.StatusCode,
		Fields: map[string]string{"sip.Call-ID": string(*req.CallID()), "sip.CSeq": fmt.Sprintf("%d %s", req.CSeq().SeqNo, req.CSeq().MethodName)},
	}}
	acked := make(chan struct{})
	key := ackKey(req)
	s.mu.Lock()
	s.answered.put(transaction(req, h), e)
	if req.Method == sip.INVITE {
		s.unacked[key] = acked
	}
	s.mu.Unlock()
	h.peer = to
	method := string(req.Method)
	late := func() {
		s.record(e.said)
		s.send(e.pkt, h, method)
	}
	if delay.By == 0 {
		s.record(e.said)
		s.post(e.pkt, h, method, effect)
	}
	switch {
	case req.Method == sip.INVITE:
		return func() {
			if s.after(delay.By, late) {
				s.untilAcked(e, h, key, acked, res.StatusCode)
			}
		}
	case delay.By > 0:
		return func() { s.after(delay.By, late) }
	default:
		return nil
	}
}

// after does something when a delay, if there is one, is over. It returns false
// if the server ended before.
func (s *Server) after(delay time.Duration, do func()) bool {
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		do()
		return true
	case <-s.done:
		return false
	}
}

// untilAcked sends the answer to an INVITE again until the ACK comes.
func (s *Server) untilAcked(e remembered, h hop, key string, acked <-chan struct{}, status int) {
	late := time.NewTimer(s.lifetime())
	defer late.Stop()
	for wait := s.cfg.T1; ; wait = min(2*wait, s.cfg.T2) {
		again := time.NewTimer(wait)
		select {
		case <-acked:
		case <-s.done:
		case <-late.C:
			s.odd(h, "INVITE", fmt.Sprintf("no ACK of %d", status))
			s.mu.Lock()
			delete(s.unacked, key)
			s.mu.Unlock()
		case <-again.C:
			s.repeat(e, h, "INVITE")
			continue
		}
		again.Stop()
		return
	}
}

// repeat sends an answer once more, unless it is still to be sent at all.
func (s *Server) repeat(e remembered, h hop, method string) {
	if !time.Now().Before(e.from) {
		effect := s.fault(method, PhaseAgain, h, e.pkt)
		if _, drop := effect.(Drop); !drop {
			again := e.said
			again.Reason = "sent again"
			s.record(again)
		}
		s.post(e.pkt, h, method, effect)
	}
}

// ackKey joins an INVITE and its ACK, which has a branch of its own if the
// answer was a 2xx.
func ackKey(req *sip.Request) string {
	return string(*req.CallID()) + "|" + strconv.FormatUint(uint64(req.CSeq().SeqNo), 10)
}

func (s *Server) acknowledge(req *sip.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := ackKey(req)
	if acked, ok := s.unacked[key]; ok {
		close(acked)
		delete(s.unacked, key)
	}
}

// clientKey names a transaction of ours (RFC 3261 section 17.1.3).
func clientKey(branch string, method sip.RequestMethod) string {
	return branch + "|" + string(method)
}

// respond hands an answer of a handset to whoever waits for it.
func (s *Server) respond(res *sip.Response, h hop) {
	via, cseq, id := res.Via(), res.CSeq(), res.CallID()
	if via == nil || cseq == nil || id == nil {
		s.odd(h, "", fmt.Sprintf("malformed answer %d: no Via, CSeq or Call-ID", res.StatusCode))
		return
	}
	branch, _ := via.Params.Get("branch")
	if cseq.MethodName == sip.INVITE && s.invitation(res, branch, h) {
		return
	}
	key := clientKey(branch, cseq.MethodName)
	s.mu.Lock()
	waiting, found := s.waiting[key]
	_, late := s.finished.get(key)
	s.mu.Unlock()
	switch {
	case found:
		select {
		case waiting <- res:
		default: // a flood of provisional answers
		}
	case !late:
		s.odd(h, string(cseq.MethodName), fmt.Sprintf("answer %d to nothing that was asked", res.StatusCode))
	}
}

// exchange sends a request other than INVITE again and again (RFC 3261 section
// 17.1.2: after T1, 2 T1 and so on up to T2) until a final answer comes. It
// returns how often it was sent.
func (s *Server) exchange(ctx context.Context, req *sip.Request, h hop) (res *sip.Response, sent int, err error) {
	branch, _ := req.Via().Params.Get("branch")
	key := clientKey(branch, req.Method)
	answers := make(chan *sip.Response, 16)
	s.mu.Lock()
	s.waiting[key] = answers
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, key)
		s.finished.put(key, remembered{until: time.Now().Add(s.lifetime())})
	}()

	pkt := []byte(req.String())
	late := time.NewTimer(s.lifetime())
	defer late.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	wait := s.cfg.T1
	for {
		select {
		case <-again.C:
			sent++
			s.sendRequest(pkt, req.Method, h)
			again.Reset(wait)
			wait = min(2*wait, s.cfg.T2)
		case res := <-answers:
			if !res.IsProvisional() {
				return res, sent, nil
			}
			wait = s.cfg.T2
			again.Reset(wait)
		case <-late.C:
			return nil, sent, fmt.Errorf("%s to %v: %w in %v, sent %d times", req.Method, h.peer, ErrNoAnswer, s.lifetime(), sent)
		case <-s.done:
			return nil, sent, fmt.Errorf("%s to %v: %w", req.Method, h.peer, net.ErrClosed)
		case <-ctx.Done():
			return nil, sent, fmt.Errorf("%s to %v: %w", req.Method, h.peer, context.Cause(ctx))
		}
	}
}

// sendRequest sends a request of ours once, unless a fault has it otherwise.
func (s *Server) sendRequest(pkt []byte, method sip.RequestMethod, h hop) {
	s.post(pkt, h, string(method), s.fault(string(method), PhaseRequest, h, pkt))
}
