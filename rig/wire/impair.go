package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sort"
	"sync"
	"time"
)

// Verdict is what an impairment does to one frame. The zero Verdict lets it
// pass.
type Verdict struct {
	// Drop loses the frame; the rest but Comment is ignored.
	Drop bool
	// Delay holds the frame, and its copies, back. Frames that are due at the
	// same time keep their order.
	Delay time.Duration
	// Ordered keeps the frame behind those before it that were Ordered too.
	Ordered bool
	// Copies is how many further copies of the frame follow it.
	Copies int
	// Data takes the place of the frame's data, if not nil.
	Data []byte
	// Comment says in the recording what this was done for.
	Comment string
}

func (v Verdict) passes() bool {
	return !v.Drop && v.Delay <= 0 && v.Copies <= 0 && v.Data == nil
}

// Impair sits between a host and a Tap and does to frames what plan says:
// outbound ones come from the host, the others from the cable. plan is asked
// about one frame at a time, each once; it must neither change nor keep the
// frame's data, nor send. record gets the host's view on interface Host wherever
// it differs from the cable's, with what was done as comment and, for received
// frames, "partner frame N"; the Tap names the partner of a sent one. A comment
// that comes with a Verdict that lets the frame pass has no place and is
// dropped.
//
// A delayed frame that is still held back at Close is lost. Its write error is
// returned by the next Send.
func Impair(p Port, record Record, plan func(outbound bool, f Frame) Verdict) *Impaired {
	return &Impaired{port: p, record: record, plan: plan}
}

// Impaired is a Port that Impair has made.
type Impaired struct {
	port   Port
	record Record

	planning sync.Mutex
	plan     func(outbound bool, f Frame) Verdict

	mu      sync.Mutex // guards below
	in, out delayed
	closed  bool
	timer   *time.Timer // sends what is due of out
	writes  sync.WaitGroup
	err     error  // of a delayed write
	writing bool   // a timer's function is sending
	wake    func() // ends the wait for a frame from the cable; nil: nobody waits for one that is held
}

var _ Port = (*Impaired)(nil)

// held is a frame that is delayed.
type held struct {
	frame    Frame
	due      time.Time
	comments []string // of its record on interface Host; nil: it needs none
}

// delayed are frames, the next due first.
type delayed struct {
	frames []held
	// ordered is when the last frame is due whose order is kept.
	ordered time.Time
}

// What is held back is due a few nanoseconds later than told: at instants of its
// own, in each direction, and no two frames at one. So in virtual time it never
// meets a frame that is just arriving or leaving, and a host is done with a frame
// before it gets the next.
const (
	apart    = 4 * time.Nanosecond
	apartIn  = 8 * time.Nanosecond
	apartOut = 14 * time.Nanosecond
)

// due says when a frame of verdict v is.
func (d *delayed) due(now time.Time, v Verdict) time.Time {
	due := now.Add(v.Delay)
	if !v.Ordered {
		return due
	}
	if due.Before(d.ordered) {
		due = d.ordered
	}
	d.ordered = due
	return due
}

// add puts h behind what is due no later, and apart from it.
func (d *delayed) add(h held) {
	i := sort.Search(len(d.frames), func(i int) bool { return d.frames[i].due.After(h.due.Add(-apart)) })
	for ; i < len(d.frames) && d.frames[i].due.Before(h.due.Add(apart)); i++ {
		if least := d.frames[i].due.Add(apart); least.After(h.due) {
			h.due = least
		}
	}
	d.frames = slices.Insert(d.frames, i, h)
}

// next takes the first frame off.
func (d *delayed) next() held {
	h := d.frames[0]
	d.frames[0] = held{} // let go of its data
	d.frames = d.frames[1:]
	return h
}

// release makes every frame due, one after the other.
func (d *delayed) release(now time.Time) {
	for i := range d.frames {
		if d.frames[i].due.After(now) {
			d.frames[i].due = now
		}
		now = now.Add(apart)
	}
	d.ordered = time.Time{}
}

func (p *Impaired) judge(outbound bool, f Frame) Verdict {
	p.planning.Lock()
	defer p.planning.Unlock()
	return p.plan(outbound, f)
}

// describe says in words what v does.
func (v Verdict) describe(outbound bool) []string {
	var what []string
	if v.Comment != "" {
		what = append(what, v.Comment)
	}
	if v.Drop {
		return append(what, "dropped")
	}
	if v.Delay > 0 {
		what = append(what, fmt.Sprintf("delayed by %v", v.Delay))
	}
	if v.Data != nil {
		what = append(what, "altered")
	}
	if outbound && v.Copies > 0 {
		what = append(what, fmt.Sprintf("sent %d times", v.Copies+1))
	}
	return what
}

// Send implements Port.
func (p *Impaired) Send(f Frame) error {
	p.mu.Lock()
	err, closed := p.err, p.closed
	p.err = nil
	p.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if err != nil {
		return err
	}

	v := p.judge(true, f)
	if v.passes() {
		return p.port.Send(f)
	}
	now, due := time.Now(), time.Time{}
	if v.Delay > 0 && !v.Drop {
		due = p.due(&p.out, now, v)
		v.Delay = due.Sub(now)
	}
	f.Number = p.record(Host, true, now, f.Data, v.describe(true)...)
	if v.Drop {
		return nil
	}
	if v.Data != nil {
		f.Data = v.Data
	}
	if due.IsZero() {
		for range v.Copies + 1 {
			if err := p.port.Send(f); err != nil {
				return err
			}
		}
		return nil
	}
	f.Data = slices.Clone(f.Data) // the caller's again when Send returns
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	for range v.Copies + 1 {
		p.out.add(held{frame: f, due: due.Add(apartOut)})
	}
	p.arm()
	return nil
}

