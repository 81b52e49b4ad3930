package dhcpd

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/host"
	"ip88rig/rig/wire"
)

// TestAHandsetIsServedThroughASwitchWithVLANs has the server on a trunk, where
// its frames carry the tag, and the handset on an access port.
func TestAHandsetIsServedThroughASwitchWithVLANs(t *testing.T) {
	sw := wire.NewSwitch()
	trunk := wire.Tagged(sw.Trunk("rig", 1, 100), 100, 0)
	handset, bystander, colleague := sw.Access("phone", 100), sw.Access("office", 1), sw.Access("colleague", 1)
	t.Cleanup(func() {
		for _, p := range []wire.Port{trunk, handset, bystander, colleague} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	var j journal
	s, err := New(Config{
		Port: trunk, ServerMAC: mac(server), ServerIP: netip.MustParseAddr("192.0.2.1"),
		Clients: map[string]Lease{phone: lease()}, Record: j.record,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx

	exchange := func(m msg, want string) {
		t.Helper()
		if err := handset.Send(wire.Frame{Data: m.frame(t)}); err != nil {
			t.Fatal(err)
		}
		f, err := handset.Receive(ctx)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		r := read(t, f.Data)
		if r.value(53) != want || r.yiaddr != "192.0.2.10" {
			t.Errorf("answered %s for %s, want %s", r.value(53), r.yiaddr, want)
		}
	}
	exchange(kind(1, phoneList()), "02")
	exchange(kind(3, opt(54, ip("192.0.2.1")...), opt(50, ip("192.0.2.10")...)), "05")
	// The first frame in the other VLAN is one of its own.
	own := kind(1).with(func(m *msg) { m.src, m.chaddr = unknown, unknown }).frame(t)
	if err := colleague.Send(wire.Frame{Data: own}); err != nil {
		t.Fatal(err)
	}
	if f, err := bystander.Receive(ctx); err != nil || !bytes.Equal(f.Data, own) {
		t.Errorf("the other VLAN heard %x (%v)", f.Data, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if n := len(j.take()); n != 4 {
		t.Errorf("%d events, want %s, two answers, %s", n, timeline.ServiceUp, timeline.ServiceDown)
	}
}

// TestAHostSharesItsPortWithTheServer has the server claim its frames from the
// rig's host, as a lane has it.
func TestAHostSharesItsPortWithTheServer(t *testing.T) {
	sw := wire.NewSwitch()
	handset := sw.Access("phone", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	h, err := host.New(ctx, host.Config{
		Port: sw.Access("rig", 1), MAC: mac(server), Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	var j journal
	s, err := New(Config{
		Port: h.Claim(func(frame []byte) bool {
			p, err := parseFrame(frame)
			return err == nil && p.dst.Port() == serverPort
		}),
		ServerMAC: h.MAC(), ServerIP: h.Addr(), Clients: map[string]Lease{phone: lease()}, Record: j.record,
	})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving) }() // ends with serving
	renew := kind(3).with(func(m *msg) { m.ciaddr, m.srcIP, m.dst, m.dstIP = "192.0.2.10", "192.0.2.10", server, "192.0.2.1" })
	for _, m := range []msg{kind(1), kind(3, opt(50, ip("192.0.2.10")...)), renew} {
		if err := handset.Send(wire.Frame{Data: m.frame(t)}); err != nil {
			t.Fatal(err)
		}
		f, err := handset.Receive(ctx)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if r := read(t, f.Data); r.yiaddr != "192.0.2.10" {
			t.Errorf("answered %s for %s", r.value(53), r.yiaddr)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestAProbeIsAnsweredInPlaceOfTheHost has the server claim the probes from the
// rig's host, but for those that ask for an address of the host's own.
func TestAProbeIsAnsweredInPlaceOfTheHost(t *testing.T) {
	sw := wire.NewSwitch()
	handset := sw.Access("phone", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	h, err := host.New(ctx, host.Config{
		Port: sw.Access("rig", 1), MAC: mac(server), Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	var j journal
	plan := &fault.Plan{}
	plan.Add(fault.On("ARP probe").Do(InUse{}).Once())
	s, err := New(Config{
		Port: h.Claim(func([]byte) bool { return false }),
		ARP: h.Claim(func(frame []byte) bool {
			a, ok := ARPTarget(frame)
			return ok && a != h.Addr() && (IsARPProbe(frame) || IsARPAnnouncement(frame))
		}),
		ServerMAC: h.MAC(), ServerIP: h.Addr(), Clients: map[string]Lease{phone: lease()}, Record: j.record, Faults: plan,
	})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving) }() // ends with serving
	// The second probe is let alone, and the third is the host's to answer.
	for _, tt := range []struct{ target, owner string }{{"192.0.2.10", ConflictMAC}, {"192.0.2.10", ""}, {"192.0.2.1", server}} {
		if err := handset.Send(wire.Frame{Data: arp(t, phone, "0.0.0.0", tt.target)}); err != nil {
			t.Fatal(err)
		}
		if tt.owner == "" {
			continue
		}
		f, err := handset.Receive(ctx)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if got := net.HardwareAddr(f.Data[22:28]).String(); got != tt.owner || netip.AddrFrom4([4]byte(f.Data[28:32])).String() != tt.target {
			t.Errorf("%s is answered by %s, want %s", tt.target, got, tt.owner)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
