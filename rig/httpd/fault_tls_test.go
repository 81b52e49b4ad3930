package httpd

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/pki"
)

// flight names the places of a handshake as rules do.
var flightNames = []string{"ClientHello", "ServerHello", "ServerHelloDone", "Finished"}

func TestEachFlightCanBeCutOff(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1.2", "1.3"} {
		for _, message := range flightNames {
			for _, c := range []struct {
				effect fault.Effect
				code   []int // of curl
				reason string
			}{
				{Reset{}, []int{35, 55, 56}, "reset by the rig as told"},
				{Close{}, []int{35, 52, 56}, "the rig closes the connection as told"},
				{FallSilent{}, []int{timedOut}, "the rig falls silent as told"},
				{Garbage{Bytes: 100, Seed: 1}, []int{35, 56}, "the rig sends 100 bytes of garbage as told"},
				{Alert{Description: 40}, []int{35, 56}, "the rig sends the alert handshake_failure (level 2) as told"},
				{Alert{Level: 1}, []int{35, 52, 56}, "the rig sends the alert close_notify (level 1) as told"},
			} {
				t.Run(fmt.Sprintf("TLS %s, %s: %s", version, message, c.effect), func(t *testing.T) {
					t.Parallel()
					addr, j := faulty(t, Config{Certificate: shows(leaf(t, pki.Good)), Linger: 100 * time.Millisecond}, fault.On(message).Do(c.effect).Once())
					args := []string{"--tls-max", version, "https://" + addr + "/sysconf_8830_sip.cfg"}
					first := args
					if c.code[0] == timedOut {
						first = append([]string{"--max-time", "1"}, args...)
					}
					out, code := curl(t, first...)
					if !slices.Contains(c.code, code) {
						t.Errorf("curl: %d, want one of %v: %s", code, c.code, out)
					}
					shakes := j.wait(t, timeline.Handshake, 1)
					if shakes[0].Complete || shakes[0].Reason != c.reason || shakes[0].Status != 0 {
						t.Errorf("handshake %+v, want %q", shakes[0], c.reason)
					}
					// In clear the certificate was shown from the second flight on.
					if shown := shakes[0].Fields["tls.cert"]; (shown == "good") != (message != "ClientHello") {
						t.Errorf("showed %q", shown)
					}
					if out, code := curl(t, args...); code != 0 || out != config {
						t.Errorf("the next time: %q, %d", out, code)
					}
				})
			}
		}
	}
}

// records are the types of TLS records in a stream, with the messages of
// handshakes in clear.
func records(b []byte) (out []string) {
	for len(b) >= 5 {
		size := int(b[3])<<8 | int(b[4])
		body := b[5:min(len(b), 5+size)]
		switch {
		case b[0] == recordHandshake && len(body) > 0 && body[0] < 30:
			for len(body) >= 4 {
				out = append(out, fmt.Sprintf("message %d", body[0]))
				body = body[min(len(body), 4+int(body[1])<<16+int(body[2])<<8+int(body[3])):]
			}
		default:
			out = append(out, fmt.Sprintf("record %d", b[0]))
		}
		b = b[min(len(b), 5+size):]
	}
	return out
}

func TestWhatIsSentOfTheFlights(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message string
		effect  fault.Effect
		want    string
	}{
		"nothing before the first":   {"ServerHello", Reset{}, ""},
		"ten bytes of the first":     {"ServerHello", Close{AfterBytes: 10}, "message 2"},
		"the first and no more":      {"ServerHelloDone", Close{}, "message 2 message 11 message 12 message 14"},
		"an alert in place of it":    {"ServerHello", Alert{Description: 40}, "record 21"},
		"an alert behind it":         {"ServerHelloDone", Alert{Description: 80}, "message 2 message 11 message 12 message 14 record 21"},
		"a warning before it":        {"ServerHello", Alert{Level: 1, Description: 112, Proceed: true}, "record 21 message 2 message 11 message 12 message 14 record 20 record 22"},
		"no Finished of the rig's":   {"Finished", Close{}, "message 2 message 11 message 12 message 14"},
		"an alert instead of it":     {"Finished", Alert{Description: 20}, "message 2 message 11 message 12 message 14 record 21"},
		"half of the last flight":    {"Finished", Close{AfterBytes: 6}, "message 2 message 11 message 12 message 14 record 20"},
		"a warning behind the hello": {"ClientHello", Alert{Level: 1, Description: 112, Proceed: true}, "record 21 message 2 message 11 message 12 message 14 record 20 record 22"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{Certificate: shows(leaf(t, pki.Good)), Linger: 100 * time.Millisecond}, fault.On(c.message).Do(c.effect))
			raw := &heard{Conn: dial(t, addr)}
			client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true})
			_ = client.HandshakeContext(t.Context())
			_ = raw.Close()
			j.wait(t, timeline.ConnClosed, 1)
			got := strings.Join(records(raw.all), " ")
			// The encrypted Finished begins as chance will have it.
			if start, ends := strings.CutSuffix(c.want, "record 20 record 22"); got != c.want && (!ends || !strings.HasPrefix(got, start+"record 20 ")) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestAnAlertIsSentAsItIs(t *testing.T) {
	t.Parallel()
	addr, _ := faulty(t, Config{Certificate: shows(leaf(t, pki.Good))}, fault.On("ClientHello").Do(Alert{Level: 1, Description: 112}))
	client := dial(t, addr)
	if _, err := client.Write(hello10(0x0301, 0x002f)); err != nil {
		t.Fatal(err)
	}
	_ = client.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(client); err != nil || hex.EncodeToString(b) != "15030100020170" {
		t.Errorf("got %x, %v", b, err)
	}
	for n, name := range map[uint8]string{40: "handshake failure", 70: "protocol version", 112: "unrecognized name", 80: "internal error"} {
		addr, _ := faulty(t, Config{Certificate: shows(leaf(t, pki.Good))}, fault.On("ServerHello").Do(Alert{Description: n}))
		out, err := run(t, "openssl", "s_client", "-connect", addr)
		if err == nil || !strings.Contains(strings.ReplaceAll(out, "_", " "), name) {
			t.Errorf("openssl does not speak of %q: %v\n%s", name, err, out)
		}
	}
}

