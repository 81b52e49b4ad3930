package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// journal keeps what the server records.
type journal struct {
	mu     sync.Mutex
	events []timeline.Event
	grown  chan struct{}
}

func (j *journal) record(e timeline.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	if j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
}

func (j *journal) all() []timeline.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}

func (j *journal) of(kind timeline.Kind) []timeline.Event {
	return slices.DeleteFunc(j.all(), func(e timeline.Event) bool { return e.Kind != kind })
}

// wait returns the events of kind once there are n.
func (j *journal) wait(t *testing.T, kind timeline.Kind, n int) []timeline.Event {
	t.Helper()
	for {
		j.mu.Lock()
		if j.grown == nil {
			j.grown = make(chan struct{})
		}
		grown := j.grown
		j.mu.Unlock()
		if got := j.of(kind); len(got) >= n {
			return got
		}
		select {
		case <-grown:
		case <-time.After(20 * time.Second):
			t.Fatalf("waited for %d of %q, got:\n%s", n, kind, j)
		}
	}
}

func (j *journal) String() string {
	var b strings.Builder
	for _, e := range j.all() {
		fmt.Fprintf(&b, "%s %s %s %d %t %s %v\n", e.Kind, e.Message, e.File, e.Status, e.Complete, e.Reason, e.Fields)
	}
	return b.String()
}

var image = bytes.Repeat([]byte("firmware stand-in "), 20000)

func lookup(name string, _ netip.AddrPort) ([]byte, error) {
	switch name {
	case "sysconf_8830_sip.cfg":
		return []byte("[LAN]\n"), nil
	case "a b":
		return []byte("blank"), nil
	case "empty":
		return nil, nil
	case "image.rom":
		return image, nil
	case "secret":
		return nil, fs.ErrPermission
	case "broken":
		return nil, errors.New("the disk is gone")
	default:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
}

// serve starts a server on loopback and returns its address.
func serve(t *testing.T, cfg Config) (addr string, j *journal) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), serveOn(t, l, cfg)
}

func serveOn(t *testing.T, l net.Listener, cfg Config) *journal {
	t.Helper()
	j := &journal{}
	cfg.Listener, cfg.Record = l, j.record
	if cfg.Lookup == nil {
		cfg.Lookup = lookup
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	// Ends when the test's cleanup cancels ctx.
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return j
}

// pipe is a listener whose connections are made in memory.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipe() *pipe { return &pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipe) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// need returns the path of a foreign program, or skips.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// run runs a foreign program; its failure is the caller's to judge.
func run(t *testing.T, name string, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, name), args...)
	cmd.Env = append(cmd.Environ(), "no_proxy=*", "NO_PROXY=*")
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// kinds is what happened, in short.
func kinds(events []timeline.Event) []string {
	var all []string
	for _, e := range events {
		s := string(e.Kind)
		for _, part := range []string{e.Message, e.File} {
			if part != "" {
				s += " " + part
			}
		}
		if e.Status != 0 {
			s += " " + strconv.Itoa(e.Status)
		}
		all = append(all, s)
	}
	return all
}

