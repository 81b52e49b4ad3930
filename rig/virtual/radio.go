package virtual

import (
	"errors"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
)

// radio is the WiFi module, with what it remembers of its network. One goroutine
// at a time follows the link and uses it.
type radio struct {
	*device

	// secured is the security mode that it is set to; nil for WPA2-PSK.
	secured atomic.Pointer[model.Security]
	// hung is how often power must still come until it works again, for the defect
	// module-hangs.
	hung atomic.Int32

	// here is the access point, and its channel, where the module was last.
	here air.Beacon
	// refused is why the access point within reach did not take it at the last
	// try; nil: it did, or there was none.
	refused error
}

// air is what the module associates to; nil without a module, or where nothing
// is known of it but the link.
func (r *radio) air() *air.Air {
	if r.module() == nil {
		return nil
	}
	return r.cfg.Air
}

// begin forgets what the module knew before power: the first scan is a part of
// the association time.
func (r *radio) begin() {
	r.here, r.refused = air.Beacon{}, nil
	r.cord.joined.Store(nil)
}

// joins tries to associate. Without an air the link suffices.
func (r *radio) joins() bool {
	a := r.air()
	if a == nil {
		return true
	}
	joined, err := a.Join(r.tries(), r.cfg.Passphrase)
	if r.refused = err; errors.Is(err, air.ErrGone) {
		r.refused = nil
	}
	if err != nil {
		r.log.Info("not associated", "error", err)
		return false
	}
	r.here = joined.Beacon
	r.cord.joined.Store(joined)
	r.log.Info("associated", "access point", joined.AccessPoint, "channel", joined.Channel)
	return true
}

// tries is the security mode that the module tries to associate with. Of 802.1X a
// defect leaves nothing but the setting.
func (r *radio) tries() model.Security {
	s := r.security()
	if s == model.Enterprise && r.has(defect.Refuses8021X) {
		return ""
	}
	return s
}

// joinTime is how long it takes the module to come back. Where the access point
// is not where it was, the module looks for its network first (assumed).
func (r *radio) joinTime() time.Duration {
	d := r.associationTime()
	a := r.air()
	if a == nil {
		return d
	}
	if found, ok := a.Beacon(); ok && found != r.here {
		d += r.wait(model.WiFiScanTime)
	}
	if r.refused != nil {
		d += r.wait(model.WiFiRetryTime)
	}
	return d
}

// staysBehind reports whether the module does not follow its network (defect).
func (r *radio) staysBehind() bool {
	a := r.air()
	if a == nil || !r.has(defect.RoamSticks) {
		return false
	}
	found, _ := a.Beacon()
	return found.AccessPoint != r.here.AccessPoint
}

// hangs reports whether the module has lost its access point and hangs by that
// (defect).
func (r *radio) hangs(cycling bool) bool {
	if !cycling || !r.has(defect.ModuleHangs) {
		return false
	}
	r.hung.Store(2) // the first power-on after this finds it hung still
	return true
}

// givesUp reports whether the module does not try again (defect).
func (r *radio) givesUp() bool {
	return errors.Is(r.refused, air.ErrPassphrase) && r.has(defect.WrongPassphraseSticks)
}

func (r *radio) associationTime() time.Duration {
	d := r.wait(model.WiFiAssociationTime)
	if r.has(defect.AssociatesSlowly) {
		d *= 10
	}
	return d
}

// security is the mode that the module is set to.
func (r *radio) security() model.Security {
	if s := r.secured.Load(); s != nil {
		return *s
	}
	return model.WPA2
}
