package virtual

import (
	"errors"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
)

// radio is what a WiFi module remembers of its network. It belongs to whoever
// follows the link: the boot, then its watchLink.
type radio struct {
	// here is the access point, and its channel, where the module was last.
	here air.Beacon
	// refused is why the access point within reach did not take it at the last
	// try; nil: it did, or there was none.
	refused error
}

// air is what the module associates to; nil without a module, or where nothing
// is known of it but the link.
func (h *Handset) air() *air.Air {
	if h.module() == nil {
		return nil
	}
	return h.cfg.Air
}

// begin forgets what the module knew before power: the first scan is a part of
// the association time.
func (h *Handset) begin() {
	h.radio = radio{}
	h.cord.joined.Store(nil)
}

// joins tries to associate. Without an air the link suffices.
func (h *Handset) joins() bool {
	a := h.air()
	if a == nil {
		return true
	}
	joined, err := a.Join(h.tries(), h.cfg.Passphrase)
	if h.radio.refused = err; errors.Is(err, air.ErrGone) {
		h.radio.refused = nil
	}
	if err != nil {
		h.log.Info("not associated", "error", err)
		return false
	}
	h.radio.here = joined.Beacon
	h.cord.joined.Store(joined)
	h.log.Info("associated", "access point", joined.AccessPoint, "channel", joined.Channel)
	return true
}

// tries is the security mode that the module tries to associate with. Of 802.1X a
// defect leaves nothing but the setting.
func (h *Handset) tries() model.Security {
	s := h.security()
	if s == model.Enterprise && h.cfg.Defects.Has(defect.Refuses8021X) {
		return ""
	}
	return s
}

// joinTime is how long it takes the module to come back. Where the access point
// is not where it was, the module looks for its network first (assumed).
func (h *Handset) joinTime() time.Duration {
	d := h.associationTime()
	a := h.air()
	if a == nil {
		return d
	}
	if found, ok := a.Beacon(); ok && found != h.radio.here {
		d += h.wait(model.WiFiScanTime)
	}
	if h.radio.refused != nil {
		d += h.wait(model.WiFiRetryTime)
	}
	return d
}

// staysBehind tells a module that does not follow its network (defect).
func (h *Handset) staysBehind() bool {
	a := h.air()
	if a == nil || !h.cfg.Defects.Has(defect.RoamSticks) {
		return false
	}
	found, _ := a.Beacon()
	return found.AccessPoint != h.radio.here.AccessPoint
}

// hangs tells a module that has lost its access point and hangs by that
// (defect).
func (h *Handset) hangs(cycling bool) bool {
	if !cycling || !h.cfg.Defects.Has(defect.ModuleHangs) {
		return false
	}
	h.hung.Store(2) // the first power-on after this finds it hung still
	return true
}

// givesUp tells a module that does not try again (defect).
func (h *Handset) givesUp() bool {
	return errors.Is(h.radio.refused, air.ErrPassphrase) && h.cfg.Defects.Has(defect.WrongPassphraseSticks)
}
