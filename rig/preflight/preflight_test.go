package preflight_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/preflight"
	"ip88rig/rig/wire"
)

var now = time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC)

// sane is a computer on which everything is as it should be.
func sane() preflight.System {
	return preflight.System{
		Interface: func(string) (preflight.Interface, error) {
			return preflight.Interface{MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}, Up: true, Carrier: true, MTU: 1500}, nil
		},
		DefaultRoutes: func() ([]string, error) { return []string{"eth0"}, nil },
		MayUsePackets: func() (bool, error) { return true, nil },
		Open: func(string, wire.PacketOptions) (wire.Port, error) {
			return wire.NewSwitch().Access("rig", 1), nil
		},
		Clock: func() preflight.Reading { return preflight.Reading{Wall: now} },
		Free:  func(string) (uint64, error) { return 100 << 30, nil },
	}
}

const lab = `
wire: {interface: lab0}
handsets:
  - name: desk
    model: IP8830
    mac: 00:00:5e:00:53:30
`

func parse(t *testing.T, text, dir string) bench.Bench {
	t.Helper()
	b, err := bench.Parse("bench.yaml", []byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(t *testing.T, b bench.Bench, s preflight.System) []preflight.Finding {
	t.Helper()
	return preflight.Check(t.Context(), preflight.Config{Bench: b, Out: "out", Probe: 50 * time.Millisecond, System: s})
}

func find(t *testing.T, fs []preflight.Finding, name string) preflight.Finding {
	t.Helper()
	i := slices.IndexFunc(fs, func(f preflight.Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no line %q in %v", name, fs)
	}
	return fs[i]
}

func TestASaneLabIsNotStopped(t *testing.T) {
	t.Parallel()
	fs := check(t, parse(t, lab, ""), sane())
	if preflight.Failed(fs) {
		t.Errorf("got %v, want no failure", fs)
	}
	for _, f := range fs {
		if f.State != preflight.OK && f.Name != "desk facts" {
			t.Errorf("got %s, want it ok", f)
		}
	}
}

func TestAMemoryBenchNeedsNothingOfTheComputer(t *testing.T) {
	t.Parallel()
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	s := sane()
	s.Interface, s.DefaultRoutes, s.MayUsePackets, s.Open = nil, nil, nil, nil // a call would panic
	fs := check(t, b, s)
	for _, f := range fs {
		if f.State != preflight.OK {
			t.Errorf("got %s, want it ok", f)
		}
	}
	if f := find(t, fs, "wire"); !strings.Contains(f.Text, "needs no interface, no privileges") {
		t.Errorf("got %q, want what is not needed", f.Text)
	}
}

func TestEachLineOfTheComputerTurnsRed(t *testing.T) {
	t.Parallel()
	failure := errors.New("it broke")
	nic := func(change func(*preflight.Interface)) func(*preflight.System) {
		return func(s *preflight.System) {
			i, _ := s.Interface("")
			change(&i)
			s.Interface = func(string) (preflight.Interface, error) { return i, nil }
		}
	}
	for _, tt := range []struct {
		name  string
		line  string
		spoil func(*preflight.System)
		want  preflight.State
		says  string
	}{
		{"there is no such interface", "interface lab0", func(s *preflight.System) {
			s.Interface = func(string) (preflight.Interface, error) { return preflight.Interface{}, failure }
		}, preflight.Fail, "it broke"},
		{"the interface is down", "interface lab0", nic(func(i *preflight.Interface) { i.Up = false }), preflight.Fail, "down"},
		{"it is a WiFi card", "interface lab0", nic(func(i *preflight.Interface) { i.Wireless = true }), preflight.Fail, "WiFi"},
		{"it is part of a bridge", "interface lab0", nic(func(i *preflight.Interface) { i.Master = "br0" }), preflight.Fail, "br0"},
		{"the cable is not plugged in", "interface lab0", nic(func(i *preflight.Interface) { i.Carrier = false }), preflight.Warn, "no link"},
		{"its MTU is small", "interface lab0", nic(func(i *preflight.Interface) { i.MTU = 1280 }), preflight.Warn, "1280"},
		{"it carries the default route", "default route", func(s *preflight.System) {
			s.DefaultRoutes = func() ([]string, error) { return []string{"eth0", "lab0"}, nil }
		}, preflight.Fail, "lab0 carries the default route"},
		{"routes cannot be read", "default route", func(s *preflight.System) {
			s.DefaultRoutes = func() ([]string, error) { return nil, failure }
		}, preflight.Fail, "it broke"},
		{"packet sockets are forbidden", "privileges", func(s *preflight.System) {
			s.MayUsePackets = func() (bool, error) { return false, nil }
		}, preflight.Fail, "CAP_NET_RAW"},
		{"privileges cannot be read", "privileges", func(s *preflight.System) {
			s.MayUsePackets = func() (bool, error) { return true, failure }
		}, preflight.Fail, "it broke"},
		{"a real network card has a switch behind it", "addresses", nic(func(i *preflight.Interface) { i.Physical = true }), preflight.Warn, "02:88:5e:00:53:30"},
		{"the interface does not open", "foreign DHCP", func(s *preflight.System) {
			s.Open = func(string, wire.PacketOptions) (wire.Port, error) { return nil, failure }
		}, preflight.Fail, "it broke"},
		{"the interface fails while it is probed", "foreign DHCP", func(s *preflight.System) {
			s.Open = func(string, wire.PacketOptions) (wire.Port, error) {
				p := wire.NewSwitch().Access("rig", 1)
				return p, p.Close()
			}
		}, preflight.Fail, "closed"},
		{"nothing can be probed without privileges", "foreign DHCP", func(s *preflight.System) {
			s.MayUsePackets = func() (bool, error) { return false, nil }
		}, preflight.Fail, "not looked for"},
		{"the disk is full", "disk", func(s *preflight.System) {
			s.Free = func(string) (uint64, error) { return 10 << 20, nil }
		}, preflight.Fail, "10 MiB"},
		{"the disk is filling", "disk", func(s *preflight.System) {
			s.Free = func(string) (uint64, error) { return 1 << 30, nil }
		}, preflight.Warn, "1024 MiB"},
		{"the disk cannot be asked", "disk", func(s *preflight.System) {
			s.Free = func(string) (uint64, error) { return 0, failure }
		}, preflight.Fail, "it broke"},
		{"the clock has lost its battery", "clock", func(s *preflight.System) {
			s.Clock = func() preflight.Reading { return preflight.Reading{Wall: time.Unix(0, 0).UTC()} }
		}, preflight.Fail, "1970"},
		{"the clock is beyond the authorities", "clock", func(s *preflight.System) {
			s.Clock = func() preflight.Reading { return preflight.Reading{Wall: now.AddDate(12, 0, 0)} }
		}, preflight.Fail, "2038"},
		{"the clock is set forward", "clock", stepping(2 * time.Millisecond), preflight.Fail, "2ms"},
		{"the clock is set back", "clock", stepping(-2 * time.Millisecond), preflight.Fail, "-2ms"},
		{"the clock only runs", "clock", stepping(0), preflight.OK, "2026"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := sane()
			tt.spoil(&s)
			fs := check(t, parse(t, lab, ""), s)
			f := find(t, fs, tt.line)
			if f.State != tt.want || !strings.Contains(f.Text, tt.says) {
				t.Errorf("got %s, want %s and %q", f, tt.want, tt.says)
			}
			if (f.State == preflight.OK) != (f.WhatToDo == "") {
				t.Errorf("%s: what to do is %q", f.State, f.WhatToDo)
			}
			if preflight.Failed(fs) != (tt.want == preflight.Fail) {
				t.Errorf("stopped %t, want %t: %v", preflight.Failed(fs), tt.want == preflight.Fail, fs)
			}
		})
	}
}

// stepping is a computer whose wall clock is set between two looks.
func stepping(by time.Duration) func(*preflight.System) {
	return func(s *preflight.System) {
		looks := 0
		s.Clock = func() preflight.Reading {
			looks++
			r := preflight.Reading{Wall: now, Elapsed: time.Hour}
			if looks > 1 {
				r.Wall, r.Elapsed = now.Add(4*time.Second+by), time.Hour+4*time.Second
			}
			return r
		}
	}
}

func TestBothEndsOfACableAreLookedAt(t *testing.T) {
	t.Parallel()
	b := parse(t, strings.Replace(lab, "interface: lab0", "interface: lab0, peer: lab1", 1), "")
	s := sane()
	s.Interface = func(name string) (preflight.Interface, error) {
		return preflight.Interface{Up: name == "lab0", Carrier: true, MTU: 1500}, nil
	}
	fs := check(t, b, s)
	if f := find(t, fs, "interface lab1"); f.State != preflight.Fail {
		t.Errorf("got %s, want that the peer is down", f)
	}
}

// write puts files into a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sums(files map[string]string) map[string]string {
	var b strings.Builder
	for name, text := range files {
		sum := sha256.Sum256([]byte(text))
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	files["SHA256SUMS"] = b.String()
	return files
}

func TestEachLineOfAHandsetTurnsRed(t *testing.T) {
	t.Parallel()
	bundle := func() map[string]string {
		return sums(map[string]string{"IP_8830_VER_SIP2": "version 1.2.3\nimg main.bin 00000000\n", "main.bin": "image"})
	}
	damaged := bundle()
	damaged["main.bin"] = "imagE"
	offers := "    firmware: {golden: {folder: ., version: 1.2.3, files: [main.bin]}}\n"
	for _, tt := range []struct {
		name  string
		entry string
		files map[string]string
		line  string
		want  preflight.State
		says  string
	}{
		{"golden is whole", "    golden: .\n", map[string]string{"sysconf_8830_sip.cfg": "[VOIP]\nline1_name 200\n"}, "desk golden", preflight.OK, "sysconf_8830_sip.cfg"},
		{"golden holds a line before a section", "    golden: .\n", map[string]string{"sysconf_8830_sip.cfg": "line1_name 200\n"}, "desk golden", preflight.Fail, "sysconf_8830_sip.cfg:1"},
		{"golden's own file is encrypted", "    golden: .\n", map[string]string{"00005e005330": "\x00\xff"}, "desk golden", preflight.Fail, "00005e005330"},
		{"golden is another model's", "    golden: .\n", map[string]string{"sysconf_8840_sip.cfg": "[VOIP]\n"}, "desk golden", preflight.Fail, "neither"},
		{"a bundle is whole", offers + "    running: 1.2.3\n", bundle(), "desk firmware", preflight.OK, "sums match"},
		{"a bundle is damaged", offers, damaged, "desk firmware", preflight.Fail, "SHA256SUMS"},
		{"a bundle has no sums", offers, map[string]string{"main.bin": ""}, "desk firmware", preflight.Fail, "SHA256SUMS"},
		{"no bundle", "", nil, "desk firmware", preflight.OK, "not found"},
		{"golden runs", offers + "    running: 1.2.3\n", bundle(), "desk version", preflight.OK, "1.2.3 runs"},
		{"another version runs", offers + "    running: 1.2.2\n", bundle(), "desk version", preflight.Warn, "1.2.2 runs, golden is 1.2.3"},
		{"it is not known what runs", offers, bundle(), "desk version", preflight.Warn, "not known"},
		{"nothing was measured", "", nil, "desk facts", preflight.Warn, `own-file-case = "lower" [8802]`},
		{"one was measured", "    facts: {own-file-case: {value: upper, measured: 2026-11-20, grounds: capture}}\n", nil, "desk facts", preflight.Warn, "dhcp-vendor-class"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fs := check(t, parse(t, lab+tt.entry, write(t, tt.files)), sane())
			f := find(t, fs, tt.line)
			if f.State != tt.want || !strings.Contains(f.Text, tt.says) {
				t.Errorf("got %s, want %s and %q", f, tt.want, tt.says)
			}
			if strings.Contains(tt.entry, "own-file-case") && strings.Contains(f.Text, "own-file-case") {
				t.Errorf("got %s, want no word of a measured fact", f)
			}
		})
	}
}

func TestOnlyTheChosenHandsetsAreLookedAt(t *testing.T) {
	t.Parallel()
	b := parse(t, lab+"  - {name: other, model: IP8820, mac: 00:00:5e:00:53:20}\n", "")
	fs := preflight.Check(t.Context(), preflight.Config{Bench: b, Handsets: b.Handsets[:1], Probe: time.Millisecond, System: sane()})
	if slices.ContainsFunc(fs, func(f preflight.Finding) bool { return strings.HasPrefix(f.Name, "other") }) {
		t.Errorf("got %v, want nothing of the other handset", fs)
	}
}

func TestThePublicChainIsLookedAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		until time.Time
		as    string
		want  preflight.State
		says  string
	}{
		{"good", now.AddDate(0, 1, 0), "prov.example.net", preflight.OK, "prov.example.net"},
		{"expired", now.AddDate(0, -1, 0), "prov.example.net", preflight.Fail, "expired on 2026-10-22"},
		{"of another name", now.AddDate(0, 1, 0), "other.example.net", preflight.Fail, "other.example.net"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "prov.example.net"}, DNSNames: []string{"prov.example.net"},
				NotBefore: now.AddDate(-1, 0, 0), NotAfter: tt.until,
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			secret, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			dir := write(t, map[string]string{
				"chain.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
				"key.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
			})
			b := parse(t, "public-authority: {certificate: chain.pem, key: key.pem, name: "+tt.as+"}"+lab, dir)
			f := find(t, check(t, b, sane()), "public authority")
			if f.State != tt.want || !strings.Contains(f.Text, tt.says) {
				t.Errorf("got %s, want %s and %q", f, tt.want, tt.says)
			}
		})
	}
}

