package scenarios

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/report"
)

// run is the suite on one lane, from its first spec to its last.
type run struct {
	Options
	// selected reports which specs the filters let through.
	selected func(s *story, over timeline.Transport) bool

	// lapsing holds the givens of the recording at hand against what the handset met.
	lapsing timeline.Lapsing

	hands int
	phone *Phone
	// proving: the way back is being proven right now.
	proving bool
	// installing is when the handset was last seen to take software that no
	// reboot has followed yet; zero: none.
	installing time.Time
	// interrupted: somebody wants it to end now; going home is the next run's.
	interrupted bool
	listed      []string
	// held is the result of the last spec, until the next one begins: what the
	// handset did in between may spoil it.
	held  *report.Spec
	known known
	// broken are rows that a spec has failed, with their transport: what stands on
	// them is blocked, not failed.
	broken map[string]string
	// wayBack: NOTIFY was proven to bring the handset to provision.
	wayBack bool

	spec *specRun
}

// specRun is what is gathered about the spec that runs now.
type specRun struct {
	story   *story
	over    timeline.Transport
	done    <-chan struct{} // closed when the spec is to end
	result  report.Spec
	pending *show
	verbs   int
	// troubles are the rig's or the lab's: they make the spec inconclusive.
	troubles []string
	opened   bool
	// before is how often a person had acted when it began.
	before int
	// calmed is how many judgements were made before the faults last ended.
	calmed int
	// complete: every judgement was made although the spec failed.
	complete bool
	// excused are rows that this depth judges elsewhere.
	excused map[string]bool
	// rests are facts that its judgements rest on besides those of their rows.
	rests []string
	// spared are the sentences of faults that need not fire.
	spared []string
}

func newRun(o Options) *run {
	return &run{Options: o, broken: map[string]string{}, known: known{lost: "it was never seen"}}
}

// begin opens the spec's recording and returns the phone with nothing given.
func (r *run) begin(ctx context.Context, s *story, over timeline.Transport) *Phone {
	GinkgoHelper()
	if r.toEnd() {
		r.interrupted = true
		AbortSuite(errInterrupted.Error())
	}
	spec := &specRun{story: s, over: over, done: ctx.Done(), excused: map[string]bool{}}
	spec.result = report.Spec{
		ID: s.id(over), Name: s.text(over), Rows: s.rows, Transport: string(over), Start: time.Now(),
	}
	spec.result.Folder = filepath.Join(r.Folder, spec.result.ID)
	if r.Rerun != "" {
		spec.result.Rerun = fmt.Sprintf(r.Rerun, strings.ReplaceAll(regexp.QuoteMeta(s.name+", over "+string(over)), "'", `'\''`))
	}
	if !r.selected(s, over) { // it is in the tree all the same, so that a filter leaves the order as it is
		r.spec = nil
		Skip("filtered out")
	}
	r.spec = spec
	if reason := s.skipReason(r.Options, over); reason != "" {
		r.skip(reason)
	}
	for _, row := range s.stands(over) {
		if why, ok := r.broken[row+" "+string(over)]; ok {
			r.block(row, why)
		}
	}
	spec.before = r.hands
	if why := r.tooMany(r.known.wayHome(r.known.needsHome(), false)); why != "" {
		r.skip(why)
	}
	r.release()
	r.installing = r.installs(r.events())
	if r.Started != nil {
		r.Started(spec.result)
	}
	h, defects := r.Lane.Handset, []string(nil)
	for _, d := range r.Lane.Defects {
		defects = append(defects, string(d))
	}
	r.Lane.Recorder.Describe(about(report.Handset{
		Name: h.Name, Model: h.Model.String(), Link: string(h.Link), Simulated: h.Simulated, Firmware: h.Software(), Seed: r.Lane.Seed, Defects: defects,
	}, spec.result))
	if err := r.Lane.OpenRecording(spec.result.Folder); err != nil {
		r.inconclusive(err.Error())
	}
	spec.opened, r.lapsing = true, timeline.Lapsing{}
	r.phone = &Phone{run: r, lane: r.Lane, Patience: r.Lane.Handset.Patience, over: over}
	return r.phone
}

