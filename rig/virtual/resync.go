package virtual

import (
	"sync/atomic"

	"strings"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
)

// resync is what the handset does about NOTIFY check-sync.
type resync struct {
	*device

	phone *telephone
	stop  func(error)
	// events holds the Event header of a NOTIFY that is to be followed.
	events chan string
	// running says that a cycle runs because of one.
	running atomic.Bool
}

// ready is closed when a check-sync may be followed: when the handset is idle
// (8002).
func (r *resync) ready() <-chan struct{} {
	if r.has(defect.ResyncsInCall) {
		now := make(chan struct{})
		close(now)
		return now
	}
	return r.phone.idle()
}

// forced reports whether a cycle after check-sync disregards the download flags (8002).
func (r *resync) forced() bool { return !r.has(defect.ResyncHonoursFlags) }

// rebootsFirst reports whether this event reboots before the cycle: as the fact
// says, or as its reboot parameter does (assumed).
func (r *resync) rebootsFirst(event string) bool {
	for p := range strings.SplitSeq(event, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "reboot") {
			return strings.EqualFold(value, "true")
		}
	}
	return r.cfg.Facts.Yes(model.CheckSyncReboots)
}

// notified is what the SIP agent calls for a check-sync.
func (r *resync) notified(event string) {
	name, _, _ := strings.Cut(event, ";")
	known := strings.EqualFold(strings.TrimSpace(name), r.cfg.Facts.Text(model.CheckSyncEvent)) || r.has(defect.AnyEventResyncs)
	if !known || r.has(defect.IgnoresCheckSync) {
		return
	}
	if !r.phone.registered.Load() && r.has(defect.UnregisteredNotifyReboots) {
		r.stop(&reboot{"NOTIFY while unregistered (defect)"})
		return
	}
	if r.running.Load() && r.has(defect.FloodReboots) {
		r.stop(&reboot{"NOTIFY in a cycle (defect)"})
		return
	}
	select {
	case r.events <- event:
	default: // one is waiting already, and covers this one
	}
}