func TestVersionsAndSuitesAreLimited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		effect  fault.Effect
		args    []string
		version string // empty: no handshake
		cipher  string
	}{
		"TLS 1.0 at most":               {Versions{Max: tls.VersionTLS10}, []string{"--tlsv1.0", "--ciphers", "DEFAULT:@SECLEVEL=0"}, "TLS 1.0", ""},
		"TLS 1.2 at most":               {Versions{Max: tls.VersionTLS12}, nil, "TLS 1.2", ""},
		"TLS 1.3 at least":              {Versions{Min: tls.VersionTLS13}, nil, "TLS 1.3", ""},
		"TLS 1.3 to one that has 1.2":   {Versions{Min: tls.VersionTLS13}, []string{"--tls-max", "1.2"}, "", ""},
		"TLS 1.1 to one that wants 1.2": {Versions{Min: tls.VersionTLS11, Max: tls.VersionTLS11}, []string{"--tlsv1.2"}, "", ""},
		"one suite":                     {Suites{"TLS_RSA_WITH_AES_256_CBC_SHA"}, []string{"--ciphers", "ALL:@SECLEVEL=0"}, "TLS 1.2", "TLS_RSA_WITH_AES_256_CBC_SHA"},
		"a suite that nobody takes":     {Suites{"TLS_RSA_WITH_RC4_128_SHA"}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{Certificate: shows(leaf(t, pki.Good))}, fault.On("ClientHello").Do(c.effect).Once())
			out, code := curl(t, append(c.args, "https://"+addr+"/sysconf_8830_sip.cfg")...)
			shake := j.wait(t, timeline.Handshake, 1)[0]
			if c.version == "" {
				if code != 35 || shake.Complete {
					t.Errorf("curl: %q, %d, handshake %+v", out, code, shake)
				}
				return
			}
			if code != 0 || out != config || shake.Fields["tls.version"] != c.version || c.cipher != "" && shake.Fields["tls.cipher"] != c.cipher {
				t.Errorf("curl: %q, %d, handshake %v", out, code, shake.Fields)
			}
		})
	}
}

func TestTheCertificateChangesBetweenTwoConnections(t *testing.T) {
	t.Parallel()
	cfg := Config{Certificate: shows(leaf(t, pki.Good)), Other: func(label string) (*tls.Certificate, error) {
		if label != "expired" {
			return nil, errors.New("no such flaw")
		}
		return leaf(t, pki.Expired).TLS(), nil
	}}
	plan := &fault.Plan{}
	cfg.Faults = plan
	addr, j := serve(t, cfg)
	checked := cfg
	checked.Listener, checked.Lookup, checked.Record = newPipe(), lookup, j.record
	s, err := New(checked)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Can(Present{Label: "expired"}); err != nil {
		t.Error(err)
	}
	if err := s.Can(Present{Label: "odd"}); err == nil {
		t.Error("a certificate that does not exist was taken")
	}
	plan.Add(fault.On("ClientHello").Do(Present{Label: "expired"}).From(2).Once())
	ca := roots(t)
	for i, want := range []int{0, 60, 0} { // 60: CURLE_PEER_FAILED_VERIFICATION
		out, err := run(t, "curl", "-sS", "--cacert", ca, "https://"+addr+"/empty")
		if (err == nil) != (want == 0) || want != 0 && !strings.Contains(out, "expired") {
			t.Errorf("time %d: %v, %s", i+1, err, out)
		}
	}
	shakes := j.wait(t, timeline.Handshake, 3)
	for i, want := range []string{"good", "expired", "good"} {
		if got := shakes[i].Fields["tls.cert"]; got != want || shakes[i].Complete != (want == "good") {
			t.Errorf("handshake %d: %+v, want %s", i+1, shakes[i], want)
		}
	}
	if shakes[1].Reason != "certificate_expired" {
		t.Errorf("refused with %q", shakes[1].Reason)
	}
}

