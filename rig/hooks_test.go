package rig_test

import (
	"fmt"
	"maps"
	"testing"

	"ip88rig/capture"
	"ip88rig/rig"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/vtime"
)

func TestHooksMeetEachPartOfALane(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		met := map[string]int{}
		c := inMemory(t)
		c.Hooks = rig.Hooks{
			Recorder: func(o capture.Options) capture.Options { met["recorder"]++; return o },
			Service:  func(config any) { met[fmt.Sprintf("%T", config)]++ },
			Lease:    func(l dhcpd.Lease) dhcpd.Lease { met["lease"]++; return l },
			Power:    func(p control.Power) control.Power { met["power"]++; return p },
			Hands:    func(o control.Operator) control.Operator { met["hands"]++; return o },
		}
		l := open(t, c)
		if err := l.Offer(rig.Offer{TFTP: true}); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{
			"recorder": 1, "power": 1, "hands": 1,
			"lease":         2, // a lane has an offer when it opens
			"*dhcpd.Config": 1, "*tftpd.Config": 1, "*sntpd.Config": 1, "*dnsd.Config": 1, "*sipd.Config": 1, "*httpd.Config": 4,
		}
		if !maps.Equal(met, want) {
			t.Errorf("got %v, want %v", met, want)
		}
	})
}
