package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/publish"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual"
	"ip88rig/rig/wire"
)

// serving runs serve on the embedded bench until the returned function is called,
// which returns what it says. Without a factor the handset is as quick as can be.
func serving(t *testing.T, c *serveCmd) (out *screen, stop func() error) {
	t.Helper()
	out = newScreen()
	if c.Factor == nil {
		c.Factor = new(1000.0)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- c.serve(ctx, &terminal{out: out, in: strings.NewReader("")}) }() // ends with ctx
	return out, func() error {
		cancel()
		return <-done
	}
}

func TestServeShowsASimulatedHandsetBoot(t *testing.T) {
	runs := t.TempDir()
	out, stop := serving(t, &serveCmd{Out: runs, Seed: 1, Forward: []string{"0=ip8830:80"}})
	out.await(t, " *  registered as rig-ip8830")

	// Its Web Manager is reached from here.
	port := regexp.MustCompile(`forward (127\.0\.0\.1:\d+) to 198\.18\.`).FindStringSubmatch(out.String())
	if port == nil {
		t.Fatalf("got\n%s\nwant a forwarded port", out)
	}
	authority, err := os.ReadFile(filepath.Join(runs, "state", "B.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		body string
		want int
	}{{string(authority), http.StatusNoContent}, {"rubbish", http.StatusBadRequest}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+port[1]+virtual.AuthorityPath, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("the Web Manager answers %d, want %d", answer.StatusCode, tt.want)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"serving ip8830, a simulated IP8830 (00:00:5e:00:53:30)", "->  DISCOVER", "<-  OFFER 198.18.", "->  RRQ sysconf_8830_sip.cfg",
		"*  fetched 00005e005330 over tftp", "->  RRQ IP_8830_VER_SIP2", "->  REGISTER rig-ip8830", "<-  200 OK to REGISTER", "evidence: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q", text, want)
		}
	}
	for _, not := range []string{"DATA", "trouble", "dhcpd: DISCOVER"} {
		if strings.Contains(text, not) {
			t.Errorf("got\n%s\nwant no %q", text, not)
		}
	}
	// The evidence is a recording like any other.
	dir := regexp.MustCompile(`evidence: (\S+) `).FindStringSubmatch(text)[1]
	var again bytes.Buffer
	if err := (&timelineCmd{File: dir}).run(t.Context(), &again); err != nil {
		t.Fatal(err)
	}
	live, err := os.ReadFile(filepath.Join(dir, "timeline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(again.String(), "registered as rig-ip8830") || !strings.Contains(again.String(), strings.TrimSpace(string(live))) {
		t.Errorf("timeline shows\n%s\nserve wrote\n%s", &again, live)
	}
}

func TestServeSetsThePaceOnAWireInMemory(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		given  *float64
		factor float64
		boot   time.Duration
	}{{nil, 20, 12 * time.Second}, {new(1.0), 1, 4 * time.Minute}, {new(1000.0), 1000, 8 * time.Second}} {
		h, err := (&serveCmd{Factor: tt.given}).paced(b, b.Handsets[0])
		if err != nil || h.Factor != tt.factor || h.Patience.Boot != tt.boot {
			t.Errorf("got factor %v, patience %v, %v, want %v, %v", h.Factor, h.Patience.Boot, err, tt.factor, tt.boot)
		}
	}
	b.Wire.Memory = false
	if h, err := (&serveCmd{}).paced(b, bench.Handset{Factor: 7}); err != nil || h.Factor != 7 {
		t.Errorf("on an interface: factor %v, %v, want the bench file's 7", h.Factor, err)
	}
}

