package rig_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/fault"
	"ip88rig/rig/host"
	"ip88rig/rig/impair"
	"ip88rig/rig/publish"
	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

// plain opens a lane at a switch, where a host of its own sits in the handset's
// place: its MAC, its address, and nothing of the handset's mind.
func plain(t *testing.T, vlan uint16) (*rig.Lane, *host.Host) {
	t.Helper()
	c := inMemory(t)
	sw := wire.NewTimedSwitch()
	port := wire.Port(sw.Access("rig", 7))
	if vlan > 0 {
		c.Bench.Wire.VLAN = vlan
		port = sw.Trunk("rig", 0, vlan)
	} else {
		vlan = 7
	}
	c.Port, c.Phone = port, sw.Access("handset, off", 99)
	l := open(t, c)
	h, err := host.New(t.Context(), host.Config{
		Port: sw.Access("client", vlan), MAC: l.Handset.Active(), Seed: 2,
		Addrs: []netip.Prefix{l.Addrs.Prefix},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, h
}

// fetch downloads a file by TFTP (RFC 1350), block by block. It sends again only
// what it is asked for again, so that the same losses make the same frames; but
// the request, which nobody else would.
func fetch(t *testing.T, h *host.Host, l *rig.Lane, file string) []byte {
	t.Helper()
	c, err := h.ListenUDP(netip.AddrPortFrom(l.Addrs.Handset, 2001))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	to := netip.AddrPortFrom(l.Addrs.Server, 69)
	last := []byte("\x00\x01" + file + "\x00octet\x00")
	var got []byte
	in := make([]byte, 1024)
	for want, tries := uint16(1), 0; ; {
		if _, err := c.WriteFromTo(last, netip.AddrPort{}, to); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, from, _, err := c.ReadFromTo(in)
		if err != nil && want == 1 && tries < 3 {
			tries++
			continue
		}
		if err != nil || n < 4 || in[1] != 3 {
			t.Fatalf("block %d: % x, %v", want, in[:n], err)
		}
		to = from
		if binary.BigEndian.Uint16(in[2:]) == want {
			got = append(got, in[4:n]...)
			last = []byte{0, 4, in[2], in[3]}
			want++
		}
		if n < 516 {
			_, err := c.WriteFromTo(last, netip.AddrPort{}, to)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
	}
}

// recorded is a frame of a recording.
type recorded struct {
	iface    int
	data     []byte
	comments []string
}

func recording(t *testing.T, dir string) map[int]recorded {
	t.Helper()
	out := map[int]recorded{}
	if err := capture.Read(filepath.Join(dir, capture.CaptureFile), func(iface, n int, _ time.Time, data []byte, comments []string) error {
		out[n] = recorded{iface, bytes.Clone(data), slices.Clone(comments)}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A file comes whole over a wire that loses a fifth of the frames each way; each
// loss is in the ledger, and in the recording with its rule.
func TestAFileComesOverALossyWire(t *testing.T) {
	t.Parallel()
	for name, vlan := range map[string]uint16{"untagged": 0, "tagged": 12} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vtime.Test(t, func(t *testing.T) {
				lossy(t, vlan)
			})
		})
	}
}

func lossy(t *testing.T, vlan uint16) {
	t.Helper()
	l, h := plain(t, vlan)
	dir := t.TempDir()
	spec := filepath.Join(dir, "spec")
	if err := l.OpenRecording(spec); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 8*512/16)
	if err := l.Tree.Replace([]publish.File{{Name: "a.bin", Content: content}}); err != nil {
		t.Fatal(err)
	}
	rules := []fault.Rule{
		fault.On(impair.ToHandset).Do(impair.Lose{Percent: 20, Seed: 3}),
		fault.On(impair.FromHandset).Do(impair.Lose{Percent: 20, Seed: 3}),
	}
	for _, r := range rules {
		if err := l.Inject(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := fetch(t, h, l, "a.bin"); !bytes.Equal(got, content) {
		t.Fatalf("got %d bytes, want the %d served", len(got), len(content))
	}
	l.Settle(t.Context())
	if got := l.Troubles(); len(got) > 0 {
		t.Errorf("troubles %q", got)
	}
	counts := l.Calm()
	if err := l.CloseRecording(filepath.Join(dir, "between")); err != nil {
		t.Fatal(err)
	}

	frames := recording(t, spec)
	lost := map[string]int{}
	for n, f := range frames {
		if f.iface != capture.Host {
			continue
		}
		if len(f.comments) < 2 || f.comments[1] != "dropped" {
			t.Fatalf("frame %d: comments %q", n, f.comments)
		}
		lost[f.comments[0]]++
		var partner int
		inbound := strings.HasPrefix(f.comments[0], "on "+impair.FromHandset)
		if inbound {
			if _, err := fmt.Sscanf(f.comments[2], "partner frame %d", &partner); err != nil {
				t.Fatalf("frame %d: comments %q: %v", n, f.comments, err)
			}
		}
		if on := frames[partner]; inbound && (on.iface != capture.Cable || !bytes.HasSuffix(on.data, f.data[14:])) {
			t.Errorf("frame %d has partner %d, which is another frame", n, partner)
		}
	}
	for _, c := range counts {
		if c.Fired < 2 || lost[c.Rule.String()] != c.Fired {
			t.Errorf("%s: the ledger says %d, interface 1 has %v", c.Rule, c.Fired, lost)
		}
	}
	if len(counts) != 2 || len(lost) != 2 {
		t.Errorf("%d rules, %d of them on interface 1", len(counts), len(lost))
	}
	text := l.LastText()
	for _, c := range counts {
		if want := fmt.Sprintf("%s: %d times in all", c.Rule, c.Fired); !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if !strings.Contains(text, "fetched a.bin over tftp, 4096 bytes") {
		t.Errorf("no file was fetched in\n%s", text)
	}
	shark(t, filepath.Join(spec, capture.CaptureFile), counts)
}

// shark has Wireshark count the lost frames.
func shark(t *testing.T, file string, counts []fault.Count) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Log("tshark is not there to read the comments")
		return
	}
	out, err := exec.CommandContext(t.Context(), "tshark", "-r", file, "-Y", "frame.interface_id == 1", "-T", "fields", "-e", "frame.comment").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	for _, c := range counts {
		if got := strings.Count(string(out), c.Rule.String()); got != c.Fired {
			t.Errorf("tshark shows %d frames of %q, want %d:\n%s", got, c.Rule, c.Fired, out)
		}
	}
}

func kinds(l *rig.Lane, of ...timeline.Kind) []timeline.Event {
	return slices.DeleteFunc(slices.Clone(l.Recorder.Timeline().Events()), func(e timeline.Event) bool { return !slices.Contains(of, e.Kind) })
}

// Where the rig has no hold on the link, it plays dead, and says so.
func TestALinkDownOnAForeignWireIsEmulated(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l, h := plain(t, 0)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		content := bytes.Repeat([]byte("x"), 5*512+1)
		if err := l.Tree.Replace([]publish.File{{Name: "a.bin", Content: content}}); err != nil {
			t.Fatal(err)
		}
		const down = 5 * time.Second // within the patience of the lane's TFTP server
		if err := l.Inject(fault.On("a.bin").During("block 3").Do(impair.LinkDown{For: down}).Once()); err != nil {
			t.Fatal(err)
		}
		if got := fetch(t, h, l, "a.bin"); !bytes.Equal(got, content) {
			t.Fatalf("got %d bytes, want the %d served", len(got), len(content))
		}
		l.Settle(t.Context())
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("troubles %q", got)
		}
		if got := l.Faults.Ledger(); len(got) != 1 || got[0].Fired != 1 {
			t.Errorf("ledger %+v", got)
		}
		got := kinds(l, timeline.LinkDown, timeline.LinkUp)
		if len(got) != 2 || got[0].Kind != timeline.LinkDown || !strings.Contains(got[0].Reason, "emulated") {
			t.Fatalf("link: %+v", got)
		}
		if d := got[1].At.Sub(got[0].At); d < down {
			t.Errorf("the link was down for %v, want %v", d, down)
		}
		for _, e := range l.Recorder.Timeline().Events() {
			if e.Kind == timeline.TFTPData && e.At.After(got[0].At) && e.At.Before(got[1].At) {
				t.Errorf("frame %d went out over a link that is down", e.Frame)
			}
		}
	})
}

