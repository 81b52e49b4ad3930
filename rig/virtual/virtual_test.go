package virtual

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

const (
	global  = "sysconf_8830_sip.cfg"
	own     = "00005e00530a"
	ownWiFi = "00005e00530b"
	verFile = "IP_8830_VER_SIP2"
)

// firmware publishes a version with two files.
func (l *lab) firmware(version string) {
	image, xml := strings.Repeat(version, 400), "<xml>"+version+"</xml>"
	l.publish("a.bin", image)
	l.publish("a.xml", xml)
	l.publish(verFile, fmt.Sprintf("# top\nversion %s\nmain a.bin %08x\n# below\nxml a.xml %08x\n",
		version, crc32.ChecksumIEEE([]byte(image)), crc32.ChecksumIEEE([]byte(xml))))
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestBootsProvisionsAndUpgradesWithOneReboot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.publish(global, golden("local_udp_port 5070"))
	l.publish(own, "[VOIP]\nline1_name 202\n")
	l.firmware("2.0")
	h := l.handset(nil)
	first := l.until(0, "register ")
	same(t, slices.Compact(first), // on a busy machine there are retries
		"boot 00:00:5e:00:53:0a",
		"tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile, "tftp a.bin", "tftp a.xml",
		"boot 00:00:5e:00:53:0a",
		"tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile,
		"register <sip:202 LG-Ericsson IP8830 v2.0 SN/00005E00530A from 192.0.2.50:5070 expires 3600",
	)
	if h.Version() != "2.0" {
		t.Errorf("runs %s, want 2.0", h.Version())
	}

	// A power cycle is quiet, and what was transferred to memory holds.
	l.publish(global, "")
	l.publish(own, "")
	n := l.cycle(h)
	again := l.until(n, "register ")
	if got := again[len(again)-1]; !strings.HasPrefix(got, "register <sip:202 LG-Ericsson IP8830 v2.0") {
		t.Errorf("got %s", got)
	}
	same(t, downloads(again), "tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile)
}

// short writes notes as letters: B boot, G the global file, O the phone's own
// file and W the module's, F and E the version file in the folder of the one and
// the other, V at the root, S a sibling's global file, a and x the listed files,
// R a registration with its user; h stands before what was asked by HTTP.
func short(notes []string) string {
	names := map[string]string{
		global: "G", own: "O", ownWiFi: "W", own + "/" + verFile: "F", ownWiFi + "/" + verFile: "E", verFile: "V",
		"sysconf_8840_sip.cfg": "S", "a.bin": "a", "a.xml": "x",
	}
	var out []string
	for _, n := range notes {
		kind, rest, _ := strings.Cut(n, " ")
		name, ok := names[rest]
		if !ok {
			name = "?" + rest
		}
		switch kind {
		case "boot":
			out = append(out, "B")
		case "tftp":
			out = append(out, name)
		case "http":
			out = append(out, "h"+name)
		case "register":
			user, _, _ := strings.Cut(strings.TrimPrefix(rest, "<sip:"), " ")
			out = append(out, "R"+user)
		}
	}
	return strings.Join(slices.Compact(out), " ") // on a busy machine there are retries
}

// populate has option 160 populated.
func populate(u string) func(*lab, *Config) {
	return func(l *lab, _ *Config) { l.options[160] = []byte(u) }
}

func serve(name, text string) func(*lab, *Config) {
	return func(l *lab, _ *Config) { l.publish(name, text) }
}

func store(path, value string) func(*lab, *Config) {
	return func(_ *lab, c *Config) {
		if err := c.Flash.Update(func(s *flash.State) { s.Settings[path] = value }); err != nil {
			panic(err)
		}
	}
}

func offer(version string) func(*lab, *Config) {
	return func(l *lab, _ *Config) { l.firmware(version) }
}

func fit(_ *lab, c *Config) { c.Module = moduleMAC }

// TestEachDefectShows boots a healthy handset and one with the defect up to its
// registration, and compares what they asked for.
func TestEachDefectShows(t *testing.T) {
	t.Parallel()
	const quiet = "B G O F V R100"
	const upgrade = "B G O F V a x B G O F V R100"
	for _, tc := range []struct {
		defect        defect.Name
		given         []func(*lab, *Config)
		healthy, sick string
	}{
		{defect.HTTPAtTFTPServer, nil, quiet, "B hG G O F V R100"},
		{defect.RRQBesideURL, given(populate("http://192.0.2.1/")), "B hG hO hF hV R100", "B G hG hO hF hV R100"},
		{defect.ForgetsURL, given(store("PROVISION/https_url", "http://192.0.2.1")), "B hG hO hF hV R100", quiet},
		{defect.OptionNumberFixed, given(store("PROVISION/dhcp_http_option", "161"), func(l *lab, _ *Config) { l.options[161] = []byte("http://192.0.2.1") }), "B hG hO hF hV R100", quiet},
		{defect.ClearForHTTPS, given(populate("https://192.0.2.1:80")), "B R100", "B hG hO hF hV R100"},
		{defect.TLSToHTTPURL, given(populate("http://192.0.2.1")), "B hG hO hF hV R100", "B hG hO hF hV R100"},
		{defect.TLSToHTTPURL, nil, quiet, quiet},
		{defect.HTTPAsksGlobalAgain, given(populate("http://192.0.2.1")), "B hG hO hF hV R100", "B hG hO hF hV hG R100"},
		{defect.HTTPAsksGlobalAgain, nil, quiet, quiet},
		{defect.OwnFileFirst, given(serve(global, "[VOIP]\nline1_name 201"), serve(own, "[VOIP]\nline1_name 202")), "B G O F V R202", "B O G F V R202"},
		{defect.SkipsOwnFile, nil, quiet, "B G F V R100"},
		{defect.ModuleKeepsPhoneName, given(fit), "B G W E V R100", "B G O F V R100"},
		{defect.VersionFileFirst, given(offer("2.0")), upgrade, "B G F V O a x B G F V O R100"},
		{defect.SkipsXML, given(offer("2.0")), upgrade, "B G O F V a B G O F V R100"},
		{defect.AsksSibling, given(serve(global, ";")), quiet, "B G S O F V R100"},
		{defect.DecryptsAll, given(store("PROVISION/decrypt_key", testKey), serve(global, "[VOIP]\nline1_name 201")), "B G O F V R201", quiet},
		{defect.GlobalWins, given(serve(global, "[VOIP]\nline1_name 201"), serve(own, "[VOIP]\nline1_name 202")), "B G O F V R202", "B G O F V R201"},
		{defect.OwnFileNotDecrypted, given(store("PROVISION/decrypt_key", testKey), serve(global, encrypted("[VOIP]\nline1_name 201\n")), serve(own, encrypted("[VOIP]\nline1_name 202\n"))), "B G O F V R202", "B G O F V R201"},
		{defect.GlobalNotDecrypted, given(store("PROVISION/decrypt_key", testKey), serve(global, encrypted("[VOIP]\nline1_name 201\n")), serve(own, ";")), "B G O F V R201", quiet},
		{defect.GlobalNotDecrypted, given(store("PROVISION/decrypt_key", testKey), serve(global, encrypted("[VOIP]\nline1_name 201\n")), serve(own, encrypted("[VOIP]\nline1_name 202\n"))), "B G O F V R202", "B G O F V R202"},
		{defect.GlobalNotDecrypted, given(store("PROVISION/decrypt_key", testKey), serve(global, "[VOIP]\nline1_name 201\n")), "B G O F V R201", "B G O F V R201"},
		{defect.GlobalNeedsOwn, given(serve(global, "[VOIP]\nline1_name 201")), "B G O F V R201", quiet},
		{defect.GlobalNeedsOwn, given(serve(global, "[VOIP]\nline1_name 201"), serve(own, "[VOIP]")), "B G O F V R201", "B G O F V R201"},
		{defect.NoRebootOnAsterisk, given(serve(global, "[VOIP]\nlocal_udp_port 5070")), "B G O F V B G O F V R100", quiet},
		{defect.RebootsAtOnce, given(serve(global, "[VOIP]\nlocal_udp_port 5070")), "B G O F V B G O F V R100", "B G B G O F V R100"},
		{defect.RebootsOnAnyChange, given(serve(own, "[VOIP]\nline1_name 201")), "B G O F V R201", "B G O F V B G O F V R201"},
		{defect.RebootsOnMention, given(serve(global, "[VOIP]\nlocal_udp_port 5060"), serve(own, "[VOIP]\nlocal_udp_port 5060")), quiet, "B G O F V B G O F V R100"},
		{defect.RebootsOnMention, given(serve(own, "[VOIP]\nlocal_udp_port 5060")), quiet, quiet},
		{defect.RebootsTwiceAfterSoftware, given(offer("2.0")), upgrade, "B G O F V a x B G O F V B G O F V R100"},
		{defect.RebootsPerReason, given(offer("2.0")), upgrade, upgrade},
		{defect.RebootsPerReason, given(offer("2.0"), serve(own, "[VOIP]\nlocal_udp_port 5070")), upgrade, "B G O F V a x B G O F V B G O F V R100"},
		{defect.InstallsNothing, given(offer("2.0")), upgrade, "B G O F V a x B G O F V a x R100"},
		{defect.DownloadsSameVersion, given(offer(FactoryVersion)), quiet, "B G O F V a x R100"},
		{defect.NewerOnly, given(offer("0.9")), upgrade, quiet},
		{defect.NewerOnly, given(offer("1.0.1")), upgrade, upgrade},
		{defect.CommentsOnlyOnTop, given(offer("2.0")), upgrade, "B G O F V a ?below R100"},
		{defect.IgnoresSoftwareFlag, given(store("PROVISION/sw_download", "disable"), offer("2.0")), quiet, upgrade},
		{defect.IgnoresConfigFlag, given(store("PROVISION/cfg_download", "disable")), "B F V R100", quiet},
	} {
		t.Run(string(tc.defect), func(t *testing.T) {
			t.Parallel()
			for want, defects := range map[string]defect.Set{"healthy": nil, "sick": {tc.defect}} {
				t.Run(want, func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					l.handset(func(c *Config) {
						c.Defects = defects
						c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
						for _, g := range tc.given {
							g(l, c)
						}
					})
					expected := map[string]string{"healthy": tc.healthy, "sick": tc.sick}[want]
					if got := short(l.until(0, "register ")); got != expected {
						t.Errorf("got %s, want %s", got, expected)
					}
				})
			}
		})
	}
}