func TestServeSendsOption160(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	h, _ := b.Handset("ip8820")
	out, stop := serving(t, &serveCmd{Out: t.TempDir(), Handset: "ip8820", URL: "http://" + b.Addresses(h).Server.String() + "/x/"})
	out.await(t, "->  GET /x/sysconf_8820_sip.cfg")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestServePublishesAFolderAndItsChanges(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("sysconf_8830_sip.cfg", "[VOIP]\nline1_name 200\n")
	out, stop := serving(t, &serveCmd{Out: t.TempDir(), Folder: dir, every: 5 * time.Millisecond})
	out.await(t, "fetched sysconf_8830_sip.cfg over tftp, 22 bytes")
	out.await(t, "error 1 file not found for 00005e005330")
	put("notes.txt", "added later")
	out.await(t, "published notes.txt")
	if err := os.Remove(filepath.Join(dir, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	out.await(t, "published notes.txt withdrawn")
	if err := os.Remove(filepath.Join(dir, "sysconf_8830_sip.cfg")); err != nil {
		t.Fatal(err)
	}
	out.await(t, "not published: --folder "+dir+" is empty")
	put("again.txt", "it goes on")
	out.await(t, "published again.txt")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestServeSaysWhatIsWrongWithTheCommandLine(t *testing.T) {
	lab := write(t, "lab.yaml", labBench)
	peer := write(t, "peer.yaml", "wire: {interface: lab0, peer: lab1}\nhandsets: [{name: sim, model: IP8830, simulated: true, mac: '00:00:5e:00:53:30'}]\n")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, tt := range []struct {
		name string
		cmd  serveCmd
		says string
	}{
		{"a bench file and an interface", serveCmd{Interface: "eth1", Bench: lab}, "--interface only listens"},
		{"a VLAN without an interface", serveCmd{VLAN: 88}, "wire.vlan"},
		{"a VLAN that is none", serveCmd{Interface: "eth1", VLAN: 4095}, "4095"},
		{"no such interface", serveCmd{Interface: "nosuch0"}, "nosuch0"},
		{"no such bench file", serveCmd{Bench: lab + "x"}, "lab.yamlx"},
		{"no handset chosen", serveCmd{Bench: lab}, "one of desk, sim"},
		{"no such handset", serveCmd{Handset: "none"}, "none"},
		{"no URL", serveCmd{URL: "prov.example.net"}, "--url"},
		{"a URL of another scheme", serveCmd{URL: "tftp://192.0.2.1/"}, "--url"},
		{"no such folder", serveCmd{Folder: "/nosuch"}, "/nosuch"},
		{"a factor below 1", serveCmd{Factor: new(0.5)}, "--factor 0.5 is not from 1 to 1000"},
		{"a factor above 1000", serveCmd{Factor: new(1001.0)}, "--factor 1001 is not from 1 to 1000"},
		{"a factor that is no number", serveCmd{Factor: new(math.NaN())}, "--factor NaN is not from 1 to 1000"},
		{"a factor of a real handset", serveCmd{Bench: lab, Handset: "desk", Factor: new(2.0)}, "--factor: desk is a real handset"},
		{"a factor of the bench file's", serveCmd{Bench: peer, Factor: new(2.0)}, "factor: of sim in the bench file"},
		{"a factor while it only listens", serveCmd{Interface: "eth1", Factor: new(2.0)}, "--interface only listens"},
		{"an empty folder", serveCmd{Folder: t.TempDir()}, "is empty"},
		{"a forward that is none", serveCmd{Forward: []string{"8880"}}, "--forward"},
		{"a port that is taken", serveCmd{Forward: []string{taken.Addr().String() + "=ip8830:80"}}, "--forward: listen"},
		{"an interface of the bench that is not there", serveCmd{Bench: lab, Handset: "desk"}, "marked FAIL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cmd.Out = t.TempDir()
			err := tt.cmd.Run(t.Context())
			if code(err) != report.ExitUsage || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, code %d, want %d and %q", err, code(err), report.ExitUsage, tt.says)
			}
			if left, err := filepath.Glob(filepath.Join(tt.cmd.Out, "serve-*")); err != nil || len(left) > 0 {
				t.Errorf("%v was made, %v", left, err)
			}
		})
	}
}

func TestForwardArguments(t *testing.T) {
	h := bench.Handset{Name: "desk"}
	at := netip.MustParseAddr("198.18.0.12")
	for _, tt := range []struct{ arg, listen, to, wrong string }{
		{arg: "127.0.0.1:8880=desk:80", listen: "127.0.0.1:8880", to: "198.18.0.12:80"},
		{arg: "8880=desk:6000", listen: "127.0.0.1:8880", to: "198.18.0.12:6000"},
		{arg: ":8880=desk:80", listen: "127.0.0.1:8880", to: "198.18.0.12:80"},
		{arg: "0.0.0.0:8880=198.18.0.99:443", listen: "0.0.0.0:8880", to: "198.18.0.99:443"},
		{arg: "8880", wrong: "no \"=\""},
		{arg: "http=desk:80", wrong: `"http" is not a port`},
		{arg: "8880=desk", wrong: "missing port"},
		{arg: "8880=desk:0", wrong: `"0" is not a port`},
		{arg: "8880=other:80", wrong: `"other" is neither`},
		{arg: "8880=[2001:db8::1]:80", wrong: "IPv4"},
	} {
		t.Run(tt.arg, func(t *testing.T) {
			f, err := parseForward(tt.arg, h, at)
			if tt.wrong != "" {
				if code(err) != report.ExitUsage || !strings.Contains(err.Error(), tt.wrong) || !strings.Contains(err.Error(), "127.0.0.1:8880=desk:80") {
					t.Errorf("got %v, want %q and how it is written", err, tt.wrong)
				}
				return
			}
			if err != nil || f.listen != tt.listen || f.to.String() != tt.to {
				t.Errorf("got %s to %s, %v, want %s to %s", f.listen, f.to, err, tt.listen, tt.to)
			}
		})
	}
}

func TestAForwardThatNobodyAnswersIsTold(t *testing.T) {
	out, stop := serving(t, &serveCmd{Out: t.TempDir(), Forward: []string{"0=ip8830:81"}})
	out.await(t, "registered as")
	port := regexp.MustCompile(`forward (127\.0\.0\.1:\d+) to`).FindStringSubmatch(out.String())
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", port[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("got a byte from a port where nobody listens")
	}
	out.await(t, ":81: ")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestARealHandsetIsOnlyOfferedItsBundles(t *testing.T) {
	dir := t.TempDir()
	var sums strings.Builder
	for name, text := range map[string]string{"IP_8830_VER_SIP2": "version 1.2.3\nimg main.bin 0\n", "main.bin": "image"} {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(text)), name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	phone := bench.Handset{Name: "desk", Model: model.IP8830, GoldenFirmware: &bench.Bundle{Folder: dir, Version: "1.2.3", Files: []string{"main.bin"}}}
	version := publish.File{Name: "00005E005330/IP_8830_VER_SIP2", Content: []byte("version 1.2.3\nimg main.bin 0\n")}
	image := publish.File{Name: "main.bin", Content: []byte("image")}
	invented := publish.File{Name: "ip_8830_ver_sip2", Content: []byte("version 9\n")}
	damaged := publish.File{Name: "main.bin", Content: []byte("imagE")}
	simulated, without := phone, phone
	simulated.Simulated, without.GoldenFirmware = true, nil
	for _, tt := range []struct {
		name    string
		handset bench.Handset
		files   []publish.File
		refuses string
	}{
		{"configuration alone", phone, []publish.File{{Name: "sysconf_8830_sip.cfg"}}, ""},
		{"the whole bundle", phone, []publish.File{version, image}, ""},
		{"half of it", phone, []publish.File{version}, "lists main.bin"},
		{"a damaged file", phone, []publish.File{version, damaged}, "lists main.bin"},
		{"a version file of somebody's own", phone, []publish.File{invented}, "not one of desk's"},
		{"a bundle that is not in the bench entry", without, []publish.File{version, image}, "not one of desk's"},
		{"anything for a simulated one", simulated, []publish.File{invented}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := admit(tt.handset, tt.files)
			if (err != nil) != (tt.refuses != "") || err != nil && !strings.Contains(err.Error(), tt.refuses) {
				t.Errorf("got %v, want %q", err, tt.refuses)
			}
		})
	}
}

func TestServeOnAnInterfaceShowsPhonesWithABenchFileToPaste(t *testing.T) {
	for _, tt := range []struct {
		name         string
		trunk        bool
		listenOn     uint16
		phoneOn      uint16
		wantsVLAN    uint16
		wantsMention string
	}{
		{name: "untagged", phoneOn: 1},
		{name: "tagged, all are heard", trunk: true, phoneOn: 88, wantsVLAN: 88, wantsMention: "on VLAN 88 (tagged)"},
		{name: "tagged, that VLAN", trunk: true, listenOn: 88, phoneOn: 88, wantsVLAN: 88},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw := wire.NewSwitch()
			port := sw.Access("rig", 1)
			if tt.trunk {
				port = sw.Trunk("rig", 1)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			phone, err := virtual.New(virtual.Config{Model: model.IP8840, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x40}, Port: sw.Access("phone", tt.phoneOn), Factor: 500, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 2)
			out := newScreen()
			c := &serveCmd{Interface: "lab0", VLAN: tt.listenOn}
			go func() { ended <- phone.Run(ctx) }()                           // ends with ctx
			go func() { ended <- c.listen(ctx, &terminal{out: out}, port) }() // ends with ctx
			out.await(t, "and link: wifi\n")
			cancel()
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			text := out.String()
			if !strings.Contains(text, `option 60 "LGE", host name "IP8840-00005E005340", option 55 1,2,3,6,42,66,150,160`) || !strings.Contains(text, tt.wantsMention) || !strings.Contains(text, "1 phones heard") {
				t.Errorf("got\n%s", text)
			}
			_, paste, _ := strings.Cut(text, "wire:\n")
			paste, _, _ = strings.Cut("wire:\n"+paste, "1 phones heard")
			b, err := bench.Parse("pasted.yaml", []byte(paste), "")
			if err != nil {
				t.Fatalf("%v\n%s", err, paste)
			}
			if b.Wire.Interface != "lab0" || b.Wire.VLAN != tt.wantsVLAN || b.Handsets[0].MAC.String() != "00:00:5e:00:53:40" {
				t.Errorf("got %+v of\n%s", b, paste)
			}
		})
	}
}

func TestConnectionsAreNotShownWhileServing(t *testing.T) {
	for kind, want := range map[timeline.Kind]bool{
		timeline.TCPTry: false, timeline.TCPOpen: false, timeline.TCPClosed: false, timeline.HTTPRequest: true,
	} {
		if got := shown(&timeline.Event{Kind: kind, By: timeline.Wire}); got != want {
			t.Errorf("%s is shown: %t, want %t", kind, got, want)
		}
	}
}
