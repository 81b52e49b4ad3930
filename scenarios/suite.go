// Package scenarios is the suite: what the rig does to a handset and what must
// follow, one file per family of the requirements. It is an importable package
// with a thin test file, so that go test, ginkgo and the one static binary run
// the same specs on simulated and on real handsets.
//
//	go test ./scenarios -args -handset ip8830
//	ip88rig run --handset ip8830 --filter RBT-04
//
// A scenario reads as given, when, then: the givens are methods of Phone that
// change what the rig serves, the when is a verb that returns a window on the
// timeline, the then is a domain matcher on that window under Show, which names
// the row of the requirements. Nothing is judged but from the recording.
package scenarios

import (
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"

	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/deviation"
	"ip88rig/rig/golden"
	"ip88rig/rig/impair"
	"ip88rig/rig/report"
)

// Depth says how much of a large matrix is run.
type Depth string

// The depths.
const (
	Full  Depth = "full"
	Night Depth = "night"
)

// Options is what one lane runs.
type Options struct {
	Lane *rig.Lane
	// Folder is the lane's own: one folder a spec, "between" for the rest.
	Folder string
	// Filter is a regular expression on a spec's text, which holds its rows.
	Filter string
	// LabelFilter chooses specs by their labels, in Ginkgo's language: "RBT-04 &&
	// transport:http". A spec is labelled with its rows, its transport and its id.
	LabelFilter string
	Depth       Depth
	Seed        int64
	// AllowLockout and AllowBrick admit specs of that risk on a real handset.
	AllowLockout, AllowBrick bool
	// Points bounds how many values of a range are tried; 0: all. Whole is a regular
	// expression on the texts of specs in which all are tried whatever Points says;
	// blank: none.
	Points int
	Whole  string
	// OperatorMax bounds how often a person must act; below 0 is no bound.
	OperatorMax int
	// Golden is what observed rows are compared with; nil: there is no record of
	// this handset.
	Golden *golden.Record
	// Deviations are failures that are known; nil excuses none.
	Deviations deviation.List
	// Rerun is the command that runs one spec again, with %s for its filter.
	Rerun string
	// Today is the day by which deviations expire; zero: the lane's clock tells it.
	Today time.Time
	// Begun is called when the suite has begun; nil: nobody waits for that.
	Begun func()
	// Interrupted is closed when the run is to end, and Ending says so at once: they
	// are for a lane in virtual time, whose Ginkgo hears no signals. Nil: Ginkgo does.
	Interrupted <-chan struct{}
	Ending      func() bool
	// Started, Waiting and Done tell of progress; nil is silence.
	Started func(spec report.Spec)
	Waiting func(text string)
	Done    func(spec report.Spec)
	// Ended hears, after the last spec, why the handset was not left at golden;
	// blank: it was.
	Ended func(left string)
}

// The suite's one variable: specs are declared when the package is loaded and
// find their lane through it.
var session *run

// Configure says on what the specs run. It is called once, before RunSpecs.
func Configure(o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	selected, err := o.selection()
	if err != nil {
		return err
	}
	if o.Depth == "" {
		o.Depth = Night
		if o.Lane.Handset.Simulated {
			o.Depth = Full
		}
	}
	session = newRun(o)
	session.selected = selected
	return nil
}

// Check reads Filter, LabelFilter and Whole.
func (o Options) Check() error {
	if _, err := regexp.Compile(o.Whole); err != nil {
		return fmt.Errorf("whole %q: %w", o.Whole, err)
	}
	_, err := o.selection()
	return err
}

// selection reports which specs both filters let through.
func (o Options) selection() (func(s *story, over timeline.Transport) bool, error) {
	text, err := regexp.Compile(o.Filter)
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", o.Filter, err)
	}
	labels, err := types.ParseLabelFilter(o.LabelFilter)
	if err != nil {
		if syntax, ok := errors.AsType[types.GinkgoError](err); ok { // in colours, over several lines
			err = errors.New(strings.TrimSuffix(strings.ToLower(syntax.Message[strings.LastIndexByte(syntax.Message, '\n')+1:]), "."))
		}
		return nil, fmt.Errorf("label-filter %q: %w", o.LabelFilter, err)
	}
	return func(s *story, over timeline.Transport) bool {
		return text.MatchString(s.text(over)) && labels(s.labels(over))
	}, nil
}

