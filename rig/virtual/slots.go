package virtual

import (
	"net"
	"sync/atomic"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
)

// What a cable beside the WiFi module is used for: values of the fact.
const (
	cableAlone = "cable"
	bothLinks  = "both"
)

// slots are what a person installs in the phone or plugs in beside it. A change
// takes effect when power comes.
type slots struct {
	*device

	// next is the WiFi module from the next power on; nil for none.
	next atomic.Pointer[net.HardwareAddr]
	// plugged says that a cable is in beside the module.
	plugged atomic.Bool
	// links is what is used of module and cable since power came; used by Run alone.
	links string
}

// beside is what is used when power comes, of module and cable; blank unless both
// are there.
func (s *slots) beside() string {
	switch {
	case s.next.Load() == nil || !s.plugged.Load():
		return ""
	case s.has(defect.BothLinksUp):
		return bothLinks
	}
	return s.cfg.Facts.Text(model.WiredBesideWiFi)
}

// fit makes what was installed, removed or plugged in effective.
func (s *slots) fit() {
	s.fitted.Store(s.next.Load())
	if s.links = s.beside(); s.links == cableAlone {
		s.fitted.Store(nil)
	}
	s.cord.sender = nil
	if s.module() != nil && s.has(defect.ModuleSendsAsPhone) {
		s.cord.sender = s.cfg.MAC
	}
}
