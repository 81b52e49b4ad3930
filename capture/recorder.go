// Package capture records one lane: every frame goes to a pcapng file, every entry
// of services, faults and controls goes to a journal, and both are decoded and
// folded into a timeline as they come. Load makes the same timeline from the two
// files alone.
//
// A folder holds capture.pcapng, journal.jsonl and keys.log. They are written
// continuously: after kill -9 everything up to the last frame is readable; in
// virtual time, where hours take seconds, everything up to the last verb or
// judgement, and of what came after that all but the last 32 KiB of a file. The
// capture holds passwords and keys in the frames; events never do.
package capture

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

const (
	// by is the recorder as the author of its own entries.
	by = "recorder"
	// configField is where the first entry of a journal holds what is needed
	// to decode the recording again, as JSON.
	configField = "recorder.config"
	// closedField marks the last entry of a recording that was closed in order.
	closedField = "recorder.closed"
)

// Options say what is recorded.
type Options struct {
	// Pace bounds by how much one Tick moves the watermark; 0: there is no bound.
	// So a time in which this process did not run does not count as quiet: nothing
	// could have been recorded in it.
	Pace time.Duration
	// MACs are the handset's addresses, ServerMACs the rig's own.
	MACs, ServerMACs []string
	// Ports are where the services listen; empty ones are the usual ones.
	Ports decode.Ports
	// Now is the lane's clock; nil is time.Now.
	Now func() time.Time
	// Elapsed reads a clock that nobody sets, to notice when the wall clock is
	// stepped; nil takes the monotonic reading that Now's times carry.
	Elapsed func() time.Duration
	// Settle is how long a frame may take from its stamp to the recorder: the
	// watermark is that much earlier than the clock.
	Settle time.Duration
	// Instant says that time is virtual: a frame is recorded at the instant of its
	// stamp, and the watermark follows Now by itself. Writing is gathered: see the
	// package.
	Instant bool
	// Create makes the file of a capture, which must not be there; nil does it.
	Create func(path string) (*os.File, error)
	// Timeline is the empty timeline of the first recording; nil: Open makes
	// one. Each further recording gets a timeline of its own.
	Timeline *timeline.Timeline
}

// Recorder writes recordings. All methods are safe for concurrent use; a nil
// Recorder records nothing.
type Recorder struct {
	opts  Options
	clock clock

	mu  sync.Mutex
	rec *recording
	tl  *timeline.Timeline
	err error
	// mark is the last watermark.
	mark time.Time
	// gathered are entries of one instant, which is when.
	gathered []timeline.Event
	when     time.Time
	// spare is the buffer of a capture that was closed, for the next one.
	spare *[]byte
	about map[string]string // see Describe
}

type config struct {
	decode.Config
	ServerMACs []string `json:"server_macs,omitempty"`
	// About is what Describe said.
	About map[string]string `json:"about,omitempty"`
}

// New makes a recorder that records once Open has named a folder.
func New(opts Options) *Recorder {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &Recorder{opts: opts, tl: opts.Timeline}
	r.clock = newClock(opts.Now, opts.Elapsed)
	return r
}

func (r *Recorder) config() config {
	return config{decode.Config{HandsetMACs: r.opts.MACs, Ports: r.opts.Ports}, r.opts.ServerMACs, r.about}
}

// Describe says what the recordings that are opened from now on are of. It stands in
// their first entry, for whoever has a recording alone. Like Open it is for one
// goroutine.
func (r *Recorder) Describe(about map[string]string) { r.about = about }

// Timeline returns the timeline of the recording at hand, or of the last one.
func (r *Recorder) Timeline() *timeline.Timeline {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tl
}

