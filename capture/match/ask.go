package match

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

func askMatchers() registry[params] {
	return registry[params]{
		"AskFor":     askFor{},
		"AskInOrder": askInOrder{},
		"AskBefore":  askBefore{},
		"AskFirst":   askFirst{},
		"Ask":        ask{},
		"AskOver":    askOver{},
		"AskServer":  askServer{},
		"AskAlike":   askAlike{},
	}
}

// Step is one step of the download routine: the global file, the own file, the
// version file, a listed file. Files are the names that are look-ups of it;
// none: Name is the file's name.
type Step struct {
	Name  string   `json:"name"`
	Files []string `json:"files,omitempty"`
}

// has reports whether the file is a look-up of the step.
func (s Step) has(file string) bool {
	if len(s.Files) == 0 {
		return file == s.Name
	}
	return slices.Contains(s.Files, file)
}

func stepNames(steps []Step) []string {
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return names
}

// stepOf returns the first step that the file is a look-up of, or -1.
func stepOf(steps []Step, file string) int {
	return slices.IndexFunc(steps, func(s Step) bool { return s.has(file) })
}

// cycle returns the asks of the window as far as the first boot after the
// first of them; ended reports that there was one.
func cycle(v timeline.View) (asks []*timeline.Event, ended bool) {
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.Asked:
			asks = append(asks, e)
		case len(asks) > 0 && (e.Kind == timeline.Rebooted || e.Kind == timeline.Booted):
			return asks, true
		}
	}
	return asks, false
}

// visit is a run of asks for one step.
type visit struct {
	step string
	ask  *timeline.Event
	more int
}

func (s visit) String() string {
	text := line(s.ask)
	if s.more > 0 {
		text += fmt.Sprintf(" and %d more", s.more)
	}
	return text
}

// visits collapses look-ups and retries of one step; asks that belong to no
// step are findings.
func visits(steps []Step, asks []*timeline.Event) (seen []visit, findings []string) {
	for _, e := range asks {
		i := stepOf(steps, e.File)
		switch n := len(seen); {
		case i < 0:
			findings = append(findings, "belongs to no step: "+line(e))
		case n > 0 && seen[n-1].step == steps[i].Name:
			seen[n-1].more++
		default:
			seen = append(seen, visit{step: steps[i].Name, ask: e})
		}
	}
	return seen, findings
}

type askFor struct {
	Steps []Step `json:"steps"`
}

// AskFor claims that the handset asks for exactly these steps of the routine,
// in this order, in one download cycle. Look-ups and retries of one step are
// one; requests that belong to no step are findings. It holds once the cycle is
// known to be over. A boot after the first request ends the cycle.
func AskFor(steps ...Step) Matcher { return claims(askFor{Steps: steps}) }

func (m askFor) says() string {
	if len(m.Steps) == 0 {
		return "ask for nothing"
	}
	return "ask for exactly " + strings.Join(stepNames(m.Steps), ", then ")
}

func (m askFor) judge(v timeline.View) Verdict {
	asks, ended := cycle(v)
	seen, findings := visits(m.Steps, asks)
	vd := Verdict{Expected: stepNames(m.Steps), Findings: findings}
	for _, s := range seen {
		vd.Seen = append(vd.Seen, s.String())
	}
	for i, s := range seen {
		if i < len(m.Steps) && s.step == m.Steps[i].Name {
			continue
		}
		vd.Final, vd.Line = true, i+1
		if i < len(m.Steps) {
			vd.Problem = fmt.Sprintf("where %s was due it asked for %s", m.Steps[i].Name, s.step)
		} else {
			vd.Problem = "then it asked for " + s.step + " once more"
		}
		return vd
	}
	if n := len(seen); n < len(m.Steps) {
		vd.Final, vd.Line = ended, n+1
		vd.Problem = m.Steps[n].Name + " was not asked for"
		if ended {
			vd.Problem += " before it booted"
		}
		return vd
	}
	last := v.From
	if len(asks) > 0 {
		last = asks[len(asks)-1].Seq
	}
	vd.Final = ended
	vd.OK = ended || over(v, last)
	vd.Problem = "it is not yet known whether it asks for more"
	return vd
}

type askInOrder struct {
	Steps []Step `json:"steps"`
}

// AskInOrder claims that the steps are asked for in this order in one download
// cycle; others may lie between. The first request for each step counts.
func AskInOrder(steps ...Step) Matcher { return claims(askInOrder{Steps: steps}) }

func (m askInOrder) says() string {
	return "ask in this order for " + strings.Join(stepNames(m.Steps), ", ")
}

func (m askInOrder) judge(v timeline.View) Verdict { return inOrder(v, m.Steps) }

func inOrder(v timeline.View, steps []Step) Verdict {
	vd := Verdict{Expected: stepNames(steps)}
	asks, ended := cycle(v)
	first := make([]bool, len(steps))
	due := 0
	for _, e := range asks {
		i := stepOf(steps, e.File)
		switch {
		case i < 0:
			vd.Findings = append(vd.Findings, "lies between: "+line(e))
			continue
		case first[i]:
			continue
		}
		first[i] = true
		vd.Seen = append(vd.Seen, line(e))
		if i != due {
			vd.Final, vd.Line = true, due+1
			vd.Problem = fmt.Sprintf("it asked for %s before %s", steps[i].Name, steps[due].Name)
			return vd
		}
		due++
	}
	if due < len(steps) {
		vd.Final, vd.Line = ended, due+1
		vd.Problem = steps[due].Name + " was not asked for"
		return vd
	}
	vd.OK, vd.Final = true, true
	return vd
}

