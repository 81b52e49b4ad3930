package rig_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/pki"
	"ip88rig/rig/publish"
	"ip88rig/rig/tftpd"
	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

func authorities(t *testing.T) rig.Authorities {
	t.Helper()
	a, err := rig.LoadAuthorities(filepath.Join(t.TempDir(), "bench.state"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve publishes what makes a handset register with its own rig.
func serve(t *testing.T, l *rig.Lane) {
	t.Helper()
	own := fmt.Sprintf("[VOIP]\nline1_name 201\nline1_proxy_address %s\nline1_proxy_port 5060\nline1_registration enable\n", l.Addrs.Server)
	if err := l.Tree.Replace([]publish.File{
		{Name: l.Handset.Model.GlobalFile(), Content: []byte("; nothing\n"), Meaning: "global configuration"},
		{Name: l.Handset.OwnFile(), Content: []byte(own), Meaning: "phone-specific configuration"},
	}); err != nil {
		t.Fatal(err)
	}
}

// That many handsets on one wire do not disturb each other.
func TestManyRigsAndHandsetsShareOneSwitch(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		b, err := bench.Embedded()
		if err != nil {
			t.Fatal(err)
		}
		sw := wire.NewTimedSwitch()
		a := authorities(t)
		dir := t.TempDir()
		var lanes []*rig.Lane
		for _, h := range b.Handsets {
			l := open(t, rig.Config{
				Bench: b, Handset: h, Seed: 1, Authorities: a,
				Port: sw.Access("rig of "+h.Name, 7), Phone: sw.Access(h.Name, 7),
			})
			if err := l.OpenRecording(filepath.Join(dir, h.Name)); err != nil {
				t.Fatal(err)
			}
			serve(t, l)
			lanes = append(lanes, l)
		}
		windows := make([]*timeline.Window, len(lanes))
		for i, l := range lanes {
			windows[i] = poweredAgain(t, l, 1)
		}
		for i, l := range lanes {
			e, err := windows[i].Await(t.Context(), timeline.FactRegistered())
			if err != nil {
				t.Fatalf("%s: %v", l.Handset.Name, err)
			}
			if e.Src.Addr() != l.Addrs.Handset {
				t.Errorf("%s registered from %s, its lane gives it %s", l.Handset.Name, e.Src.Addr(), l.Addrs.Handset)
			}
			l.Settle(t.Context())
			if troubles := l.Troubles(); len(troubles) > 0 {
				t.Errorf("%s: %q", l.Handset.Name, troubles)
			}
			if err := l.CloseRecording(filepath.Join(dir, l.Handset.Name, "between")); err != nil {
				t.Error(err)
			}
			mine := map[string]bool{string(l.Handset.Active()): true, string(l.Addrs.ServerMAC): true}
			frames := 0
			err = capture.Read(filepath.Join(dir, l.Handset.Name, capture.CaptureFile), func(iface, n int, _ time.Time, data []byte, _ []string) error {
				if iface != capture.Cable {
					return nil
				}
				frames++
				if src := data[6:12]; !mine[string(src)] {
					t.Errorf("%s: frame %d comes from %s", l.Handset.Name, n, net.HardwareAddr(src))
				}
				return nil
			})
			if err != nil || frames < 20 {
				t.Errorf("%s: %d frames, %v", l.Handset.Name, frames, err)
			}
		}
	})
}

// inMemory is what opens a lane of the embedded bench's first handset.
func inMemory(t *testing.T) rig.Config {
	t.Helper()
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return rig.Config{Bench: b, Handset: b.Handsets[0], Seed: 1, Authorities: authorities(t)}
}

// open opens a lane for as long as the test runs.
func open(t *testing.T, c rig.Config) *rig.Lane {
	t.Helper()
	l, err := rig.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func lane(t *testing.T) *rig.Lane {
	t.Helper()
	return open(t, inMemory(t))
}

// A fault is put in force where a service can do it, fires on the wire, and is
// told.
func TestAFaultFiresAndIsTold(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		serve(t, l)
		if err := l.Inject(fault.On(l.Handset.Model.GlobalFile()).Do(tftpd.Fail{Code: 0, Text: "on purpose"}).Once()); err != nil {
			t.Fatal(err)
		}
		w := poweredAgain(t, l, 1)
		if _, err := w.Await(t.Context(), timeline.FactRegistered()); err != nil {
			t.Fatal(err)
		}
		if got := l.Faults.Ledger(); len(got) != 1 || got[0].Fired != 1 {
			t.Errorf("ledger %+v", got)
		}
		text := timeline.Text(l.Recorder.Timeline().Log())
		for _, want := range []string{"fault", "on purpose"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		if err := l.Inject(fault.On("*").Do(unknown{})); err == nil {
			t.Error("a fault that no service can do was accepted")
		}
	})
}

// A fault that a service was told and could not do is a trouble of the lane; what
// a service met and did not expect is none.
func TestAFaultThatCouldNotBeDoneIsATrouble(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		odd := timeline.Event{By: "tftpd", Kind: timeline.ServiceOddity, Reason: "no socket to go astray"}
		l.Recorder.Record(odd)
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("an oddity is a trouble: %q", got)
		}
		odd.Fields = map[string]string{timeline.FaultUndone: "sends it from another port"}
		l.Recorder.Record(odd)
		want := []string{"tftpd was told a fault, and could not: sends it from another port: no socket to go astray"}
		if got := l.Troubles(); !slices.Equal(got, want) {
			t.Errorf("troubles %q, want %q", got, want)
		}
	})
}

