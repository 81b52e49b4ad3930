package dhcpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/wire"
)

var (
	clientMAC = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}
	serverMAC = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0xfe}
	otherMAC  = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x77}
	serverIP  = netip.MustParseAddr("192.0.2.1")
	leaseIP   = netip.MustParseAddr("192.0.2.100")
)

// seen is one message of the client, in words.
type seen struct {
	at   time.Duration
	text string
	m    *dhcpv4.DHCPv4
	xid  dhcpv4.TransactionID
}

// script is a server that does what a function says to each message.
type script struct {
	port   wire.Port
	start  time.Time
	seen   []seen
	answer func(n int, m *dhcpv4.DHCPv4, s *script)
	onARP  func(frame []byte, s *script)
}

func (s *script) run(ctx context.Context) {
	for {
		f, err := s.port.Receive(ctx)
		if err != nil {
			return
		}
		switch binary.BigEndian.Uint16(f.Data[12:]) {
		case etherARP:
			what := "ARP announcement"
			if bytes.Equal(f.Data[28:32], []byte{0, 0, 0, 0}) {
				what = "ARP probe"
			}
			s.seen = append(s.seen, seen{at: time.Since(s.start), text: what})
			if s.onARP != nil {
				s.onARP(f.Data, s)
			}
		case etherIPv4:
			ip := f.Data[etherLen:]
			m, err := dhcpv4.FromBytes(ip[ipLen+udpLen:])
			if err != nil {
				panic(err)
			}
			cast := "unicast"
			if f.Data[0] == 0xff {
				cast = "broadcast"
			}
			s.seen = append(s.seen, seen{at: time.Since(s.start), text: m.MessageType().String() + " " + cast, m: m, xid: m.TransactionID})
			s.answer(len(s.seen), m, s)
		}
	}
}

func (s *script) words() string {
	var out []string
	for _, x := range s.seen {
		out = append(out, x.text)
	}
	return strings.Join(out, ", ")
}

// reply sends an answer made of raw options.
func (s *script) reply(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, addr netip.Addr, options ...byte) {
	raw := append([]byte{53, 1, byte(kind), 54, 4, 192, 0, 2, 1}, options...)
	s.raw(m, addr, append(raw, 255), nil)
}

func (s *script) raw(m *dhcpv4.DHCPv4, addr netip.Addr, options []byte, edit func([]byte)) {
	r := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: 1, TransactionID: m.TransactionID, ClientHWAddr: m.ClientHWAddr,
		YourIPAddr: addr.AsSlice(), Options: dhcpv4.Options{},
	}
	payload := append(r.ToBytes()[:optionsAt:optionsAt], options...)
	if edit != nil {
		edit(payload)
	}
	f := udpFrame(m.ClientHWAddr, serverMAC, serverIP, addr, 1, payload)
	// turn the ports round, and restore the sum: 67 and 68 swap, so it stays right
	binary.BigEndian.PutUint16(f[etherLen+ipLen:], serverPort)
	binary.BigEndian.PutUint16(f[etherLen+ipLen+2:], clientPort)
	if err := s.port.Send(wire.Frame{Data: f}); err != nil {
		panic(err)
	}
}

func lease(seconds byte) []byte {
	return []byte{51, 4, 0, 0, 0, seconds, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 254}
}

// generous gives the address to whoever asks.
func generous(_ int, m *dhcpv4.DHCPv4, s *script) {
	switch m.MessageType() { //nolint:exhaustive // the others are not answered
	case dhcpv4.MessageTypeDiscover:
		s.reply(m, dhcpv4.MessageTypeOffer, leaseIP, lease(60)...)
	case dhcpv4.MessageTypeRequest:
		s.reply(m, dhcpv4.MessageTypeAck, leaseIP, lease(60)...)
	}
}

func config(p wire.Port) Config {
	return Config{
		Port: p, MAC: clientMAC, VendorClass: "LGE", HostName: "IP8830", RequestList: []uint8{1, 2, 3, 6, 42, 66, 150, 160},
		Timeout: 4 * time.Second, Tries: 4, ProbeTime: time.Second, Seed: 7,
	}
}

