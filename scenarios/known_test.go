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