type unknown struct{}

func (unknown) String() string { return "does what nobody can" }

// What is wrong with the rig itself is told, so that nothing is judged from it.
func TestTheRigTellsOfItsOwnTroubles(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		dir := t.TempDir()
		if err := l.OpenRecording(dir); err != nil {
			t.Fatal(err)
		}
		l.Settle(t.Context())
		if got := l.Troubles(); len(got) > 0 {
			t.Fatalf("a quiet lane has troubles: %q", got)
		}
		l.Recorder.Record(timeline.Event{
			At: time.Now().Add(2 * time.Second), By: "tftpd", Kind: timeline.Served, File: "a", Complete: true, Src: l.AddrPort(2001), Dst: l.AddrPort(69),
		})
		l.Settle(t.Context())
		if got := strings.Join(l.Troubles(), " "); !strings.Contains(got, "witnesses disagree") {
			t.Errorf("an invented transfer gave %q", got)
		}
		l.Recorder.Record(timeline.Event{By: "wire", Kind: timeline.Stranger, SrcMAC: "00:00:5e:00:53:99", Reason: "a DHCP server"})
		if got := strings.Join(l.Troubles(), " "); !strings.Contains(got, "a DHCP server") {
			t.Errorf("a stranger gave %q", got)
		}
		if err := l.OpenRecording(dir); err == nil {
			t.Error("a second recording went into the folder of the first")
		}
	})
}

// loud sends everything to everybody.
type loud struct{ wire.Port }

func (p loud) Send(f wire.Frame) error {
	f.Data = slices.Concat([]byte{255, 255, 255, 255, 255, 255}, f.Data[6:])
	return p.Port.Send(f)
}

const rogueMAC = "00:00:5e:00:53:66"

