package match

import (
	"fmt"

	"ip88rig/capture/timeline"
)

func rebootMatchers() registry[params] {
	return registry[params]{"Reboot": reboot{}, "RebootOnce": rebootOnce{}, "RebootAfterAsking": rebootAfterAsking{}}
}

type reboot struct{}

// Reboot claims at least one reboot that nobody commanded. It is mostly used negated.
func Reboot() Matcher { return claims(reboot{}) }

func (m reboot) says() string { return "reboot" }

func (m reboot) judge(v timeline.View) Verdict {
	reboots := all(v, timeline.Rebooted)
	ok := len(reboots) > 0
	return Verdict{OK: ok, Final: ok, Expected: []string{"a reboot"}, Seen: lines(reboots), Line: 1, Problem: "it did not", presence: true}
}

type rebootOnce struct{}

// RebootOnce claims exactly one reboot. It holds once the handset has
// registered after the reboot, or the window has closed.
func RebootOnce() Matcher { return claims(rebootOnce{}) }

func (m rebootOnce) says() string { return "reboot exactly once" }

func (m rebootOnce) judge(v timeline.View) Verdict {
	reboots := all(v, timeline.Rebooted)
	vd := Verdict{Expected: []string{"a reboot"}, Seen: lines(reboots), Problem: "it rebooted " + count(len(reboots))}
	switch {
	case len(reboots) == 0:
		vd.Line = 1
	case len(reboots) > 1:
		vd.Line, vd.Final = 2, true
	default:
		vd.OK = over(v, reboots[0].Seq)
		vd.Problem = "it is not yet known whether it reboots again"
	}
	return vd
}

type rebootAfterAsking struct {
	Step Step `json:"step"`
}

// RebootAfterAsking claims a reboot, and that none comes before the step was
// asked for in the window.
func RebootAfterAsking(step Step) Matcher { return claims(rebootAfterAsking{Step: step}) }

func (m rebootAfterAsking) says() string {
	return "reboot only after it asked for " + m.Step.Name
}

func (m rebootAfterAsking) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"asked for " + m.Step.Name, "a reboot"}, Line: 1, Problem: "it neither asked for " + m.Step.Name + " nor rebooted"}
	asked := false
	for _, e := range all(v, timeline.Asked, timeline.Rebooted) {
		switch {
		case e.Kind == timeline.Asked && m.Step.has(e.File) && !asked:
			asked = true
			vd.Seen = append(vd.Seen, line(e))
			vd.Line, vd.Problem = 2, "it did not reboot"
		case e.Kind == timeline.Rebooted:
			if !asked {
				vd.Seen = []string{"not asked for"}
			}
			vd.Seen = append(vd.Seen, line(e))
			vd.OK, vd.Final = asked, true
			vd.Problem = fmt.Sprintf("it rebooted without having asked for %s", m.Step.Name)
			return vd
		}
	}
	return vd
}