// Open starts a recording in dir, which is made when it is missing and must
// not hold one. A recording under way goes on until the new one has begun, so
// that no frame is lost in between, and is then closed as by Close. Frame
// numbers start again from 1. The first journal entry is a CarriedState with
// what the timeline before knew.
//
// An error means that nothing was started and the recording before goes on,
// unless the error is of closing that one.
func (r *Recorder) Open(dir string) error {
	if r == nil {
		return nil
	}
	gather := 0
	if r.opts.Instant {
		gather = gatherLimit
	}
	next, err := create(dir, gather, r.buffer(), r.opts.Create)
	if err != nil {
		return fmt.Errorf("recording in %s: %w", dir, err)
	}
	next.dec = decode.New(r.config().Config)
	setup, err := json.Marshal(r.config())
	if err != nil {
		return errors.Join(fmt.Errorf("recording in %s: %w", dir, err), next.close())
	}

	r.mu.Lock()
	r.settle(time.Time{})
	old := r.rec
	tl := r.tl
	if old != nil || tl == nil {
		cfg := timeline.Config{HandsetMACs: r.opts.MACs, ServerMACs: r.opts.ServerMACs}
		if r.opts.Instant {
			cfg.Now = r.opts.Now
		}
		tl = timeline.New(cfg)
	}
	r.endEntry()
	oldErr := r.err
	first := timeline.Event{By: by, Kind: timeline.CarriedState}
	if r.tl != nil {
		first = r.tl.Carry()
	}
	if first.At.IsZero() {
		first.At = r.opts.Now()
	}
	first.Fields = maps.Clone(first.Fields)
	if first.Fields == nil {
		first.Fields = map[string]string{}
	}
	first.Fields[configField] = string(setup)
	r.rec, r.tl, r.err = next, tl, nil
	r.write(first)
	r.mu.Unlock()

	if old == nil {
		return nil
	}
	if err := old.finish(oldErr); err != nil {
		return fmt.Errorf("recording in %s: %w", old.dir, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spare = old.pcap.buf
	return nil
}

// buffer returns one that is not in use.
func (r *Recorder) buffer() *[]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	buf := r.spare
	r.spare = nil
	if buf == nil {
		buf = newBuffer()
	}
	return buf
}

// flush writes what was gathered; the lock is held.
func (r *Recorder) flush() {
	if r.err == nil {
		if err := r.rec.pcap.flush(); err != nil {
			r.fail(fmt.Errorf("up to frame %d: %w", r.rec.frames, err))
		}
	}
	for _, g := range []*gathered{r.rec.keys, r.rec.journal} {
		if err := g.flush(); err != nil {
			r.fail(fmt.Errorf("%s: %w", filepath.Base(g.file.Name()), err))
		}
	}
}

// endEntry writes the last entry of the recording at hand; the lock is held.
func (r *Recorder) endEntry() {
	if r.rec == nil {
		return
	}
	r.flush()
	end := timeline.Event{By: by, Kind: timeline.Note, Message: "end of recording", Fields: map[string]string{closedField: "true"}}
	if r.err != nil {
		// The entry that said so may not have reached the disk.
		end.Kind, end.Number, end.Reason = timeline.FramesLost, r.rec.lost, r.err.Error()
	}
	r.write(end)
	r.flush()
}

// Close ends the recording: the TLS secrets of keys.log are put in front of
// the capture's packets, by rename, and frame numbers do not change. It returns
// the first error of writing or of closing. Closing twice is no error.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	rec := r.rec
	if rec == nil {
		r.mu.Unlock()
		return nil
	}
	r.settle(time.Time{})
	r.endEntry()
	r.rec = nil
	before := r.err
	r.mu.Unlock()
	if err := errors.Join(before, rec.finish(before)); err != nil {
		return fmt.Errorf("recording in %s: %w", rec.dir, err)
	}
	return nil
}

// Frame records one frame and returns its number, from 1 over all interfaces,
// as Wireshark shows it; 0 means that it was not recorded. It has the shape of
// the wire's Record. The data is not kept.
func (r *Recorder) Frame(iface int, outbound bool, at time.Time, data []byte, comments ...string) int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.rec
	if rec == nil {
		return 0
	}
	r.settle(time.Now())
	if r.err != nil {
		rec.lost++
		return 0
	}
	if iface < 0 || iface >= interfaces {
		r.write(timeline.Event{By: by, Kind: timeline.FramesLost, Number: 1, Reason: fmt.Sprintf("frame of unknown interface %d", iface)})
		return 0
	}
	if at.IsZero() {
		at = r.opts.Now()
	}
	at = stamp(at)
	if err := rec.pcap.frame(iface, outbound, at, data, comments); err != nil {
		rec.lost++
		r.fail(fmt.Errorf("frame %d: %w", rec.frames+1, err))
		return 0
	}
	rec.frames++
	for _, e := range rec.dec.Frame(iface, rec.frames, at, data) {
		r.tl.Add(e)
	}
	if src, dst, ok := rec.dec.Flow(); ok && iface == Cable && !outbound {
		rec.flows.put(src, dst, rec.frames)
	}
	return rec.frames
}

// Record takes an entry into the journal: At (if zero) and After are filled in,
// and Frame, if it is 0 and Src is valid, is the last frame that came from Src
// to Dst. Before Open and after Close it does nothing.
func (r *Recorder) Record(e timeline.Event) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return
	}
	r.settle(time.Now())
	r.write(r.caused(e))
}

// caused fills in the frame that an entry answers; the lock is held.
func (r *Recorder) caused(e timeline.Event) timeline.Event {
	if e.Frame == 0 && e.Src.IsValid() {
		e.Frame = r.rec.flows.last(e.Src, e.Dst)
	}
	return e
}

// Gather is Record for callers that record side by side, as services do. In
// virtual time an instant ends when everybody waits, and the scheduler decides who
// of them records first in it. So the entries of one instant are written once it is
// over, by service and flow, and those of one flow as they came.
func (r *Recorder) Gather(e timeline.Event) {
	if r == nil || !r.opts.Instant {
		r.Record(e)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return
	}
	now := time.Now()
	r.settle(now)
	if e.At.IsZero() {
		e.At = r.opts.Now()
	}
	if len(r.gathered) == 0 {
		r.when = now
		// Ends once the entries are written.
		time.AfterFunc(time.Nanosecond, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.settle(time.Now())
		})
	}
	r.gathered = append(r.gathered, r.caused(e))
}