// Configuration is for RunSpecs. What Ginkgo's own flags say holds, except for the
// order of specs, which follows from Options.Seed. Where they say nothing, limits
// come from the bench's patience and not from Ginkgo (one hour for the suite, 30 s of
// grace).
func Configuration(o Options) (types.SuiteConfig, types.ReporterConfig) {
	suite, reporter := GinkgoConfiguration()
	usual := types.NewDefaultSuiteConfig()
	suite.RandomSeed = o.order()
	suite.FailOnPending = true
	if suite.Timeout == usual.Timeout {
		suite.Timeout = 72 * time.Hour
	}
	if p := o.Lane.Handset.Patience; suite.GracePeriod == usual.GracePeriod {
		suite.GracePeriod = p.Boot + p.Operator
	}
	return suite, reporter
}

// whole tells whether all values are tried in the spec of this text.
func (o Options) whole(text string) bool {
	if o.Points == 0 {
		return true
	}
	whole, err := regexp.MatchString(o.Whole, text)
	return o.Whole != "" && err == nil && whole
}

// order is the seed of the order of specs. Each handset has its own.
func (o Options) order() int64 {
	sum := fnv.New32a()
	_, _ = fmt.Fprintf(sum, "%d/%s", o.Seed, o.Lane.Handset.Name)
	return int64(sum.Sum32())
}

// Declared describes one spec of the tree, for plans and for the list of rows.
type Declared struct {
	ID        string
	Name      string
	Rows      []string
	Transport timeline.Transport
	// Power and Hands are how many power cycles and actions of a person it takes.
	Power, Hands int
	// Skip says why it would not run here; blank when it would.
	Skip string
}

// Declarations lists the specs for one handset that the filters let through, in
// the order of the files. A filter that cannot be read lets nothing through.
func Declarations(o Options) []Declared {
	var out []Declared
	selected, err := o.selection()
	if err != nil {
		return nil
	}
	for _, s := range registry {
		for _, over := range s.transports(o.Lane.Handset) {
			if !selected(s, over) {
				continue
			}
			d := Declared{
				ID: s.id(over), Name: s.text(over), Rows: s.rows, Transport: over,
				Power: s.power, Hands: s.hands,
			}
			d.Skip = s.skipReason(o, over)
			out = append(out, d)
		}
	}
	return out
}

// Story describes one scenario, for the test plan.
type Story struct {
	Name string
	Rows []string
	Over []timeline.Transport
	// File is the source file in which it is told.
	File string
	// Power is how many power cycles it takes over one transport.
	Power int
	// Needs are what it needs besides a handset, and what it risks.
	Needs []string
}

// Stories lists all scenarios, file by file.
func Stories() []Story {
	var out []Story
	for _, s := range registry {
		out = append(out, Story{Name: s.name, Rows: s.rows, Over: s.over, File: filepath.Base(s.at.FileName), Power: s.power, Needs: s.needs()})
	}
	return out
}

// needs lists what skipReason may ask for.
func (s *story) needs() []string {
	var out []string
	add := func(needed bool, text string) {
		if needed {
			out = append(out, text)
		}
	}
	add(slices.Contains(s.links, bench.WiFi), "a WiFi module")
	add(len(s.verbs) > 0, "somebody for "+strings.Join(s.verbs, ", "))
	for _, fact := range s.facts {
		out = append(out, "the fact "+fact)
	}
	var deeds []string
	for _, deed := range s.air {
		deeds = append(deeds, string(deed))
	}
	add(len(deeds) > 0, "an access point that can do "+strings.Join(deeds, ", "))
	add(s.firmware, "firmware bundles")
	add(s.public, "public-authority")
	add(len(s.on) > 0, "a handset that passes "+strings.Join(s.on, ", "))
	add(s.long, "--depth full")
	add(s.heavy, "--points 0")
	add(s.lockout, "--allow-risk lockout")
	add(s.brick, "--allow-risk brick")
	return out
}

// registry is filled while the package is loaded, as Ginkgo's own tree is.
var registry []*story

// story is one scenario, which becomes one spec for each transport.
type story struct {
	name     string
	at       types.CodeLocation
	rows     []string
	over     []timeline.Transport
	links    []bench.Link
	lockout  bool
	brick    bool
	firmware bool
	public   bool
	long     bool
	heavy    bool
	air      []impair.AirDeed
	verbs    []string
	facts    []string
	power    int
	hands    int
	priority int
	on       []string
	body     func(SpecContext, *Phone)
}

type option func(*story)

// covers names the rows that assertions of the story judge.
func covers(rows ...string) option { return func(s *story) { s.rows = rows } }

// over names the transports; each is a spec of its own.
func over(t ...timeline.Transport) option { return func(s *story) { s.over = t } }

