package fault_test

import (
	"strings"
	"testing"

	"ip88rig/rig/fault"
)

func everywhere(fault.Effect) bool { return true }

type drop struct{}

func (drop) String() string { return "drops it" }

func TestARuleFiresExactlyAsOftenAsItSays(t *testing.T) {
	tests := map[string]struct {
		rule fault.Rule
		want []bool // for five occasions
		text string
	}{
		"always":          {fault.On("OFFER").Do(drop{}), []bool{true, true, true, true, true}, "on OFFER: drops it"},
		"once":            {fault.On("OFFER").Do(drop{}).Once(), []bool{true, false, false, false, false}, "on OFFER: drops it, once"},
		"twice from 2":    {fault.On("OFFER").Do(drop{}).From(2).Times(2), []bool{false, true, true, false, false}, "on OFFER from occasion 2: drops it, 2 times"},
		"another message": {fault.On("ACK").Do(drop{}), []bool{false, false, false, false, false}, "on ACK: drops it"},
		"another service": {fault.On("OFFER").In("tftpd").Do(drop{}), []bool{false, false, false, false, false}, "on OFFER in tftpd: drops it"},
		"another phase":   {fault.On("*").During("renewal").Do(drop{}), []bool{false, false, false, false, false}, "on * during renewal: drops it"},
		"of another file": {fault.On("OFFER").Of("other").Do(drop{}), []bool{false, false, false, false, false}, "on OFFER of other: drops it"},
		"of its file":     {fault.On("OFFER").Of("image.ROM").Do(drop{}).Once(), []bool{true, false, false, false, false}, "on OFFER of image.ROM: drops it, once"},
		"no effect":       {fault.On("OFFER"), []bool{false, false, false, false, false}, "on OFFER: does nothing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p fault.Plan
			p.Add(tt.rule)
			fired := 0
			for i, want := range tt.want {
				_, sentence, ok := p.At(fault.Point{Service: "dhcpd", Message: "OFFER", File: "IMAGE.rom"})
				if ok != want {
					t.Errorf("occasion %d: fired %t, want %t", i+1, ok, want)
				}
				if ok {
					fired++
					if sentence != tt.text {
						t.Errorf("sentence %q, want %q", sentence, tt.text)
					}
				}
			}
			if got := p.Ledger()[0].Fired; got != fired {
				t.Errorf("ledger says %d, want %d", got, fired)
			}
			if got := tt.rule.String(); got != tt.text {
				t.Errorf("String() = %q, want %q", got, tt.text)
			}
			if left := p.Clear(); len(left) != 1 || len(p.Ledger()) != 0 {
				t.Errorf("Clear returned %v and left %v", left, p.Ledger())
			}
		})
	}
}

func TestFileNamesMatchInAnyCase(t *testing.T) {
	var p fault.Plan
	p.Add(fault.On("image.rom").Do(drop{}))
	if _, _, ok := p.At(fault.Point{Service: "tftpd", Message: "RRQ", File: "IMAGE.ROM"}); !ok {
		t.Error("a rule on image.rom did not fire for IMAGE.ROM")
	}
}

func TestANilPlanMisbehavesNever(t *testing.T) {
	var p *fault.Plan
	if _, _, ok := p.At(fault.Point{Message: "OFFER"}); ok {
		t.Error("fired")
	}
}

type cut struct{}

func (cut) String() string { return "cuts the power" }
func (cut) Deed()          {}

func TestADeedIsDoneAndTheServiceGoesOn(t *testing.T) {
	var p fault.Plan
	p.Add(fault.On("image.rom").Behind(1000).Do(cut{}).Once())
	p.Add(fault.On("DATA").Do(drop{}))
	at := fault.Point{Service: "tftpd", Message: "DATA", File: "image.rom", Bytes: 1024}
	if _, _, ok := p.At(at); !ok || p.Ledger()[0].Fired != 0 {
		t.Errorf("without somebody to do it: service's own fault %t, deed counted %d times", ok, p.Ledger()[0].Fired)
	}
	var done []string
	p.Act(func(_ fault.Deed, sentence string) { done = append(done, sentence) })
	if _, _, ok := p.At(fault.Point{Service: "tftpd", Message: "RRQ", File: "image.rom", Bytes: 999}); ok || done != nil {
		t.Errorf("before its byte: fired %t, done %q", ok, done)
	}
	for range 2 {
		if e, _, ok := p.At(at); !ok || e != (drop{}) {
			t.Errorf("the service's own fault is hidden by the deed: %v %t", e, ok)
		}
	}
	want := "on image.rom behind byte 1000: cuts the power, once"
	if len(done) != 1 || done[0] != want {
		t.Errorf("done %q, want once %q", done, want)
	}
}

func TestAnEffectThatSparesTheOccasionDoesNotFire(t *testing.T) {
	var p fault.Plan
	p.Add(fault.On("*").Do(drop{}).Once())
	if _, _, ok := p.Try(fault.Point{}, everywhere, func(fault.Effect) bool { return false }); ok || p.Ledger()[0].Fired != 0 {
		t.Error("fired although nothing was done")
	}
	if _, _, ok := p.Try(fault.Point{}, everywhere, func(fault.Effect) bool { return true }); !ok || p.Ledger()[0].Fired != 1 {
		t.Error("did not fire")
	}
}

