package dhcpc

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/wire"
)

const (
	bindsFirst = "DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement"
	discover   = dhcpv4.MessageTypeDiscover
)

// kind is the answer that a message asks for.
func kind(m *dhcpv4.DHCPv4) dhcpv4.MessageType {
	if m.MessageType() == discover {
		return dhcpv4.MessageTypeOffer
	}
	return dhcpv4.MessageTypeAck
}

// always answers with these options behind 53 and 54.
func always(options ...byte) func(int, *dhcpv4.DHCPv4, *script) {
	return func(_ int, m *dhcpv4.DHCPv4, s *script) { s.reply(m, kind(m), leaseIP, options...) }
}

// unfinished answers with nothing but these options, and no end.
func unfinished(options ...byte) func(int, *dhcpv4.DHCPv4, *script) {
	return func(_ int, m *dhcpv4.DHCPv4, s *script) {
		s.raw(m, leaseIP, append([]byte{53, 1, byte(kind(m))}, options...), nil)
	}
}

func TestSurvivesABadServer(t *testing.T) {
	second := netip.MustParseAddr("192.0.2.2")
	for _, test := range []struct {
		name   string
		answer func(n int, m *dhcpv4.DHCPv4, s *script)
		want   string
	}{
		{"the first two OFFERs are lost", func(n int, m *dhcpv4.DHCPv4, s *script) {
			if n > 2 {
				generous(n, m, s)
			}
		}, "DISCOVER broadcast, DISCOVER broadcast, " + bindsFirst},
		{"OFFER and ACK come a second late", func(n int, m *dhcpv4.DHCPv4, s *script) {
			time.AfterFunc(time.Second, func() { generous(n, m, s) })
		}, bindsFirst},
		{"the OFFER comes after the DISCOVER was sent again", func(n int, m *dhcpv4.DHCPv4, s *script) {
			if n == 1 {
				time.AfterFunc(6*time.Second, func() { generous(n, m, s) })
			} else if m.MessageType() != discover {
				generous(n, m, s)
			}
		}, "DISCOVER broadcast, " + bindsFirst},
		{"OFFER and ACK come three times", func(n int, m *dhcpv4.DHCPv4, s *script) {
			for range 3 {
				generous(n, m, s)
			}
		}, bindsFirst},
		{"two servers offer, the second more", func(n int, m *dhcpv4.DHCPv4, s *script) {
			generous(n, m, s)
			s.raw(m, second, append([]byte{53, 1, byte(kind(m)), 54, 4, 192, 0, 2, 2, 66, 1, 'x'}, append(lease(200), 255)...), nil)
		}, bindsFirst},
		{"the ACK names another server at first", func(n int, m *dhcpv4.DHCPv4, s *script) {
			if n == 2 {
				s.raw(m, leaseIP, append([]byte{53, 1, 5, 54, 4, 192, 0, 2, 9}, append(lease(60), 255)...), nil)
				return
			}
			generous(n, m, s)
		}, "DISCOVER broadcast, REQUEST broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement"},
		{"no server is named", func(_ int, m *dhcpv4.DHCPv4, s *script) {
			s.raw(m, leaseIP, append([]byte{53, 1, byte(kind(m))}, append(lease(60), 255)...), nil)
		}, bindsFirst},
		{"the server named is none", func(_ int, m *dhcpv4.DHCPv4, s *script) {
			s.raw(m, leaseIP, append([]byte{53, 1, byte(kind(m)), 54, 4, 0, 0, 0, 0}, append(lease(60), 255)...), nil)
		}, bindsFirst},
		{"there is no end option", unfinished(lease(60)...), bindsFirst},
		{"an option runs past the end", unfinished(append(lease(60), 160, 255, 'h')...), bindsFirst},
		{"nothing but padding stands behind", unfinished(append(lease(60), make([]byte, 300)...)...), bindsFirst},
		{"every option comes twice", always(append(lease(60), lease(60)...)...), bindsFirst},
		{"lists are of wrong length", always(append(lease(60), 42, 3, 1, 2, 3, 150, 5, 1, 2, 3, 4, 5, 6, 1, 9, 160, 0)...), bindsFirst},
		{"garbage stands behind the end", always(append(lease(60), 255, 1, 2, 3, 200, 200)...), bindsFirst},
		{"a refusal, then a grant", func(n int, m *dhcpv4.DHCPv4, s *script) {
			if n == 2 {
				s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
				s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
				return
			}
			generous(n, m, s)
		}, "DISCOVER broadcast, REQUEST broadcast, " + bindsFirst},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{answer: test.answer}
			play(t, s, func(ctx context.Context, cfg Config) {
				got, err := Acquire(ctx, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got.Addr != netip.PrefixFrom(leaseIP, 24) || got.Server != serverIP || got.Ends != time.Minute || got.Gateway.String() != "192.0.2.254" {
					t.Errorf("got %+v", got)
				}
			})
			if got := s.words(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAServerThatWasSilentForAMinuteIsFound(t *testing.T) {
	s := &script{}
	s.answer = func(n int, m *dhcpv4.DHCPv4, s *script) {
		if time.Since(s.start) > time.Minute {
			generous(n, m, s)
		}
	}
	play(t, s, func(ctx context.Context, cfg Config) {
		for round := 0; ; round++ {
			cfg.Seed++
			_, err := Acquire(ctx, cfg, nil)
			if err == nil {
				return
			}
			if !errors.Is(err, ErrNoServer) || round > 1 {
				t.Fatal(err)
			}
		}
	})
	if got := s.words(); !strings.HasSuffix(got, bindsFirst) {
		t.Errorf("got %s", got)
	}
}

func TestLeaseTimes(t *testing.T) {
	four := func(code byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{code, 4}, n) }
	three := func(lease, t1, t2 uint32) []byte {
		return append(append(four(51, lease), four(58, t1)...), four(59, t2)...)
	}
	const minute, hour = time.Minute, time.Hour
	for _, test := range []struct {
		name                string
		options             []byte
		renew, rebind, ends time.Duration
	}{
		{"as told", three(60, 10, 20), 10 * time.Second, 20 * time.Second, minute},
		{"none told", four(51, 80), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"T1 alone", append(four(51, 80), four(58, 1)...), time.Second, 70 * time.Second, 80 * time.Second},
		{"T2 alone", append(four(51, 80), four(59, 50)...), 40 * time.Second, 50 * time.Second, 80 * time.Second},
		{"T1 of nothing", three(80, 0, 50), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"T1 after T2", three(80, 50, 20), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"T2 after the end", three(80, 20, 90), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"both without end", three(80, infinite, infinite), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"of wrong length", append(four(51, 80), 58, 1, 9, 59, 3, 1, 2, 3), 40 * time.Second, 70 * time.Second, 80 * time.Second},
		{"one second", four(51, 1), 500 * time.Millisecond, 875 * time.Millisecond, time.Second},
		{"no lease time", nil, hour / 2, hour / 8 * 7, hour},
		{"a lease of nothing", four(51, 0), hour / 2, hour / 8 * 7, hour},
		{"a lease time of wrong length", []byte{51, 2, 0, 9}, hour / 2, hour / 8 * 7, hour},
		{"without end", four(51, infinite), 0, 0, 0},
	} {
		options := map[uint8][]byte{}
		readOptions(options, test.options)
		r := &reply{message: &dhcpv4.DHCPv4{YourIPAddr: leaseIP.AsSlice()}, options: options}
		got := newLease(r, time.Time{}, hour)
		if got.Renew != test.renew || got.Rebind != test.rebind || got.Ends != test.ends {
			t.Errorf("%s: got %v, %v, %v, want %v, %v, %v", test.name, got.Renew, got.Rebind, got.Ends, test.renew, test.rebind, test.ends)
		}
	}
}

func TestMasks(t *testing.T) {
	for _, test := range []struct {
		mask []byte
		want int
	}{
		{[]byte{255, 255, 240, 0}, 20},
		{nil, 24},
		{[]byte{255, 255, 255}, 24},
		{[]byte{255, 0, 255, 0}, 24},
		{[]byte{0, 0, 0, 0}, 24},
		{[]byte{255, 255, 255, 255}, 24},
		{[]byte{255, 255, 0, 0, 255, 255, 255, 0}, 16},
	} {
		r := &reply{options: map[uint8][]byte{1: test.mask}}
		if got := maskBits(r, leaseIP); got != test.want {
			t.Errorf("mask %v: got %d bits, want %d", test.mask, got, test.want)
		}
	}
}

func nakFirst(n int, m *dhcpv4.DHCPv4, s *script) {
	for _, x := range s.seen[:n-1] {
		if strings.HasPrefix(x.text, "REQUEST") {
			generous(n, m, s)
			return
		}
	}
	if m.MessageType() == discover {
		generous(n, m, s)
		return
	}
	s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
}

func TestDefects(t *testing.T) {
	held := &Lease{Addr: netip.PrefixFrom(leaseIP, 24), Server: serverIP, Ends: time.Hour}
	taken := func(_ []byte, s *script) {
		f := etherHeader(clientMAC, otherMAC, etherARP)
		f = append(f, 0, 1, 8, 0, 6, 4, 0, 2)
		f = append(append(f, otherMAC...), leaseIP.AsSlice()...)
		f = append(append(f, clientMAC...), 0, 0, 0, 0)
		if err := s.port.Send(wire.Frame{Data: f}); err != nil {
			panic(err)
		}
	}
	for _, test := range []struct {
		name     string
		defects  defect.Set
		previous *Lease
		answer   func(n int, m *dhcpv4.DHCPv4, s *script)
		onARP    func(frame []byte, s *script)
		want     string
		server   netip.Addr
	}{
		{"refused and asks again", nil, nil, nakFirst, nil, "DISCOVER broadcast, REQUEST broadcast, " + bindsFirst, serverIP},
		{"refused and goes on", defect.Set{defect.IgnoresNAK}, nil, nakFirst, nil, bindsFirst, serverIP},
		{"refused at boot and goes on", defect.Set{defect.IgnoresNAK}, held, nakFirst, nil, "REQUEST broadcast", serverIP},
		{
			"goes on with an address in use",
			defect.Set{defect.IgnoresConflict},
			nil, generous, taken, "DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP announcement", serverIP,
		},
		{
			"declines an address in use and goes on with it",
			defect.Set{defect.KeepsDeclined},
			nil, generous, taken, "DISCOVER broadcast, REQUEST broadcast, ARP probe, DECLINE broadcast", serverIP,
		},
		{"takes another server's grant", defect.Set{defect.TakesAnyServer}, nil, func(n int, m *dhcpv4.DHCPv4, s *script) {
			if m.MessageType() != discover {
				s.raw(m, leaseIP, append([]byte{53, 1, 5, 54, 4, 192, 0, 2, 9}, append(lease(60), 255)...), nil)
				return
			}
			generous(n, m, s)
		}, nil, bindsFirst, netip.MustParseAddr("192.0.2.9")},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{answer: test.answer, onARP: test.onARP}
			play(t, s, func(ctx context.Context, cfg Config) {
				cfg.Defects = test.defects
				if test.previous != nil {
					test.previous.Acquired = time.Now()
				}
				got, err := Acquire(ctx, cfg, test.previous)
				if err != nil || got.Addr.Addr() != leaseIP || got.Server != test.server {
					t.Errorf("got %+v, %v", got, err)
				}
			})
			if got := s.words(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestNoVendorClass(t *testing.T) {
	for _, defects := range []defect.Set{nil, {defect.NoVendorClass}} {
		s := &script{answer: generous}
		play(t, s, func(ctx context.Context, cfg Config) {
			cfg.Defects = defects
			if _, err := Acquire(ctx, cfg, nil); err != nil {
				t.Fatal(err)
			}
		})
		for _, x := range s.seen {
			if x.m != nil && (len(x.m.Options[60]) == 0) != (len(defects) > 0) {
				t.Errorf("%v: %s has option 60 %q", defects, x.text, x.m.Options[60])
			}
		}
	}
}

func TestMaintainOnDemandAndWithDefects(t *testing.T) {
	nak := func(_ int, m *dhcpv4.DHCPv4, s *script) {
		s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
	}
	silent := func(int, *dhcpv4.DHCPv4, *script) {}
	const renew, reboot = "REQUEST unicast", "REQUEST broadcast"
	for _, test := range []struct {
		name    string
		again   []Again
		defects defect.Set
		answer  func(n int, m *dhcpv4.DHCPv4, s *script)
		want    string
		err     error
	}{
		{"renews at once when it is asked to", []Again{Renew}, nil, generous, renew, nil},
		{"asks for its address at once when it is asked to", []Again{Reboot}, nil, generous, reboot, nil},
		{"goes on with the lease when nobody answers", []Again{Renew}, nil, silent, renew + ", " + renew + ", " + renew, nil},
		{"gives the address up when it is refused", []Again{Renew}, nil, nak, renew, ErrNak},
		{"goes on although it is refused", []Again{Renew}, defect.Set{defect.IgnoresNAK}, nak, renew + ", " + renew + ", " + renew, nil},
		{"never renews", nil, defect.Set{defect.NeverRenews}, generous, "", nil},
		{"asks its server, then all", nil, nil, silent, renew + ", " + reboot, ErrLeaseEnded},
		{"asks all at T1", nil, defect.Set{defect.RenewsByBroadcast}, silent, reboot + ", " + reboot, ErrLeaseEnded},
		{"never asks all", nil, defect.Set{defect.NeverRebinds}, silent, renew + ", " + renew, ErrLeaseEnded},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{answer: test.answer}
			play(t, s, func(ctx context.Context, cfg Config) {
				cfg.ProbeTime, cfg.Defects = 0, test.defects
				again := make(chan Again, 1)
				cfg.Again = again
				for _, a := range test.again {
					again <- a
				}
				within := 25 * time.Second // of a T1 of 30 s
				if test.again == nil {
					within = time.Hour
				}
				ctx, cancel := context.WithTimeout(ctx, within)
				defer cancel()
				l := Lease{
					Addr: netip.PrefixFrom(leaseIP, 24), Server: serverIP, ServerMAC: serverMAC, Acquired: time.Now(),
					Renew: 30 * time.Second, Rebind: 52500 * time.Millisecond, Ends: 60 * time.Second,
				}
				if err := Maintain(ctx, cfg, l, nil); !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
			})
			if got := s.words(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
