package fault_test

import (
	"testing"

	"ip88rig/rig/fault"
)

func TestAPlanAwaitsThePlacesOfRulesThatMayStillFire(t *testing.T) {
	t.Parallel()
	inside := fault.Point{Service: "httpd", Message: "body", File: "image.rom", Phase: "body", Bytes: 100, Within: true}
	done := fault.Point{Service: "httpd", Message: "done", File: "image.rom", Phase: "done", Bytes: 200, Within: true}
	for _, c := range []struct {
		rule         fault.Rule
		inside, done bool
	}{
		{fault.On("image.rom").Do(drop{}), false, false},
		{fault.On("image.rom").Behind(100).Do(drop{}), true, true},
		{fault.On("image.rom").Behind(101).Do(drop{}), false, true},
		{fault.On("other.rom").Behind(1).Do(drop{}), false, false},
		{fault.On("*").In("wire").Do(drop{}), false, false},
		{fault.On("body").From(7).Do(drop{}), true, false},
		{fault.On("done").Of("image.rom").Do(drop{}), false, true},
		{fault.On("done").Of("image.rom"), false, false},
	} {
		var p fault.Plan
		p.Add(c.rule)
		if in, at := p.Awaits(inside), p.Awaits(done); in != c.inside || at != c.done {
			t.Errorf("%s: awaited inside %t and when done %t, want %t and %t", c.rule, in, at, c.inside, c.done)
		}
	}
	var p fault.Plan
	p.Add(fault.On("body").Do(drop{}).Times(2))
	for range 2 {
		if !p.Awaits(inside) {
			t.Error("does not await what it may still fire at")
		}
		p.At(inside)
	}
	if p.Awaits(inside) {
		t.Error("awaits what it cannot fire at any more")
	}
	if (*fault.Plan)(nil).Awaits(inside) {
		t.Error("a nil plan awaits something")
	}
}
