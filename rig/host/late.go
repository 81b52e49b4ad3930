package host

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// In virtual time the stack's timers are a little late, those of ARP more than
// those of TCP: so they never fire at one instant with each other, or with those
// of a program that began at the same instant and waits for whole seconds too.
// What then comes first would hang on the scheduler.
const (
	late    = 3 * time.Nanosecond
	lateARP = 2 * time.Nanosecond // besides
)

// lateClock is a clock whose timers are late.
type lateClock struct{ tcpip.Clock }

// AfterFunc implements tcpip.Clock.
func (c lateClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return lateTimer{c.Clock.AfterFunc(d+late, f)}
}

type lateTimer struct{ tcpip.Timer }

// Reset implements tcpip.Timer.
func (t lateTimer) Reset(d time.Duration) { t.Timer.Reset(d + late) }

// beLate sets a stack's timers apart.
func beLate(o *stack.Options) {
	o.Clock = lateClock{tcpip.NewStdClock()}
	o.NUDConfigs = stack.DefaultNUDConfigurations()
	o.NUDConfigs.RetransmitTimer += lateARP
	o.NUDConfigs.DelayFirstProbeTime += lateARP
}
