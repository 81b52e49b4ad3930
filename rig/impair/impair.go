// Package impair is what goes wrong on the wire on purpose: frames are lost, late,
// doubled, out of order or damaged, the link goes down, the access point
// misbehaves, the power is cut. It
// speaks the vocabulary of package fault, as service "wire":
//
//	fault.On(impair.ToHandset).Do(impair.Lose{}).From(3).Times(2)
//	fault.On("TFTP").Do(impair.Lose{Percent: 20, Seed: 7})
//	fault.On("image.rom").During("block 17").Do(impair.LinkDown{For: time.Second})
//
// The message of a frame is its direction, its file is its Kind, and its phase is
// the one that the wire was told last: see Phase.
//
// Chance is drawn from a seed, for each rule and direction by itself, so that the
// same frames fare the same when a run is repeated.
package impair

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// Service is what the wire is called in a fault.Point, and By who says so in the
// journal, where "wire" is what was decoded of the frames.
const (
	Service = "wire"
	By      = timeline.Impair
)

// The messages of a fault.Point: which way a frame goes.
const (
	ToHandset   = "frame to handset"
	FromHandset = "frame from handset"
)

// Did is the field of an entry FaultFired that says what became of the first
// frame of a flow: Lost, Late, Doubled or Altered.
const Did = timeline.ImpairDid

// The values of Did.
const (
	Lost    = "lost"
	Late    = "late"
	Doubled = "doubled"
	Altered = timeline.ImpairAltered
)

// Config is what the wire's faults need.
type Config struct {
	// Faults is the plan that is asked at each frame.
	Faults *fault.Plan
	// Record writes into the journal.
	Record func(timeline.Event)
	// Now is the lane's clock; nil is time.Now.
	Now func() time.Time
}

// Server decides what becomes of the frames of one wire. Its methods are safe for
// concurrent use, Judge for one caller at a time.
type Server struct {
	cfg   Config
	armed atomic.Bool // some rule may apply to a frame
	phase atomic.Pointer[string]
	down  atomic.Pointer[string] // why the link is down; nil: it is up

	mu     sync.Mutex
	rules  int
	states map[key]*state
	told   map[string]*account // by sentence
	order  []string            // of told
}

// account is what one rule has done since the last Sum.
type account struct {
	fired int
	flows map[flow]bool
}

// flow is one exchange to which something was done.
type flow struct {
	handset, rig netip.AddrPort
	did          string
}

// key finds the state of a rule in one direction.
type key struct {
	effect   fault.Effect
	outbound bool
}

// New returns a wire on which nothing goes wrong.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Server{cfg: cfg, states: map[key]*state{}, told: map[string]*account{}}
}

// Can says whether the wire can do this, and if not, why.
func (s *Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("the wire cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("the wire: %w", err)
		}
	}
	return nil
}

// bound is an effect as one rule declares it.
type bound struct {
	of       framed
	sentence string
	number   int
}

// String is the predicate of a sentence.
func (b bound) String() string { return b.of.String() }

// Joint lets several rules do something to one frame.
func (bound) Joint() {}

// Rank has what loses frames tried before what else is done to them.
func (b bound) Rank() int { return b.of.rank() }

