package dhcpd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// arp is a request as gopacket writes it.
func arp(tb testing.TB, from, sender, target string, change ...func(*layers.Ethernet, *layers.ARP)) []byte {
	tb.Helper()
	eth := &layers.Ethernet{SrcMAC: mac(from), DstMAC: mac(everyone), EthernetType: layers.EthernetTypeARP}
	a := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: mac(from), SourceProtAddress: ip(sender), DstHwAddress: make([]byte, 6), DstProtAddress: ip(target),
	}
	for _, f := range change {
		f(eth, a)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{}, eth, a); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()[:42] // without the padding
}

func TestProbesAreToldFromOtherARP(t *testing.T) {
	tagged := func(b []byte) []byte { return append(append(bytes.Clone(b[:12]), 0x81, 0, 0, 100), b[12:]...) }
	probe := arp(t, phone, "0.0.0.0", "192.0.2.10")
	for _, tt := range []struct {
		name         string
		frame        []byte
		probe, names bool
	}{
		{"a probe", probe, true, false},
		{"a probe with a tag", tagged(probe), true, false},
		{"a probe with padding", append(bytes.Clone(probe), make([]byte, 18)...), true, false},
		{"an announcement", arp(t, phone, "192.0.2.10", "192.0.2.10"), false, true},
		{"an ordinary request", arp(t, phone, "192.0.2.10", "192.0.2.1"), false, false},
		{"a probe for nothing", arp(t, phone, "0.0.0.0", "0.0.0.0"), false, false},
		{"a reply", arp(t, phone, "0.0.0.0", "192.0.2.10", func(_ *layers.Ethernet, a *layers.ARP) { a.Operation = layers.ARPReply }), false, false},
		{"another protocol", arp(t, phone, "0.0.0.0", "192.0.2.10", func(_ *layers.Ethernet, a *layers.ARP) { a.Protocol = layers.EthernetTypeIPv6 }), false, false},
		{"RARP", arp(t, phone, "0.0.0.0", "192.0.2.10", func(e *layers.Ethernet, _ *layers.ARP) { e.EthernetType = 0x8035 }), false, false},
		{"a probe cut short", probe[:len(probe)-1], false, false},
		{"a tag cut short", tagged(probe)[:15], false, false},
		{"nothing", nil, false, false},
		{"a DISCOVER", kind(1).frame(t), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsARPProbe(tt.frame); got != tt.probe {
				t.Errorf("a probe: %t, want %t", got, tt.probe)
			}
			if got := IsARPAnnouncement(tt.frame); got != tt.names {
				t.Errorf("an announcement: %t, want %t", got, tt.names)
			}
			if got, ok := ARPTarget(tt.frame); (tt.probe || tt.names) && (!ok || got != netip.MustParseAddr("192.0.2.10")) {
				t.Errorf("asks for %v", got)
			}
		})
	}
}