// play runs a client against a script in a bubble.
func play(t *testing.T, s *script, client func(ctx context.Context, cfg Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sw := wire.NewSwitch()
		s.port, s.start = sw.Access("server", 1), time.Now()
		port := sw.Access("client", 1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }() // ends with ctx
		client(ctx, config(port))
		synctest.Wait()
		cancel()
		<-done
		_ = s.port.Close()
		_ = port.Close()
	})
}

func TestAcquire(t *testing.T) {
	previous := &Lease{Addr: netip.PrefixFrom(leaseIP, 24), Server: serverIP, Ends: time.Hour}
	for _, test := range []struct {
		name     string
		previous *Lease
		answer   func(n int, m *dhcpv4.DHCPv4, s *script)
		onARP    func(frame []byte, s *script)
		want     string
		err      error
	}{
		{
			name: "takes an offer, probes the address and announces it", answer: generous,
			want: "DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name: "asks for the address of before first", previous: previous, answer: generous,
			want: "REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name: "starts over when the address of before is refused", previous: previous,
			answer: func(n int, m *dhcpv4.DHCPv4, s *script) {
				if n == 1 {
					s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
					return
				}
				generous(n, m, s)
			},
			want: "REQUEST broadcast, DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name: "starts over when nobody knows the address of before", previous: previous,
			answer: func(n int, m *dhcpv4.DHCPv4, s *script) {
				if n > 4 {
					generous(n, m, s)
				}
			},
			want: "REQUEST broadcast, REQUEST broadcast, REQUEST broadcast, REQUEST broadcast, DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name: "declines an address that somebody else has",
			answer: func(n int, m *dhcpv4.DHCPv4, s *script) {
				generous(n, m, s)
			},
			onARP: func(_ []byte, s *script) {
				if len(s.seen) > 4 {
					return
				}
				f := etherHeader(clientMAC, otherMAC, etherARP)
				f = append(f, 0, 1, 8, 0, 6, 4, 0, 2)
				f = append(append(f, otherMAC...), leaseIP.AsSlice()...)
				f = append(append(f, clientMAC...), 0, 0, 0, 0)
				if err := s.port.Send(wire.Frame{Data: f}); err != nil {
					panic(err)
				}
			},
			want: "DISCOVER broadcast, REQUEST broadcast, ARP probe, DECLINE broadcast, DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name:   "gives up on silence",
			answer: func(int, *dhcpv4.DHCPv4, *script) {},
			want:   "DISCOVER broadcast, DISCOVER broadcast, DISCOVER broadcast, DISCOVER broadcast",
			err:    ErrNoServer,
		},
		{
			name: "passes over offers that are not for it",
			answer: func(n int, m *dhcpv4.DHCPv4, s *script) {
				strange := *m
				strange.TransactionID = dhcpv4.TransactionID{1, 2, 3, 4}
				s.reply(&strange, dhcpv4.MessageTypeOffer, netip.MustParseAddr("192.0.2.66"), lease(60)...)
				s.reply(m, dhcpv4.MessageTypeOffer, netip.IPv4Unspecified(), lease(60)...)
				s.raw(m, leaseIP, []byte{53, 1, 2, 51, 200}, nil) // cut off
				generous(n, m, s)
			},
			want: "DISCOVER broadcast, REQUEST broadcast, ARP probe, ARP probe, ARP probe, ARP announcement",
		},
		{
			name: "does not make a storm of refusals",
			answer: func(_ int, m *dhcpv4.DHCPv4, s *script) {
				if m.MessageType() == dhcpv4.MessageTypeRequest {
					s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
					return
				}
				s.reply(m, dhcpv4.MessageTypeOffer, leaseIP, lease(60)...)
			},
			want: strings.TrimSuffix(strings.Repeat("DISCOVER broadcast, REQUEST broadcast, ", 4), ", "),
			err:  ErrNoServer,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{answer: test.answer, onARP: test.onARP}
			play(t, s, func(ctx context.Context, cfg Config) {
				if test.previous != nil {
					test.previous.Acquired = time.Now()
				}
				got, err := Acquire(ctx, cfg, test.previous)
				if !errors.Is(err, test.err) {
					t.Fatalf("got error %v, want %v", err, test.err)
				}
				if err == nil && (got.Addr != netip.PrefixFrom(leaseIP, 24) || got.Gateway.String() != "192.0.2.254" || !bytes.Equal(got.ServerMAC, serverMAC)) {
					t.Errorf("got lease %+v", got)
				}
			})
			if got := s.words(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestRequestOfSelectingNamesServerAndAddressAndRebootDoesNot(t *testing.T) {
	s := &script{answer: generous}
	play(t, s, func(ctx context.Context, cfg Config) {
		l, err := Acquire(ctx, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Acquire(ctx, cfg, &l); err != nil {
			t.Fatal(err)
		}
	})
	selecting, reboot := s.seen[1].m, s.seen[6].m
	if selecting.ServerIdentifier() == nil || !selecting.RequestedIPAddress().Equal(leaseIP.AsSlice()) || s.seen[0].xid != s.seen[1].xid {
		t.Errorf("SELECTING: %s", selecting.Summary())
	}
	if reboot.ServerIdentifier() != nil || !reboot.RequestedIPAddress().Equal(leaseIP.AsSlice()) || !reboot.ClientIPAddr.IsUnspecified() {
		t.Errorf("INIT-REBOOT: %s", reboot.Summary())
	}
	if got, want := selecting.Options[55], []byte{1, 2, 3, 6, 42, 66, 150, 160}; !bytes.Equal(got, want) {
		t.Errorf("option 55 is %v, want %v", got, want)
	}
}

func TestBackOffDoublesWithJitter(t *testing.T) {
	s := &script{answer: func(int, *dhcpv4.DHCPv4, *script) {}}
	play(t, s, func(ctx context.Context, cfg Config) {
		if _, err := Acquire(ctx, cfg, nil); !errors.Is(err, ErrNoServer) {
			t.Fatal(err)
		}
	})
	for i, want := range []time.Duration{4 * time.Second, 8 * time.Second, 16 * time.Second} {
		got := s.seen[i+1].at - s.seen[i].at
		if got < want-time.Second || got > want+time.Second || got == want {
			t.Errorf("wait %d is %v, want %v with jitter up to a second", i+1, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	s := &script{answer: func(_ int, m *dhcpv4.DHCPv4, s *script) {
		kind := byte(dhcpv4.MessageTypeOffer)
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			kind = byte(dhcpv4.MessageTypeAck)
		}
		options := append([]byte{53, 1, kind, 54, 4, 192, 0, 2, 1}, lease(60)...)
		options = append(options, 160, 4, 'h', 't', 't', 'p', 160, 3, ':', '/', '/', 52, 1, 3, 255)
		s.raw(m, leaseIP, options, func(p []byte) {
			copy(p[fileAt:], []byte{160, 2, 'a', '/', 255})
			copy(p[snameAt:], []byte{66, 3, 't', 0, 0, 42, 4, 192, 0, 2, 9, 255})
		})
	}}
	play(t, s, func(ctx context.Context, cfg Config) {
		l, err := Acquire(ctx, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Text(160); got != "http://a/" {
			t.Errorf("split option 160 is %q, want http://a/", got)
		}
		if got := l.Text(66); got != "t" {
			t.Errorf("option 66 in sname is %q, want t", got)
		}
		if got := l.Addrs(42); len(got) != 1 || got[0].String() != "192.0.2.9" {
			t.Errorf("option 42 is %v", got)
		}
	})
}

func TestMaintain(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(n int, m *dhcpv4.DHCPv4, s *script)
		want   string
		at     []time.Duration
		err    error
	}{
		{
			name: "renews by unicast at T1, rebinds by broadcast at T2, and ends",
			answer: func(int, *dhcpv4.DHCPv4, *script) {
			},
			want: "REQUEST unicast, REQUEST broadcast",
			at:   []time.Duration{30 * time.Second, 52500 * time.Millisecond},
			err:  ErrLeaseEnded,
		},
		{
			name: "gives the address up when it is taken back",
			answer: func(_ int, m *dhcpv4.DHCPv4, s *script) {
				s.reply(m, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
			},
			want: "REQUEST unicast",
			at:   []time.Duration{30 * time.Second},
			err:  ErrNak,
		},
		{
			name: "goes on with the renewed lease",
			answer: func(n int, m *dhcpv4.DHCPv4, s *script) {
				if n == 1 {
					s.reply(m, dhcpv4.MessageTypeAck, leaseIP, lease(20)...)
				}
			},
			want: "REQUEST unicast, REQUEST unicast, REQUEST broadcast",
			at:   []time.Duration{30 * time.Second, 40 * time.Second, 47500 * time.Millisecond},
			err:  ErrLeaseEnded,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{answer: test.answer}
			play(t, s, func(ctx context.Context, cfg Config) {
				cfg.ProbeTime = 0
				l := Lease{
					Addr: netip.PrefixFrom(leaseIP, 24), Server: serverIP, ServerMAC: serverMAC, Acquired: time.Now(),
					Renew: 30 * time.Second, Rebind: 52500 * time.Millisecond, Ends: 60 * time.Second,
				}
				if err := Maintain(ctx, cfg, l, nil); !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
			})
			if got := s.words(); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			for i, x := range s.seen {
				if x.at != test.at[i] {
					t.Errorf("%s at %v, want %v", x.text, x.at, test.at[i])
				}
				if !x.m.ClientIPAddr.Equal(leaseIP.AsSlice()) || x.m.RequestedIPAddress() != nil || x.m.ServerIdentifier() != nil {
					t.Errorf("%s breaks table 5 of RFC 2131: %s", x.text, x.m.Summary())
				}
			}
		})
	}
}

func TestChecksums(t *testing.T) {
	request := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, ClientHWAddr: clientMAC, YourIPAddr: leaseIP.AsSlice(), Options: dhcpv4.Options{53: {2}}}
	good := func() []byte {
		f := udpFrame(clientMAC, serverMAC, serverIP, leaseIP, 1, request.ToBytes())
		binary.BigEndian.PutUint16(f[etherLen+ipLen:], serverPort)
		binary.BigEndian.PutUint16(f[etherLen+ipLen+2:], clientPort)
		return f
	}
	for _, test := range []struct {
		name string
		edit func(f []byte)
		ok   bool
	}{
		{"a whole frame is taken", func([]byte) {}, true},
		{"no UDP checksum is taken", func(f []byte) { f[40], f[41] = 0, 0 }, true},
		{"an unfinished UDP checksum is taken", func(f []byte) {
			binary.BigEndian.PutUint16(f[40:], sum(pseudo(f[etherLen:]), nil))
		}, true},
		{"a damaged message is not", func(f []byte) { f[len(f)-1] ^= 1 }, false},
		{"a damaged IP header is not", func(f []byte) { f[etherLen+8]-- }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := good()
			test.edit(f)
			if _, err := parseReply(f, clientMAC, dhcpv4.TransactionID{}); (err == nil) != test.ok {
				t.Errorf("got error %v, want taken %v", err, test.ok)
			}
		})
	}
}

func FuzzParseReply(f *testing.F) {
	m := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, ClientHWAddr: clientMAC, YourIPAddr: leaseIP.AsSlice(), Options: dhcpv4.Options{53: {5}, 51: {0, 0, 0, 9}, 52: {3}, 160: []byte("http://x/")}}
	seed := udpFrame(clientMAC, serverMAC, serverIP, leaseIP, 1, m.ToBytes())
	binary.BigEndian.PutUint16(seed[etherLen+ipLen:], serverPort)
	binary.BigEndian.PutUint16(seed[etherLen+ipLen+2:], clientPort)
	seed[40], seed[41] = 0, 0
	f.Add(seed)
	f.Add(arpFrame(clientMAC, serverIP, leaseIP))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		conflict(frame, otherMAC, leaseIP)
		if r, err := parseReply(frame, clientMAC, dhcpv4.TransactionID{}); err == nil && granted(r) && r.kind == dhcpv4.MessageTypeAck {
			newLease(r, time.Time{}, 0)
		}
	})
}

func TestSeedTellsTransactionIDs(t *testing.T) {
	xid := func(seed, purpose uint64) dhcpv4.TransactionID {
		c, err := newClient(Config{Port: wire.NewSwitch().Access("x", 1), MAC: clientMAC, Timeout: 1, Seed: seed}, purpose)
		if err != nil {
			t.Fatal(err)
		}
		c.begin()
		return c.xid
	}
	first := xid(5, 1)
	if first != xid(5, 1) {
		t.Error("one seed, two transaction ids")
	}
	random := xid(0, 1)
	if first == xid(6, 1) || first == xid(5, 2) || random == xid(0, 1) {
		t.Error("transaction ids are not told apart by seed and purpose, or seed 0 repeats itself")
	}
}