// anyTransport is the dimension of every row that names no transport.
func anyTransport() option { return over(timeline.TFTP, timeline.HTTP, timeline.HTTPS) }

// onWiFi limits the story to handsets with a WiFi module.
func onWiFi() option { return func(s *story) { s.links = []bench.Link{bench.WiFi} } }

// takes declares the cost: power cycles, for the plan before a run.
func takes(power int) option { return func(s *story) { s.power = power } }

// byHand names the operator's verbs that the story needs.
func byHand(verbs ...string) option {
	return func(s *story) { s.verbs, s.hands = verbs, len(verbs) }
}

// needsAir names what the access point is asked for: what a rig on the cable can
// lose are frames, not an association.
func needsAir(deeds ...impair.AirDeed) option { return func(s *story) { s.air = deeds } }

// heavy marks stories that take the machine more than any other. Where
// only some values are tried they are skipped, unless Options.Whole names them.
func heavy() option { return func(s *story) { s.heavy = true } }

// fullDepth marks stories that take an hour of a real handset.
func fullDepth() option { return func(s *story) { s.long = true } }

// needsFirmware marks stories that offer a software version.
func needsFirmware() option { return func(s *story) { s.firmware = true } }

// needsPublicChain marks stories that need a chain of a built-in authority.
func needsPublicChain() option { return func(s *story) { s.public = true } }

// needsField skips the story where a fact that names a field is blank.
func needsField(fact string) option { return func(s *story) { s.facts = append(s.facts, fact) } }

// riskLockout and riskBrick mark what may close the way in, or kill.
func riskLockout() option { return func(s *story) { s.lockout = true } }
func riskBrick() option   { return func(s *story) { s.brick = true } }

// first makes the story run before others: larger runs earlier.
func first(priority int) option { return func(s *story) { s.priority = priority } }

// standsOn names rows that this story takes for given: where one of them was
// failed over the same transport, the story is blocked by it.
func standsOn(rows ...string) option { return func(s *story) { s.on = rows } }

// stands lists the rows that the story stands on over a transport: who does not
// open TLS to an https URL has no certificate to judge.
func (s *story) stands(over timeline.Transport) []string {
	on := slices.Clone(s.on)
	if over != timeline.HTTPS {
		return on
	}
	// Who has lost the authorities that were there before has no chain to accept,
	// who goes by a wrong clock for good none that is valid.
	for _, rows := range [][]string{{"XPT-05"}, {"TLS-08"}, {"TIM-02", "TLS-13"}} {
		if !slices.ContainsFunc(s.rows, func(row string) bool { return slices.Contains(rows, row) }) {
			on = append(on, rows...)
		}
	}
	return on
}

// scenario declares a story. The returned value only serves to declare it in a
// var block, as Ginkgo's own containers do.
func scenario(name string, args ...any) bool { //nolint:unparam // a value, so that it can stand in a var block
	s := &story{name: name, at: types.NewCodeLocation(1)}
	for _, a := range args {
		switch a := a.(type) {
		case option:
			a(s)
		case func(SpecContext, *Phone):
			s.body = a
		default:
			panic(fmt.Sprintf("scenario %q: argument %T", name, a))
		}
	}
	if s.body == nil || len(s.rows) == 0 || len(s.over) == 0 {
		panic(fmt.Sprintf("scenario %q: needs covers, over and a body", name))
	}
	registry = append(registry, s)
	return Describe(s.rows[0][:3], func() {
		if session == nil {
			return
		}
		for _, over := range s.transports(session.Lane.Handset) {
			It(s.text(over), s.at, Label(s.labels(over)...), SpecPriority(s.place(session.order(), over)), func(ctx SpecContext) {
				ctx, stop := interruptible(ctx, session.Interrupted)
				defer stop()
				phone := session.begin(ctx, s, over)
				s.body(ctx, phone)
			})
		}
	})
}

// place is the priority of the spec over a transport: larger runs earlier. Among those
// of one turn it is by chance, from the seed and the spec's name alone, so that a new
// spec leaves the order of the others as it is.
func (s *story) place(seed int64, over timeline.Transport) int {
	const chances = 1 << 20
	sum := fnv.New32a()
	_, _ = fmt.Fprintf(sum, "%d/%s", seed, s.id(over))
	return s.turn()*chances + int(sum.Sum32()%chances)
}

// turn is the story's priority: larger runs earlier. Who stands on a row comes
// after those that judge it.
func (s *story) turn() int {
	if s.hands > 0 {
		return s.priority - 10 // hand work comes together, at the end
	}
	if s.priority != 0 {
		return s.priority
	}
	return -s.depth(nil)
}

