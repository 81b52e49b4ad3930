package rig_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

// lastsFor is a deed with the time that a module needs to come back.
func lastsFor(deed impair.AirDeed, d time.Duration) impair.Air {
	e := impair.Air{Does: deed, Back: 20 * time.Second}
	if deed == impair.Restart || deed == impair.WrongPassphrase {
		e.For = d
	}
	return e
}

// onWiFi opens a lane of the embedded bench's handset with a WiFi module, changed
// as told.
func onWiFi(t *testing.T, change func(*rig.Config)) *rig.Lane {
	t.Helper()
	c := inMemory(t)
	i := slices.IndexFunc(c.Bench.Handsets, func(h bench.Handset) bool { return h.Link == bench.WiFi })
	c.Handset = c.Bench.Handsets[i]
	change(&c)
	l := open(t, c)
	if err := l.OpenRecording(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return l
}

// atAccessPoint opens a lane whose handset counts as real: whoever sits in its
// place, its access point is the commands'.
func atAccessPoint(t *testing.T, commands bench.AccessPoint) *rig.Lane {
	t.Helper()
	return onWiFi(t, func(c *rig.Config) {
		c.Handset.Simulated, c.Handset.AccessPoint = false, commands
		c.Handset.Power = bench.Power{Kind: "command", On: "true", Off: "true"}
		sw := wire.NewTimedSwitch()
		c.Port, c.Phone = sw.Access("rig", 1), sw.Access("handset", 1)
	})
}

// simulatedWiFi opens a lane of a simulated handset with a WiFi module.
func simulatedWiFi(t *testing.T, defects ...defect.Name) *rig.Lane {
	t.Helper()
	l := onWiFi(t, func(c *rig.Config) { c.Defects = defects })
	serve(t, l)
	return l
}

// poweredAgain is the window of a power cycle.
func poweredAgain(t *testing.T, l *rig.Lane, number int) *timeline.Window {
	t.Helper()
	w := l.Verb("power", number, nil).Within(l.Handset.Patience.Boot)
	if err := control.Cycle(t.Context(), l.Power, l.Handset.Patience.Off); err != nil {
		t.Fatal(err)
	}
	return w
}

// A module that comes back is at work again without power, and what it did to
// come back is no reboot.
func TestASimulatedModuleComesBackWhateverItsAccessPointDoes(t *testing.T) {
	t.Parallel()
	for _, deed := range impair.AirDeeds() {
		t.Run(string(deed), func(t *testing.T) {
			t.Parallel()
			vtime.Test(t, func(t *testing.T) {
				l := simulatedWiFi(t)
				if _, err := poweredAgain(t, l, 1).Await(t.Context(), timeline.FactRegistered()); err != nil {
					t.Fatal(err)
				}
				if err := l.Disturb(t.Context(), lastsFor(deed, 5*time.Minute)); err != nil {
					t.Fatal(err)
				}
				again := l.Verb("NOTIFY check-sync", 2, nil).Within(l.Handset.Patience.Cycle)
				if err := l.Notify(t.Context(), "check-sync"); err != nil {
					t.Fatal(err)
				}
				if _, err := again.Await(t.Context(), timeline.FactAsked(l.Handset.OwnFile())); err != nil {
					t.Fatal(err)
				}
				l.Settle(t.Context())
				if got := l.Troubles(); len(got) > 0 {
					t.Errorf("troubles %q", got)
				}
				link := kinds(l, timeline.LinkDown, timeline.LinkUp)
				if len(link) != 2 || link[0].Kind != timeline.LinkDown || link[0].Reason != "access point: "+string(deed) {
					t.Errorf("away: %+v", link)
				}
				if got := kinds(l, timeline.Rebooted); len(got) > 0 {
					t.Errorf("taken for a reboot: %+v", got)
				}
				if got := kinds(l, timeline.FaultFired); len(got) != 1 || !strings.HasPrefix(got[0].Reason, "asked for: ") {
					t.Errorf("told: %+v", got)
				}
			})
		})
	}
}

func TestACommandOfTheBenchFileDoesTheDeedAndUndoesIt(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		log := filepath.Join(t.TempDir(), "log")
		say := func(what string) string { return "echo " + what + " $IP88RIG_MODULE >> " + log }
		l := atAccessPoint(t, bench.AccessPoint{Deauth: say("deauth"), PassphraseWrong: say("wrong"), PassphraseRight: say("right")})
		for _, deed := range []impair.AirDeed{impair.Deauth, impair.WrongPassphrase} {
			if err := l.Disturb(t.Context(), lastsFor(deed, time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("troubles %q", got)
		}
		// One that is broken off is undone all the same; it was not done, and says so.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Disturb(ctx, lastsFor(impair.WrongPassphrase, time.Hour)); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		l.Calm()
		mac := " " + l.Handset.Module.String() + "\n"
		got, err := os.ReadFile(log)
		if want := "deauth" + mac + "wrong" + mac + "right" + mac + "right" + mac; err != nil || string(got) != want {
			t.Errorf("ran %q, %v; want %q", got, err, want)
		}
		const late = "the access point had not yet done passphrase-wrong when the cycle was over"
		if got := l.Troubles(); !slices.Equal(got, []string{late}) {
			t.Errorf("troubles %q, want %q", got, late)
		}
		if got := kinds(l, timeline.Note); len(got) != 1 || got[0].Reason != late {
			t.Errorf("the journal notes %+v, want %q", got, late)
		}
		if got := kinds(l, timeline.LinkDown, timeline.LinkUp); len(got) != 6 {
			t.Errorf("away: %+v", got)
		}
	})
}

func TestACommandThatFailsIsTheLabsTrouble(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := atAccessPoint(t, bench.AccessPoint{Roam: "echo no radio >&2; exit 3", PassphraseWrong: "true", PassphraseRight: "exit 4"})
		for deed, want := range map[impair.AirDeed]string{impair.Roam: "no radio", impair.WrongPassphrase: "access-point.passphrase-right"} {
			if err := l.Disturb(t.Context(), lastsFor(deed, time.Minute)); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.Troubles(), "\n"); !strings.Contains(got, "what the access point was asked for went wrong") || !strings.Contains(got, want) {
				t.Errorf("%s: troubles %q, want %q", deed, got, want)
			}
		}
	})
}