func TestForeignClientsFetchFiles(t *testing.T) {
	t.Parallel()
	clients := map[string][]string{
		"curl":                 {"curl", "-sS", "-f"},
		"curl over HTTP/1.0":   {"curl", "-sS", "-f", "--http1.0"},
		"wget":                 {"wget", "-q", "-O", "-"},
		"wget of busybox":      {"busybox", "wget", "-q", "-O", "-"},
		"curl and a keepalive": {"curl", "-sS", "-f", "--http1.0", "-H", "Connection: keep-alive"},
	}
	for name, args := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := serve(t, Config{})
			need(t, args[0])
			out, err := exec.CommandContext(t.Context(), args[0], append(args[1:], "http://"+addr+"/image.rom")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, image) {
				t.Errorf("got %d bytes that are not the file", len(out))
			}
			closed := j.wait(t, timeline.ConnClosed, 1)[0]
			want := []string{"HTTP request GET image.rom", "HTTP response GET image.rom 200", "served image.rom 200", "connection closed"}
			if got := kinds(j.all()); !slices.Equal(got, want) {
				t.Errorf("recorded %q, want %q", got, want)
			}
			served := j.of(timeline.Served)[0]
			sum := sha256.Sum256(image)
			if !served.Complete || served.Bytes != int64(len(image)) || served.SHA256 != hex.EncodeToString(sum[:]) || served.Transport != timeline.HTTP {
				t.Errorf("served %+v", served)
			}
			asked := j.of(timeline.HTTPRequest)[0]
			if asked.Fields["http.host"] != addr || asked.Fields["http.user_agent"] == "" && name != "wget of busybox" || asked.Dst.String() != addr || asked.Src != closed.Src {
				t.Errorf("asked %+v", asked)
			}
			sent, err := strconv.Atoi(closed.Fields["bytes.out"])
			if err != nil || sent <= len(image) || sent > len(image)+1000 {
				t.Errorf("bytes.out %q for %d bytes of file (%v)", closed.Fields["bytes.out"], len(image), err)
			}
			if closed.Reason == "" {
				t.Error("no reason for the end of the connection")
			}
		})
	}
}

func TestTwoFilesOverOneConnectionOfCurl(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"--http1.0", "--http1.1"} {
		addr, j := serve(t, Config{})
		out, err := run(t, "curl", "-sS", version, "-H", "Connection: keep-alive", "http://"+addr+"/sysconf_8830_sip.cfg", "http://"+addr+"/missing", "http://"+addr+"/empty")
		if err != nil || out != "[LAN]\n404 Not Found\n" {
			t.Errorf("%s: got %q, %v", version, out, err)
		}
		if got := len(j.wait(t, timeline.ConnClosed, 1)); got != 1 {
			t.Errorf("%s: %d connections", version, got)
		}
		want := []string{
			"HTTP request GET sysconf_8830_sip.cfg", "HTTP response GET sysconf_8830_sip.cfg 200", "served sysconf_8830_sip.cfg 200",
			"HTTP request GET missing", "HTTP response GET missing 404",
			"HTTP request GET empty", "HTTP response GET empty 200", "served empty 200", "connection closed",
		}
		if got := kinds(j.all()); !slices.Equal(got, want) {
			t.Errorf("%s: recorded %q, want %q", version, got, want)
		}
	}
}