// tooMany says that the spec at hand would take more actions of a person than are
// allowed, where its way home takes so many power cycles; blank: it would not.
func (r *run) tooMany(home int) string {
	hands := r.spec.before + r.spec.story.hands
	if r.Lane.Handset.Power.Kind == "operator" {
		hands += 2 * (r.spec.story.power + home)
	}
	if r.OperatorMax < 0 || hands <= r.OperatorMax {
		return ""
	}
	return fmt.Sprintf("needs %d more actions of a person than --operator-max %d allows", hands-r.OperatorMax, r.OperatorMax)
}

// verb writes a step of the scenario into the journal and returns the window
// from there. Whatever was judged before it has passed.
func (r *run) verb(name string, args any) *timeline.Window {
	r.passPending()
	r.spec.verbs++
	if r.Waiting != nil {
		r.Waiting(name)
	}
	return r.Lane.Verb(name, r.spec.verbs, args)
}

// note writes a window that a scenario waits on into the journal.
func (r *run) note(what string, w *timeline.Window) {
	spec, err := json.Marshal(w.Spec())
	if err != nil {
		return
	}
	r.Lane.Note(what + " in window " + string(spec))
}

// installs folds events into what is known of software being taken: when it was
// last seen, zero once a boot has followed.
func (r *run) installs(events timeline.Log) time.Time {
	last := r.installing
	for e := range events.All() {
		switch e.Kind {
		case timeline.Booted, timeline.Rebooted, timeline.PowerOff:
			last = time.Time{}
		case timeline.Asked, timeline.Fetched, timeline.TFTPData, timeline.TFTPAck, timeline.HTTPResponse, timeline.Served:
			if slices.Contains(r.software(), e.File) && e.Status < 400 && (e.Kind != timeline.Served || e.Complete) {
				last = e.At
			}
		default:
		}
	}
	return last
}

// events are those of the recording at hand; none before the first one.
func (r *run) events() timeline.Log {
	if tl := r.Lane.Recorder.Timeline(); tl != nil {
		return tl.Log()
	}
	return timeline.Log{}
}

// software are the names of all listed files that this lane ever offers.
func (r *run) software() []string {
	if r.listed == nil {
		r.listed = []string{}
		for _, which := range []string{"golden", "next"} {
			if v, err := r.Lane.Firmware(which); err == nil {
				for _, f := range v.Files {
					r.listed = append(r.listed, f.Name)
				}
			}
		}
	}
	return r.listed
}

// The three ways a spec ends without its handset being at fault.

func (r *run) skip(reason string) {
	GinkgoHelper()
	r.spec.result.Verdict, r.spec.result.Reason = report.Skip, reason
	Skip(reason)
}

func (r *run) block(row, reason string) {
	GinkgoHelper()
	r.passPending()
	r.spec.result.Verdict, r.spec.result.BlockedBy = report.Blocked, row
	r.spec.result.Reason = fmt.Sprintf("blocked by %s: %s", row, reason)
	Fail(r.spec.result.Reason)
}

func (r *run) inconclusive(reason string) {
	GinkgoHelper()
	r.spec.result.Verdict, r.spec.result.Reason = report.Inconclusive, "inconclusive: "+reason
	Fail(r.spec.result.Reason)
}

