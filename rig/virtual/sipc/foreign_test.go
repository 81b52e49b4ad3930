package sipc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// live runs an agent on loopback until the test ends.
func live(t *testing.T, cfg Config) *Agent {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatal("no UDP")
	}
	cfg.Conn, cfg.Local = conn, udp.AddrPort()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	})
	return a
}

const kamailio = `
debug=2
log_stderror=yes
children=1
auto_aliases=no
listen=udp:127.0.0.1:25060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
modparam("auth", "nonce_expire", 300)
modparam("registrar", "max_expires", 60)
request_route {
  if (is_method("REGISTER")) {
    if (!pv_www_authenticate("rig", "secret", "0")) {
      www_challenge("rig", "1");
      exit;
    }
    save("location");
    exit;
  }
  sl_send_reply("404", "Not Here");
}
`

func TestKamailioRegistersUs(t *testing.T) {
	if _, err := exec.LookPath("kamailio"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(conf, []byte(kamailio), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "kamailio", "-DD", "-E", "-m", "16", "-M", "4", "-Y", dir, "-f", conf)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it ends its children
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	for password, want := range map[string]bool{"secret": true, "wrong": false} {
		results := make(chan bool, 16)
		live(t, Config{
			Proxy: netip.MustParseAddrPort("127.0.0.1:25060"), ProxyHost: "rig", User: "201", Password: password,
			Expires: 600, T1: 100 * time.Millisecond, CallID: "boot-" + password, OnRegister: func(ok bool) { results <- ok },
		})
		select {
		case got := <-results:
			if got != want {
				t.Errorf("password %q: registered %v, want %v", password, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("password %q: no result", password)
		}
	}
}

func TestSIPpCallsUs(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip(err)
	}
	a := live(t, Config{Proxy: netip.MustParseAddrPort("127.0.0.1:9"), User: "service", CallID: "boot", AutoAnswer: true})
	cmd := exec.CommandContext(t.Context(), "sipp", "-sn", "uac", "-s", "service", "-i", "127.0.0.1", "-m", "3", "-l", "1", "-r", "10", "-d", "50", "-timeout", "20", "-nostdin", "-trace_err",
		fmt.Sprint(a.cfg.Local))
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sipp: %v\n%s", err, out)
	}
	select {
	case <-a.Idle(): // SIPp ends with our 200 to its BYE, a moment before the call is put away
	case <-time.After(20 * time.Second):
		t.Error("busy after the calls")
	}
}

func TestSipsakAsksUs(t *testing.T) {
	if _, err := exec.LookPath("sipsak"); err != nil {
		t.Skip(err)
	}
	a := live(t, Config{Proxy: netip.MustParseAddrPort("127.0.0.1:9"), User: "201", CallID: "boot"})
	out, err := exec.CommandContext(t.Context(), "sipsak", "-v", "-s", fmt.Sprintf("sip:201@%v", a.cfg.Local)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "200 OK") {
		t.Errorf("sipsak: %v\n%s", err, out)
	}
}