func given(list ...func(*lab, *Config)) []func(*lab, *Config) { return list }

const testKey = "0123456789abcdeffedcba9876543210"

// encrypted is a file under testKey, in the form that the facts assume.
func encrypted(text string) string { return encryptedWith(testKey, text) }

func encryptedWith(digits, text string) string {
	key, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	block, err := des.NewTripleDESCipher(append(key, key[:8]...))
	if err != nil {
		panic(err)
	}
	data := append([]byte(text), make([]byte, (8-len(text)%8)%8)...)
	cipher.NewCBCEncrypter(block, make([]byte, 8)).CryptBlocks(data, data)
	return string(data)
}

// registered is a handset that registers as 100 with nothing served.
func registered(t *testing.T, l *lab, change func(*Config)) *Handset {
	t.Helper()
	h := l.handset(func(c *Config) {
		c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
		if change != nil {
			change(c)
		}
	})
	l.until(0, "register ")
	return h
}

func TestSettingsVolatileLosesWhatFilesSet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "B G O F V R201"}, {defect.Set{defect.SettingsVolatile}, "B G O F V R100"}} {
		l := newLab(t)
		l.publish(own, "[VOIP]\nline1_name 201")
		h := registered(t, l, with(tc.defects...))
		l.publish(own, "")
		n := l.cycle(h)
		if got := short(l.until(n, "register ")); got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.defects, got, tc.want)
		}
	}
}

