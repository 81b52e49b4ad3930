// Package vtime runs a lane in virtual time: time.Now, timers, tickers and
// deadlines of every goroutine that a function starts stand still while any of
// them can run, and jump to the next timer when all of them wait. Waiting costs
// nothing, and a busy machine changes nothing.
//
// It is built on testing/synctest, which has these traps:
//   - A goroutine in a system call counts as running: writing a file holds time
//     still, and so does a read that waits for another process.
//   - So does waiting for a mutex: who sleeps while it holds one that somebody
//     else wants stops time for good.
//   - A channel, timer or context that was made inside must not be touched from
//     outside; the process dies. A signal that a channel made inside is notified of
//     is such a touch. Channels that were made outside may be used inside, and
//     waiting for them holds time still.
//   - The goroutine of os/signal must be outside: call signal.Notify before Run.
package vtime

import (
	"fmt"
	"hash/fnv"
	"testing"
	"testing/synctest"
	"time"
)

// Epoch is where virtual time begins by itself; no run can start earlier.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant of testing/synctest

// Run runs f in virtual time that begins at start, which is Epoch or later. It
// returns when f and every goroutine that f started have ended; once f has, time
// passes no more, and who sleeps then is a panic. A panic of f ends the process.
func Run(start time.Time, f func()) {
	synctest.Test(new(testing.T), func(*testing.T) {
		begin(start)
		f()
	})
}

// Test is Run for a test, whose cleanups then run in virtual time too. The start
// is the same for every test.
func Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		begin(time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC))
		f(t)
	})
}

// begin moves the clock on to start.
func begin(start time.Time) {
	time.Sleep(time.Until(start)) //nolint:forbidigo // it takes no time, and nobody else is there yet
}

// Virtual tells whether the caller is in virtual time: only there a time carries
// no reading of the monotonic clock.
func Virtual() bool {
	now := time.Now()
	return now == now.Round(0) //nolint:staticcheck // Equal does not look at that reading
}

// first and span are where Start may lie: the years 2026 to 2029.
const (
	first = 1767225600 // 2026-01-01T00:00:00Z
	span  = 4 * 365 * 24 * 3600
)

// Start is when virtual time begins in a run with a seed, to the second: time of
// day and date are a seed's like all else.
func Start(seed int64) time.Time {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "start %d", seed)
	return time.Unix(first+int64(sum.Sum64()%span), 0).UTC()
}
