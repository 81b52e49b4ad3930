package main

import (
	"fmt"
	"strings"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
)

// progress is the line of a spec that is over: its verdict, and what for.
func progress(s report.Spec) string {
	line := fmt.Sprintf("%-12s %9s  %s", s.Verdict, took(s.Took), s.Name)
	if reason, _, _ := strings.Cut(s.Reason, "\n"); reason != "" {
		line += ": " + reason
	}
	return line
}

// took is how long a spec took, which in virtual time may be hours.
func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// action is how long a person takes to do one thing at a phone (a guess).
const action = time.Minute

// planText says how long it will take and how often a person must act.
func planText(b bench.Bench, h bench.Handset, plan pipe.Plan) string {
	pt := h.Patience
	each := pt.Off + pt.Boot/3
	settle := pt.Settle
	if h.Simulated {
		each = 200 * time.Millisecond
	}
	about := time.Duration(plan.Power)*each + time.Duration(plan.Specs)*settle
	// A script does what hands would at a simulated handset, all but its power.
	hands := plan.Hands
	if h.Simulated {
		hands = 0
	}
	if h.Power.Kind == "operator" {
		hands += 2 * plan.Power
	}
	who := ""
	if hands > 0 {
		about += time.Duration(hands) * min(action, pt.Operator)
		who = fmt.Sprintf("; a person must act about %d times", hands)
	}
	when := "about " + about.Round(time.Second).String()
	if b.Wire.Memory {
		when = "in virtual time"
	}
	return fmt.Sprintf("%d specs (%d skipped), %s%s", plan.Specs, plan.Skipped, when, who)
}
