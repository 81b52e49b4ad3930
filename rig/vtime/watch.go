package vtime

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// beat is how far virtual time moves from one Pulse to the next.
const beat = 5 * time.Second

// Pulse shows from outside of the bubble that time moves inside, and brings the
// wish to end in: neither can touch what the other waits for.
type Pulse struct {
	beats atomic.Int64
	ended atomic.Bool
}

// End asks those inside to end. It is called from outside.
func (p *Pulse) End() { p.ended.Store(true) }

// Ended tells whether somebody outside has called End.
func (p *Pulse) Ended() bool { return p.ended.Load() }

// Beat runs inside until ctx ends; once somebody outside has called End it calls
// end, with at most 5 s of virtual time in between.
func (p *Pulse) Beat(ctx context.Context, end func()) {
	t := time.NewTicker(beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			p.beats.Add(1)
			if p.Ended() {
				end()
			}
		}
	}
}

// Watchdog notices from outside that virtual time does not move any more.
type Watchdog struct {
	Pulse *Pulse
	// Limit is how long it may stand still in real time, less the time in which the
	// process waited for a CPU.
	Limit time.Duration
	// Every is how often it looks; 0: once a second.
	Every time.Duration
	// Excused tells that time stands still for a reason, such as a question that a
	// person has yet to answer; nil: there is none.
	Excused func() bool
	// Stalled is called once, with all goroutines.
	Stalled func(goroutines string)
}

// Watch looks until ctx ends, or time has stood still.
func (w Watchdog) Watch(ctx context.Context) {
	t := time.NewTicker(cmp.Or(w.Every, time.Second))
	defer t.Stop()
	var still, waited time.Duration
	beats, last, before := w.Pulse.beats.Load(), time.Now(), queued()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, queue := time.Now(), queued()
		still += now.Sub(last)
		waited += min(max(queue-before, 0), now.Sub(last)) // several threads may wait at once
		last, before = now, queue
		if b := w.Pulse.beats.Load(); b != beats || w.Excused != nil && w.Excused() {
			beats, still, waited = b, 0, 0
		}
		if still-waited > w.Limit {
			w.Stalled(fmt.Sprintf("virtual time has stood still for %v, of which it waited %v for a CPU\n\n%s", still.Round(time.Second), waited.Round(time.Second), goroutines()))
			return
		}
	}
}

func goroutines() string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
		return err.Error()
	}
	return b.String()
}

// queued is how long the threads of this process have waited for a CPU so far;
// 0 where there is no /proc.
func queued() time.Duration {
	files, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, f := range files {
		// Running, waiting, and how often (Documentation/scheduler/sched-stats.rst).
		data, err := os.ReadFile(f) //nolint:gosec // the process itself
		if fields := strings.Fields(string(data)); err == nil && len(fields) == 3 {
			ns, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}
