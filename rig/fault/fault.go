// Package fault says where, when and how often a service misbehaves on
// purpose, and keeps the ledger of what really fired. It knows of an effect
// only that it prints: each service seals its own effects, and refuses at once
// what it cannot do.
//
//	fault.On("OFFER").Do(dhcpd.Drop{}).Times(2)
//	fault.On("image.rom").Do(tftpd.FallSilent{AfterBytes: 64 << 10}).Once()
//
// Faults are values and counted, never callbacks, and random only
// from a seed, so that they print, compare and go into reports, and so that a run
// can be repeated.
//
// # What is counted
//
// An occasion of a rule is a point that the rule names and that its effect fits,
// whatever then becomes of it: a point counts also where another rule took it
// before, where a seeded chance spared it, and where a rule is not due yet. A point
// that the effect does not fit is none.
//
// A rule that names a message, a phase or a number of bytes has an occasion at
// each such point: each DATA packet, sent again or not, each frame. A rule that
// names only a file, or "*", has one in each [Exchange] of the services that have them:
// tftpd, a file that is asked for, and dhcpd, a message with its answer. It acts in
// it at most once, at the first of its points that the effect fits and that no other
// rule took. With all other services each point is an occasion of such a rule too;
// those within an answer of httpd, which are Within, it does not find.
//
// From lets the first occasions pass; Times bounds how often the rule fires,
// which is how often it really did something.
package fault

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Effect is what a service does instead of what it should. Its String is the
// predicate of a sentence: "drops it", "falls silent after 65536 bytes".
type Effect interface{ fmt.Stringer }

// Deed is an effect on the bench instead of on one answer: the cable or the
// power goes, the wire becomes bad from here on. Whoever opened the lane does
// it, see Plan.Act; the service that stands at the point goes on as if nothing
// were declared.
type Deed interface {
	Effect
	// Deed marks the type; it does nothing.
	Deed()
}

// Joint is an effect that leaves room for others at the same point, as a wire
// may both delay a frame and damage it: each joint rule that is due is tried,
// also after another has fired.
type Joint interface {
	Effect
	// Joint marks the type; it does nothing.
	Joint()
}

// Ranked is an effect that is tried before those of a higher rank, whenever its
// rule was added; others have rank 0. So what loses a frame leaves nothing that
// another rule would count as done.
type Ranked interface {
	Effect
	Rank() int
}

// Point is a place in a service where a fault may apply.
type Point struct {
	// Service is the package name of the service: "dhcpd", "tftpd".
	Service string
	// Message is the message at hand, in the field's words: "OFFER", "RRQ",
	// "GET", "REGISTER", "ClientHello".
	Message string
	// File is the name asked for, without leading slash; empty where there is none.
	File string
	// Phase is where in an exchange the service stands, as it names it
	// ("answer", "block 17"); empty where there is only one.
	Phase string
	// Bytes is how much of the file was handed over before, where the service
	// is in the middle of one.
	Bytes int64
	// Exchange is what the point is a part of; nil where it is all of it.
	Exchange *Exchange
	// Within says that this is a place inside of an exchange that was asked
	// about before: only rules that name its phase or its message, or wait for
	// bytes, find it.
	Within bool
	// Named says that only rules on this very message find this place, not those
	// on its file or phase.
	Named bool
}

// Exchange is what belongs together for who counts: one transfer with its
// request, one message with its answer. A service has one for each and names it at
// each of its points; it must not be copied then.
type Exchange struct {
	// Phase is that of the Points, where all have the same: a rule that names it
	// names the exchange, not a place in it.
	Phase string

	met map[*entry]*meeting // guarded by the plan's lock
}

// meeting is what a rule has to do with an exchange.
type meeting struct {
	occasion int // its number
	acted    bool
}

// Rule is one declared fault.
type Rule struct {
	target  string
	service string
	phase   string
	effect  Effect
	nth     int
	times   int
	behind  int64
	file    string
}

// On starts a rule for a message ("OFFER") or a file name; "*" is anything.
// The rule applies without end until Times or Once bound it.
func On(messageOrFile string) Rule { return Rule{target: messageOrFile, nth: 1} }

// Of limits a rule on a message to exchanges about one file.
func (r Rule) Of(file string) Rule { r.file = file; return r }

// In limits the rule to one service.
func (r Rule) In(service string) Rule { r.service = service; return r }

// During limits the rule to one phase of an exchange.
func (r Rule) During(phase string) Rule { r.phase = phase; return r }

// Behind lets the rule wait until so many bytes of the file were handed over.
func (r Rule) Behind(bytes int64) Rule { r.behind = bytes; return r }

// Do names the effect.
func (r Rule) Do(e Effect) Rule { r.effect = e; return r }

// From lets the first n-1 occasions pass; see the package for what is one.
func (r Rule) From(n int) Rule { r.nth = n; return r }

// Times bounds how often the rule fires.
func (r Rule) Times(n int) Rule { r.times = n; return r }

// Once is Times(1).
func (r Rule) Once() Rule { return r.Times(1) }

// Effect returns what the rule does.
func (r Rule) Effect() Effect { return r.effect }

// String prints the rule as a sentence.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "on %s", r.target)
	if r.file != "" {
		fmt.Fprintf(&b, " of %s", r.file)
	}
	if r.service != "" {
		fmt.Fprintf(&b, " in %s", r.service)
	}
	if r.phase != "" {
		fmt.Fprintf(&b, " during %s", r.phase)
	}
	if r.behind > 0 {
		fmt.Fprintf(&b, " behind byte %d", r.behind)
	}
	if r.nth > 1 {
		fmt.Fprintf(&b, " from occasion %d", r.nth)
	}
	if r.effect == nil {
		b.WriteString(": does nothing")
	} else {
		fmt.Fprintf(&b, ": %s", r.effect)
	}
	switch r.times {
	case 0:
	case 1:
		b.WriteString(", once")
	default:
		fmt.Fprintf(&b, ", %d times", r.times)
	}
	return b.String()
}