func TestRequestsAreAnsweredAsTheStandardsSay(t *testing.T) {
	t.Parallel()
	const host = "Host: 192.0.2.1\r\n"
	for name, c := range map[string]struct {
		in     string
		status []int // one answer each
		kept   bool
		file   string
		oddity string
	}{
		"HTTP/1.1 keeps the connection":              {in: "GET /empty HTTP/1.1\r\n" + host + "\r\n", status: []int{200}, kept: true, file: "empty"},
		"HTTP/1.1 closes it when asked":              {in: "GET /empty HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", status: []int{200}, file: "empty"},
		"HTTP/1.0 closes the connection":             {in: "GET /empty HTTP/1.0\r\n\r\n", status: []int{200}, file: "empty"},
		"HTTP/1.0 keeps it when asked":               {in: "GET /empty HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", status: []int{200}, kept: true, file: "empty"},
		"three requests sent at once":                {in: strings.Repeat("GET /empty HTTP/1.1\r\n"+host+"\r\n", 3), status: []int{200, 200, 200}, kept: true, file: "empty"},
		"bare line feeds":                            {in: "GET /empty HTTP/1.0\n\n", status: []int{200}, file: "empty"},
		"an empty line before it":                    {in: "\r\nGET /empty HTTP/1.0\r\n\r\n", status: []int{200}, file: "empty"},
		"a target in absolute form":                  {in: "GET http://user:s3cret@192.0.2.1/empty?x=1 HTTP/1.1\r\n" + host + "\r\n", status: []int{200}, kept: true, file: "empty"},
		"an escaped name":                            {in: "GET /a%20b HTTP/1.0\r\n\r\n", status: []int{200}, file: "a%20b"},
		"a query":                                    {in: "GET /empty?mac=00 HTTP/1.0\r\n\r\n", status: []int{200}, file: "empty"},
		"two slashes":                                {in: "GET //empty HTTP/1.0\r\n\r\n", status: []int{200}, file: "/empty", oddity: "more than one slash"},
		"a file that may not be read":                {in: "GET /secret HTTP/1.0\r\n\r\n", status: []int{403}, file: "secret"},
		"a file that cannot be read":                 {in: "GET /broken HTTP/1.0\r\n\r\n", status: []int{500}, file: "broken", oddity: "the disk is gone"},
		"escaped twice, decoded once":                {in: "GET /%252e%252e/x HTTP/1.0\r\n\r\n", status: []int{404}, file: "%252e%252e/x"},
		"a path upwards":                             {in: "GET /../etc/passwd HTTP/1.0\r\n\r\n", status: []int{400}, file: "../etc/passwd", oddity: "leads upwards"},
		"a path upwards, escaped":                    {in: "GET /a/%2e%2E/b HTTP/1.0\r\n\r\n", status: []int{400}, file: "a/%2e%2E/b", oddity: "leads upwards"},
		"a path upwards with an escaped slash":       {in: "GET /a%2f..%2fb HTTP/1.0\r\n\r\n", status: []int{400}, file: "a%2f..%2fb", oddity: "leads upwards"},
		"a NUL":                                      {in: "GET /a%00b HTTP/1.0\r\n\r\n", status: []int{400}, file: "a%00b", oddity: "control byte"},
		"a backslash":                                {in: `GET /a\b` + " HTTP/1.0\r\n\r\n", status: []int{400}, file: `a\b`, oddity: "backslash"},
		"an escaped backslash":                       {in: "GET /..%5cb HTTP/1.0\r\n\r\n", status: []int{400}, file: "..%5cb", oddity: "backslash"},
		"a wrong escape":                             {in: "GET /%zz HTTP/1.0\r\n\r\n", status: []int{400}, oddity: "malformed"},
		"HTTP/1.1 without Host":                      {in: "GET /empty HTTP/1.1\r\n\r\n", status: []int{400}, file: "empty", oddity: "without a Host line"},
		"two Hosts":                                  {in: "GET /empty HTTP/1.1\r\n" + host + "Host: b\r\n\r\n", status: []int{400}, oddity: "too many Host headers"},
		"HTTP/2":                                     {in: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: []int{505}, oddity: "HTTP/2.0"},
		"HTTP/0.9":                                   {in: "GET /empty\r\n\r\n", status: []int{400}, oddity: "malformed"},
		"a method for writing":                       {in: "PUT /empty HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabcGET /empty HTTP/1.1\r\n" + host + "\r\n", status: []int{405, 200}, kept: true, file: "empty"},
		"a chunked body before the next request":     {in: "GET /empty HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /empty HTTP/1.1\r\n" + host + "\r\n", status: []int{200, 200}, kept: true, file: "empty"},
		"a head that is too long":                    {in: "GET /empty HTTP/1.0\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", status: []int{431}, oddity: "more than 65536 bytes"},
		"a head of almost the greatest length":       {in: "GET /empty HTTP/1.0\r\nX: " + strings.Repeat("x", maxHead-30) + "\r\n\r\n", status: []int{200}, file: "empty"},
		"a request from something that is not HTTP":  {in: "EHLO example\r\n\r\n", status: []int{400}, oddity: `malformed request "EHLO example"`},
		"credentials in a target that is malformed":  {in: "GET http://user:s3cret@h/%zz HTTP/1.1\r\n" + host + "\r\n", status: []int{400}, oddity: `malformed request "GET http://h/%zz HTTP/1.1"`},
		"a head cut off by the end of the handset's": {in: "GET /empty HT", status: []int{400}, oddity: `request "GET /empty HT" is cut off after 13 bytes`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := serve(t, Config{})
			client := dial(t, addr)
			if _, err := io.WriteString(client, c.in); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "cut off") {
				if err := client.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			br := bufio.NewReader(client)
			for _, want := range c.status {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
				if resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
				if strings.Contains(c.in, "HTTP/1.0") && c.file != "" && resp.ProtoMinor != 0 {
					t.Errorf("answered %s to HTTP/1.0", resp.Proto)
				}
				if resp.Close == c.kept {
					t.Errorf("the answer says closed %t, want %t", resp.Close, !c.kept)
				}
			}
			if c.kept {
				if err := client.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("behind the answers: %v, want a clean end", err)
			}
			_ = client.Close()
			closed := j.wait(t, timeline.ConnClosed, 1)[0]
			if got, want := closed.Fields["bytes.in"], strconv.Itoa(len(c.in)); got != want {
				t.Errorf("bytes.in %s, want %s", got, want)
			}
			odd := j.of(timeline.ServiceOddity)
			if c.oddity == "" && len(odd) > 0 || c.oddity != "" && (len(odd) != 1 || !strings.Contains(odd[0].Reason, c.oddity)) {
				t.Errorf("oddities %v, want one with %q", odd, c.oddity)
			}
			if strings.Contains(j.String(), "s3cret") {
				t.Errorf("the journal holds a password:\n%s", j)
			}
			asked := j.of(timeline.HTTPRequest)
			if c.file == "" && len(asked) > 0 || c.file != "" && (len(asked) == 0 || asked[0].File != c.file) {
				t.Errorf("asked %v, want %q", kinds(asked), c.file)
			}
		})
	}
}