func (p *Impaired) due(d *delayed, now time.Time, v Verdict) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.due(now, v)
}

// arm sets the timer to the first frame of out. mu is held.
func (p *Impaired) arm() {
	if p.writing || p.closed || len(p.out.frames) == 0 {
		return
	}
	if p.timer != nil && !p.timer.Stop() {
		return // it has fired, and will look for itself
	}
	if p.timer == nil {
		p.writes.Add(1) // until the timer's function has run or Close stopped it
	}
	p.timer = time.AfterFunc(time.Until(p.out.frames[0].due), p.flush)
}

// flush sends what is due. It runs in the timer's goroutine, which ends with it;
// Close waits for it.
func (p *Impaired) flush() {
	defer p.writes.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer, p.writing = nil, true
	for !p.closed && len(p.out.frames) > 0 && !p.out.frames[0].due.After(time.Now()) {
		f := p.out.next().frame
		p.mu.Unlock()
		err := p.port.Send(f)
		p.mu.Lock()
		if err != nil {
			p.err = fmt.Errorf("delayed frame: %w", err)
		}
	}
	p.writing = false
	p.arm()
}

// Receive implements Port. It is for one caller at a time: only it knows when a
// frame it holds back is due.
func (p *Impaired) Receive(ctx context.Context) (Frame, error) {
	for {
		h, due, err := p.ready()
		switch {
		case err != nil:
			return Frame{}, err
		case h != nil:
			return p.hand(*h), nil
		}
		f, err := p.receiveBefore(ctx, due)
		if err != nil {
			if ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
				continue // a held frame is due
			}
			return Frame{}, err
		}
		v := p.judge(false, f)
		if v.passes() {
			return f, nil
		}
		p.hold(f, v)
	}
}

// ready returns the held frame that is due, or else when the next one will be.
func (p *Impaired) ready() (*held, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, time.Time{}, net.ErrClosed
	}
	if len(p.in.frames) == 0 {
		return nil, time.Time{}, nil
	}
	if due := p.in.frames[0].due; due.After(time.Now()) {
		return nil, due, nil
	}
	h := p.in.next()
	return &h, time.Time{}, nil
}

// receiveBefore receives a frame from the cable; it gives up at due, unless that
// is zero.
func (p *Impaired) receiveBefore(ctx context.Context, due time.Time) (Frame, error) {
	if due.IsZero() {
		return p.port.Receive(ctx)
	}
	ctx, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	if !p.waiting(due, cancel) {
		return Frame{}, context.Canceled
	}
	defer p.waiting(time.Time{}, nil)
	return p.port.Receive(ctx)
}

// waiting says who waits until a held frame is due, or nobody. It is false if
// that frame was released meanwhile.
func (p *Impaired) waiting(due time.Time, wake func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake = nil; wake != nil && (len(p.in.frames) == 0 || p.in.frames[0].due.Before(due)) {
		return false
	}
	p.wake = wake
	return true
}

// Release lets go of all frames that are held back, in both directions, in their
// order.
func (p *Impaired) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.in.release(now.Add(apartIn))
	p.out.release(now.Add(apartOut))
	if p.wake != nil {
		p.wake()
	}
	p.arm()
}

// hold does to a received frame what v says; what is left of it is handed over
// when it is due.
func (p *Impaired) hold(f Frame, v Verdict) {
	now := time.Now()
	due := now
	if !v.Drop {
		due = p.due(&p.in, now, v)
		v.Delay = due.Sub(now)
	}
	comments := v.describe(false)
	var also []string
	if f.Number != 0 {
		also = []string{partner(f.Number)}
	}
	if v.Drop {
		p.record(Host, false, now, f.Data, append(comments, also...)...)
		return
	}
	if v.Data != nil {
		f.Data = slices.Clone(v.Data)
	}
	if due.After(now) {
		due = due.Add(apartIn)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range v.Copies + 1 {
		h := held{frame: f, due: due}
		if i > 0 {
			h.frame.Data = slices.Clone(f.Data)
			h.comments = append(slices.Clip(comments), fmt.Sprintf("copy %d of %d", i, v.Copies))
			h.comments = append(h.comments, also...)
		} else if v.Delay > 0 || v.Data != nil { // else it is what the cable had
			h.comments = append(slices.Clip(comments), also...)
		}
		p.in.add(h)
	}
}

// hand records a frame as the host sees it now, where that is not how it was on
// the cable.
func (p *Impaired) hand(h held) Frame {
	if h.comments != nil {
		p.record(Host, false, time.Now(), h.frame.Data, h.comments...)
	}
	return h.frame
}

// Close implements Port. It waits for a delayed frame that is being written.
func (p *Impaired) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil && p.timer.Stop() {
		p.timer = nil
		p.writes.Done()
	}
	p.in, p.out = delayed{}, delayed{}
	p.mu.Unlock()
	err := p.port.Close()
	p.writes.Wait()
	return err
}