func TestADeedThatNothingCanDoIsRefusedAtOnce(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		l := atAccessPoint(t, bench.AccessPoint{Roam: "true"})
		wired := lane(t)
		for _, tt := range []struct {
			lane *rig.Lane
			deed impair.AirDeed
			want string
		}{
			{l, impair.Roam, ""},
			{l, impair.Channel, "needs access-point.channel in the bench file"},
			{wired, impair.Roam, "needs link: wifi"},
		} {
			e := lastsFor(tt.deed, time.Second)
			for name, err := range map[string]error{
				"can": tt.lane.CanAir(tt.deed), "inject": tt.lane.Inject(fault.On("a.bin").Do(e).Once()), "disturb": tt.lane.Disturb(t.Context(), e),
			} {
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s %s: %v, want %q", name, tt.deed, err, tt.want)
				}
			}
		}
		if err := l.Disturb(t.Context(), impair.Air{Does: impair.Roam}); err == nil {
			t.Error("a module without time to come back was accepted")
		}
	})
}

// What the wire's faults call a deed is what its command is called: all of them,
// but the passphrase made right, which undoes one.
func TestTheDeedsOfTheFaultsAreThoseOfTheAccessPoint(t *testing.T) {
	var faults, commands []string
	for _, d := range impair.AirDeeds() {
		faults = append(faults, string(d))
	}
	for _, d := range control.AirDeeds() {
		if d != control.RightPassphrase {
			commands = append(commands, string(d))
		}
	}
	if !slices.Equal(faults, commands) {
		t.Errorf("faults know %q, access points %q", faults, commands)
	}
}

// What hands set is what the access point shows, and what the handset comes back
// under; without a mode it is the one from before.
func TestTheScriptSetsSecurityModes(t *testing.T) {
	t.Parallel()
	vtime.Test(t, func(t *testing.T) {
		l := simulatedWiFi(t)
		for i, mode := range append(model.Securities(), "") {
			shows := "the access point shows it"
			if err := l.Do(t.Context(), control.Request{Verb: control.WiFiSecurity, Security: mode, ReadBack: shows}); err != nil {
				t.Fatal(err)
			}
			if _, err := poweredAgain(t, l, i+1).Await(t.Context(), timeline.FactRegistered()); err != nil {
				t.Fatalf("%s: %v", mode, err)
			}
		}
		l.Settle(t.Context())
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("troubles %q", got)
		}
	})
}

// The two links of one phone are no strangers, and each has an address of its own.
func TestACableBesideTheModuleHasAnAddressOfItsOwn(t *testing.T) {
	t.Parallel()
	vtime.Test(t, func(t *testing.T) {
		l := simulatedWiFi(t, defect.BothLinksUp)
		if err := l.Do(t.Context(), control.Request{Verb: control.PlugCable}); err != nil {
			t.Fatal(err)
		}
		boot := poweredAgain(t, l, 1)
		w, got := boot, map[string]string{}
		for _, mac := range []string{l.Handset.Module.String(), l.Handset.MAC.String()} {
			for got[mac] == "" {
				e, err := w.Await(t.Context(), timeline.FactKind(timeline.Bound))
				if err != nil {
					t.Fatal(err)
				}
				got[e.SrcMAC] = e.Src.Addr().String()
				w = l.Recorder.Timeline().Since(e.Seq).Within(l.Handset.Patience.Boot)
			}
		}
		if module, phone := got[l.Handset.Module.String()], got[l.Handset.MAC.String()]; module != l.Addrs.Handset.String() || phone != l.Addrs.Beside.Addr().String() {
			t.Errorf("addresses %v, want %s and %s", got, l.Addrs.Handset, l.Addrs.Beside)
		}
		if _, err := boot.Await(t.Context(), timeline.FactRegistered()); err != nil {
			t.Fatal(err)
		}
		l.Settle(t.Context())
		if got := l.Troubles(); len(got) > 0 {
			t.Errorf("troubles %q", got)
		}
		if err := l.Do(t.Context(), control.Request{Verb: control.UnplugCable}); err != nil {
			t.Fatal(err)
		}
		again := poweredAgain(t, l, 2)
		if _, err := again.Await(t.Context(), timeline.FactRegistered()); err != nil {
			t.Fatal(err)
		}
		for e := range again.View().Events.All() {
			if e.SrcMAC == l.Handset.MAC.String() {
				t.Errorf("without the cable: %s from %s", e.Kind, e.SrcMAC)
			}
		}
	})
}