// rogue answers the handset of a lane from another DHCP server on the switch:
// to everybody, or, as it asks for, to the handset alone.
func rogue(t *testing.T, sw *wire.Switch, l *rig.Lane, everybody bool) {
	t.Helper()
	port := wire.Port(sw.Access("rogue", 7))
	if everybody {
		port = loud{port}
	}
	other, err := dhcpd.New(dhcpd.Config{
		Port: wire.Filter(port, func(f wire.Frame) bool {
			return len(f.Data) > 38 && binary.BigEndian.Uint16(f.Data[12:]) == 0x0800 && f.Data[23] == 17 && binary.BigEndian.Uint16(f.Data[36:]) == 67
		}),
		ServerMAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x66}, ServerIP: netip.MustParseAddr("192.0.2.1"), Record: func(timeline.Event) {},
		Clients: map[string]dhcpd.Lease{l.Handset.Active().String(): {Addr: netip.MustParsePrefix("192.0.2.77/24"), Duration: time.Hour}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- other.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Another DHCP server that answers the handset during a run makes the spec, and
// every one after it that meets the server, inconclusive; one that the bench
// file expects does not. What comes of it stands in the recording all the same.
func TestAForeignDHCPServerIsATroubleUnlessItIsExpected(t *testing.T) {
	// A handset that still has a lease begins with a REQUEST, and gets ACK or NAK.
	answer := timeline.Fact{Kinds: []timeline.Kind{timeline.DHCPOffer, timeline.DHCPAck, timeline.DHCPNak}, Fields: map[string]string{"dhcp.option.dhcp_server_id": "192.0.2.1"}}
	taken := timeline.Fact{Kinds: []timeline.Kind{timeline.DHCPRequest}, Fields: map[string]string{"dhcp.option.dhcp_server_id": "192.0.2.1"}}
	for _, test := range []struct {
		name      string
		everybody bool
		expected  bool
		seen      timeline.Fact
		from      string // who sends what is seen; blank: the handset
		trouble   string
	}{
		{"its answer is seen", true, false, answer, rogueMAC, "stranger " + rogueMAC + " another DHCP server answers the handset"},
		{"only what the handset makes of it is seen", false, false, taken, "", "the handset takes the offer of another DHCP server, 192.0.2.1"},
		{"the bench file expects it, its answer is seen", true, true, answer, rogueMAC, ""},
		{"the bench file expects it, the handset takes its offer", false, true, taken, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			vtime.Test(t, func(t *testing.T) {
				c := inMemory(t)
				if test.expected {
					c.Bench.Wire.ExpectDHCP = []net.HardwareAddr{{0, 0, 0x5e, 0, 0x53, 0x66}}
				}
				sw := wire.NewTimedSwitch()
				c.Port, c.Phone = sw.Access("rig", 7), sw.Access("handset", 7)
				l := open(t, c)
				dir := t.TempDir()
				if err := l.OpenRecording(filepath.Join(dir, "quiet")); err != nil {
					t.Fatal(err)
				}
				l.Settle(t.Context())
				if got := l.Troubles(); len(got) > 0 {
					t.Errorf("before the server appears: %q", got)
				}
				if !test.everybody {
					// The handset takes the only offer it gets.
					if err := l.Inject(fault.On("OFFER").In("dhcpd").Do(dhcpd.Drop{})); err != nil {
						t.Fatal(err)
					}
				}
				rogue(t, sw, l, test.everybody)
				specs := []string{"first", "second"}
				if !test.everybody {
					specs = specs[:1] // a REQUEST with the lease it has names no server
				}
				for _, spec := range specs {
					if err := l.OpenRecording(filepath.Join(dir, spec)); err != nil {
						t.Fatal(err)
					}
					w := poweredAgain(t, l, 1)
					e, err := w.Await(t.Context(), test.seen)
					if err != nil {
						t.Fatal(err)
					}
					from := test.from
					if from == "" {
						from = l.Handset.Active().String()
					}
					if e.By != timeline.Wire || e.SrcMAC != from {
						t.Errorf("%s: recorded as %+v", spec, e)
					}
					l.Settle(t.Context())
					got := strings.Join(l.Troubles(), "; ")
					if !strings.Contains(got, test.trouble) || test.trouble == "" && got != "" {
						t.Errorf("%s: troubles %q, want %q", spec, got, test.trouble)
					}
				}
			})
		})
	}
}

// What the kernel hands over on an interface holds the answers of foreign
// servers, to everybody and to the handset alone.
func TestThePacketFilterLetsForeignAnswersIn(t *testing.T) {
	handset, server := net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x10}, net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}
	o := wire.PacketOptions{MACs: []net.HardwareAddr{handset, server}}
	for name, dst := range map[string]net.HardwareAddr{"broadcast": {255, 255, 255, 255, 255, 255}, "unicast": handset} {
		frame := make([]byte, 342)
		copy(frame, slices.Concat(dst, net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x66}, net.HardwareAddr{8, 0, 0x45}))
		frame[23] = 17
		copy(frame[34:], []byte{0, 67, 0, 68})
		if !o.Accepts(frame) {
			t.Errorf("%s: dropped", name)
		}
	}
}

// plugs is the person at a handset's plug.
type plugs struct {
	mu   sync.Mutex
	did  []string
	fail string // the verb that is refused
}

func (p *plugs) Do(_ context.Context, r control.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did = append(p.did, string(r.Verb))
	if string(r.Verb) == p.fail {
		return errors.New("nobody is there")
	}
	return nil
}