func TestModuleSendsItsOwnFrames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    net.HardwareAddr
	}{{nil, moduleMAC}, {defect.Set{defect.ModuleSendsAsPhone}, phoneMAC}} {
		l := newLab(t)
		registered(t, l, func(c *Config) { c.Defects, c.Module = tc.defects, moduleMAC })
		l.mu.Lock()
		if len(l.senders) != 1 || !l.senders[tc.want.String()] {
			t.Errorf("%v: downloads came from %v, want %v", tc.defects, l.senders, tc.want)
		}
		l.mu.Unlock()
	}
}

func TestCheckSyncStartsACycleWhateverTheFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "G O F V"}, {defect.Set{defect.ResyncHonoursFlags}, "F V"}} {
		l := newLab(t)
		registered(t, l, func(c *Config) {
			c.Defects = tc.defects
			store("PROVISION/cfg_download", "disable")(l, c)
		})
		n := l.count()
		l.notify("check-sync")
		if got := short(l.until(n, "tftp "+verFile)); got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.defects, got, tc.want)
		}
	}
}

func TestCheckSyncAppliesAPlainFieldWithoutReboot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	registered(t, l, nil)
	l.publish(own, "[VOIP]\nline1_name 201")
	n := l.count()
	l.notify("check-sync")
	// The registration before may be noted again, late.
	if got, want := strings.ReplaceAll(short(l.until(n, "register <sip:201 ")), "R100 ", ""), "G O F V R201"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckSyncMayRebootFirst(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	facts, err := model.Default(model.IP8830).Override(model.CheckSyncReboots, "yes", "2026-01-02", "test")
	if err != nil {
		t.Fatal(err)
	}
	registered(t, l, func(c *Config) {
		c.Facts = facts
		store("PROVISION/cfg_download", "disable")(l, c)
	})
	n := l.count()
	l.notify("check-sync")
	if got, want := short(l.until(n, "register ")), "B G O F V R100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestIgnoresCheckSync(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		event   string
		want    int
	}{
		{nil, "check-sync", 1},
		{nil, "check-sync;reboot=false", 1},
		{nil, "message-summary", 0},
		{defect.Set{defect.IgnoresCheckSync}, "check-sync", 0},
	} {
		h, err := New(Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1), Defects: tc.defects})
		if err != nil {
			t.Fatal(err)
		}
		r := &resync{device: h.device, phone: &telephone{}, events: make(chan string, 1)}
		r.notified(tc.event)
		r.notified(tc.event) // a flood is one
		if got := len(r.events); got != tc.want {
			t.Errorf("%v: %s: %d cycles to come, want %d", tc.defects, tc.event, got, tc.want)
		}
	}
}

const sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

func TestACallDefersTheCycle(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.ResyncsInCall}} {
		l := newLab(t)
		h := registered(t, l, with(defects...))
		l.request("INVITE", "i1", "To: <sip:100@192.0.2.1>\r\nContent-Type: application/sdp\r\n", sdp)
		l.until(0, "sip 180")
		if err := h.Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.until(0, "sip 200 1 INVITE")
		n := l.count()
		l.notify("check-sync")
		l.until(n, "sip 200 1 NOTIFY")
		if len(defects) > 0 {
			l.until(n, "tftp "+verFile)
			continue
		}
		if got := downloads(l.since(n)); len(got) > 0 {
			t.Errorf("in the call: %v", got)
		}
		n = l.count()
		if err := h.HangUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := short(l.until(n, "tftp "+verFile)), "G O F V"; got != want {
			t.Errorf("after the call: got %s, want %s", got, want)
		}
	}
}

func TestACallIsAnsweredWithThePreferredCodecs(t *testing.T) {
	t.Parallel()
	both := strings.Replace(sdp, "RTP/AVP 0", "RTP/AVP 18 0 8", 1)
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "RTP/AVP 8 0"}, {defect.Set{defect.FirstOfList}, "RTP/AVP 8"}} {
		l := newLab(t)
		h, _ := l.given(store("VOIP/preferred_codec", "pcma pcmu"), sick(tc.defects...))
		l.request("INVITE", "i1", "To: <sip:100@192.0.2.1>\r\nContent-Type: application/sdp\r\n", both)
		l.until(0, "sip 180")
		if err := h.Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.until(0, "sip 200 1 INVITE"); !strings.HasSuffix(got[len(got)-1], tc.want) {
			t.Errorf("%v: answered %s, want %s", tc.defects, got[len(got)-1], tc.want)
		}
	}
}