// settle writes what was gathered at an instant that is over; the lock is held.
func (r *Recorder) settle(now time.Time) {
	if len(r.gathered) > 0 && !r.when.Equal(now) {
		r.writeGathered()
	}
}

func (r *Recorder) writeGathered() {
	all := r.gathered
	r.gathered = nil
	slices.SortStableFunc(all, func(a, b timeline.Event) int {
		return cmp.Or(strings.Compare(a.By, b.By), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst))
	})
	for _, e := range all {
		r.write(e)
	}
}

// noted reports whether an entry stands in the capture too, as a comment on Notes:
// control actions and faults do. A fault of the wire that has a frame is a comment
// on that already.
func noted(e *timeline.Event) bool {
	switch e.Kind {
	case timeline.PowerOff, timeline.PowerOn, timeline.LinkDown, timeline.LinkUp,
		timeline.OperatorAsked, timeline.OperatorDone, timeline.Verb:
		return true
	case timeline.FaultFired:
		return e.By != timeline.Impair || e.Frame == 0 && !e.Src.IsValid()
	default: // the others are frames, or stand in the journal alone
		return false
	}
}

// note writes an entry's words as a comment without a frame and returns its
// number, 0 when it was not recorded; the lock is held. Nothing is decoded, so
// that it yields no event but the entry itself, live and when read again.
func (r *Recorder) note(e *timeline.Event) int {
	rec := r.rec
	if r.err != nil {
		rec.lost++
		return 0
	}
	text := e.By + ": " + timeline.Words(*e)
	if e.Frame > 0 {
		text += fmt.Sprintf(" (after frame %d)", e.Frame)
	}
	if err := rec.pcap.frame(Notes, true, stamp(e.At), nil, []string{text}); err != nil {
		rec.lost++
		r.fail(fmt.Errorf("frame %d: %w", rec.frames+1, err))
		return 0
	}
	rec.frames++
	return rec.frames
}

// write puts an entry into the journal and folds it; the lock is held. Its note
// in the capture, if it has one, comes first and is the entry's frame unless
// another caused it; so After counts it.
func (r *Recorder) write(e timeline.Event) {
	if e.At.IsZero() || e.At.Year() < 1 || e.At.Year() > 9999 {
		e.At = r.opts.Now()
	}
	if e.By == "" {
		e.By = "unknown"
	}
	if e.Kind == "" {
		e.Kind = timeline.Note
	}
	if noted(&e) {
		if n := r.note(&e); e.Frame == 0 {
			e.Frame = n
		}
	}
	e.After = r.rec.frames
	e.Frame = min(max(e.Frame, 0), e.After)
	line, e, err := marshal(e)
	if err != nil {
		r.fail(err)
		return
	}
	r.tl.Add(e)
	if _, err := r.rec.journal.Write(line); err != nil {
		r.fail(err)
	}
	if e.Kind == timeline.Verb || e.Kind == timeline.Judgement {
		r.flush()
	}
}

// fail keeps the first error and says that the recording is no longer whole;
// the lock is held.
func (r *Recorder) fail(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	r.write(timeline.Event{By: by, Kind: timeline.FramesLost, Reason: err.Error()})
}

// KeyLog returns where TLS secrets are written to, in the format of
// tls.Config.KeyLogWriter; they go to the recording at hand. It never fails, so
// that a full disk does not break handshakes; Err returns the error.
func (r *Recorder) KeyLog() io.Writer { return keyLog{r} }

type keyLog struct{ r *Recorder }

func (k keyLog) Write(b []byte) (int, error) {
	r := k.r
	if r == nil {
		return len(b), nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return len(b), nil
	}
	if _, err := r.rec.keys.Write(b); err != nil {
		r.fail(fmt.Errorf("%s: %w", KeysFile, err))
		return len(b), nil
	}
	r.rec.keyed = true
	return len(b), nil
}

// Frames is the number of the last frame of the recording at hand.
func (r *Recorder) Frames() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return 0
	}
	return r.rec.frames
}

// Err writes what was gathered, and returns the first error of writing the
// recording at hand or, after Close, the last one. From then on no frame is
// recorded.
func (r *Recorder) Err() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec != nil {
		r.flush()
	}
	return r.err
}

// Tick advances the timeline's watermark to now, less Settle, and records
// ClockStepped when the wall clock was set by more than 1 ms against the
// monotonic clock since the step before. The lane calls it regularly.
func (r *Recorder) Tick(now time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tl == nil {
		return
	}
	if step := r.clock.check(now); step != 0 && r.rec != nil {
		r.write(timeline.Event{
			At: now, By: by, Kind: timeline.ClockStepped,
			Reason: fmt.Sprintf("the wall clock was set by %v", step),
			Fields: map[string]string{"recorder.step": step.String()},
		})
	}
	if r.opts.Instant {
		return
	}
	mark := stamp(now).Add(-r.opts.Settle)
	if pace := r.opts.Pace; pace > 0 && !r.mark.IsZero() && mark.After(r.mark.Add(pace)) {
		mark = r.mark.Add(pace)
	}
	r.mark = mark
	r.tl.Advance(mark)
}