func TestAPlanIsEmptyUntilARuleIsInForce(t *testing.T) {
	var nobody *fault.Plan
	var p fault.Plan
	if !nobody.Empty() || !p.Empty() {
		t.Error("a plan without rules is not empty")
	}
	p.Add(fault.On("OFFER").Do(drop{}))
	if p.Empty() {
		t.Error("a plan with a rule is empty")
	}
	p.Clear()
	if !p.Empty() {
		t.Error("a cleared plan is not empty")
	}
}

type blur struct{ n int }

func (blur) String() string { return "blurs it" }
func (blur) Joint()         {}

func TestJointEffectsApplyTogetherAndOthersDoNot(t *testing.T) {
	var p fault.Plan
	for _, e := range []fault.Effect{blur{1}, drop{}, blur{2}} {
		p.Add(fault.On("*").Do(e))
	}
	var tried []fault.Effect
	e, sentence, ok := p.Try(fault.Point{}, everywhere, func(e fault.Effect) bool {
		tried = append(tried, e)
		return true
	})
	if !ok || e != (blur{1}) || sentence != "on *: blurs it" {
		t.Errorf("got %v, %q, %t, want the first that fired", e, sentence, ok)
	}
	if len(tried) != 2 || tried[1] != (blur{2}) {
		t.Errorf("tried %v, want both blurs and no drop", tried)
	}
	for i, want := range []int{1, 0, 1} {
		if got := p.Ledger()[i].Fired; got != want {
			t.Errorf("rule %d fired %d times, want %d", i+1, got, want)
		}
	}
}

func TestPlacesWithinAnExchangeAreFoundOnlyByWhoLooksForThem(t *testing.T) {
	within := fault.Point{Service: "httpd", Message: "body", Phase: "body", File: "image.rom", Bytes: 1 << 16, Within: true}
	for _, c := range []struct {
		rule  fault.Rule
		fires bool
	}{
		{fault.On("image.rom"), false},
		{fault.On("*").In("httpd"), false},
		{fault.On("body"), true},
		{fault.On("image.rom").During("body"), true},
		{fault.On("image.rom").Behind(1 << 16), true},
		{fault.On("image.rom").Behind(1<<16 + 1), false},
		{fault.On("other.rom").Behind(1), false},
	} {
		var p fault.Plan
		p.Add(c.rule.Do(drop{}))
		if _, _, ok := p.At(within); ok != c.fires {
			t.Errorf("%s: fires %t, want %t", c.rule, ok, c.fires)
		}
	}
}

func TestAPlaceMayBeFoundOnlyByItsMessage(t *testing.T) {
	named := fault.Point{Service: "tftpd", Message: "ACK", Phase: "block 17", File: "image.rom", Bytes: 17 << 9, Named: true}
	for _, c := range []struct {
		rule  fault.Rule
		fires bool
	}{
		{fault.On("ACK"), true},
		{fault.On("ACK").Of("image.rom").During("block 17").Behind(17 << 9), true},
		{fault.On("ACK").During("block 18"), false},
		{fault.On("*").In("tftpd"), false},
		{fault.On("image.rom").During("block 17"), false},
		{fault.On("image.rom").Behind(1), false},
	} {
		var p fault.Plan
		p.Add(c.rule.Do(drop{}))
		if _, _, ok := p.At(named); ok != c.fires {
			t.Errorf("%s: fires %t, want %t", c.rule, ok, c.fires)
		}
	}
}

// ranked is a joint effect that is tried in its turn.
type ranked struct {
	name string
	rank int
}

func (r ranked) String() string { return r.name }
func (ranked) Joint()           {}
func (r ranked) Rank() int      { return r.rank }

// What is of a lower rank is tried first, whenever it was added; others are
// tried in the order of their rules, without a rank as with that of 0.
func TestRulesAreTriedByRank(t *testing.T) {
	var p fault.Plan
	for _, e := range []fault.Effect{ranked{"last", 1}, ranked{"a", 0}, blur{}, ranked{"first", -2}, ranked{"early", -1}, ranked{"b", 0}, ranked{"first too", -2}} {
		p.Add(fault.On("*").Do(e))
	}
	var tried []string
	p.Try(fault.Point{}, everywhere, func(e fault.Effect) bool { tried = append(tried, e.String()); return true })
	if got, want := strings.Join(tried, ", "), "first, first too, early, a, blurs it, b, last"; got != want {
		t.Errorf("tried %s, want %s", got, want)
	}
	var told []string
	for _, c := range p.Ledger() {
		told = append(told, c.Rule.Effect().String())
	}
	if got, want := strings.Join(told, ", "), "last, a, blurs it, first, early, b, first too"; got != want {
		t.Errorf("the ledger tells %s, want %s", got, want)
	}
}
