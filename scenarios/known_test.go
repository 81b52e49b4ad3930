package scenarios

import (
	"strings"
	"testing"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
)

func TestWhatAFactoryResetTookIsMissingUntilItIsSeenAgain(t *testing.T) {
	a := []byte("authority A")
	reset := control.Request{Verb: control.FactoryReset}
	unseen := control.Request{Verb: control.UploadAuthority, PEM: a}
	other := control.Request{Verb: control.UploadAuthority, PEM: []byte("a root"), ReadBack: "it is listed"}
	seen := control.Request{Verb: control.UploadAuthority, PEM: a, ReadBack: "it is listed"}
	const lacks = "it lacks authority A"

	var k known
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"at golden", k.home, ""},
		{"a factory reset", func() { k.done(reset, a, true) }, lacks},
		{"golden's settings", k.home, lacks},
		{"an upload that nobody looked at", func() { k.done(unseen, a, true) }, lacks},
		{"an upload of something else", func() { k.done(other, a, true) }, lacks},
		{"the checks set by hand", func() { k.done(control.Request{Verb: control.SetChecks, PEM: a, ReadBack: "off"}, a, true) }, lacks},
		{"a spec that broke off", func() { k.spoil("it broke off") }, "it broke off; " + lacks},
		{"golden's settings again", k.home, lacks},
		{"an upload that was looked at", func() { k.done(seen, a, true) }, ""},
		{"a factory reset of one that never held it", func() { k.done(reset, a, false) }, ""},
	} {
		if step.do(); k.needsHome() != step.want {
			t.Fatalf("after %s: %q, want %q", step.name, k.needsHome(), step.want)
		}
	}
}

func TestWithoutAuthorityItIsNotHome(t *testing.T) {
	p := &Phone{
		run:  &run{known: known{missing: "authority A"}},
		lane: &rig.Lane{Config: rig.Config{Handset: bench.Handset{Verbs: []string{string(control.FactoryReset)}}}},
	}
	err := p.arrive(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lacks authority A") || !strings.Contains(err.Error(), "upload-authority") {
		t.Errorf("nobody copies it: %v, want what it lacks and the verb", err)
	}
	if left := p.run.known.needsHome(); left != "it lacks authority A" {
		t.Errorf("left with %q", left)
	}
}

func TestSettingsDoNotShowThatARootWasForgotten(t *testing.T) {
	k := known{guest: "an expired root", lost: "it broke off"}
	if k.home(); k.needsHome() != "it holds an expired root" {
		t.Errorf("at golden's settings: %q, want the root that it holds", k.needsHome())
	}
}

func TestWhateverAFailedSpecFailedAtTheHandsetIsInDoubt(t *testing.T) {
	var k known
	k.failed()
	if !k.doubt || k.needsHome() == "" {
		t.Errorf("doubt %v, needs home %q", k.doubt, k.needsHome())
	}
	k.spoil("it broke off")
	if k.failed(); k.lost != "it broke off" {
		t.Errorf("lost %q, want why it was lost first", k.lost)
	}
	if k.home(); k.doubt {
		t.Error("at golden it is still in doubt")
	}
}

func TestHalfWayHomeIsNotHome(t *testing.T) {
	for exactly, want := range map[bool]string{false: "", true: "it holds another line name and registration period"} {
		var k known
		k.failed()
		k.home()
		k.showed(exactly)
		if k.needsHome() != want || !k.riding {
			t.Errorf("exactly %v: %q, riding %v, want %q", exactly, k.needsHome(), k.riding, want)
		}
	}
}

func TestTheWayHomeCountsAmongWhatAPersonDoes(t *testing.T) {
	r := newRun(Options{OperatorMax: 12, Lane: &rig.Lane{Config: rig.Config{Handset: bench.Handset{Power: bench.Power{Kind: "operator"}}}}})
	r.spec = &specRun{story: &story{power: 3, hands: 1}, before: 3}
	doubt := known{lost: "a spec failed", doubt: true}
	for _, c := range []struct {
		name    string
		k       known
		why     string
		exactly bool
		fits    bool
	}{
		{"at golden", known{}, "", true, true},
		{"once home", known{lost: "it was never seen"}, "it was never seen", false, true},
		{"a setting that rides", known{riding: true}, "it holds another line name", true, true},
		{"in doubt, which may ride", doubt, doubt.lost, false, true},
		{"in doubt, and then exactly", doubt, doubt.lost, true, false},
	} {
		if why := r.tooMany(c.k.wayHome(c.why, c.exactly)); (why == "") != c.fits {
			t.Errorf("%s: %q", c.name, why)
		}
	}
	r.OperatorMax = -1
	if why := r.tooMany(9); why != "" {
		t.Errorf("without a bound: %q", why)
	}
}