func TestACheckThatIsInterruptedSaysSo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fs := preflight.Check(ctx, preflight.Config{Bench: parse(t, lab, ""), Probe: time.Minute, System: sane()})
	if f := find(t, fs, "foreign DHCP"); f.State != preflight.Fail || !strings.Contains(f.Text, "canceled") {
		t.Errorf("got %s, want that it was cut short", f)
	}
}

func TestThisComputerCanBeAsked(t *testing.T) {
	t.Parallel()
	s := preflight.Local()
	i, err := s.Interface("lo")
	if err != nil || i.Physical || i.Wireless {
		t.Errorf("loopback is %+v, %v", i, err)
	}
	if _, err := s.Interface("nosuch0"); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("got %v, want an error that names the interface", err)
	}
	if _, err := s.DefaultRoutes(); err != nil {
		t.Error(err)
	}
	if may, err := s.MayUsePackets(); err != nil || os.Geteuid() == 0 && !may {
		t.Errorf("root may use packets: %t, %v", may, err)
	}
	if n, err := s.Free(filepath.Join(t.TempDir(), "not", "there")); err != nil || n == 0 {
		t.Errorf("free: %d, %v", n, err)
	}
	if a, b := s.Clock(), s.Clock(); b.Elapsed < a.Elapsed || a.Wall.Year() < 2020 {
		t.Errorf("clock: %v then %v", a, b)
	}
}
