package virtual

import (
	"bytes"
	"context"
	"net"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/wire"
)

// What a cable beside the WiFi module is used for: values of the fact.
const (
	cableAlone = "cable"
	bothLinks  = "both"
)

// beside is what is used when power comes, of module and cable; blank unless both
// are there.
func (h *Handset) beside() string {
	switch {
	case h.next.Load() == nil || !h.plugged.Load():
		return ""
	case h.cfg.Defects.Has(defect.BothLinksUp):
		return bothLinks
	}
	return h.cfg.Facts.Text(model.WiredBesideWiFi)
}

// lan is the phone's own socket beside the module: what comes for the phone's MAC.
type lan struct {
	*wire.Queue

	cord *cord
	mac  net.HardwareAddr
}

var _ wire.Port = (*lan)(nil)

// openLAN has what comes for a MAC go another way than to the handset's host.
func (c *cord) openLAN(mac net.HardwareAddr) *lan {
	l := &lan{Queue: wire.NewQueue(), cord: c, mac: mac}
	c.lan.Store(l)
	return l
}

func (l *lan) takes(f wire.Frame) bool { return len(f.Data) >= 6 && bytes.Equal(f.Data[:6], l.mac) }

// Send implements wire.Port. Whether the module has an access point is nothing to
// it.
func (l *lan) Send(f wire.Frame) error {
	if !l.cord.live.Load() {
		return nil
	}
	return l.cord.Port.Send(f)
}

// Close implements wire.Port.
func (l *lan) Close() error {
	l.cord.lan.CompareAndSwap(l, nil)
	return l.Queue.Close()
}

// cableToo gets the phone's own socket an address, where that is used beside the
// module. Nothing else goes over it (assumed). It is called before anything else
// uses the network.
func (b *boot) cableToo(ctx context.Context) {
	h := b.h
	if h.links != bothLinks {
		return
	}
	cfg := b.net.dhcp
	cfg.MAC, cfg.Again, cfg.Seed = h.cfg.MAC, nil, h.seed(6)
	port := h.cord.openLAN(h.cfg.MAC)
	cfg.Port = port
	b.task(func() { // ends with an address, without a server, or with the boot
		lease, err := dhcpc.Acquire(ctx, cfg, nil)
		h.log.Info("address of the cable beside the module", "addr", lease.Addr, "error", err)
		_ = port.Close() // always nil
	})
}