// upgrade makes a handset fetch a firmware image with the rule in force, and
// returns the window.
func upgrade(t *testing.T, l *rig.Lane, do fault.Effect) *timeline.Window {
	t.Helper()
	next, err := l.Firmware("next")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	files := append(l.Tree.Files(), publish.File{Name: l.Handset.Model.VersionFile(), Content: next.VersionFile})
	if err := l.Tree.Replace(append(files, next.Files...)); err != nil {
		t.Fatal(err)
	}
	if err := l.Inject(fault.On(next.Files[0].Name).During("block 18").Do(do).Once()); err != nil {
		t.Fatal(err)
	}
	return poweredAgain(t, l, 1).Within(l.Handset.Patience.Upgrade)
}

// The link of a handset in memory goes at the block that the rule names, and
// comes back; what the handset does then is no reboot of its own.
func TestTheLinkGoesDownAtABlock(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		const long = 5 * time.Minute
		w := upgrade(t, l, impair.LinkDown{For: long})
		down, err := w.Await(t.Context(), timeline.FactKind(timeline.LinkDown))
		if err != nil {
			t.Fatal(err)
		}
		up, err := w.Await(t.Context(), timeline.FactKind(timeline.LinkUp))
		if err != nil {
			t.Fatal(err)
		}
		if d := up.At.Sub(down.At); d != long {
			t.Errorf("down for %v, want %v", d, long)
		}
		if strings.Contains(down.Reason, "emulated") {
			t.Errorf("the journal says %q", down.Reason)
		}
		// Whether it goes on or starts anew: a new word over the link that is back.
		if _, err := w.After(timeline.FactKind(timeline.LinkUp)).Await(t.Context(), timeline.Fact{Kinds: []timeline.Kind{timeline.Registered, timeline.Fetched, timeline.Asked, timeline.Rebooted}}); err != nil {
			t.Fatal(err)
		}
		last := 0
		for _, e := range l.Recorder.Timeline().Events() {
			switch {
			case e.Seq > down.Seq && e.Seq < up.Seq && e.By == timeline.Wire && e.At.After(down.At.Add(time.Millisecond)):
				t.Errorf("%s in frame %d while the link was down", e.Kind, e.Frame)
			case e.Kind == timeline.TFTPData && e.Seq < down.Seq:
				last = e.Number
			case e.Kind == timeline.Rebooted && e.Seq < up.Seq:
				t.Errorf("rebooted: %s", e.Reason)
			}
		}
		if last != 17 {
			t.Errorf("the last block before was %d, want 17", last)
		}
		l.Settle(t.Context())
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("troubles %q", got)
		}
	})
}