// judge settles one judgement and writes it into the journal.
func (r *run) judge(s *show, v report.Verdict, negated bool, reason string) {
	j := report.Judgement{
		Row: s.row, Case: s.name, Transport: string(r.spec.over), Verdict: v, Reason: reason,
		Negated: negated, Upto: s.view.Upto, Watermark: s.view.Watermark,
	}
	if fact := r.assumption(s.row); v == report.Pass && fact != "" {
		j.Reason = "rests on the assumption " + fact
	}
	if s.verdict.Unfit == "" {
		excuse(&j, r.lapsing.Lapses(s.view.All, s.view.Watermark))
	}
	if j.Verdict == report.Fail {
		if why := unjudged(s.verdict); why != "" {
			j.Verdict, j.Reason = report.Inconclusive, "inconclusive: "+why
		} else if !s.verdict.Final && !s.view.Closed {
			j.Verdict, j.Reason = report.Inconclusive, "inconclusive: the wait ended before its window closed"
		} else if fact := r.assumption(s.row); fact != "" {
			j.Verdict, j.Reason = report.Inconclusive, byAssumption+fact
		}
	}
	if j.Verdict == report.Fail {
		h := r.Lane.Handset
		if why, known := r.Deviations.Excuse(j.Row, h.Model.String(), h.Software(), j.Reason, r.today()); known {
			j.Verdict, j.Reason = report.Known, why
		} else {
			j.Reason = why
		}
	}
	name, args := match.Encode(s.matcher)
	j.Matcher, j.Args = name, args
	if window, err := json.Marshal(s.window); err == nil {
		j.Window = window
	}
	if n := s.view.Events.Len(); n > 0 {
		j.Frame = s.view.Events.At(n - 1).Frame
	}
	r.spec.result.Judgements = append(r.spec.result.Judgements, j)
	r.Lane.Judged(j)
}

// today is the day by which deviations expire.
func (o Options) today() time.Time {
	if o.Today.IsZero() {
		return time.Now()
	}
	return o.Today
}

// assumption names the unmeasured fact, or the sibling's manual, that a
// judgement on a real handset would rest on; blank when there is none. What a
// sibling's manual promises and the spec stands on is one too: where NOTIFY need
// not start a cycle, that none came says nothing of what the row is about.
func (r *run) assumption(row string) string {
	h := r.Lane.Handset
	if why := cmp.Or(assumes(h, row), unsettled(h, r.spec.rests)); why != "" {
		return why
	}
	for _, on := range r.spec.story.on {
		if !promisedElsewhere(on) {
			continue
		}
		if why := assumes(h, on); why != "" {
			return why
		}
	}
	return ""
}

// passPending settles the judgement before: had it failed, its spec had ended.
func (r *run) passPending() {
	if r.spec == nil || r.spec.pending == nil {
		return
	}
	s := r.spec.pending
	r.spec.pending = nil
	r.judge(s, report.Pass, !s.verdict.OK, "")
}

// end runs when the body has ended, however: it settles what is pending, checks
// the rig itself and closes the recording.
func (r *run) end(ctx SpecContext) {
	if r == nil || r.spec == nil || !r.spec.opened {
		return
	}
	spec := r.spec
	failed := CurrentSpecReport().Failed()
	if r.toEnd() || CurrentSpecReport().State.Is(types.SpecStateInterrupted|types.SpecStateAborted) {
		r.interrupted = true
	}
	if s := spec.pending; s != nil && failed && spec.result.Verdict == "" {
		spec.pending = nil
		r.judge(s, report.Fail, s.verdict.OK, s.why())
	}
	r.passPending()
	switch {
	case failed:
		r.known.failed()
	case r.phone != nil && !r.phone.changed && r.phone.holdsGolden():
		// What was served was golden, and the handset shows that it took it.
		r.known.home()
	}
	if why := idle(r.calm(), spec.spared); why != "" && !failed {
		spec.troubles = append(spec.troubles, why)
	}
	r.Lane.Settle(ctx)
	r.prove(ctx)
	r.installing = r.installs(r.events())
	spec.troubles = append(spec.troubles, r.Lane.Troubles()...)
	if why := r.Lane.Starved(); why != "" && (failed || has(spec.result.Judgements, report.Drift)) {
		spec.troubles = append(spec.troubles, why)
	}
	r.tellOutcome()
	spec.result.Frames = r.Lane.Recorder.Frames()
	r.lapsing = timeline.Lapsing{}
	if err := r.Lane.CloseRecording(filepath.Join(r.Folder, "between")); err != nil {
		spec.troubles = append(spec.troubles, err.Error())
	}
	spec.opened = false
	if failed {
		AddReportEntry("timeline", r.Lane.LastText(), ReportEntryVisibilityFailureOrVerbose)
	}
}