func TestHEADHasTheHeadAndNoBody(t *testing.T) {
	t.Parallel()
	addr, j := serve(t, Config{})
	client := dial(t, addr)
	if _, err := io.WriteString(client, "HEAD /image.rom HTTP/1.1\r\nHost: a\r\n\r\nHEAD /missing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HTTP/1.1 200 OK\r\n", "Content-Length: " + strconv.Itoa(len(image)), "HTTP/1.1 404 Not Found\r\n"} {
		if !bytes.Contains(all, []byte(want)) {
			t.Errorf("no %q in %q", want, all)
		}
	}
	if bytes.Contains(all, []byte("firmware")) || bytes.Contains(all, []byte("404 Not Found\n")) {
		t.Errorf("a body in %q", all)
	}
	j.wait(t, timeline.ConnClosed, 1)
	if got := j.of(timeline.Served); len(got) > 0 {
		t.Errorf("served %v", kinds(got))
	}
}

func TestWaitsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want string
	}{
		"nothing asked":               {"", "nothing asked in 1m0s"},
		"nothing more asked":          {"HEAD /empty HTTP/1.1\r\nHost: a\r\n\r\n", "nothing more asked in 1m0s"},
		"a head that is not finished": {"HEAD /empty HTTP/1.1\r\n", "closed by the rig after a bad request"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipe()
				j := serveOn(t, p, Config{})
				client := p.dial()
				defer func() { _ = client.Close() }()
				start := time.Now()
				if _, err := io.WriteString(client, c.in); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(client); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := time.Since(start); got != time.Minute {
					t.Errorf("it took %s", got)
				}
				closed := j.of(timeline.ConnClosed)
				if len(closed) != 1 || closed[0].Reason != c.want {
					t.Errorf("closed %v, want %q", closed, c.want)
				}
			})
		})
	}
}

func TestAHandsetThatTakesNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		j := serveOn(t, p, Config{Stall: 7 * time.Second})
		client := p.dial()
		defer func() { _ = client.Close() }()
		start := time.Now()
		if _, err := io.WriteString(client, "GET /image.rom HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 20000)); err != nil {
			t.Fatal(err)
		}
		j.wait(t, timeline.ConnClosed, 1)
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("given up after %s", got)
		}
		served := j.of(timeline.Served)
		if len(served) != 1 || served[0].Complete || served[0].Bytes >= 20000 || served[0].Bytes < 16<<10-300 {
			t.Errorf("served %+v", served)
		}
	})
}

func TestServeEndsWithItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		j := &journal{}
		s, err := New(Config{Listener: p, Lookup: lookup, Record: j.record})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		// Ends when ctx does.
		go func() { done <- s.Serve(ctx) }()
		client := p.dial()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
		if closed := j.of(timeline.ConnClosed); len(closed) != 1 || closed[0].Reason != "the service ends" {
			t.Errorf("closed %v", closed)
		}
	})
}

func TestConfigurationsThatCannotServeAreRefused(t *testing.T) {
	t.Parallel()
	good := Config{Listener: newPipe(), Lookup: lookup, Record: func(timeline.Event) {}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"no Listener": func(c *Config) { c.Listener = nil },
		"no Lookup":   func(c *Config) { c.Lookup = nil },
		"no Record":   func(c *Config) { c.Record = nil },
		"negative":    func(c *Config) { c.Idle = -1 },
		"MaxVersion":  func(c *Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS13, tls.VersionTLS12 },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}

func TestFaults(t *testing.T) {
	const get = "GET /image.rom HTTP/1.1\r\nHost: a\r\n\r\n"
	plan := func(e fault.Effect) *fault.Plan {
		p := &fault.Plan{}
		p.Add(fault.On("image.rom").Do(e).Once())
		return p
	}
	ask := func(t *testing.T, e fault.Effect) (net.Conn, *bufio.Reader, *journal) {
		t.Helper()
		addr, j := serve(t, Config{Faults: plan(e)})
		client := dial(t, addr)
		if _, err := io.WriteString(client, get); err != nil {
			t.Fatal(err)
		}
		return client, bufio.NewReader(client), j
	}
	fired := func(t *testing.T, j *journal, sentence string) {
		t.Helper()
		got := j.wait(t, timeline.FaultFired, 1)[0]
		if got.Reason != sentence || got.File != "image.rom" || got.Message != "GET" {
			t.Errorf("fired %+v, want %q", got, sentence)
		}
	}

	t.Run("another status, once", func(t *testing.T) {
		client, br, j := ask(t, Status{Code: 503, Header: "Retry-After: 5\nX-Note: a"})
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "503 Service Unavailable\n" {
			t.Errorf("body %q, %v", body, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" || resp.Header.Get("X-Note") != "a" {
			t.Errorf("answered %d %v", resp.StatusCode, resp.Header)
		}
		fired(t, j, `on image.rom: answers 503 with "Retry-After: 5\nX-Note: a", once`)
		if len(j.of(timeline.Served)) > 0 {
			t.Error("a file was served")
		}
		if _, err := io.WriteString(client, get); err != nil {
			t.Fatal(err)
		}
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusOK { //nolint:bodyclose // read by the connection's end
			t.Errorf("the second answer: %v, %v", resp, err)
		}
	})
	t.Run("silence before the answer", func(t *testing.T) {
		client, br, j := ask(t, FallSilent{})
		fired(t, j, "on image.rom: falls silent, once")
		if err := client.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("answered after all: %v", err)
		}
		closed := j.wait(t, timeline.ConnClosed, 1)[0]
		if closed.Fields["bytes.out"] != "0" || closed.Reason != "closed by the handset after the silence" {
			t.Errorf("closed %+v", closed)
		}
		if len(j.of(timeline.HTTPResponse)) > 0 {
			t.Error("an answer is in the journal")
		}
	})
	t.Run("silence in the middle", func(t *testing.T) {
		client, br, j := ask(t, FallSilent{AfterBytes: 100000})
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 100000); err != nil {
			t.Fatal(err)
		}
		served := j.wait(t, timeline.Served, 1)[0]
		if served.Complete || served.Bytes != 100000 || served.Reason != "falls silent after 100000 bytes" {
			t.Errorf("served %+v", served)
		}
		if err := client.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d more bytes, %v", n, err)
		}
		_ = resp.Body.Close()
	})
	t.Run("silence that only the service ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPipe()
			j := serveOn(t, p, Config{Faults: plan(FallSilent{})})
			client := p.dial()
			defer func() { _ = client.Close() }()
			if _, err := io.WriteString(client, get); err != nil {
				t.Fatal(err)
			}
			time.Sleep(24 * time.Hour) //nolint:forbidigo // in a bubble, takes no time
			if len(j.of(timeline.ConnClosed)) > 0 {
				t.Error("the silence was broken")
			}
		})
	})
	t.Run("a reset in the middle", func(t *testing.T) {
		_, br, j := ask(t, Reset{AfterBytes: 10})
		_, err := io.ReadAll(br)
		if ending(fmt.Errorf("read: %w", err)) != "reset by the handset" {
			t.Errorf("the client saw %v, want a reset", err)
		}
		served := j.wait(t, timeline.Served, 1)[0]
		if served.Complete || served.Bytes != 10 {
			t.Errorf("served %+v", served)
		}
		if closed := j.wait(t, timeline.ConnClosed, 1)[0]; closed.Reason != "reset as told" {
			t.Errorf("closed %+v", closed)
		}
	})
	t.Run("a reset seen by curl", func(t *testing.T) {
		addr, _ := serve(t, Config{Faults: plan(Reset{})})
		out, err := run(t, "curl", "-sS", "http://"+addr+"/image.rom")
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 56 { // CURLE_RECV_ERROR
			t.Errorf("curl: %v, %s", err, out)
		}
	})
	t.Run("a connection that cannot be reset is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPipe()
			j := serveOn(t, p, Config{Faults: plan(Reset{})})
			client := p.dial()
			if _, err := io.WriteString(client, get); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(client); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if odd := j.of(timeline.ServiceOddity); len(odd) != 1 || !strings.Contains(odd[0].Reason, "cannot be reset") || odd[0].Fields[timeline.FaultUndone] == "" {
				t.Errorf("oddities %v", odd)
			}
		})
	})
}