type askBefore struct {
	First Step `json:"first"`
	Then  Step `json:"then"`
}

// AskBefore claims that the first request for one step comes before the first one
// for the other, in one download cycle.
func AskBefore(first, then Step) Matcher { return claims(askBefore{First: first, Then: then}) }

func (m askBefore) says() string { return "ask for " + m.First.Name + " before " + m.Then.Name }

func (m askBefore) judge(v timeline.View) Verdict { return inOrder(v, []Step{m.First, m.Then}) }

type askFirst struct {
	Step Step `json:"step"`
}

// AskFirst claims that the first request of the window is for the step.
func AskFirst(step Step) Matcher { return claims(askFirst{Step: step}) }

func (m askFirst) says() string { return "ask first of all for " + m.Step.Name }

func (m askFirst) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.Step.Name}, Line: 1, Problem: "nothing was asked for"}
	asks := all(v, timeline.Asked)
	if len(asks) == 0 {
		return vd
	}
	vd.Seen = []string{line(asks[0])}
	vd.Final, vd.OK = true, m.Step.has(asks[0].File)
	vd.Problem = "the first request was for " + asks[0].File
	return vd
}

type ask struct {
	Step Step `json:"step"`
}

// Ask claims that the step is asked for at least once.
func Ask(step Step) Matcher { return claims(ask{Step: step}) }

func (m ask) says() string { return "ask for " + m.Step.Name }

func (m ask) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.Step.Name}, Line: 1, Problem: "it did not", presence: true}
	for _, e := range all(v, timeline.Asked) {
		if m.Step.has(e.File) {
			vd.Seen = append(vd.Seen, line(e))
			vd.OK, vd.Final = true, true
		} else if !vd.OK {
			vd.Findings = append(vd.Findings, "it asked for something else: "+line(e))
		}
	}
	if vd.OK {
		vd.Findings = nil
	}
	return vd
}

type askOver struct {
	Transport timeline.Transport `json:"transport"`
}

// AskOver claims that something is asked for, and everything over this
// transport. It holds once the cycle is known to be over.
func AskOver(t timeline.Transport) Matcher { return claims(askOver{Transport: t}) }

func (m askOver) says() string { return "ask over " + string(m.Transport) + " and nothing else" }

func (m askOver) judge(v timeline.View) Verdict {
	vd := Verdict{Problem: "nothing was asked for", Line: 1}
	asks := all(v, timeline.Asked)
	for i, e := range asks {
		vd.Expected = append(vd.Expected, string(m.Transport))
		vd.Seen = append(vd.Seen, line(e))
		if e.Transport != m.Transport {
			vd.Final, vd.Line = true, i+1
			vd.Problem = fmt.Sprintf("it asked for %s over %s", e.File, e.Transport)
			return vd
		}
	}
	if len(asks) == 0 {
		vd.Expected = []string{string(m.Transport)}
		return vd
	}
	vd.Line = 0
	vd.OK = over(v, asks[len(asks)-1].Seq)
	vd.Problem = "it is not yet known whether it asks for more"
	return vd
}

type askServer struct {
	Server string `json:"server"`
}

// AskServer claims that a file is asked for at this server: an address, or an
// address with a port.
func AskServer(server string) Matcher { return claims(askServer{Server: server}) }

func (m askServer) says() string { return "ask for a file at " + m.Server }

func (m askServer) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"asked at " + m.Server}, Line: 1, Problem: "it did not", presence: true}
	for _, e := range all(v, timeline.Asked) {
		if at(m.Server, e.Dst) {
			vd.OK, vd.Final, vd.Seen = true, true, []string{line(e)}
			return vd
		}
		vd.Seen = append(vd.Seen, line(e))
		vd.Problem = "it asked elsewhere"
	}
	return vd
}

type askAlike struct {
	Like Step `json:"like"`
	Step Step `json:"step"`
}

// AskAlike claims that a step is asked for at the same server and over the same
// transport as another one before it, and nowhere else in that download cycle. It holds once the cycle is known to be over.
func AskAlike(like, step Step) Matcher { return claims(askAlike{Like: like, Step: step}) }

func (m askAlike) says() string {
	return "ask for " + m.Step.Name + " where it asked for " + m.Like.Name + ", and nowhere else"
}

func (m askAlike) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.Like.Name, m.Step.Name + ", at the same server over the same transport"}, Line: 1}
	vd.Problem = m.Like.Name + " was not asked for"
	asks, ended := cycle(v)
	var like *timeline.Event
	found, last := false, v.From
	for _, e := range asks {
		last = e.Seq
		switch {
		case m.Like.has(e.File) && !found:
			like = e
			vd.Seen, vd.Line, vd.Problem = []string{line(e)}, 2, m.Step.Name+" was not asked for"
		case like == nil || !m.Step.has(e.File):
		case e.Transport != like.Transport || e.Dst != like.Dst:
			vd.Final, vd.Line = true, len(vd.Seen)+1
			vd.Seen = append(vd.Seen, line(e))
			vd.Problem = fmt.Sprintf("it asked for %s at %s over %s, but for %s at %s over %s", e.File, e.Dst, e.Transport, like.File, like.Dst, like.Transport)
			return vd
		default:
			found = true
			vd.Seen = append(vd.Seen, line(e))
		}
	}
	if !found {
		vd.Final = ended
		return vd
	}
	vd.Line, vd.Final = 0, ended
	vd.OK = ended || over(v, last)
	vd.Problem = "it is not yet known whether it asks for more"
	return vd
}