// calm ends all faults, and writes down what became of them.
func (r *run) calm() []fault.Count {
	counts := r.Lane.Calm()
	for _, c := range counts {
		r.spec.result.Faults = report.Declare(r.spec.result.Faults, c.Rule.String(), c.Fired)
	}
	return counts
}

// idle says which fault has never fired that is not spared; blank: none.
func idle(counts []fault.Count, spared []string) string {
	for _, c := range counts {
		if c.Fired == 0 && !slices.Contains(spared, c.Rule.String()) {
			return "a declared fault never fired: " + c.Rule.String()
		}
	}
	return ""
}

// points is how many values of a range the spec at hand tries; 0: all.
func (r *run) points() int {
	if r.whole(r.spec.result.Name) {
		return 0
	}
	return r.Points
}

// finish sums the spec up, also one that was skipped, and hands it over.
func (r *run) finish(g SpecReport) {
	if r == nil || r.spec == nil {
		return
	}
	spec := r.spec
	r.spec = nil
	res := &spec.result
	res.Took = time.Since(res.Start)
	if g.Failed() {
		res.Failure, res.Location = g.FailureMessage(), g.FailureLocation().String()
	}
	if res.Verdict == "" {
		switch v := report.Conclude(res.Judgements); {
		case v == report.Blocked:
			i := slices.IndexFunc(res.Judgements, func(j report.Judgement) bool { return j.Verdict == report.Blocked })
			res.Verdict, res.BlockedBy, res.Reason = report.Blocked, res.Judgements[i].BlockedBy, res.Judgements[i].Reason
		case v != report.Pass && v != report.Skip:
			res.Verdict, res.Reason = v, firstReason(res.Judgements, v)
		case g.Failed():
			res.Verdict, res.Reason = report.Inconclusive, "inconclusive: the scenario itself broke off: "+firstLine(res.Failure)
		default:
			res.Verdict, res.Reason = v, firstReason(res.Judgements, report.Skip)
			if v == report.Pass {
				res.Reason = ""
			}
		}
	}
	if len(spec.troubles) > 0 && res.Verdict != report.Skip {
		why := "inconclusive: " + strings.Join(spec.troubles, "; ")
		res.Verdict, res.Reason, res.BlockedBy = report.Inconclusive, why, ""
		for i := range res.Judgements {
			res.Judgements[i].Verdict, res.Judgements[i].Reason, res.Judgements[i].BlockedBy = report.Inconclusive, why, ""
		}
		r.known.spoil(why)
		r.known.rig = strings.Join(spec.troubles, "; ")
	}
	for _, j := range res.Judgements {
		if breaks(j) && j.Measured == nil { // nothing stands on what is only observed
			r.broken[j.Row+" "+j.Transport] = j.Reason
		}
		r.wayBack = r.wayBack || j.Verdict == report.Pass && j.Row == "RSY-01"
	}
	// Rows not reached, or not judged to their end, are blocked.
	for _, row := range res.Rows {
		if spec.excused[row] && !slices.ContainsFunc(res.Judgements, func(j report.Judgement) bool { return j.Row == row }) {
			continue
		}
		if slices.ContainsFunc(res.Judgements, func(j report.Judgement) bool {
			return j.Row == row && (!g.Failed() || spec.complete || j.Verdict != report.Pass)
		}) {
			continue
		}
		j := report.Judgement{Row: row, Transport: res.Transport, Verdict: report.Blocked, BlockedBy: res.BlockedBy, Reason: res.Reason}
		switch res.Verdict {
		case report.Skip:
			j.Verdict = report.Skip
		case report.Inconclusive:
			j.Verdict = report.Inconclusive
		case report.Fail:
			i := slices.IndexFunc(res.Judgements, func(j report.Judgement) bool { return j.Verdict == report.Fail })
			j.BlockedBy = res.Judgements[i].Row
			j.Reason = "not judged to its end: the spec ended at " + j.BlockedBy
		case report.Pass:
			// A scenario that names a row and judges it nowhere is a defect of ours.
			j.Verdict, j.Reason = report.Inconclusive, "inconclusive: no assertion of this spec judged the row"
			res.Verdict, res.Reason = report.Inconclusive, j.Reason
		case report.Known:
			i := slices.IndexFunc(res.Judgements, func(j report.Judgement) bool { return j.Verdict == report.Known })
			j.BlockedBy = res.Judgements[i].Row
			j.Reason = "not judged to its end: the spec ended at " + j.BlockedBy + ", which is known"
		case report.Blocked, report.Drift:
		}
		res.Judgements = append(res.Judgements, j)
	}
	if res.Verdict == report.Skip {
		if r.Done != nil {
			r.Done(*res)
		}
		return
	}
	r.release()
	r.held = res
}