// A power cut in the middle of a file is commanded: the handset boots, and has
// not rebooted by itself.
func TestThePowerIsCutAtABlock(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": 0, "a little later": time.Second} {
		t.Run(name, func(t *testing.T) {
			vtime.Test(t, func(t *testing.T) {
				l := lane(t)
				if err := l.OpenRecording(t.TempDir()); err != nil {
					t.Fatal(err)
				}
				w := upgrade(t, l, impair.PowerCut{After: after, For: 5 * time.Second})
				cut := w.After(timeline.Fact{Kinds: []timeline.Kind{timeline.FaultFired}, Reason: "cuts the power"}).Within(l.Handset.Patience.Boot)
				if _, err := cut.Await(t.Context(), timeline.FactBooted()); err != nil {
					t.Fatal(err)
				}
				if off := kinds(l, timeline.PowerOff); len(off) != 2 || off[1].By != "power" {
					t.Errorf("power off: %+v", off)
				}
				if on := kinds(l, timeline.PowerOn); len(on) != 2 {
					t.Errorf("power on: %+v", on)
				}
				if got := kinds(l, timeline.Rebooted); len(got) > 0 {
					t.Errorf("rebooted: %+v", got)
				}
				l.Settle(t.Context())
				if got := l.Troubles(); len(got) > 0 {
					t.Errorf("troubles %q", got)
				}
			})
		})
	}
}

