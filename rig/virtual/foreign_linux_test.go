package virtual

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// foreign is a network of programs that nobody here wrote: dnsmasq for DHCP, DNS
// and TFTP, nginx for HTTPS, kamailio for SIP.
type foreign struct {
	t     *testing.T
	cable *netns.Cable
	dir   string // what TFTP and HTTPS serve
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	for _, p := range []string{"dnsmasq", "nginx", "kamailio"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	f := &foreign{t: t, cable: netns.New(t), dir: t.TempDir()}
	f.cable.Address(t, labServer+"/24")
	if err := os.Chmod(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *foreign) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// start runs a program until the end of the test.
func (f *foreign) start(args ...string) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	cmd := f.cable.Peer(ctx, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := os.Create(filepath.Join(f.t.TempDir(), "out"))
	if err != nil {
		f.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us
		if text, err := os.ReadFile(out.Name()); err == nil && f.t.Failed() {
			f.t.Logf("%s:\n%s", args[0], text)
		}
		_ = out.Close()
	})
}

func (f *foreign) dnsmasq(options ...string) {
	f.t.Helper()
	f.start(append([]string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--interface=" + netns.PeerEnd, "--bind-interfaces", "--user=root",
		"--no-resolv", "--no-hosts", "--address=/prov.example/" + labServer, "--no-ping",
		"--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,1h", "--dhcp-leasefile=" + filepath.Join(f.t.TempDir(), "leases"), "--dhcp-authoritative",
		"--enable-tftp", "--tftp-root=" + f.dir, "--log-dhcp", "--log-facility=-",
	}, options...)...)
}

func (f *foreign) kamailio() {
	f.t.Helper()
	run := f.t.TempDir()
	path := filepath.Join(run, "kamailio.cfg")
	if err := os.WriteFile(path, []byte("fork=no\nlog_stderror=yes\nlisten=udp:"+labServer+":5060\nloadmodule \"sl.so\"\nrequest_route {\n sl_send_reply(\"200\", \"OK\");\n}\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.start("kamailio", "-f", path, "-Y", run, "-m", "16", "-M", "4")
}

// firmware is a version file with one image of three TFTP block sizes.
func (f *foreign) firmware(version string) {
	image := strings.Repeat(version+" ", 1500)
	f.write("image.bin", image)
	f.write(verFile, fmt.Sprintf("# from nobody\nversion %s\nmain image.bin %08x\n", version, crc32.ChecksumIEEE([]byte(image))))
}

// heard gathers what the handset says, and lets a test wait for it.
type heard struct {
	mu     sync.Mutex
	text   strings.Builder
	change chan struct{}
}

func (l *heard) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	close(l.change)
	l.change = make(chan struct{})
	return len(b), nil
}

func (l *heard) until(t *testing.T, words string) string {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		text, change := l.text.String(), l.change
		l.mu.Unlock()
		if strings.Contains(text, words) {
			return text
		}
		select {
		case <-change:
		case <-limit:
			t.Fatalf("no %q in\n%s", words, text)
		}
	}
}

func (f *foreign) handset(change func(*Config)) (*Handset, *heard) {
	f.t.Helper()
	log := &heard{change: make(chan struct{})}
	cfg := Config{
		Model: model.IP8830, MAC: phoneMAC, Factor: 50, Log: slog.New(slog.NewTextHandler(log, nil)),
		Port: f.cable.Open(f.t, wire.PacketOptions{}),
	}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }() // ends with ctx
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("run: %v", err)
		}
	})
	return h, log
}

func TestForeignTFTP(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.write(global, golden("local_udp_port 5070"))
	f.write(own, "[VOIP]\nline1_name 202\n")
	f.firmware("2.0")
	f.kamailio()
	f.dnsmasq("--dhcp-option-force=150," + labServer)
	h, log := f.handset(nil)
	text := log.until(t, "registration ok=true")
	if h.Version() != "2.0" {
		t.Errorf("runs %s, want 2.0", h.Version())
	}
	if n := strings.Count(text, "msg=reboot "); n != 1 {
		t.Errorf("got %d reboots, want 1", n)
	}
	if !strings.Contains(text, "user=202") {
		t.Errorf("did not register as 202:\n%s", text)
	}
}

func TestForeignHTTPSByNameWithCredentials(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.write(global, golden())
	f.firmware("2.0")
	ca := newAuthority(t, "rig")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "prov.example"}, DNSNames: []string{"prov.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	put := func(name string, data []byte) string {
		path := filepath.Join(run, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := put("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	private := put("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	users := put("users", []byte("rig:{PLAIN}secret\n"))
	pid := filepath.Join(run, "pid")
	conf := put("nginx.conf", fmt.Appendf(nil, `daemon off; master_process off; user root; pid %s; error_log stderr;
events {}
http {
 access_log off; client_body_temp_path %[2]s/b; proxy_temp_path %[2]s/p; fastcgi_temp_path %[2]s/f; uwsgi_temp_path %[2]s/u; scgi_temp_path %[2]s/s;
 server {
  listen %[3]s:443 ssl; ssl_certificate %[4]s; ssl_certificate_key %[5]s;
  auth_basic rig; auth_basic_user_file %[6]s;
  location /phones/ { alias %[7]s/; }
 }
}
`, pid, run, labServer, cert, private, users, f.dir))
	f.start("nginx", "-c", conf, "-e", "stderr")
	f.kamailio()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 { // nginx listens before it writes the file
		if _, err := os.Stat(pid); err == nil {
			break
		}
		<-tick.C
	}
	f.dnsmasq("--dhcp-option-force=150,"+labServer, "--dhcp-option-force=160,https://prov.example/phones/")
	h, log := f.handset(func(c *Config) {
		c.Flash = newFlash(t, c.Model, map[string]string{"PROVISION/https_id": "rig", "PROVISION/https_password": "secret"})
		if err := c.Flash.Update(func(s *flash.State) { s.Upload([]*x509.Certificate{ca.cert}) }); err != nil {
			t.Fatal(err)
		}
	})
	text := log.until(t, "registration ok=true")
	if h.Version() != "2.0" {
		t.Errorf("runs %s, want 2.0", h.Version())
	}
	if strings.Contains(text, "tftp") {
		t.Errorf("tftp although option 160 is populated:\n%s", text)
	}
}
