package virtual

import (
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

// lateParts is which part of its timeout an answer may take before the defect
// late-time-accepts-expired calls it late.
const lateParts = 5

// sntpPatience is how long and how often the time is asked for.
func (h *Handset) sntpPatience() (timeout time.Duration, tries int) {
	return h.retry(model.SNTPTimeout), h.cfg.Facts.Int(model.SNTPTries)
}

// tooLate tells an answer that the clock is not set by (late-time-accepts-expired).
func (h *Handset) tooLate(after time.Duration) bool {
	return h.cfg.Defects.Has(defect.LateTimeAcceptsExpired) && after > h.retry(model.SNTPTimeout)/lateParts
}

// markClock holds the first time that a handset with the defect clock-sticks was
// told, as an offset of the real one.
const markClock = "clock"

// clockOffset is what the clock goes by once a server has told the time.
func (h *Handset) clockOffset(told time.Duration) time.Duration {
	if !h.cfg.Defects.Has(defect.ClockSticks) {
		return told
	}
	if latest, err := time.ParseDuration(h.flash.Read().Marks[markClock]); err == nil && latest > told+time.Minute {
		return latest
	}
	h.store(func(s *flash.State) { s.Marks[markClock] = told.String() })
	return told
}
