package rig_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/fault"
	"ip88rig/rig/publish"
	"ip88rig/rig/tftpd"
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
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	sw := wire.NewSwitch()
	a := authorities(t)
	dir := t.TempDir()
	var lanes []*rig.Lane
	for _, h := range b.Handsets {
		l, err := rig.Open(t.Context(), rig.Config{
			Bench: b, Handset: h, Seed: 1, Authorities: a,
			Port: sw.Access("rig of "+h.Name, 7), Phone: sw.Access(h.Name, 7),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := l.OpenRecording(filepath.Join(dir, h.Name)); err != nil {
			t.Fatal(err)
		}
		serve(t, l)
		lanes = append(lanes, l)
	}
	windows := make([]*timeline.Window, len(lanes))
	for i, l := range lanes {
		windows[i] = l.Verb("power", 1, nil).Within(30 * time.Second)
		if err := control.Cycle(t.Context(), l.Power, 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
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
		err = capture.Read(filepath.Join(dir, l.Handset.Name, capture.CaptureFile), func(_, n int, _ time.Time, data []byte, _ []string) error {
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
}

func lane(t *testing.T) *rig.Lane {
	t.Helper()
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	l, err := rig.Open(t.Context(), rig.Config{Bench: b, Handset: b.Handsets[0], Seed: 1, Authorities: authorities(t)})
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

// A fault is put in force where a service can do it, fires on the wire, and is
// told.
func TestAFaultFiresAndIsTold(t *testing.T) {
	l := lane(t)
	if err := l.OpenRecording(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if err := l.Inject(fault.On(l.Handset.Model.GlobalFile()).Do(tftpd.Fail{Code: 0, Text: "on purpose"}).Once()); err != nil {
		t.Fatal(err)
	}
	w := l.Verb("power", 1, nil).Within(30 * time.Second)
	if err := control.Cycle(t.Context(), l.Power, 5*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Await(t.Context(), timeline.FactRegistered()); err != nil {
		t.Fatal(err)
	}
	if got := l.Faults.Ledger(); len(got) != 1 || got[0].Fired != 1 {
		t.Errorf("ledger %+v", got)
	}
	text := timeline.Text(l.Recorder.Timeline().Events())
	for _, want := range []string{"fault", "on purpose"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if err := l.Inject(fault.On("*").Do(unknown{})); err == nil {
		t.Error("a fault that no service can do was accepted")
	}
}

type unknown struct{}

func (unknown) String() string { return "does what nobody can" }

// What is wrong with the rig itself is told, so that nothing is judged from it.
func TestTheRigTellsOfItsOwnTroubles(t *testing.T) {
	l := lane(t)
	dir := t.TempDir()
	if err := l.OpenRecording(dir); err != nil {
		t.Fatal(err)
	}
	l.Settle(t.Context())
	if got := l.Troubles(); len(got) > 0 {
		t.Fatalf("a quiet lane has troubles: %q", got)
	}
	l.Recorder.Record(timeline.Event{By: "tftpd", Kind: timeline.Served, File: "a", Complete: true, Src: l.AddrPort(2001), Dst: l.AddrPort(69)})
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
}
