package fault_test

import (
	"strings"
	"testing"
	"time"

	"ip88rig/rig/fault"
)

type late struct {
	By   time.Duration
	Note string
	N    uint8
}

func (late) String() string { return "is late" }

func someKinds() fault.Kinds { return fault.NewKinds("testd", drop{}, late{}) }

func TestAnEffectIsReadFromText(t *testing.T) {
	for text, want := range map[string]fault.Effect{
		"drop":                          drop{},
		"  Drop ":                       drop{},
		"late":                          late{},
		"late by=1m30s n=0x10":          late{By: 90 * time.Second, N: 16},
		`Late NOTE="a \"b\" = c"  n=7 `: late{Note: `a "b" = c`, N: 7},
		"late note=http://a/?b=c":       late{Note: "http://a/?b=c"},
	} {
		if got, err := someKinds().Parse(text); err != nil || got != want {
			t.Errorf("%q: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestABadTextOfAnEffectSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                 `testd has no effect "": want one of drop, late`,
		"early":            `testd has no effect "early"`,
		"drop by=1s":       `testd.drop has no parameter "by": want one of none`,
		"late at=1s":       `testd.late has no parameter "at": want one of by, note, n`,
		"late by":          `testd.late: "by": want name=value`,
		"late by=1":        `testd.late: by: "1" is no duration`,
		"late n=256":       `testd.late: n: "256" is no number from 0 on of 8 bits`,
		"late n=1 N=2":     "testd.late: N is there twice",
		`late note="a`:     `testd.late: note: "\"a": a quote is not closed`,
		`late note="a"n=1`: "follows a quoted value without a blank",
	} {
		if got, err := someKinds().Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %#v, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzKinds(f *testing.F) {
	f.Add("late by=1m30s note=\"a b\" n=3")
	f.Add("drop")
	f.Add("late note=\"\\x00\" by=-1ns")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := someKinds().Parse(text)
		if err != nil {
			return
		}
		again, err := someKinds().Text(e)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := someKinds().Parse(again); err != nil || back != e {
			t.Errorf("%q is %#v, and %q is %#v, %v", text, e, again, back, err)
		}
	})
}