// arpBench is a server with a port for ARP.
func arpBench(t *testing.T) (s *Server, dhcp, arp *cable, j *journal, plan *fault.Plan) {
	t.Helper()
	dhcp, arp, j, plan = newCable(), newCable(), &journal{}, &fault.Plan{}
	s, err := New(Config{
		Port: dhcp, ARP: arp, ServerMAC: mac(server), ServerIP: netip.MustParseAddr("192.0.2.1"),
		Clients: map[string]Lease{phone: lease()}, Record: j.record, Faults: plan,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, dhcp, arp, j, plan
}

func TestAnAddressIsInUseWhileARuleSaysSo(t *testing.T) {
	tag := func(b []byte) []byte { return append(append(bytes.Clone(b[:12]), 0x81, 0, 0xa0, 100), b[12:]...) }
	probe := arp(t, phone, "0.0.0.0", "192.0.2.10")
	announcement := arp(t, phone, "192.0.2.10", "192.0.2.10")
	for _, tt := range []struct {
		name   string
		frame  []byte
		rule   fault.Rule
		answer bool
		tagged bool
	}{
		{name: "no rule", frame: probe, rule: fault.On("OFFER").Do(InUse{})},
		{name: "a probe", frame: probe, rule: fault.On("ARP probe").In("dhcpd").Do(InUse{}), answer: true},
		{name: "a probe with a tag", frame: tag(probe), rule: fault.On("ARP probe").Do(InUse{}), answer: true, tagged: true},
		{name: "an announcement is no probe", frame: announcement, rule: fault.On("ARP probe").Do(InUse{})},
		{name: "an announcement", frame: announcement, rule: fault.On("ARP announcement").Do(InUse{}), answer: true},
		{name: "a request", frame: arp(t, phone, "192.0.2.10", "192.0.2.1"), rule: fault.On("*").Do(InUse{})},
		{name: "a probe for nothing", frame: arp(t, phone, "0.0.0.0", "0.0.0.0"), rule: fault.On("*").Do(InUse{})},
		{name: "the probe of a stranger", frame: arp(t, unknown, "0.0.0.0", "192.0.2.10"), rule: fault.On("*").Do(InUse{})},
		{name: "another effect", frame: probe, rule: fault.On("*").Do(Drop{})},
		{name: "no ARP", frame: kind(1).frame(t), rule: fault.On("*").Do(InUse{})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, out, j, plan := arpBench(t)
			plan.Add(tt.rule)
			s.handleARP(wire.Frame{Data: tt.frame, Number: 7})
			frame, events := out.sent(t), j.take()
			if !tt.answer {
				if frame != nil || len(events) > 0 || plan.Ledger()[0].Fired > 0 {
					t.Errorf("answered %x, recorded %v", frame, events)
				}
				return
			}
			if len(events) != 1 || events[0].Kind != timeline.FaultFired || events[0].Reason != tt.rule.String() || events[0].Frame != 7 ||
				events[0].SrcMAC != phone || events[0].DstMAC != ConflictMAC {
				t.Errorf("recorded %v", events)
			}
			if tt.tagged {
				if !bytes.Equal(frame[12:16], []byte{0x81, 0, 0xa0, 100}) {
					t.Errorf("tag %x", frame[12:16])
				}
			}
			if len(frame) < 60 {
				t.Errorf("a frame of %d bytes", len(frame))
			}
			p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
			a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
			if !ok {
				t.Fatalf("not ARP: %x", frame)
			}
			eth := p.LinkLayer().(*layers.Ethernet)
			if eth.DstMAC.String() != phone || eth.SrcMAC.String() != ConflictMAC || a.Operation != layers.ARPReply ||
				net.HardwareAddr(a.SourceHwAddress).String() != ConflictMAC || net.IP(a.SourceProtAddress).String() != "192.0.2.10" ||
				net.HardwareAddr(a.DstHwAddress).String() != phone || !bytes.Equal(a.DstProtAddress, tt.frame[len(tt.frame)-14:len(tt.frame)-10]) {
				t.Errorf("answered %+v", a)
			}
		})
	}
}

func TestTheMadeUpAddressesAreLocal(t *testing.T) {
	for text, b := range map[string]net.HardwareAddr{ConflictMAC: conflictMAC(), SecondServerMAC: secondServerMAC()} {
		if b.String() != text || b[0]&3 != 2 {
			t.Errorf("%s is %v", text, b)
		}
	}
}

// mute is a port that sends nothing.
type mute struct{ *cable }

func (mute) Send(wire.Frame) error { return net.ErrClosed }

func TestAReplyThatCannotBeSentIsTold(t *testing.T) {
	s, _, out, j, plan := arpBench(t)
	plan.Add(fault.On("ARP probe").Do(InUse{}))
	s.arp = mute{out}
	s.handleARP(wire.Frame{Data: arp(t, phone, "0.0.0.0", "192.0.2.10"), Number: 7})
	events := j.take()
	if len(events) != 2 || events[1].Kind != timeline.ServiceOddity || events[1].Fields[timeline.FaultUndone] != (InUse{}).String() {
		t.Errorf("recorded %v, want the fault and that it was not done", events)
	}
}

func TestServeEndsWithEitherPort(t *testing.T) {
	for name, broken := range map[string]func(dhcp, arp *cable) *cable{
		"that of DHCP": func(dhcp, _ *cable) *cable { return dhcp },
		"that of ARP":  func(_, arp *cable) *cable { return arp },
	} {
		t.Run(name, func(t *testing.T) {
			s, dhcp, out, _, plan := arpBench(t)
			plan.Add(fault.On("ARP probe").Do(InUse{}))
			served := make(chan error, 1)
			go func() { served <- s.Serve(t.Context()) }() // ends with the port
			out.in <- wire.Frame{Data: arp(t, phone, "0.0.0.0", "192.0.2.10")}
			<-out.out
			dhcp.in <- wire.Frame{Data: kind(1).frame(t)}
			<-dhcp.out
			_ = broken(dhcp, out).Close()
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
	s, _, _, _, _ := arpBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// FuzzARP has the server answer every frame that it takes for a probe, with
// what gopacket reads as an ARP reply to it.
func FuzzARP(f *testing.F) {
	probe := arp(f, phone, "0.0.0.0", "192.0.2.10")
	f.Add(probe)
	f.Add(arp(f, phone, "192.0.2.10", "192.0.2.10"))
	f.Add(append(append(bytes.Clone(probe[:12]), 0x81, 0, 0, 1), probe[12:]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		q, ok := parseARP(b)
		if !ok {
			return
		}
		p := gopacket.NewPacket(q.reply(conflictMAC()), layers.LayerTypeEthernet, gopacket.Default)
		a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if !ok || a.Operation != layers.ARPReply || !bytes.Equal(a.DstHwAddress, q.from) || !bytes.Equal(a.SourceProtAddress, q.target.AsSlice()) {
			t.Errorf("answered %v", p)
		}
	})
}
