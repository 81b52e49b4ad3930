package sipd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/sipd"
)

// onLoopback serves on a kernel socket, for peers that nobody here wrote.
func (b *bench) onLoopback(edit ...func(*sipd.Config)) (s *sipd.Server, addr string) {
	b.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.t.Fatal(err)
	}
	s, _ = b.start(append(edit, func(c *sipd.Config) { c.Conn = conn })...)
	return s, conn.LocalAddr().String()
}

// freePort is a UDP port that nobody has at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	addr, _ := conn.LocalAddr().(*net.UDPAddr)
	return addr.Port
}

func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("needs %s: %v", tool, err)
	}
}

func run(t *testing.T, tool string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestSipsak(t *testing.T) {
	need(t, "sipsak")
	t.Run("asks for options", func(t *testing.T) {
		b := newBench(t)
		_, addr := b.onLoopback()
		if out := run(t, "sipsak", "-vv", "-s", "sip:201@"+addr); !strings.Contains(out, "SIP/2.0 200 OK") {
			t.Errorf("sipsak says %s", out)
		}
	})
	t.Run("registers with a password", func(t *testing.T) {
		b := newBench(t)
		s, addr := b.onLoopback(func(c *sipd.Config) {
			c.Password = func(name string) (string, bool) { return secret, name == "201" }
		})
		run(t, "sipsak", "-U", "-C", "sip:201@127.0.0.1:5099", "-x", "60", "-u", "201", "-a", secret, "-s", "sip:201@"+addr)
		got := s.Bindings()
		if len(got) != 1 || got[0].Contact != "sip:201@127.0.0.1:5099" || time.Until(got[0].Expires).Round(10*time.Second) != time.Minute {
			t.Errorf("bindings %+v", got)
		}
		if odd := b.of(timeline.ServiceOddity); odd != nil {
			t.Errorf("oddities %q", odd)
		}
	})
	t.Run("is refused with a wrong one", func(t *testing.T) {
		b := newBench(t)
		s, addr := b.onLoopback(func(c *sipd.Config) {
			c.Password = func(string) (string, bool) { return secret, true }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "sipsak", "-U", "-C", "sip:201@127.0.0.1:5099", "-u", "201", "-a", "wrong", "-s", "sip:201@"+addr).CombinedOutput()
		if err == nil || len(s.Bindings()) != 0 {
			t.Errorf("registered %+v: %s", s.Bindings(), out)
		}
		if odd := b.of(timeline.ServiceOddity); len(odd) != 1 || odd[0] != `credentials of "201" refused: wrong digest` {
			t.Errorf("oddities %q", odd)
		}
	})
}

// scenario writes a SIPp scenario and returns its path.
func scenario(t *testing.T, steps ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.xml")
	text := `<?xml version="1.0" encoding="ISO-8859-1" ?><scenario name="x">` + strings.Join(steps, "\n") + `</scenario>`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sendStep(lines ...string) string {
	return "<send retrans=\"500\"><![CDATA[\n\n" + strings.Join(lines, "\n") + "\n\n]]></send>"
}

func sippRegister(seq int, auth string) string {
	lines := []string{
		"REGISTER sip:[remote_ip]:[remote_port] SIP/2.0", "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
		"From: <sip:201@[remote_ip]>;tag=[call_number]", "To: <sip:201@[remote_ip]>", "Call-ID: [call_id]",
		"CSeq: " + strconv.Itoa(seq) + " REGISTER", "Contact: <sip:201@[local_ip]:[local_port]>", "Max-Forwards: 70", "Expires: 60",
	}
	if auth != "" {
		lines = append(lines, auth)
	}
	return sendStep(append(lines, "Content-Length: 0")...)
}

// sippAnswer answers the request received last.
func sippAnswer(status, body string) string {
	lines := []string{
		"SIP/2.0 " + status, "[last_Via:]", "[last_From:]", "[last_To:];tag=[pid]SIPp[call_number]", "[last_Call-ID:]", "[last_CSeq:]",
		"Contact: <sip:201@[local_ip]:[local_port]>",
	}
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, "Content-Length: [len]")
	if body != "" {
		lines = append(lines, "", body)
	}
	return "<send><![CDATA[\n\n" + strings.Join(lines, "\n") + "\n\n]]></send>"
}

func TestSIPpRegisters(t *testing.T) {
	need(t, "sipp")
	b := newBench(t)
	s, addr := b.onLoopback(func(c *sipd.Config) {
		c.Password = func(name string) (string, bool) { return secret, name == "u1" }
	})
	file := scenario(t,
		sippRegister(1, ""), `<recv response="401" auth="true"/>`,
		sippRegister(2, fmt.Sprintf("[authentication username=u1 password=%s]", secret)), `<recv response="200"/>`,
	)
	port := freePort(t)
	run(t, "sipp", addr, "-sf", file, "-m", "1", "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-nostdin", "-timeout", "20s")
	got := s.Bindings()
	if len(got) != 1 || got[0].Src.Port() != uint16(port) || got[0].CSeq != 2 {
		t.Errorf("bindings %+v", got)
	}
	if odd := b.of(timeline.ServiceOddity); odd != nil {
		t.Errorf("oddities %q", odd)
	}
}

// beSIPp starts a SIPp that answers, registers it and waits until it is there.
func beSIPp(t *testing.T, steps ...string) (b *bench, s *sipd.Server, wait func() error) {
	t.Helper()
	need(t, "sipp")
	b = newBench(t)
	s, addr := b.onLoopback(func(c *sipd.Config) { c.T1 = 50 * time.Millisecond })
	port := freePort(t)
	cmd := exec.CommandContext(t.Context(), "sipp", addr, "-sf", scenario(t, steps...), "-m", "1", "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-nostdin", "-timeout", "20s")
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reg, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reg.Close() }()
	to, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	msg := register("r", 1, fmt.Sprintf("Contact: <sip:201@127.0.0.1:%d>", port), "Expires: 60")
	if _, err := reg.WriteTo([]byte(msg), to); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Await(ctx, "201"); err != nil {
		t.Fatal(err)
	}
	return b, s, cmd.Wait
}

const sdp = "v=0\no=user1 1 1 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000"

func TestSIPpIsNotified(t *testing.T) {
	b, s, wait := beSIPp(t, `<recv request="NOTIFY"/>`, sippAnswer("200 OK", ""))
	// SIPp may not listen yet: that is what the retransmissions are for.
	if err := s.Notify(t.Context(), "201", "check-sync"); err != nil {
		t.Error(err)
	}
	if err := wait(); err != nil {
		t.Errorf("sipp: %v", err)
	}
	if got := b.of(timeline.Note); len(got) != 1 || got[0] != "NOTIFY answered 200 OK" {
		t.Errorf("notes %q", got)
	}
}

func TestSIPpIsCalled(t *testing.T) {
	b, s, wait := beSIPp(t,
		`<recv request="INVITE"/>`, sippAnswer("180 Ringing", ""), sippAnswer("200 OK", sdp),
		`<recv request="ACK"/>`, `<recv request="BYE"/>`, sippAnswer("200 OK", ""))
	d, err := s.Call(t.Context(), "201")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Hangup(t.Context()); err != nil {
		t.Error(err)
	}
	if err := wait(); err != nil {
		t.Errorf("sipp: %v", err)
	}
	if odd := b.of(timeline.ServiceOddity); odd != nil {
		t.Errorf("oddities %q", odd)
	}
}

func TestSIPpCalls(t *testing.T) {
	need(t, "sipp")
	b := newBench(t)
	_, addr := b.onLoopback()
	// -sn uac is SIPp's own: INVITE, ACK, BYE.
	run(t, "sipp", addr, "-sn", "uac", "-m", "1", "-i", "127.0.0.1", "-p", strconv.Itoa(freePort(t)), "-nostdin", "-timeout", "20s")
	if odd := b.of(timeline.ServiceOddity); odd != nil {
		t.Errorf("oddities %q", odd)
	}
}
