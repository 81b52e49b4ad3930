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
package fault

import (
	"fmt"
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
	// Within says that this is a place inside of an exchange that was asked
	// about before: only rules that name its phase or its message, or wait for
	// bytes, find it. So From and Times of a rule on a file count files, not
	// their parts.
	Within bool
	// Named says that only rules on this very message find this place, not those
	// on its file or phase.
	Named bool
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

// From lets the first n-1 occasions pass.
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
	act   func(d Deed, sentence string)
}

type entry struct {
	rule  Rule
	seen  int
	fired int
}

// Add puts a rule in force.
func (p *Plan) Add(r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &entry{rule: r})
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
	return p.Try(pt, func(Effect) bool { return true })
}

// Try is At for services of which an effect may spare the occasion, as a lossy
// wire spares most frames: a rule fires only if apply says that it did something.
// apply must not call the plan.
func (p *Plan) Try(pt Point, apply func(Effect) bool) (effect Effect, sentence string, ok bool) {
	if p == nil {
		return nil, "", false
	}
	deeds, effect, sentence, ok := p.due(pt, apply)
	for _, d := range deeds {
		d()
	}
	return effect, sentence, ok
}

func (p *Plan) due(pt Point, apply func(Effect) bool) (deeds []func(), effect Effect, sentence string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.rules {
		if !e.rule.matches(pt) || e.rule.effect == nil {
			continue
		}
		deed, isDeed := e.rule.effect.(Deed)
		_, joint := e.rule.effect.(Joint)
		if isDeed && p.act == nil || !isDeed && !joint && ok {
			continue
		}
		e.seen++
		if e.seen < e.rule.nth || (e.rule.times > 0 && e.fired >= e.rule.times) {
			continue
		}
		if isDeed {
			e.fired++
			act, text := p.act, e.rule.String()
			deeds = append(deeds, func() { act(deed, text) })
			continue
		}
		if apply(e.rule.effect) {
			e.fired++
			if !ok {
				effect, sentence, ok = e.rule.effect, e.rule.String(), true
			}
		}
	}
	return deeds, effect, sentence, ok
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
// scenario did not test what its name says.
func (p *Plan) Ledger() []Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts()
}

func (p *Plan) counts() []Count {
	out := make([]Count, 0, len(p.rules))
	for _, e := range p.rules {
		out = append(out, Count{Rule: e.rule, Fired: e.fired})
	}
	return out
}