func TestFactoryReset(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		mask    uint8
	}{{nil, 7}, {defect.Set{defect.FactoryChecksOff}, 0}} {
		l := newLab(t)
		l.firmware("2.0")
		h := registered(t, l, func(c *Config) {
			c.Defects = tc.defects
			store("PROVISION/verifying_cert", "3")(l, c)
		})
		if err := h.UploadAuthority(t.Context(), newAuthority(t, "A").pem); err != nil {
			t.Fatal(err)
		}
		l.publish(own, golden())
		n := l.count()
		if err := h.FactoryReset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := short(l.until(n, "register ")), "B G O F V R201"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := h.settings().mask(); got != tc.mask {
			t.Errorf("%v: mask %d after the reset, want %d", tc.defects, got, tc.mask)
		}
		if got := h.authorities(); len(got) != 0 {
			t.Errorf("%d authorities after the reset", len(got))
		}
		if h.Version() != "2.0" {
			t.Errorf("runs %s after the reset, want 2.0", h.Version())
		}
	}
}

func TestMenuMask(t *testing.T) {
	t.Parallel()
	mask := model.Field{Section: "PROVISION", Name: "verifying_cert"}
	for _, tc := range []struct {
		defects defect.Set
		want    uint8
	}{{nil, 2}, {defect.Set{defect.MenuMaskIgnored}, 7}} {
		l := newLab(t)
		h := registered(t, l, with(tc.defects...))
		if err := h.SetByHand(t.Context(), mask, "2"); err != nil {
			t.Fatal(err)
		}
		if got := h.settings().mask(); got != tc.want {
			t.Errorf("%v: got mask %d, want %d", tc.defects, got, tc.want)
		}
		if err := h.SetByHand(t.Context(), mask, "9"); err == nil {
			t.Error("mask 9 was taken")
		}
	}
}