func (r Rule) matches(p Point) bool {
	if r.service != "" && r.service != p.Service {
		return false
	}
	if r.phase != "" && r.phase != p.Phase {
		return false
	}
	if p.Bytes < r.behind || r.file != "" && !strings.EqualFold(r.file, p.File) {
		return false
	}
	if p.Within && r.phase == "" && r.behind == 0 && r.target != p.Message {
		return false
	}
	if p.Named && r.target != p.Message {
		return false
	}
	return r.target == "*" || r.target == p.Message || strings.EqualFold(r.target, p.File)
}

// Plan is the set of faults in force. The zero value misbehaves never. It is
// safe for concurrent use.
type Plan struct {
	mu    sync.Mutex
	rules []*entry
	added int
	act   func(d Deed, sentence string)
}

type entry struct {
	rule  Rule
	added int
	seen  int
	fired int
}

// Add puts a rule in force, behind those of its rank.
func (p *Plan) Add(r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.rules)
	for i > 0 && rank(p.rules[i-1].rule) > rank(r) {
		i--
	}
	p.added++
	p.rules = slices.Insert(p.rules, i, &entry{rule: r, added: p.added})
}

func rank(r Rule) int {
	if e, ok := r.effect.(Ranked); ok {
		return e.Rank()
	}
	return 0
}

// Clear takes every rule out of force and returns the ledger as it stood.
func (p *Plan) Clear() []Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts()
	p.rules = nil
	return counts
}

// Act says who does the deeds; without one they do nothing and never count as
// fired. do is called while a service stands at the point, with no lock held: it
// acts before the service goes on.
func (p *Plan) Act(do func(d Deed, sentence string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act = do
}

// At asks whether a fault applies here and now. The first rule that matches
// and is due fires: it is entered in the ledger and its sentence is returned
// for the journal. Deeds that are due are done besides, and Joint effects are
// tried besides. A nil plan misbehaves
// never.
func (p *Plan) At(pt Point) (effect Effect, sentence string, ok bool) {
	return p.Try(pt, func(Effect) bool { return true }, nil)
}

// Try is At for services whose effects do not fit everywhere. fits tells whether
// an effect finds something to do here; it changes nothing, and is asked also for
// a rule that is not due or comes too late. act does it, and tells whether it did:
// where it did not, as a lossy wire spares most frames, the rule has not fired.
// A nil act is for a service that does at once what it is told. The plan is locked
// meanwhile: neither may call it, nor ask or tell anybody else, who may be waiting
// for it.
func (p *Plan) Try(pt Point, fits, act func(Effect) bool) (effect Effect, sentence string, ok bool) {
	if p == nil {
		return nil, "", false
	}
	deeds, effect, sentence, ok := p.due(pt, fits, act)
	for _, d := range deeds {
		d()
	}
	return effect, sentence, ok
}

func (p *Plan) due(pt Point, fits, apply func(Effect) bool) (deeds []func(), effect Effect, sentence string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.rules {
		if !e.rule.matches(pt) || e.rule.effect == nil {
			continue
		}
		deed, isDeed := e.rule.effect.(Deed)
		_, joint := e.rule.effect.(Joint)
		if isDeed && p.act == nil || !isDeed && !fits(e.rule.effect) {
			continue
		}
		m := e.meet(pt)
		if m.acted || m.occasion < e.rule.nth || (e.rule.times > 0 && e.fired >= e.rule.times) {
			continue
		}
		switch {
		case isDeed:
			act, text := p.act, e.rule.String()
			deeds = append(deeds, func() { act(deed, text) })
		case ok && !joint: // taken by another rule
			continue
		case apply != nil && !apply(e.rule.effect):
			continue
		case !ok:
			effect, sentence, ok = e.rule.effect, e.rule.String(), true
		}
		e.fired++
		m.acted = true
	}
	return deeds, effect, sentence, ok
}

// meet counts the occasion that a point is.
func (e *entry) meet(pt Point) *meeting {
	x := pt.Exchange
	if x != nil && !e.rule.means(x, pt) {
		x = nil
	}
	if x != nil && x.met[e] != nil {
		return x.met[e]
	}
	e.seen++
	m := &meeting{occasion: e.seen}
	if x != nil {
		if x.met == nil {
			x.met = map[*entry]*meeting{}
		}
		x.met[e] = m
	}
	return m
}

// means tells whether a rule that matches a point means the exchange, and not
// just this place in it.
func (r Rule) means(x *Exchange, pt Point) bool {
	return r.target != pt.Message && r.behind == 0 && (r.phase == "" || r.phase == x.Phase)
}

// Empty tells whether no rule is in force, so that a service need not even name
// the point at which it stands. A nil plan is empty.
func (p *Plan) Empty() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.rules) == 0
}

// Count is one line of the ledger.
type Count struct {
	Rule  Rule
	Fired int
}

// Ledger returns how often each rule fired. A rule at zero means that the
// scenario did not test what its name says. They come as they were added.
func (p *Plan) Ledger() []Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts()
}

func (p *Plan) counts() []Count {
	out := make([]Count, 0, len(p.rules))
	for _, e := range slices.SortedFunc(slices.Values(p.rules), func(a, b *entry) int { return a.added - b.added }) {
		out = append(out, Count{Rule: e.rule, Fired: e.fired})
	}
	return out
}