// RebootedAfter begins the reason of a spec that a reboot came behind which
// nothing explains.
const RebootedAfter = "it rebooted after the spec"

// release hands the last spec's result over. A reboot that nothing explains
// between two specs makes the finished one inconclusive and the handset unknown.
func (r *run) release() {
	res := r.held
	if res == nil {
		return
	}
	r.held = nil
	if why, ok := r.Lane.RebootedBetween(); ok && res.Verdict != report.Skip {
		why = RebootedAfter + ": " + why
		r.known.spoil(why)
		if res.Verdict == report.Pass {
			res.Verdict, res.Reason = report.Inconclusive, "inconclusive: "+why
			for i := range res.Judgements {
				res.Judgements[i].Verdict, res.Judgements[i].Reason = report.Inconclusive, res.Reason
			}
		}
	}
	if r.Done != nil {
		r.Done(*res)
	}
}

// why says in one sentence what a failed judgement saw.
func (s *show) why() string {
	if s.verdict.Problem != "" {
		return s.verdict.Problem
	}
	return "was expected not to " + s.matcher.Claim()
}

func has(js []report.Judgement, v report.Verdict) bool {
	return slices.ContainsFunc(js, func(j report.Judgement) bool { return j.Verdict == v })
}

func firstReason(js []report.Judgement, v report.Verdict) string {
	for _, j := range js {
		if j.Verdict == v {
			return j.Reason
		}
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// goHome leaves the handset at golden when the lane ends.
func (r *run) goHome(ctx context.Context) {
	// Before the way home, on which it may well reboot.
	r.release()
	defer func() {
		if r.Ended != nil {
			r.Ended(r.known.needsHome())
		}
	}()
	if r.interrupted || r.known.needsHome() == "" || r.known.blocks >= 2 || r.phone == nil {
		return
	}
	over := r.phone.over
	r.spec = &specRun{story: &story{name: "goes home"}, over: over}
	phone := &Phone{run: r, lane: r.Lane, Patience: r.Lane.Handset.Patience, over: over}
	if err := phone.home(ctx, true); err != nil && !errors.Is(err, context.Canceled) {
		r.Lane.Note("the handset did not come home: " + err.Error())
	}
	r.spec = nil
}

// Inject declares a fault; one that never fires makes the spec inconclusive.
func (p *Phone) Inject(rule fault.Rule) {
	GinkgoHelper()
	if _, cut := rule.Effect().(impair.PowerCut); cut && !p.run.spec.story.brick {
		p.run.inconclusive("only a riskBrick story cuts the power by a fault: " + rule.String())
	}
	if err := p.lane.Inject(rule); err != nil {
		p.run.inconclusive(err.Error())
	}
	p.run.verb("inject", rule.String())
}