// Bind makes a rule that is to be put into the plan one of the wire, with chance
// and pattern of its own. A deed stays as it is: it may stand at any service.
func (s *Server) Bind(r fault.Rule) fault.Rule {
	s.armed.Store(true)
	own, ok := r.Effect().(framed)
	if !ok {
		return r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules++
	r = r.In(Service)
	return r.Do(bound{own, r.String(), s.rules})
}

// SetPhase names the phase that the wire is in from now on; empty is none.
func (s *Server) SetPhase(name string) { s.phase.Store(&name) }

// Phase returns the wire's phase.
func (s *Server) Phase() string {
	if p := s.phase.Load(); p != nil {
		return *p
	}
	return ""
}

// SetLink says that the link is up, or down and why: then every frame is lost,
// and no rule is asked.
func (s *Server) SetLink(up bool, why string) {
	if up {
		s.down.Store(nil)
	} else {
		s.down.Store(&why)
	}
}

// Judge is the plan of a wire.Impair.
func (s *Server) Judge(outbound bool, f wire.Frame) wire.Verdict {
	if why := s.down.Load(); why != nil {
		return s.gone(outbound, f, *why)
	}
	if !s.armed.Load() {
		return wire.Verdict{}
	}
	j := judgement{server: s, outbound: outbound, frame: f, now: s.cfg.Now()}
	pt := fault.Point{Service: Service, Message: FromHandset, File: Kind(f.Data), Phase: s.Phase()}
	if outbound {
		pt.Message = ToHandset
	}
	s.cfg.Faults.Try(pt, j.fits, j.apply)
	if why := s.down.Load(); why != nil { // by a deed at this very frame
		return s.gone(outbound, f, *why)
	}
	for _, what := range j.told {
		s.tell(outbound, f, what)
	}
	return j.verdict()
}

// gone loses a frame to a link that is down.
func (s *Server) gone(outbound bool, f wire.Frame, why string) wire.Verdict {
	s.tell(outbound, f, told{why, did(Lost)})
	return wire.Verdict{Drop: true, Comment: why}
}

// told is what one rule came to at one frame.
type told struct {
	sentence string
	outcome
}

// tell counts what a rule did, and writes it into the journal where it did so to
// a flow for the first time.
func (s *Server) tell(outbound bool, f wire.Frame, what told) {
	to := flow{did: what.did}
	message := FromHandset
	if src, dst, ok := ends(f.Data); ok {
		to.handset, to.rig = src, dst
		if outbound {
			to.handset, to.rig = dst, src
		}
	}
	if outbound {
		message = ToHandset
	}
	s.mu.Lock()
	a := s.told[what.sentence]
	if a == nil {
		a = &account{flows: map[flow]bool{}}
		s.told[what.sentence] = a
		s.order = append(s.order, what.sentence)
	}
	if what.fired {
		a.fired++
	}
	first := what.did != "" && !a.flows[to]
	if first {
		a.flows[to] = true
	}
	s.mu.Unlock()
	if !first {
		return
	}
	if strings.Contains(what.sentence, message) {
		message = "" // said already
	}
	e := timeline.Event{
		By: By, Kind: timeline.FaultFired, Src: to.handset, Dst: to.rig, Message: message, Reason: what.sentence,
		Fields: map[string]string{Did: what.did, "impair.kind": Kind(f.Data)},
	}
	if !outbound {
		e.Frame = f.Number
	}
	s.cfg.Record(e)
}

// Sum writes into the journal how often each rule did something since the last
// Sum, where that was more than the journal shows, and begins anew.
func (s *Server) Sum() {
	s.mu.Lock()
	told, order := s.told, s.order
	s.told, s.order = map[string]*account{}, nil
	s.mu.Unlock()
	for _, sentence := range order {
		a := told[sentence]
		if a.fired == len(a.flows) {
			continue
		}
		s.cfg.Record(timeline.Event{
			By: By, Kind: timeline.Note, Message: "faults in all", Number: a.fired,
			Reason: fmt.Sprintf("%s: %d times in all", sentence, a.fired),
		})
	}
}

// Calm makes the wire good again, once the rules are out of the plan: the link is
// up, there is no phase, and every rule that is bound from now on begins anew.
func (s *Server) Calm() {
	s.armed.Store(false)
	s.SetPhase("")
	s.SetLink(true, "")
	s.Sum()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.states)
}

// judgement is what becomes of one frame.
type judgement struct {
	server   *Server
	outbound bool
	frame    wire.Frame
	now      time.Time

	drop, reordered bool
	delay           time.Duration
	copies          int
	data            []byte // nil: as it is
	told            []told
}

// fits tells whether an effect finds something to do with the frame.
func (j *judgement) fits(e fault.Effect) bool {
	b, ok := e.(bound)
	if !ok {
		return false
	}
	picky, ok := b.of.(interface{ fits(frame []byte) bool })
	return !ok || picky.fits(j.frame.Data)
}

// apply has one rule do its worst, and tells whether it did what it says. Like
// fits it runs under the plan's lock.
func (j *judgement) apply(e fault.Effect) bool {
	b, ok := e.(bound)
	if !ok || j.drop {
		return false // there is nothing left
	}
	came := b.of.act(j, j.server.state(e, b.of, j.outbound))
	if came != (outcome{}) {
		j.told = append(j.told, told{b.sentence, came})
	}
	return came.fired
}

func (j *judgement) verdict() wire.Verdict {
	var sentences []string
	for _, what := range j.told {
		if what.did != "" {
			sentences = append(sentences, what.sentence)
		}
	}
	if sentences == nil {
		return wire.Verdict{}
	}
	comment := strings.Join(sentences, "; ")
	if j.drop {
		return wire.Verdict{Drop: true, Comment: comment}
	}
	return wire.Verdict{
		Delay: j.delay, Ordered: j.delay > 0 && !j.reordered, Copies: j.copies, Data: j.data, Comment: comment,
	}
}