// However long a fault holds link or power, they are back when the lane is reset,
// calmed, closed, or goes on to the next recording.
func TestLinkAndPowerComeBackWhateverHappened(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *rig.Lane){
		"reset": func(_ *testing.T, l *rig.Lane) { l.Reset() },
		"calm":  func(_ *testing.T, l *rig.Lane) { l.Calm() },
		"close": func(t *testing.T, l *rig.Lane) {
			t.Helper()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		},
		"next recording": func(t *testing.T, l *rig.Lane) {
			t.Helper()
			if err := l.CloseRecording(t.TempDir()); err != nil {
				t.Error(err)
			}
		},
	} {
		for _, deed := range []fault.Deed{
			impair.LinkDown{For: time.Hour}, impair.PowerCut{For: time.Hour}, impair.PowerCut{After: time.Second, For: time.Hour}, impair.PowerCut{After: time.Hour, For: time.Hour},
		} {
			t.Run(fmt.Sprintf("%s: %s", name, deed), func(t *testing.T) {
				vtime.Test(t, func(t *testing.T) {
					l := lane(t)
					if err := l.OpenRecording(t.TempDir()); err != nil {
						t.Fatal(err)
					}
					serve(t, l)
					if err := l.Inject(fault.On(l.Handset.OwnFile()).Do(deed).Once()); err != nil {
						t.Fatal(err)
					}
					w := poweredAgain(t, l, 1)
					if _, err := w.Await(t.Context(), timeline.FactKind(timeline.FaultFired)); err != nil {
						t.Fatal(err)
					}
					tl := l.Recorder.Timeline()
					began := time.Now()
					end(t, l)
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("took %v", took)
					}
					balance := map[timeline.Kind]int{}
					for _, e := range tl.Events() {
						balance[e.Kind]++
					}
					if balance[timeline.LinkDown] != balance[timeline.LinkUp] || balance[timeline.PowerOff] != balance[timeline.PowerOn] {
						t.Errorf("link down %d, up %d; power off %d, on %d", balance[timeline.LinkDown], balance[timeline.LinkUp], balance[timeline.PowerOff], balance[timeline.PowerOn])
					}
				})
			})
		}
	}
}

func TestWireFaultsAreRefusedAtOnce(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := lane(t)
		err := l.Inject(fault.On("*").Do(impair.Lose{Percent: 200}))
		if err == nil || !strings.Contains(err.Error(), "not 0 to 100") || strings.Contains(err.Error(), "tftpd") {
			t.Errorf("got %v", err)
		}
		if got := l.Faults.Ledger(); len(got) != 0 {
			t.Errorf("in force: %v", got)
		}
	})
}

// A phase of the wire begins with a file, and rules wait for it.
func TestAPhaseBeginsBehindAFile(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l, h := plain(t, 0)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if err := l.Tree.Replace([]publish.File{{Name: "a.bin", Content: []byte("a")}, {Name: "b.bin", Content: []byte("b")}}); err != nil {
			t.Fatal(err)
		}
		for _, r := range []fault.Rule{
			fault.On("b.bin").Do(impair.Phase{Name: "behind the first"}).Once(),
			fault.On("TFTP").During("behind the first").Do(impair.Delay{D: time.Second}),
		} {
			if err := l.Inject(r); err != nil {
				t.Fatal(err)
			}
		}
		fetch(t, h, l, "a.bin")
		if got := l.Faults.Ledger(); got[0].Fired != 0 || got[1].Fired != 0 {
			t.Errorf("before the phase: %+v", got)
		}
		began := time.Now()
		fetch(t, h, l, "b.bin")
		if took := time.Since(began); took < time.Second {
			t.Errorf("took %v, want a delay of 1 s", took)
		}
		if got := l.Faults.Ledger(); got[0].Fired != 1 || got[1].Fired < 1 {
			t.Errorf("in the phase: %+v", got)
		}
		l.WirePhase("")
		before := l.Faults.Ledger()[1].Fired
		fetch(t, h, l, "a.bin")
		if got := l.Faults.Ledger()[1].Fired; got > before+1 { // the last ACK of b.bin
			t.Errorf("behind the phase it fired %d times more", got-before)
		}
	})
}