// A lane that closes gives the power back, whoever switches it and however the
// run ended.
func TestAClosingLaneLeavesTheHandsetWithPower(t *testing.T) {
	off := func(t *testing.T, l *rig.Lane) {
		t.Helper()
		if err := l.Power.Off(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cycle := func(t *testing.T, l *rig.Lane) {
		t.Helper()
		if err := control.Cycle(t.Context(), l.Power, l.Handset.Patience.Off); err != nil {
			t.Fatal(err)
		}
	}
	const log, once = `echo %s >> "%s"`, `; test $(grep -c power-on "%[2]s") -gt 1`
	for _, test := range []struct {
		name   string
		on     string // what is added to the command for it
		fail   string
		before func(*testing.T, *rig.Lane)
		want   []string
		err    string
	}{
		{"nothing was switched", "", "", func(*testing.T, *rig.Lane) {}, nil, ""},
		{"it was off", "", "", off, []string{"power-off", "power-on"}, ""},
		{"it was on", "", "", cycle, []string{"power-off", "power-on"}, ""},
		{"it was off and fails once", once, "", off, []string{"power-off", "power-on", "power-on"}, ""},
		{"it was on after a second try", once, "", cycle, []string{"power-off", "power-on", "power-on"}, ""},
		{"it stays off", "; false", "power-on", off, []string{"power-off", "power-on", "power-on"}, "left without power"},
	} {
		for _, kind := range []string{"command", "operator"} {
			if kind == "operator" && test.on == once {
				continue
			}
			t.Run(test.name+", by "+kind, func(t *testing.T) {
				vtime.Test(t, func(t *testing.T) {
					file := filepath.Join(t.TempDir(), "log")
					b, err := bench.Embedded()
					if err != nil {
						t.Fatal(err)
					}
					h, person := b.Handsets[0], &plugs{fail: test.fail}
					h.Power = bench.Power{Kind: kind, On: fmt.Sprintf(log+test.on, "power-on", file), Off: fmt.Sprintf(log, "power-off", file)}
					ctx, cancel := context.WithCancel(t.Context())
					l, err := rig.Open(ctx, rig.Config{Bench: b, Handset: h, Seed: 1, Authorities: authorities(t), Operator: person})
					if err != nil {
						t.Fatal(err)
					}
					if err := l.OpenRecording(t.TempDir()); err != nil {
						t.Fatal(err)
					}
					test.before(t, l)
					cancel() // interrupted
					if err := l.Close(); test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
						t.Errorf("got %v, want %q", err, test.err)
					}
					did := person.did
					if kind == "command" {
						text, err := os.ReadFile(file)
						if err != nil && test.want != nil {
							t.Fatal(err)
						}
						did = strings.Fields(string(text))
					}
					if !slices.Equal(did, test.want) {
						t.Errorf("did %q, want %q", did, test.want)
					}
					told := 0
					for _, e := range l.Recorder.Timeline().Events() {
						if e.Kind == timeline.PowerOn {
							told++
						}
					}
					if want := min(1, len(test.want)); told != want {
						t.Errorf("the journal tells of %d times power on, want %d", told, want)
					}
				})
			})
		}
	}
}

// heard tells whoever reads a port when the reader is told to end.
type heard struct {
	wire.Port
	ends chan (<-chan struct{})
}

func (p heard) Receive(ctx context.Context) (wire.Frame, error) {
	select {
	case p.ends <- ctx.Done():
	default:
	}
	return p.Port.Receive(ctx)
}

// A host that ends with the lane's context may close the sockets of services
// that have not heard of the end yet: "use of closed network connection".
func TestTheHostOutlivesItsServices(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		b, err := bench.Embedded()
		if err != nil {
			t.Fatal(err)
		}
		sw := wire.NewTimedSwitch()
		port := heard{sw.Access("rig", 1), make(chan (<-chan struct{}), 1)}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l, err := rig.Open(ctx, rig.Config{Bench: b, Handset: b.Handsets[0], Seed: 1, Authorities: authorities(t), Port: port, Phone: sw.Access("handset", 1)})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		ends := <-port.ends
		cancel()
		select {
		case <-ends:
			t.Error("the host ends with the context, and so maybe before its services")
		default:
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-ends
		if troubles := l.Troubles(); len(troubles) > 0 {
			t.Errorf("troubles %q", troubles)
		}
	})
}

