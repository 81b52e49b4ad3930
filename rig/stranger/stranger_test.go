package stranger_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/model"
	"ip88rig/rig/stranger"
	"ip88rig/rig/virtual"
	"ip88rig/rig/wire"
)

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// server answers a client with an address until the test ends.
func server(ctx context.Context, t *testing.T, port wire.Port, server, client net.HardwareAddr) {
	t.Helper()
	s, err := dhcpd.New(dhcpd.Config{
		Port: wire.Filter(port, func(f wire.Frame) bool { return len(f.Data) > 38 && f.Data[12] == 8 && f.Data[37] == 67 }), ServerMAC: server, ServerIP: netip.MustParseAddr("192.0.2.254"), Record: func(timeline.Event) {},
		Clients: map[string]dhcpd.Lease{client.String(): {Addr: netip.MustParsePrefix("192.0.2.9/24"), Duration: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestProbeFindsTheServerThatIsNotExpected(t *testing.T) {
	foreign := mac(t, "00:00:5e:00:53:01")
	for _, tt := range []struct {
		name   string
		serves bool
		known  []net.HardwareAddr
		want   int
	}{
		{"a quiet wire", false, nil, 0},
		{"a foreign server", true, nil, 1},
		{"a server that the bench file expects", true, []net.HardwareAddr{foreign}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sw := wire.NewSwitch()
				port, other := sw.Access("rig", 1), sw.Access("office", 1)
				ctx, cancel := context.WithCancel(t.Context())
				t.Cleanup(cancel)
				if tt.serves {
					server(ctx, t, other, foreign, stranger.MAC())
				}
				t.Cleanup(cancel)
				got, err := stranger.Probe(t.Context(), port, tt.known, time.Second, 3*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != tt.want {
					t.Fatalf("got %d hosts %v, want %d", len(got), got, tt.want)
				}
				if tt.want == 1 && (!got[0].Server || got[0].MAC.String() != foreign.String() || got[0].ServerID != "192.0.2.254") {
					t.Errorf("got %+v, want server %s, 192.0.2.254", got[0], foreign)
				}
			})
		})
	}
}

func TestProbeTellsThatThePortHasFailed(t *testing.T) {
	port := wire.NewSwitch().Access("rig", 1)
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Probe(t.Context(), port, nil, time.Second, time.Second); err == nil {
		t.Error("got no error from a closed port")
	}
}

func TestWatchShowsAPhoneOnceWithTheLinesToPaste(t *testing.T) {
	for _, tt := range []struct {
		name  string
		vlan  uint16
		known bool
	}{
		{name: "untagged"},
		{name: "tagged", vlan: 88},
		{name: "of the bench", known: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sw := wire.NewSwitch()
				port, phone := sw.Trunk("rig", 1), sw.Access("phone", max(tt.vlan, 1))
				if tt.vlan == 0 {
					port = sw.Access("rig", 1)
				}
				own := mac(t, "00:00:5e:00:53:30")
				h, err := virtual.New(virtual.Config{Model: model.IP8830, MAC: own, Port: phone, Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- h.Run(ctx) }() // ends with ctx
				var heard []stranger.Host
				var known []net.HardwareAddr
				if tt.known {
					known = append(known, own)
				}
				if err := stranger.Watch(ctx, stranger.Config{Port: port, Known: known, Heard: func(s stranger.Host) { heard = append(heard, s) }}); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				if tt.known {
					if len(heard) > 0 {
						t.Fatalf("got %v, want silence about a handset of the bench", heard)
					}
					return
				}
				if len(heard) != 1 {
					t.Fatalf("got %v, want one phone", heard)
				}
				got := heard[0]
				if got.Server || got.VendorClass != "LGE" || got.RequestList != "1,2,3,6,42,66,150,160" || !strings.HasPrefix(got.HostName, "IP8830-") {
					t.Errorf("got %+v, want what the phone says of itself", got)
				}
				if got.Tagged != (tt.vlan != 0) || got.Tagged && got.VLAN != tt.vlan {
					t.Errorf("got tagged %t, VLAN %d, want VLAN %d", got.Tagged, got.VLAN, tt.vlan)
				}
				// The lines must be such that a bench file with them is read.
				text := "wire: {interface: lab0}\nhandsets:\n" + got.Lines()
				b, err := bench.Parse("bench.yaml", []byte(text), "")
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				if b.Handsets[0].MAC.String() != own.String() || b.Handsets[0].Model != model.IP8830 {
					t.Errorf("the lines give %s %s", b.Handsets[0].Model, b.Handsets[0].MAC)
				}
			})
		})
	}
}

func TestLinesOfAnUnknownPhoneLeaveTheModelOpen(t *testing.T) {
	lines := stranger.Host{MAC: mac(t, "00:00:5e:00:53:07"), VendorClass: "udhcp"}.Lines()
	if _, err := bench.Parse("bench.yaml", []byte("wire: {interface: lab0}\nhandsets:\n"+lines), ""); err == nil || !strings.Contains(err.Error(), "unknown model") {
		t.Errorf("got %v, want that the model must be filled in", err)
	}
}

func FuzzWatch(f *testing.F) {
	discover, err := stranger.Discover(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(discover)
	f.Add(append(append(append([]byte{}, discover[:12]...), 0x81, 0, 0, 88), discover[12:]...))
	f.Add(discover[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		q := wire.NewQueue()
		q.Put(wire.Frame{Data: data})
		_ = q.Close()
		// A closed queue ends Watch with an error: what counts is that it ends.
		_ = stranger.Watch(t.Context(), stranger.Config{Port: queuePort{q}, Heard: func(h stranger.Host) { _ = h.String() + h.Lines() }})
	})
}

type queuePort struct{ *wire.Queue }

func (queuePort) Send(wire.Frame) error { return nil }
