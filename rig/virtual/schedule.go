package virtual

import (
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
