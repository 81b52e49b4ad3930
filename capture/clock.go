package capture

import "time"

const (
	// stepLimit is the smallest step of the wall clock that spoils a recording.
	stepLimit = time.Millisecond
	// readings is how often a clock is read before it is believed: between
	// reading one clock and the other a process may be kept waiting.
	readings = 5
)

// clock compares the wall clock with one that nobody sets.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration // nil: the monotonic part of now
	start   time.Time
	offset  time.Duration // of the wall against elapsed
}

func newClock(now func() time.Time, elapsed func() time.Duration) clock {
	c := clock{now: now, elapsed: elapsed, start: now()}
	c.offset = c.best()
	return c
}

// read says how far the wall clock has run since start, less what has elapsed.
func (c *clock) read(now time.Time) time.Duration {
	elapsed := now.Sub(c.start)
	if c.elapsed != nil {
		elapsed = c.elapsed()
	}
	return now.Round(0).Sub(c.start.Round(0)) - elapsed
}

// best reads several times. The wall is read first, so that waiting in between
// only ever makes a reading too small.
func (c *clock) best() time.Duration {
	offset := c.read(c.now())
	for range readings - 1 {
		offset = max(offset, c.read(c.now()))
	}
	return offset
}

// check returns by how much the wall clock was set since the last step, or 0.
func (c *clock) check(now time.Time) time.Duration {
	if within(c.read(now) - c.offset) {
		return 0
	}
	offset := c.best()
	step := offset - c.offset
	if within(step) {
		return 0
	}
	c.offset = offset
	return step
}

func within(d time.Duration) bool { return d <= stepLimit && d >= -stepLimit }