func TestSetByHandRegistersAnew(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, nil)
	n := l.count()
	if err := h.SetByHand(t.Context(), model.Field{Section: "VOIP", Name: "line1_name"}, "300"); err != nil {
		t.Fatal(err)
	}
	if got, want := short(l.until(n, "register ")), "R300"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHandVerbsNeedPower(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, nil)
	l.port.SetPower(false)
	for name, err := range map[string]error{
		"reset": h.FactoryReset(t.Context()), "upload": h.UploadAuthority(t.Context(), nil), "answer": h.Answer(t.Context()),
	} {
		if err == nil {
			t.Errorf("%s: no error without power", name)
		}
	}
}

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// secure serves the files over HTTPS with a leaf of the authority.
func (l *lab) secure(a authority) {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: labServer}, IPAddresses: []net.IP{net.ParseIP(labServer)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.cert, key.Public(), a.key)
	if err != nil {
		l.t.Fatal(err)
	}
	inner, err := l.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:443"))
	if err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(l.http), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var task sync.WaitGroup
	task.Go(func() {
		_ = server.Serve(tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	})
	l.t.Cleanup(func() {
		_ = server.Close()
		task.Wait()
	})
	l.options[160] = []byte("https://" + labServer)
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t, "A"), newAuthority(t, "other")
	const refused, accepted = "B R100", "B hG hO hF hV R100"
	for _, tc := range []struct {
		name    string
		defects defect.Set
		// what the handset knows from the factory, and what is built in
		installed, public []authority
		upload            []byte
		want              string
		after             string // a power cycle
	}{
		{"nothing known", nil, nil, nil, nil, refused, refused},
		{"installed", nil, []authority{a}, nil, nil, accepted, accepted},
		{"uploaded", nil, nil, nil, a.pem, accepted, accepted},
		{"uploaded beside", nil, []authority{a}, nil, other.pem, accepted, accepted},
		{"public", nil, nil, []authority{a}, nil, accepted, accepted},
		{"upload replaces", defect.Set{defect.UploadReplaces}, []authority{a}, nil, other.pem, refused, refused},
		{"upload volatile", defect.Set{defect.UploadVolatile}, nil, nil, a.pem, accepted, refused},
		{"no public authorities", defect.Set{defect.NoPublicAuthorities}, nil, []authority{a}, nil, refused, refused},
		{"unknown accepted", defect.Set{defect.AcceptsUnknownAuthority}, nil, nil, nil, accepted, accepted},
		{"requests after refusal", defect.Set{defect.RequestsAfterRefusal}, nil, nil, nil, accepted, accepted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.secure(a)
			h := registered(t, l, func(c *Config) {
				c.Defects = tc.defects
				fact(model.HTTPTimeout, "20m")(l, c) // so that no handshake of a busy machine is given up
				for _, p := range tc.public {
					c.PublicAuthorities = append(c.PublicAuthorities, p.cert)
				}
				if err := c.Flash.Update(func(s *flash.State) {
					for _, i := range tc.installed {
						s.Installed = append(s.Installed, i.cert.Raw)
					}
				}); err != nil {
					t.Fatal(err)
				}
			})
			n := 0
			if tc.upload != nil {
				n = l.count()
				l.post(AuthorityPath, tc.upload, http.StatusNoContent)
				l.notify("check-sync;reboot=true")
				n += len(l.until(n, "boot ")) - 1 // a REGISTER sent again may come before it
			}
			if got := short(l.until(n, "register ")); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			n = l.cycle(h)
			if got := short(l.until(n, "register ")); got != tc.after {
				t.Errorf("after a power cycle: got %s, want %s", got, tc.after)
			}
		})
	}
}

// post talks to the handset's Web Manager.
func (l *lab) post(path string, body []byte, want int) {
	l.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return l.host.DialTCP(ctx, netip.AddrPort{}, netip.MustParseAddrPort(labPhone+":80"))
	}}}
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, "http://"+labPhone+path, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != want {
		l.t.Errorf("POST %s: got %s, want %d", path, res.Status, want)
	}
}

func TestWebManagerRefusesRubbishAndCanBeOff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, nil)
	l.post(AuthorityPath, []byte("rubbish"), http.StatusBadRequest)
	l.post("/", nil, http.StatusNotFound)
	if err := h.SetByHand(t.Context(), model.Field{Section: "SYSTEM", Name: "web_server"}, "0"); err != nil {
		t.Fatal(err)
	}
	if err := h.UploadAuthority(t.Context(), newAuthority(t, "A").pem); err == nil {
		t.Error("an authority was uploaded although the web manager is off")
	}
}

// TestDefectsAreAllTried names where those are tried that this package only
// hands on.
func TestDefectsAreAllTried(t *testing.T) {
	t.Parallel()
	var list, tests []byte
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		into := &list
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, "_test.go"):
			into = &tests
		case filepath.Dir(path) != "defect":
			return nil
		}
		if d.IsDir() {
			return nil
		}
		text, err := os.ReadFile(path)
		*into = append(*into, text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range defect.Table() {
		d := e.Name
		m := regexp.MustCompile(`(\w+) +Name = "` + string(d) + `"`).FindSubmatch(list)
		if m == nil {
			t.Fatalf("%s is not in the list", d)
		}
		if !regexp.MustCompile(`defect\.` + string(m[1]) + `\b`).Match(tests) {
			t.Errorf("%s is tried nowhere", d)
		}
	}
}
