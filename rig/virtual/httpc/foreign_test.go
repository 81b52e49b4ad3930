package httpc

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/virtual/trust"
)

// start runs a server that nobody here wrote until the test ends, and waits
// for its port.
func start(t *testing.T, addr string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp4", addr)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen on %s:\n%s", args[0], addr, out.String())
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func foreignClient() *Client {
	return &Client{
		Dial: func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp4", addr.String())
		},
		ID: "201", Password: "secret", Timeout: 10 * time.Second, Tries: 1,
	}
}

func TestNginxBasicAndTLS(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	// The workers run as nobody and must reach the files.
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v\n%s", err, out)
		}
	}
	run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=A", "-days", "9")
	run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=rig")
	write(t, dir, "ext", "subjectAltName=IP:127.0.0.1\n")
	run("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem", "-days", "9", "-extfile", "ext")
	write(t, dir, "passwd", "201:{PLAIN}secret\n")
	write(t, dir, "f", "hello")
	errorLog := filepath.Join(dir, "error.log")
	conf := write(t, dir, "nginx.conf", `
daemon off; master_process off; pid `+dir+`/pid; error_log `+errorLog+` info;
events {}
http {
  access_log `+dir+`/access.log; client_body_temp_path `+dir+`/b; proxy_temp_path `+dir+`/p;
  fastcgi_temp_path `+dir+`/c; uwsgi_temp_path `+dir+`/u; scgi_temp_path `+dir+`/s;
  server {
    listen 127.0.0.1:20443 ssl; ssl_certificate `+dir+`/leaf.pem; ssl_certificate_key `+dir+`/leaf.key;
    ssl_protocols TLSv1.2; root `+dir+`;
    location / { auth_basic rig; auth_basic_user_file `+dir+`/passwd; }
  }
}`)
	start(t, "127.0.0.1:20443", "nginx", "-c", conf)
	data, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}

	c := foreignClient()
	defer c.Close() //nolint:errcheck // tested below
	c.Policy = trust.Policy{Mask: trust.All, Authorities: []*x509.Certificate{ca}, Now: func() (time.Time, bool) { return time.Now().Add(time.Minute), true }}
	for range 2 {
		if body, code, err := c.Get(t.Context(), "https://127.0.0.1:20443/f"); string(body) != "hello" || code != 200 || err != nil {
			t.Errorf("got %d %q %v", code, body, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}

	c.Policy.Authorities = nil
	_, _, err = c.Get(t.Context(), "https://127.0.0.1:20443/f")
	if _, ok := errors.AsType[*trust.Refusal](err); !ok {
		t.Errorf("got %v, want a refusal", err)
	}
	// nginx writes what OpenSSL read off the wire, a moment later.
	for range 100 {
		if data, err = os.ReadFile(errorLog); err != nil || strings.Contains(string(data), "alert unknown ca") {
			break
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err != nil || !strings.Contains(string(data), "alert unknown ca") {
		t.Errorf("nginx saw no alert unknown_ca: %v\n%s", err, data)
	}
}

func TestLighttpdDigest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "hello")
	write(t, dir, "g", "again")
	write(t, dir, "passwd", "201:secret\n")
	conf := write(t, dir, "lighttpd.conf", `
server.modules = ( "mod_auth", "mod_authn_file", "mod_accesslog" )
server.document-root = "`+dir+`"
server.bind = "127.0.0.1"
server.port = 20080
accesslog.filename = "`+dir+`/access"
accesslog.format = "%s %{Authorization}i"
auth.backend = "plain"
auth.backend.plain.userfile = "`+dir+`/passwd"
auth.require = ( "/" => ( "method" => "digest", "realm" => "rig", "require" => "valid-user", "algorithm" => "MD5" ) )
`)
	start(t, "127.0.0.1:20080", "lighttpd", "-D", "-f", conf)
	c := foreignClient()
	for path, want := range map[string]string{"f": "hello", "g": "again"} {
		if body, code, err := c.Get(t.Context(), "http://127.0.0.1:20080/"+path); string(body) != want || code != 200 || err != nil {
			t.Errorf("%s: got %d %q %v", path, code, body, err)
		}
	}
	if got := c.spaces; len(got) != 1 || got[0].digest == nil || !got[0].digest.SupportsQOP("auth") || got[0].count != 2 {
		t.Errorf("protection spaces: %+v, want one with qop=auth that counted to 2", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c.Password = "wrong"
	if _, code, err := c.Get(t.Context(), "http://127.0.0.1:20080/f"); code != 401 || err != nil {
		t.Errorf("wrong password: got %d %v, want 401", code, err)
	}
}

func TestNginxStatusesAndRedirections(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	conf := write(t, dir, "nginx.conf", `
daemon off; master_process off; pid `+dir+`/pid; error_log `+dir+`/error.log;
events {}
http {
  access_log `+dir+`/access.log; client_body_temp_path `+dir+`/b; proxy_temp_path `+dir+`/p;
  fastcgi_temp_path `+dir+`/c; uwsgi_temp_path `+dir+`/u; scgi_temp_path `+dir+`/s;
  server {
    listen 127.0.0.1:20081;
    location = /ok { return 200 hello; }
    location = /moved { return 301 /ok; }
    location = /loop { return 302 /loop; }
    location = /busy { add_header Retry-After 1 always; return 503; }
    location = /packed { add_header Content-Encoding gzip; return 200 hello; }
    location = /gone { return 444; }
  }
}`)
	start(t, "127.0.0.1:20081", "nginx", "-c", conf)
	c := foreignClient()
	defer func() { _ = c.Close() }()
	c.Redirects, c.Tries, c.RetryStatuses, c.RetryAfterLimit = 3, 2, []int{503}, 2*time.Second
	for path, want := range map[string]struct {
		status, asked int
		body          string
		fails         bool
	}{
		"/ok":     {200, 1, "hello", false},
		"/moved":  {200, 1, "hello", false},
		"/loop":   {302, 4, "", false},
		"/busy":   {503, 2, "", false},
		"/packed": {0, 1, "", true},
		"/gone":   {0, 2, "", true},
	} {
		body, code, err := c.Get(t.Context(), "http://127.0.0.1:20081"+path)
		if code != want.status || (err != nil) != want.fails || want.body != "" && string(body) != want.body {
			t.Errorf("%s: got %d %q %v, want %+v", path, code, body, err, want)
		}
		_ = c.Close()
		// nginx writes a request down when it has done with it, a moment later.
		asked := 0
		for range 50 {
			data, err := os.ReadFile(filepath.Join(dir, "access.log"))
			if err != nil {
				t.Fatal(err)
			}
			if asked = strings.Count(string(data), "GET "+path+" "); asked >= want.asked {
				break
			}
			<-time.After(20 * time.Millisecond)
		}
		if path != "/ok" && asked != want.asked {
			t.Errorf("%s: nginx was asked %d times, want %d", path, asked, want.asked)
		}
	}
}