func TestSlowAndDamagedFlights(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, c := range map[string]struct {
			rule     fault.Rule
			min, max time.Duration
			fails    bool
		}{
			"each flight slow":       {fault.On("ClientHello").Do(Trickle{}), 10 * time.Minute, 2 * time.Hour, false},
			"the first slow":         {fault.On("ServerHello").Do(Trickle{Bytes: 100}), 5 * time.Second, time.Minute, false},
			"a wait for the first":   {fault.On("ClientHello").Do(Delay{For: 40 * time.Second}), 40 * time.Second, 40 * time.Second, false},
			"a wait behind it":       {fault.On("ServerHelloDone").Do(Delay{For: time.Hour}), time.Hour, time.Hour, false},
			"a bit of it is flipped": {fault.On("ServerHello").Do(Corrupt{Offset: -8}), 0, 0, true},
		} {
			t.Run(tls.VersionName(version)+", "+name, func(t *testing.T) {
				good := leaf(t, pki.Good)
				synctest.Test(t, func(t *testing.T) {
					plan := &fault.Plan{}
					plan.Add(c.rule)
					p := newPipe()
					j := serveOn(t, p, Config{Certificate: shows(good), Faults: plan})
					raw := p.dial()
					defer func() { _ = raw.Close() }()
					client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
					defer cancel()
					err := client.HandshakeContext(ctx)
					if err == nil {
						_, err = io.WriteString(client, "GET /sysconf_8830_sip.cfg HTTP/1.0\r\n\r\n")
					}
					var all []byte
					if err == nil {
						all, err = io.ReadAll(client)
					}
					if (err != nil) != c.fails || !c.fails && !strings.HasSuffix(string(all), config) {
						t.Errorf("got %q, %v", all, err)
					}
					if took := time.Since(start); took < c.min || took > c.max {
						t.Errorf("it took %s, want %s to %s", took, c.min, c.max)
					}
					_ = raw.Close()
					if shake := j.wait(t, timeline.Handshake, 1)[0]; shake.Complete == c.fails {
						t.Errorf("handshake %+v", shake)
					}
				})
			})
		}
	}
}

func TestAHelloRetryRequestIsNoFlightOfItsOwn(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{Certificate: shows(leaf(t, pki.Good))}, fault.On("ServerHello").Do(Delay{For: time.Millisecond}), fault.On("Finished").Do(Delay{For: time.Millisecond}))
	// A share for a group that Go does not have first makes it ask again.
	cmd, err := run(t, "openssl", "s_client", "-tls1_3", "-groups", "X448:P-256", "-connect", addr, "-msg")
	if !strings.Contains(cmd, "Verify return code") {
		t.Errorf("%v\n%s", err, cmd)
	}
	if n := strings.Count(cmd, "ClientHello"); n < 2 {
		t.Skip("no second ClientHello")
	}
	j.wait(t, timeline.ConnClosed, 1)
	var seen []string
	for _, e := range j.of(timeline.FaultFired) {
		seen = append(seen, e.Message)
	}
	if got := strings.Join(seen, " "); got != "ServerHello Finished" {
		t.Errorf("fired on %q", got)
	}
}

func TestARuleWaitsForAFlightThatItCanSpoil(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		plan := &fault.Plan{}
		for _, e := range []fault.Effect{
			Corrupt{Offset: 1 << 20}, Reset{AfterBytes: 1 << 20}, FallSilent{AfterBytes: 1 << 20}, Close{AfterBytes: 1 << 20}, Reset{HeadBytes: 1},
		} {
			plan.Add(fault.On("ServerHello").Do(e))
			plan.Add(fault.On("Finished").Do(e))
		}
		plan.Add(fault.On("ServerHelloDone").Do(Trickle{Every: time.Hour}))
		if version == tls.VersionTLS13 { // no flight is left
			plan.Add(fault.On("Finished").Do(Trickle{Every: time.Hour}))
		}
		addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good)), Faults: plan, MaxVersion: version})
		if out, code := curl(t, "https://"+addr+"/sysconf_8830_sip.cfg"); out != config || code != 0 {
			t.Errorf("%s: %q, %d", tls.VersionName(version), out, code)
		}
		spared(t, plan, j)
	}
}
