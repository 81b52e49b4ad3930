package virtual

import (
	"strings"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
)

// never is longer than any boot.
const never = 1000 * time.Hour

// schedule is what is due at a time of its own during a boot.
type schedule struct {
	*device

	clock *clock
	last  time.Time // end of the last cycle
}

// untilSmartUpdate is the time to the periodic check (68). That of an interval
// is rounded up to the shortest one, and divided like every wait. The daily one
// is at an hour of the handset's clock, so nothing is divided, and it does not
// come while the time is not known (assumed). Nobody is asked to confirm.
func (s *schedule) untilSmartUpdate() time.Duration {
	set := s.settings()
	if !set.enabled(smartUse) || s.has(defect.NoPeriodicResync) {
		return never
	}
	if set.text(smartType) == "1" {
		every := max(time.Duration(set.number(smartEvery))*time.Second, s.cfg.Facts.Duration(model.SmartUpdateShortest))
		return time.Until(s.last.Add(time.Duration(float64(every) / s.cfg.Factor)))
	}
	now, timed := s.clock.now()
	if !timed {
		return never
	}
	last := now.Add(-time.Since(s.last))
	return nextHour(last.In(s.clock.zone(set)), set.number(smartTime)).Sub(now)
}

// nextHour is the next time after t that it is so many hours past midnight.
func nextHour(t time.Time, hour int) time.Time {
	next := time.Date(t.Year(), t.Month(), t.Day(), hour, 0, 0, 0, t.Location())
	if !next.After(t) {
		next = next.AddDate(0, 0, 1)
	}
	return next
}

// untilTime is the time to the next question for the time, as the field interval
// says in hours (68), divided like every wait.
func (s *schedule) untilTime() time.Duration {
	every := time.Duration(s.settings().number(timeInterval)) * time.Hour
	last := s.clock.lastAsked()
	if every <= 0 || last.IsZero() {
		return never
	}
	return time.Until(last.Add(time.Duration(float64(every) / s.cfg.Factor)))
}

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
