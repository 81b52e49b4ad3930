package decode_test

import (
	"net/netip"
	"testing"

	"ip88rig/capture/timeline"
)

// A connection that the handset tries to open is told of once, answered or not.
func TestTriesToConnect(t *testing.T) {
	const port = 81
	for _, c := range []struct {
		name string
		play func(c *talk)
		want int
	}{
		{"never answered", func(c *talk) { c.raw(0, syn, 5, 0, "") }, 1},
		{"sent again", func(c *talk) { c.raw(0, syn, 5, 0, ""); c.raw(0, syn, 5, 0, "") }, 1},
		{"refused", func(c *talk) { c.raw(0, syn, 5, 0, ""); c.raw(1, rst|ackFlag, 0, 6, "") }, 1},
		{"refused, and tried again from the same port", func(c *talk) {
			c.raw(0, syn, 5, 0, "")
			c.raw(1, rst|ackFlag, 0, 6, "")
			c.raw(0, syn, 900, 0, "")
		}, 2},
		{"the rig's own", func(c *talk) { c.raw(1, syn, 5, 0, "") }, 0},
		{"joined in the middle", func(c *talk) { c.raw(0, ackFlag, 5, 7, "GET") }, 0},
	} {
		s := newScript(t)
		c.play(&talk{s: s, ends: [2]netip.AddrPort{phone1, netip.AddrPortFrom(rig, port)}})
		tries := s.of(timeline.TCPTry)
		if len(tries) != c.want {
			t.Errorf("%s: %d tries, want %d", c.name, len(tries), c.want)
		}
		for _, e := range tries {
			if e.Src != phone1 || e.Dst.Port() != port || e.SrcMAC != handset {
				t.Errorf("%s: got %+v, want it of the handset to port %d", c.name, e, port)
			}
		}
	}
}