// depth is how many stories stand on one another below this one, of those that
// have no priority of their own. Stories that stand in a circle count once.
func (s *story) depth(above []*story) int {
	deepest := 0
	for _, other := range registry {
		if other == s || other.priority != 0 || other.hands > 0 || slices.Contains(above, other) ||
			!slices.ContainsFunc(s.on, func(row string) bool { return slices.Contains(other.rows, row) }) {
			continue
		}
		deepest = max(deepest, 1+other.depth(append(slices.Clone(above), s)))
	}
	return deepest
}

func (s *story) text(over timeline.Transport) string {
	return fmt.Sprintf("%s, over %s [%s]", s.name, over, strings.Join(s.rows, " "))
}

// labels are those of the spec over a transport.
func (s *story) labels(over timeline.Transport) []string {
	return append([]string{"transport:" + string(over), "id:" + s.id(over)}, s.rows...)
}

func (s *story) id(over timeline.Transport) string {
	slug := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(s.name), "-"), "-")
	if len(slug) > 60 {
		slug = strings.Trim(slug[:60], "-")
	}
	return strings.ToLower(s.rows[0]) + "-" + slug + "-" + string(over)
}

func (s *story) transports(h bench.Handset) []timeline.Transport {
	if len(s.links) > 0 && !slices.Contains(s.links, h.Link) {
		return nil
	}
	return s.over
}

// skipReason is the typed reason why a story cannot run on this bench; it names
// what would enable it.
func (s *story) skipReason(o Options, over timeline.Transport) string {
	h := o.Lane.Handset
	for _, w := range h.Without {
		for _, row := range s.rows {
			if slices.Contains(w.Rows, row) {
				return "the bench file says of " + row + ": " + w.Reason
			}
		}
	}
	for _, deed := range s.air {
		if err := o.Lane.CanAir(deed); err != nil {
			return err.Error()
		}
	}
	if !h.Simulated {
		switch {
		case s.long && o.Depth != Full:
			return "needs --depth full: it takes more than an hour"
		case s.lockout && !o.AllowLockout:
			return "needs --allow-risk lockout: it can close the way the rig provisions by"
		case s.brick && !o.AllowBrick:
			return "needs --allow-risk brick: it can kill the handset"
		case s.firmware && (h.GoldenFirmware == nil || h.NextFirmware == nil):
			return "needs firmware bundles golden and next in the bench file"
		}
	}
	if s.heavy && o.Points > 0 && !o.whole(s.text(over)) {
		return "needs all values (--points 0, or --whole NET-01): it is a transfer of 130,000 frames"
	}
	if over == timeline.HTTPS && !h.KnowsAuthority && !s.public && !slices.Contains(s.verbs, "factory-reset") {
		return "needs authority: uploaded in the bench file, once authority A was copied to the handset (ip88rig authority export)"
	}
	for _, f := range s.facts {
		if h.Facts.Text(f) == "" {
			return "needs the fact " + f + " in the bench file"
		}
	}
	for _, v := range s.verbs {
		if !slices.Contains(h.Verbs, v) {
			return "needs the verb " + v + " in the bench file's verbs: somebody who does it"
		}
	}
	if s.public && o.Lane.PublicLeaf() == nil {
		return "needs public-authority in the bench file: a chain of a built-in authority, with its key and name"
	}
	return ""
}

var _ = BeforeEach(func() {
	// Windows carry the bounds; these only catch a rig that hangs.
	SetDefaultEventuallyTimeout(24 * time.Hour)
	SetDefaultConsistentlyDuration(24 * time.Hour)
	SetDefaultEventuallyPollingInterval(time.Millisecond)
	SetDefaultConsistentlyPollingInterval(time.Millisecond)
})

var _ = JustAfterEach(func(ctx SpecContext) { session.end(ctx) })

var _ = ReportAfterEach(func(r SpecReport) { session.finish(r) })

var _ = BeforeSuite(func() {
	if session != nil && session.Begun != nil {
		session.Begun()
	}
})

var _ = AfterSuite(func(ctx SpecContext) {
	if session != nil {
		ctx, stop := interruptible(ctx, session.Interrupted)
		defer stop()
		session.goHome(ctx)
	}
})

// Covering lists the stories that judge a row, with their transports.
func Covering(row string) []string {
	var out []string
	for _, s := range registry {
		if !slices.Contains(s.rows, row) {
			continue
		}
		var over []string
		for _, t := range s.over {
			over = append(over, string(t))
		}
		out = append(out, s.name+" (over "+strings.Join(over, ", ")+")")
	}
	return out
}