type foreign struct{}

func (foreign) String() string { return "is another service's" }

func TestEffectsThatCannotBeDoneAreRefused(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Listener: newPipe(), Lookup: lookup, Record: func(timeline.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []fault.Effect{Status{Code: 302, Header: "Location: http://192.0.2.2/a"}, Status{Code: 404}, Reset{AfterBytes: 1}, FallSilent{}} {
		if err := s.Can(e); err != nil {
			t.Errorf("%s: %v", e, err)
		}
	}
	for _, e := range []fault.Effect{
		foreign{},
		Status{},
		Status{Code: 100},
		Status{Code: 600},
		Reset{AfterBytes: -1},
		FallSilent{AfterBytes: -1},
		Status{Code: 503, Header: "no colon"},
		Status{Code: 503, Header: "A b: c"},
		Status{Code: 503, Header: "A: b\r\nC: d"},
		Status{Code: 503, Header: "A: b\n"},
	} {
		if err := s.Can(e); err == nil {
			t.Errorf("%#v was taken", e)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a%2e%2e/../b?c#d HTTP/1.0\n\n", "GET http://u:p@h/x HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
		"\r\n\r\nHEAD //x HTTP/1.0\r\nA: b\r\n c\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "GET /\\ HTTP/1.0\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readRequest(bufio.NewReaderSize(bytes.NewReader(data), 4096))
		if (r == nil) == (err == nil) {
			t.Fatalf("request %v and error %v", r, err)
		}
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(r.name, "/") {
			if part == ".." {
				t.Errorf("%q leads upwards", r.name)
			}
		}
		if strings.ContainsAny(r.name, "\\\x00") || strings.HasPrefix(r.name, "/") {
			t.Errorf("name %q", r.name)
		}
	})
}