// given is the one event that tells of what is set.
func given(t *testing.T, l *rig.Lane, set func() error) timeline.Event {
	t.Helper()
	before := l.Recorder.Timeline().Len()
	if err := set(); err != nil {
		t.Fatal(err)
	}
	told := slices.DeleteFunc(slices.Clone(l.Recorder.Timeline().Events()[before:]), func(e timeline.Event) bool {
		return e.Kind != timeline.Given || e.By != "scenario"
	})
	if len(told) != 1 {
		t.Fatalf("told %d times: %+v", len(told), told)
	}
	return told[0]
}

// What a scenario sets before it acts stands in the journal, without secrets;
// a digest tells other arguments.
func TestGivensStandInTheJournal(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		dir := t.TempDir()
		if err := l.OpenRecording(dir); err != nil {
			t.Fatal(err)
		}
		const secret = "s3cr3t-word"
		offer := rig.Offer{TFTP: true, SNTP: true, URL: "https://me:" + secret + "@prov.example/", URLOption: 161, Lease: time.Minute}
		shorter := offer
		shorter.Lease = time.Second
		digests := map[string]string{}
		for _, test := range []struct {
			name        string
			set, differ func() error
			want        string
		}{
			{
				"offer", func() error { return l.Offer(offer) }, func() error { return l.Offer(shorter) },
				"given offer: TFTP server, SNTP server, option 161 https://me:xxxxx@prov.example/, lease 1m0s",
			},
			{"an empty offer", func() error { return l.Offer(rig.Offer{}) }, nil, "given offer: an address alone"},
			{
				"present", func() error { return l.Present(pki.Good) }, func() error { return l.Present(pki.UnknownAuthority) },
				"given present: certificate: good",
			},
			{
				"present from", func() error { return l.PresentFrom(pki.C) }, func() error { return l.PresentFrom(pki.P) },
				"given present: certificate of authority " + pki.C,
			},
			{
				"challenge", func() error { l.Challenge(rig.DigestQOP, "me", secret); return nil },
				func() error { l.Challenge(rig.DigestQOP, "me", secret+"2"); return nil }, "given challenge: Digest with qop as me",
			},
			{
				"challenge first only", func() error { l.ChallengeFirstOnly(rig.Basic, "me", secret); return nil },
				func() error { l.ChallengeFirstOnly(rig.Digest, "me", secret); return nil }, "given challenge first only: Basic as me",
			},
			{
				"challenge SIP", func() error { l.ChallengeSIP("2001", secret); return nil },
				func() error { l.ChallengeSIP("2001", ""); return nil }, "given challenge SIP: Digest as 2001",
			},
			{"reset", func() error { l.Reset(); return nil }, nil, "given reset: no authentication, the right time, a good certificate"},
		} {
			e := given(t, l, test.set)
			if got := timeline.Words(e); got != test.want {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
			if other, ok := digests[e.SHA256]; ok || len(e.SHA256) != 64 {
				t.Errorf("%s: digest %q is that of %q too", test.name, e.SHA256, other)
			}
			digests[e.SHA256] = test.name
			if again := given(t, l, test.set); again.SHA256 != e.SHA256 {
				t.Errorf("%s: the same again has digest %s, had %s", test.name, again.SHA256, e.SHA256)
			}
			if test.differ != nil && given(t, l, test.differ).SHA256 == e.SHA256 {
				t.Errorf("%s: other arguments have the same digest", test.name)
			}
		}
		journal, err := os.ReadFile(filepath.Join(dir, capture.JournalFile))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(journal), secret) {
			t.Error("the journal holds the password")
		}
	})
}

// Name, place and arguments of a verb are in its digest.
func TestTheDigestOfAVerbTellsItFromOthers(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for i, v := range []struct {
			name   string
			number int
			args   any
		}{
			{"power cycle", 1, nil},
			{"power cycle", 2, nil},
			{"call", 1, nil},
			{"power cycle", 1, "x"},
			{"power cycle", 1, ""},
		} {
			var got []string
			for range 2 {
				l.Verb(v.name, v.number, v.args)
				events := slices.DeleteFunc(slices.Clone(l.Recorder.Timeline().Events()), func(e timeline.Event) bool { return e.Kind != timeline.Verb })
				got = append(got, events[len(events)-1].SHA256)
			}
			if before, ok := seen[got[0]]; ok || got[0] == "" || got[0] != got[1] {
				t.Errorf("verb %d has digests %q, verb %d too: %t", i, got, before, ok)
			}
			seen[got[0]] = i
		}
	})
}
