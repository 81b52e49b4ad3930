package match

import (
	"strings"

	"ip88rig/capture/timeline"
)

type sendsFrom struct {
	Module string `json:"module"`
	Phone  string `json:"phone"`
}

// SendsFrom measures which of its two addresses the frames of a handset with a
// WiFi module come from: as SendOnlyFrom does, of all that is decoded.
func SendsFrom(module, phone string) Observation {
	return sendsFrom{Module: strings.ToLower(module), Phone: strings.ToLower(phone)}
}

func (m sendsFrom) Name() string { return "SendsFrom" }
func (m sendsFrom) Asks() string { return "whether it sends from its module or as the phone" }
func (m sendsFrom) observes()    {}

func (m sendsFrom) Measure(v timeline.View) []Value {
	module, phone := false, false
	for e := range v.Events.All() {
		if fromHandset(v, e) {
			module = module || strings.EqualFold(e.SrcMAC, m.Module)
			phone = phone || strings.EqualFold(e.SrcMAC, m.Phone)
		}
	}
	from := none
	switch {
	case module && phone:
		from = "both"
	case module:
		from = "the module alone"
	case phone:
		from = "the phone alone"
	}
	return []Value{{Name: "frames come from", Value: from}}
}
