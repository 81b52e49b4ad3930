package httpd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// faulty serves with rules in force.
func faulty(t *testing.T, cfg Config, rules ...fault.Rule) (addr string, j *journal) {
	t.Helper()
	cfg.Faults = &fault.Plan{}
	for _, r := range rules {
		cfg.Faults.Add(r)
	}
	addr, j = serve(t, cfg)
	t.Cleanup(func() {
		for _, n := range cfg.Faults.Ledger() {
			if n.Fired == 0 {
				t.Errorf("%s: did not fire", n.Rule)
			}
		}
	})
	return addr, j
}

// get asks over a connection of its own and returns all that comes until the rig
// ends it, and how it does.
func get(t *testing.T, addr, file string) (string, error) {
	t.Helper()
	client := dial(t, addr)
	if _, err := io.WriteString(client, "GET /"+file+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(client)
	return string(b), err
}

// kept asks over a connection that the rig keeps, and returns what comes before
// the client closes its side, and then.
func kept(t *testing.T, addr, file string) string {
	t.Helper()
	client := dial(t, addr)
	if _, err := io.WriteString(client, "GET /"+file+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(client)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	return string(b)
}

// timedOut is curl's exit code when its --max-time is over.
const timedOut = 28

// curl returns its output and exit code.
func curl(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	out, err := run(t, "curl", append([]string{"-sS", "-k", "--max-time", "20"}, args...)...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, 0
}

// digestHex is the hash of what went over the wire.
func digestHex(b string) string {
	sum := sha256.Sum256([]byte(b))
	return hex.EncodeToString(sum[:])
}

// told checks what the journal says of the file that was served.
func told(t *testing.T, j *journal, body string, whole bool) {
	t.Helper()
	served := j.wait(t, timeline.Served, 1)[0]
	if served.Bytes != int64(len(body)) || served.SHA256 != digestHex(body) || served.Complete != whole {
		t.Errorf("the journal says %d bytes, complete %t, %s; on the wire were %d, complete %t, %s",
			served.Bytes, served.Complete, served.SHA256, len(body), whole, digestHex(body))
	}
}

const config = "[LAN]\n" // sysconf_8830_sip.cfg

// every is one of each effect, and what cannot be done of it.
var every = []struct {
	good, bad []fault.Effect
}{
	{[]fault.Effect{Status{Code: 404}}, []fault.Effect{Status{Code: 100}}},
	{[]fault.Effect{Redirect{Code: 302}, Redirect{Code: 307, To: "http://192.0.2.2/a"}}, []fault.Effect{Redirect{Code: 200}, Redirect{Code: 302, To: "a\r\nb"}}},
	{[]fault.Effect{Interim{}, Interim{Code: 103, Count: 3}}, []fault.Effect{Interim{Code: 101}, Interim{Code: 200}, Interim{Count: -1}}},
	{[]fault.Effect{FileUnder{Code: 304}}, []fault.Effect{FileUnder{}}},
	{[]fault.Effect{Twice{}, BareBody{}, NULHeader{}, BareLF{}, NoLength{}}, nil},
	{[]fault.Effect{Version{Name: "HTTP/1.0"}}, []fault.Effect{Version{}, Version{Name: "HTTP/1.0 200"}}},
	{[]fault.Effect{StatusLine{}, StatusLine{Line: "no"}}, []fault.Effect{StatusLine{Line: "a\nb"}}},
	{[]fault.Effect{Persistence{}, Persistence{Say: "close"}}, []fault.Effect{Persistence{Say: "a\nb"}}},
	{[]fault.Effect{LongHeader{Bytes: 1}}, []fault.Effect{LongHeader{}, LongHeader{Bytes: 17 << 20}}},
	{[]fault.Effect{ManyHeaders{Count: 1}}, []fault.Effect{ManyHeaders{}, ManyHeaders{Count: 100_001}}},
	{[]fault.Effect{FoldedHeader{}, FoldedHeader{Name: "Date"}}, []fault.Effect{FoldedHeader{Name: "a b"}}},
	{[]fault.Effect{RawHeader{Text: "\x00\r\n"}}, []fault.Effect{RawHeader{}}},
	{[]fault.Effect{Length{By: 1, Hold: true}, Length{By: -1}}, []fault.Effect{Length{}, Length{By: -1, Hold: true}}},
	{[]fault.Effect{LengthAs{}, LengthAs{Text: "-1"}}, []fault.Effect{LengthAs{Text: "1\r\n2"}}},
	{[]fault.Effect{LengthTwice{By: 1}}, []fault.Effect{LengthTwice{}}},
	{[]fault.Effect{Chunked{}, Chunked{Size: 1, Flaw: ChunkHuge}}, []fault.Effect{Chunked{Size: -1}, Chunked{Flaw: "none"}, Chunked{Size: 1, Flaw: ChunkTooLong}}},
	{[]fault.Effect{Compressed{}, Compressed{HeaderOnly: true}}, []fault.Effect{Compressed{HeaderOnly: true, BodyOnly: true}}},
	{[]fault.Effect{Corrupt{}, Corrupt{Offset: -1, Mask: 0x80}}, nil},
	{[]fault.Effect{WrongFile{Name: "a"}}, []fault.Effect{WrongFile{}, WrongFile{Name: "/a"}}},
	{[]fault.Effect{Truncate{}}, []fault.Effect{Truncate{Bytes: -1}}},
	{[]fault.Effect{Garbage{Bytes: 1}}, []fault.Effect{Garbage{}, Garbage{Bytes: 2 << 20}}},
	{[]fault.Effect{Reset{}, Reset{HeadBytes: 1}}, []fault.Effect{Reset{AfterBytes: 1, HeadBytes: 1}, Reset{HeadBytes: -1}}},
	{[]fault.Effect{FallSilent{}, FallSilent{AfterBytes: 1}}, []fault.Effect{FallSilent{AfterBytes: -1}}},
	{[]fault.Effect{Close{}, Close{Mute: true}}, []fault.Effect{Close{AfterBytes: -1}}},
	{[]fault.Effect{Trickle{}, Trickle{Bytes: 10, Every: time.Millisecond, Head: true}}, []fault.Effect{Trickle{Bytes: -1}, Trickle{Every: -1}}},
	{[]fault.Effect{Delay{For: 1}, Delay{For: 1, AfterBytes: 1}}, []fault.Effect{Delay{}, Delay{For: 1, AfterBytes: -1}}},
	{[]fault.Effect{Stale{}, AskAgain{}, NonceOnce{}, NonceOnce{Stale: true}, NextNonce{}, Accept{}}, nil},
	{[]fault.Effect{Realm{}, Realm{Text: `"\`}, Realm{Text: "a", Unquoted: true}}, []fault.Effect{Realm{Text: "\n"}, Realm{Text: "a b", Unquoted: true}}},
	{[]fault.Effect{Offer{Schemes: "Basic"}, Offer{Schemes: "Digest SHA-256 auth,auth-int; Digest; Basic"}}, []fault.Effect{Offer{}, Offer{Schemes: "Basic;"}, Offer{Schemes: "Bearer"}, Offer{Schemes: "Digest MD5 int"}, Offer{Schemes: "Basic MD5"}}},
	{[]fault.Effect{Opaque{Text: "a"}}, []fault.Effect{Opaque{}}},
	{[]fault.Effect{Alert{}, Alert{Level: 1, Description: 112, Proceed: true}}, nil},
	{[]fault.Effect{Versions{Max: 0x0301}, Versions{Min: 0x0304}, Versions{Min: 0x0301, Max: 0x0303}}, []fault.Effect{Versions{}, Versions{Min: 0x0304, Max: 0x0301}, Versions{Max: 0x0300}}},
	{[]fault.Effect{Suites{Names: "TLS_RSA_WITH_RC4_128_SHA, TLS_RSA_WITH_AES_128_CBC_SHA"}}, []fault.Effect{Suites{}, Suites{Names: "TLS_AES_128_GCM_SHA256"}}},
	{nil, []fault.Effect{Present{}, Present{Label: "none"}}},
}

func TestEachEffectSaysWhatItDoesAndRefusesWhatItCannot(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Listener: newPipe(), Lookup: lookup, Record: func(timeline.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	sentences := map[string]fault.Effect{}
	for _, c := range every {
		for _, e := range c.good {
			if err := s.Can(e); err != nil {
				t.Errorf("%#v: %v", e, err)
			}
			text := e.String()
			if other, twice := sentences[text]; text == "" || twice || strings.ContainsAny(text, "\n\x00") {
				t.Errorf("%#v prints as %q, as does %#v", e, text, other)
			}
			sentences[text] = e
		}
		for _, e := range c.bad {
			if err := s.Can(e); err == nil || !strings.HasPrefix(err.Error(), "httpd: ") {
				t.Errorf("%#v was taken: %v", e, err)
			}
		}
	}
}

func TestARuleWaitsForAPlaceWhereItsEffectCanAct(t *testing.T) {
	t.Parallel()
	plan := &fault.Plan{}
	const behind = int64(len(config)) + 1
	for _, e := range []fault.Effect{
		Alert{},
		Stale{},
		Accept{},
		Realm{},
		Versions{Max: 0x0301},
		NonceOnce{},
		NextNonce{},
		Corrupt{Offset: 1 << 30},
		Truncate{Bytes: 1 << 30},
		Length{By: -1 << 30},
		WrongFile{Name: "missing"},
		WrongFile{Name: "secret"},
		WrongFile{Name: "sysconf_8830_sip.cfg"},
		FileUnder{Code: 200},
		Delay{For: time.Hour, AfterBytes: behind - 1},
		Delay{For: time.Hour, AfterBytes: behind},
		Reset{AfterBytes: behind},
		Close{AfterBytes: behind},
		FallSilent{AfterBytes: behind},
		FoldedHeader{Name: "Retry-After"},
		FoldedHeader{Name: "WWW-Authenticate"},
	} {
		plan.Add(fault.On("*").Do(e))
	}
	// There is nothing left when a file is done.
	plan.Add(fault.On("done").Do(Trickle{Every: time.Hour}))
	addr, j := serve(t, Config{Faults: plan})
	if out, code := curl(t, "http://"+addr+"/sysconf_8830_sip.cfg"); out != config || code != 0 {
		t.Errorf("got %q, %d", out, code)
	}
	spared(t, plan, j)
}

// spared checks that no rule fired.
func spared(t *testing.T, plan *fault.Plan, j *journal) {
	t.Helper()
	for _, n := range plan.Ledger() {
		if n.Fired != 0 {
			t.Errorf("%s: fired", n.Rule)
		}
	}
	if odd := j.of(timeline.ServiceOddity); len(odd) > 0 {
		t.Errorf("oddities %v", odd)
	}
}

// Of a file that is empty, of one byte, or only asked about, less can be spoilt.
func TestARuleWaitsForABodyThatItCanSpoil(t *testing.T) {
	t.Parallel()
	nothing := []fault.Effect{
		Corrupt{},
		Trickle{Every: time.Hour},
		Delay{For: time.Hour, AfterBytes: 1},
		Reset{AfterBytes: 1},
		Close{AfterBytes: 1},
		FallSilent{AfterBytes: 1},
		Chunked{Flaw: ChunkBadSize},
		Chunked{Flaw: ChunkTooShort},
		Chunked{Flaw: ChunkTooLong},
		Chunked{Flaw: ChunkHuge},
	}
	for name, c := range map[string]struct {
		method, content string
		effects         []fault.Effect
	}{
		"empty":       {"GET", "", nothing},
		"of one byte": {"GET", "x", []fault.Effect{Chunked{Flaw: ChunkTooLong}, Delay{For: time.Hour, AfterBytes: 1}}},
		"asked about": {"HEAD", config, append([]fault.Effect{Chunked{Flaw: ChunkNoLast}}, nothing...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := &fault.Plan{}
			for _, e := range c.effects {
				plan.Add(fault.On("*").Do(e))
			}
			addr, j := serve(t, Config{Faults: plan, Lookup: func(string, netip.AddrPort) ([]byte, error) { return []byte(c.content), nil }})
			client := dial(t, addr)
			if _, err := io.WriteString(client, c.method+" /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			out, err := io.ReadAll(client)
			_, body, _ := strings.Cut(string(out), "\r\n\r\n")
			if err != nil || c.method == "GET" && body != c.content || c.method == "HEAD" && body != "" {
				t.Errorf("answered %q, %v", out, err)
			}
			spared(t, plan, j)
		})
	}
}

func TestRulesWithinABodyAndBehindIt(t *testing.T) {
	t.Parallel()
	url := func(addr string) string { return "http://" + addr + "/image.rom" }
	t.Run("reset behind a byte", func(t *testing.T) {
		t.Parallel()
		addr, j := faulty(t, Config{}, fault.On("image.rom").Behind(100_000).Do(Reset{}).Once())
		if _, code := curl(t, "-o", "/dev/null", url(addr)); code != 56 {
			t.Errorf("curl: %d", code)
		}
		told(t, j, string(image[:7<<14]), false) // the first multiple of 16 KiB behind it
		if out, code := curl(t, url(addr)); code != 0 || out != string(image) {
			t.Errorf("the second time: %d bytes, %d", len(out), code)
		}
		if fired := j.of(timeline.FaultFired)[0]; fired.Message != "body" || fired.File != "image.rom" {
			t.Errorf("fired %+v", fired)
		}
	})
	t.Run("a rule on the file counts files", func(t *testing.T) {
		t.Parallel()
		addr, j := faulty(t, Config{}, fault.On("image.rom").From(2).Do(Close{}).Once())
		for want := range 3 {
			out, code := curl(t, url(addr))
			if whole := want != 1; whole != (out == string(image)) || whole != (code == 0) {
				t.Errorf("time %d: %d bytes, %d", want+1, len(out), code)
			}
		}
		if n := len(j.of(timeline.FaultFired)); n != 1 {
			t.Errorf("fired %d times", n)
		}
	})
	t.Run("the connection breaks when the file is done", func(t *testing.T) {
		t.Parallel()
		addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").During("done").Do(Reset{}))
		body, err := get(t, addr, "sysconf_8830_sip.cfg")
		if !strings.HasSuffix(body, "\r\n\r\n"+config) || err == nil {
			t.Errorf("got %q, %v", body, err)
		}
		told(t, j, config, true)
	})
	t.Run("a deed in the middle and at the end", func(t *testing.T) {
		t.Parallel()
		plan := &fault.Plan{}
		addr, j := serve(t, Config{Faults: plan})
		var done []string
		plan.Act(func(_ fault.Deed, sentence string) {
			if len(j.of(timeline.HTTPResponse)) != 1 {
				t.Errorf("%s: too early", sentence)
			}
			done = append(done, sentence)
		})
		plan.Add(fault.On("image.rom").Behind(64 << 10).Do(deed{}).Once())
		plan.Add(fault.On("image.rom").During("done").Do(deed{}))
		if out, code := curl(t, url(addr)); code != 0 || out != string(image) {
			t.Errorf("%d bytes, %d", len(out), code)
		}
		j.wait(t, timeline.ConnClosed, 1)
		if len(done) != 2 || done[0] != "on image.rom behind byte 65536: is done, once" || done[1] != "on image.rom during done: is done" {
			t.Errorf("did %q", done)
		}
	})
}

type deed struct{}

func (deed) String() string { return "is done" }
func (deed) Deed()          {}
