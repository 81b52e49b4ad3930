package impair_test

import (
	"strings"
	"testing"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
)

// fated is what becomes of six frames in each direction.
type fated struct {
	name     string
	rules    []fault.Rule
	out, in  string
	sentence string // the first of the journal; blank: whatever it is
}

// toHandset begins a rule on frames to the handset.
func toHandset() fault.Rule { return fault.On(impair.ToHandset) }

// fare holds wires against their fates, twice: the same rules do the same again.
// One rule by itself counts each frame it did something to.
func fare(t *testing.T, cases []fated) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				b := newBad(t, tt.rules...)
				if got := b.fates(true, 6); got != tt.out {
					t.Errorf("to the handset: %s, want %s", got, tt.out)
				}
				if got := b.fates(false, 6); got != tt.in {
					t.Errorf("from the handset: %s, want %s", got, tt.in)
				}
				if tt.sentence != "" && (len(b.journal) == 0 || b.journal[0].Reason != tt.sentence) {
					t.Errorf("journal %+v, want %q", b.journal, tt.sentence)
				}
				if len(tt.rules) != 1 {
					continue
				}
				want := 0
				for _, did := range []string{"x", "[", "(", "!"} {
					want += strings.Count(tt.out+tt.in, did)
				}
				if fired := b.plan.Ledger()[0].Fired; fired != want {
					t.Errorf("the ledger says %d, want %d", fired, want)
				}
			}
		})
	}
}

// said is what an effect says of itself.
type said struct {
	effect fault.Effect
	text   string
	err    string // part of what is wrong with it; blank: the wire can do it
}

func says(t *testing.T, cases []said) {
	t.Helper()
	for _, tt := range cases {
		err := newBad(t).Can(tt.effect)
		switch {
		case tt.err == "" && err != nil, tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%#v: got %v, want %q", tt.effect, err, tt.err)
		case tt.err == "" && tt.effect.String() != tt.text:
			t.Errorf("%#v prints %q, want %q", tt.effect, tt.effect, tt.text)
		}
	}
}

type foreign struct{}

func (foreign) String() string { return "does something else" }

func TestTheWireDoesOnlyItsOwn(t *testing.T) {
	says(t, []said{{foreign{}, "", "the wire cannot do impair_test.foreign"}})
	fare(t, []fated{{"nothing is declared", nil, "......", "......", ""}})
}

// What is lost was neither late nor doubled, whatever was declared first: only
// the rule that loses it counts.
func TestWhatIsLostCountsOnce(t *testing.T) {
	const late = impair.Late
	for _, tt := range []struct {
		name  string
		rules []fault.Rule
		out   string
		fired []int // in the order of the rules
	}{
		{
			"late and lost by a pattern",
			[]fault.Rule{toHandset().Do(impair.Delay{D: 1}), toHandset().Do(impair.Lose{Pattern: "x."}), toHandset().Do(impair.Delay{D: 1})},
			"x[2ns]x[2ns]x[2ns]",
			[]int{3, 3, 3},
		},
		{
			"doubled, damaged and lost",
			[]fault.Rule{toHandset().Do(impair.Duplicate{Copies: 1}), toHandset().Do(impair.Corrupt{}), toHandset().Do(impair.Lose{})},
			"xxxxxx",
			[]int{0, 0, 6},
		},
		{
			"late and lost in the queue of a narrow wire",
			[]fault.Rule{toHandset().Do(impair.Delay{D: 1}), toHandset().Do(impair.Limit{BytesPerSecond: 1, Queue: 1})},
			"[58.000000001s]xxxxx",
			[]int{1, 6},
		},
		{
			"two patterns",
			[]fault.Rule{toHandset().Do(impair.Lose{Pattern: "x.."}), toHandset().Do(impair.Lose{Pattern: "x.."})},
			"xx.x.x",
			[]int{2, 2},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBad(t, tt.rules...)
			if got := b.fates(true, 6); got != tt.out {
				t.Errorf("%s, want %s", got, tt.out)
			}
			for i, r := range tt.rules {
				fired := 0
				for _, c := range b.plan.Ledger() {
					if c.Rule.Effect().String() == r.Effect().String() {
						fired = c.Fired
					}
				}
				if fired != tt.fired[i] {
					t.Errorf("%s: fired %d times, want %d", r, fired, tt.fired[i])
				}
			}
			for _, e := range b.journal {
				if strings.HasPrefix(tt.out, "xxxxxx") && e.Fields[impair.Did] == late {
					t.Errorf("recorded %v", e)
				}
			}
		})
	}
}
