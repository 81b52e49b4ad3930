package match

import (
	"strings"
	"testing"

	"ip88rig/capture/timeline"
)

// matcherCase is one matcher with a story that it holds for, one that it does
// not hold for, and what its texts say.
type matcherCase struct {
	m         Matcher
	good, bad []timeline.Event
	open      bool     // the bad story is final before its window closes
	closes    bool     // the good story holds once its window has closed
	fails     []string // in the failure text
	negated   []string // in the negated failure text
}

func matcherCases() map[string]matcherCase {
	type events = []timeline.Event
	hello := wire(phoneMAC, timeline.TLSClientHello, "192.0.2.10:3001", "192.0.2.1:443")
	over := registered("2001")
	return map[string]matcherCase{
		"AskFor": {
			m: AskFor(global(), own(), version()), good: more(routine(), over), bad: events{routine()[0], asked("VER"), asked("logo")}, open: true,
			fails: []string{
				"Expected the handset to ask for exactly global file, then own file, then version file within 1m0s of verb PowerCycle, but where own file was due it asked for version file.",
				"    expected      seen\n    global file   asked for sysconf_8830_sip.cfg over tftp at 192.0.2.1:69  (frame 1)\n  × own file      asked for VER over tftp at 192.0.2.1:69  (frame 2)\n    version file  -\n",
				"Besides:\n  belongs to no step: asked for logo over tftp",
			},
			negated: []string{"Expected the handset not to ask for exactly global file", "× asked for 00005e005301/VER over tftp", "(frame 4) and 1 more"},
		},
		"AskInOrder": {
			m: AskInOrder(global(), version()), good: routine(), bad: events{asked("VER"), asked("sysconf_8830_sip.cfg")}, open: true,
			fails: []string{"but it asked for version file before global file.", "  × global file   asked for VER"}, negated: []string{"not to ask in this order for global file, version file"},
		},
		"AskBefore": {
			m: AskBefore(global(), version()), good: routine(), bad: events{asked("VER")}, open: true,
			fails: []string{"it asked for version file before global file"}, negated: []string{"not to ask for global file before version file"},
		},
		"AskFirst": {
			m: AskFirst(global()), good: routine(), bad: events{asked("VER")}, open: true,
			fails: []string{"but the first request was for VER.", "  × global file  asked for VER"}, negated: []string{"not to ask first of all for global file, but it did"},
		},
		"Ask": {
			m: Ask(own()), good: routine(), bad: events{asked("VER")},
			fails: []string{"to ask for own file", "but it did not.", "it asked for something else: asked for VER"}, negated: []string{"not to ask for own file, but it did", "× asked for 00005e005301"},
		},
		"AskOver": {
			m: AskOver(timeline.TFTP), good: more(routine(), over), bad: events{askedOver(timeline.HTTP, "a")}, open: true,
			fails: []string{"to ask over tftp and nothing else", "but it asked for a over http.", "  × tftp      asked for a over http"}, negated: []string{"not to ask over tftp and nothing else"},
		},
		"AskServer": {
			m: AskServer("192.0.2.1:69"), good: routine(), bad: nil,
			fails: []string{"to ask for a file at 192.0.2.1:69", "but it did not."}, negated: []string{"not to ask for a file at 192.0.2.1:69"},
		},
		"Download": {
			m: Download(File{Name: "image", SHA256: "aabbccddeeff", Bytes: 10}), good: events{fetchedFile("image", "aabbccddeeff", 10)}, bad: events{asked("image")},
			fails: []string{"to download image", "but image was not fetched whole.", "× image, 10 bytes, sha256 aabbccdd  asked for image over tftp at 192.0.2.1:69  (frame 1), not fetched whole"}, negated: []string{"× fetched image over tftp, 10 bytes"},
		},
		"DownloadOnly": {
			m: DownloadOnly().Of("image", "xml"), good: more(routine(), over), bad: events{asked("image")}, open: true,
			fails: []string{"to download nothing of image, xml", "but image was asked for.", "  × -         asked for image"}, negated: []string{"not to download nothing of image, xml"},
		},
		"GiveUpOn": {
			m: GiveUpOn("image"), good: events{asked("image"), over}, bad: events{asked("image"), fetchedFile("image", "aa", 1)}, open: true,
			fails: []string{"to give up on image and go on", "but it fetched it whole."}, negated: []string{"not to give up on image and go on"},
		},
		"Reboot": {
			m: Reboot(), good: events{rebooted()}, bad: events{booted()},
			fails: []string{"Expected the handset to reboot within 1m0s", "but it did not."}, negated: []string{"Expected the handset not to reboot, but it did within 1m0s", "× rebooted: DISCOVER while 192.0.2.10 was leased  (frame 1)"},
		},
		"RebootOnce": {
			m: RebootOnce(), good: events{rebooted(), over}, bad: events{rebooted(), rebooted()}, open: true,
			fails: []string{"but it rebooted twice.", "    a reboot  rebooted: DISCOVER", "  × -         rebooted: DISCOVER", "          2    1.000000   * rebooted: DISCOVER while 192.0.2.10 was leased"}, negated: []string{"not to reboot exactly once"},
		},
		"RebootAfterAsking": {
			m: RebootAfterAsking(version()), good: more(routine(), rebooted()), bad: events{rebooted()}, open: true,
			fails: []string{"to reboot only after it asked for version file", "but it rebooted without having asked for version file.", "  × asked for version file  not asked for\n    a reboot                rebooted: DISCOVER"}, negated: []string{"not to reboot only after it asked"},
		},
		"RegisterWith": {
			m: RegisterWith{User: "2001", Expires: 300, Agent: "LG", Port: 5060, Proxy: "192.0.2.1"}, good: events{over}, bad: events{registered("2002")},
			fails:   []string{`to register as 2001 for 300 s with a User-Agent that holds "LG" from port 5060 at 192.0.2.1 within 1m0s`, "but it registered otherwise.", "registered as 2002"},
			negated: []string{"× registered as 2001 at 192.0.2.1:5060 from port 5060, expires 300"},
		},
		"Run": {
			m: Run("1.2.3").Asking(version(), "image"), good: more(routine(), over), bad: events{asked("VER"), asked("image")}, open: true,
			fails: []string{"to run version 1.2.3", "but it downloads software: it asked for image.", "    asked for version file"}, negated: []string{"not to run version 1.2.3"},
		},
		"RefuseCertificate": {
			m: RefuseCertificate(), good: events{refused("3001")}, bad: events{handshake("3001", "expired", true), request("3001", "a")}, open: true,
			fails: []string{"to refuse the certificate", "but it accepted it and sent a request.", "handshake with certificate expired, complete"}, negated: []string{"not to refuse the certificate", "× refused the certificate: unknown_ca"},
		},
		"SendNothingAfterRefusal": {
			m: SendNothingAfterRefusal(), good: events{refused("3001"), over}, bad: events{refused("3001"), request("3002", "a")}, open: true,
			fails: []string{"to refuse the certificate and send nothing over HTTPS", "but it sent a request.", "× no handshake completed, no request  GET /a (https)"}, negated: []string{"not to refuse the certificate and send nothing"},
		},
		"AcceptCertificate": {
			m: AcceptCertificate("good"), good: events{handshake("3001", "good", true), request("3001", "a")}, bad: events{refused("3001")},
			fails: []string{"to accept the certificate good", "but it refused it: unknown_ca."}, negated: []string{"not to accept the certificate good", "× GET /a (https)"},
		},
		"OpenTLS": {
			m: OpenTLS(), good: events{hello}, bad: nil,
			fails: []string{"to open a TLS connection", "but it did not."}, negated: []string{"not to open a TLS connection", "× ClientHello  (frame 1)"},
		},
		"Authenticate": {
			m: Authenticate("Basic", "lab"), good: events{request("3001", "a", right("Basic", "lab")...), over}, bad: events{request("3001", "a", "auth.scheme", "Basic", "auth.user", "lab", "auth.ok", "false")}, open: true,
			fails: []string{"to authenticate by Basic as lab", "but its credentials were wrong.", "GET /a with Basic credentials of lab (https)"}, negated: []string{"not to authenticate by Basic as lab"},
		},
		"OfferCredentialsUnasked": {
			m: OfferCredentialsUnasked(), good: events{request("3001", "a", right("Basic", "lab")...)}, bad: events{request("3001", "a")},
			fails: []string{"to offer its credentials unasked", "but it did not."}, negated: []string{"not to offer its credentials unasked", "× GET /a with Basic credentials of lab"},
		},
		"SendOnlyFrom": {
			m: SendOnlyFrom(moduleMAC), good: events{wire(moduleMAC, timeline.TFTPRead, "192.0.2.10:2001", "192.0.2.1:69"), over}, bad: events{rrq("a")}, open: true,
			fails: []string{"to send every frame from " + moduleMAC, "but a frame came from " + phoneMAC, "from " + phoneMAC + ": RRQ a", "          1    0.000000  RRQ a ------"}, negated: []string{"not to send every frame from"},
		},
		"ContactHost": {
			m: ContactHost("192.0.2.1"), good: events{rrq("a")}, bad: nil,
			fails: []string{"to contact 192.0.2.1", "but it did not."}, negated: []string{"not to contact 192.0.2.1", "× RRQ a  (frame 1)"},
		},
		"AskTime": {
			m: AskTime("192.0.2.1"), good: events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123"), wire(rigMAC, timeline.SNTPResponse, "192.0.2.1:123", "192.0.2.10:123")}, bad: nil,
			fails: []string{"to ask 192.0.2.1 for the time and get an answer", "but it did not ask."}, negated: []string{"not to ask 192.0.2.1 for the time"},
		},
		"RegisterAsOneOf": {
			m: RegisterAsOneOf(RegisterWith{User: "2001"}, RegisterWith{User: "2002", Expires: 300}), good: events{registered("2002")}, bad: events{registered("2003")}, closes: true,
			fails: []string{"to register as 2001, or as 2002 for 300 s", "but it registered as 2003 for 300 s."}, negated: []string{"not to register as 2001, or as 2002 for 300 s"},
		},
		"RebootAtMost": {
			m: RebootAtMost(1), good: events{rebooted()}, bad: events{rebooted(), rebooted()}, closes: true,
			fails: []string{"to reboot no more than once", "but it rebooted twice."}, negated: []string{"not to reboot no more than once"},
		},
		"AskAtMost": {
			m: AskAtMost(Step{Name: "a"}, 1), good: events{rrq("a")}, bad: events{rrq("a"), rrq("a")}, closes: true,
			fails: []string{"to ask for the a, and no more than once", "but it asked twice."}, negated: []string{"not to ask for the a"},
		},
		"AckOncePerBlock": {
			m: AckOncePerBlock("a"), good: events{block(1), acked(1)}, bad: events{block(1), acked(1), acked(1)}, closes: true,
			fails: []string{"to acknowledge no block of a more often than it came", "but block 1 was acknowledged once more"}, negated: []string{"not to acknowledge no block"},
		},
		"Fire": {
			m: Fire(timeline.FactBooted()), good: events{booted()}, bad: nil,
			fails: []string{"to bring about: booted", "but it was not seen."}, negated: []string{"not to bring about: booted"},
		},
	}
}

func contains(t *testing.T, text string, parts []string) {
	t.Helper()
	if text == "" {
		t.Error("it did not fail")
		return
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("the text lacks %q:\n%s", p, text)
		}
	}
}

func TestMatchers(t *testing.T) {
	for name, c := range matcherCases() {
		t.Run(name+" holds", func(t *testing.T) {
			tl, w := tell(c.good...)
			if c.closes {
				shut(tl)
			}
			v := w.View()
			if vd := c.m.Judge(v); !vd.OK {
				t.Error(Explain(c.m, v, false))
			}
			contains(t, Explain(c.m, v, true), append(c.negated, "Expected the handset not to "+c.m.Claim()))
		})
		t.Run(name+" tells why it does not hold, for good", func(t *testing.T) {
			tl, w := tell(c.bad...)
			if !c.open {
				shut(tl)
			}
			v := w.View()
			if vd := c.m.Judge(v); vd.OK || !vd.Final {
				t.Errorf("OK %v, final %v", vd.OK, vd.Final)
			}
			contains(t, Explain(c.m, v, false), c.fails)
		})
		t.Run(name+" is the same decoded", func(t *testing.T) {
			encoded, args := Encode(c.m)
			if encoded != name {
				t.Errorf("it is written as %s", encoded)
			}
			back, err := Decode(encoded, args)
			if err != nil {
				t.Fatal(err)
			}
			tl, good := tell(c.good...)
			if c.closes {
				shut(tl)
			}
			tl, bad := tell(c.bad...)
			shut(tl)
			if !back.Judge(good.View()).OK || back.Judge(bad.View()).OK || back.Claim() != c.m.Claim() {
				t.Errorf("%s %s claims to %s", encoded, args, back.Claim())
			}
			if again, b := Encode(back); again != encoded || string(b) != string(args) {
				t.Errorf("encoded again: %s %s, want %s %s", again, b, encoded, args)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ name, args, want string }{
		"an unknown matcher":          {"Sing", "{}", `unknown matcher "Sing"`},
		"no JSON":                     {"AskFor", "", "arguments of AskFor:"},
		"a field it does not have":    {"AskFor", `{"steps":[],"loud":true}`, "loud"},
		"more than one value":         {"Reboot", `{} {}`, "more than one value"},
		"a value of the wrong type":   {"Download", `{"files":[{"bytes":"ten"}]}`, "arguments of Download:"},
		"a name of the encoding only": {"reboot", "{}", `unknown matcher "reboot"`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Decode(c.name, []byte(c.args))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", m, err, c.want)
			}
		})
	}
}

// FuzzDecode checks that what is decoded can be encoded to the same, and that
// judging by it never panics.
func FuzzDecode(f *testing.F) {
	for _, c := range matcherCases() {
		name, args := Encode(c.m)
		f.Add(name, []byte(args))
	}
	tl, w := tell(more(routine(), registered("2001"), rebooted(), refused("3001"), handshake("3001", "x", true), request("3001", "a", right("Basic", "lab")...), fetchedFile("image", "aa", 1))...)
	open := w.View()
	shut(tl)
	closed := w.View()
	f.Fuzz(func(t *testing.T, name string, args []byte) {
		m, err := Decode(name, args)
		if err != nil {
			return
		}
		again, b := Encode(m)
		back, err := Decode(again, b)
		if err != nil {
			t.Fatalf("%s %s: %v", again, b, err)
		}
		if third, b3 := Encode(back); third != again || string(b3) != string(b) {
			t.Fatalf("%s %s became %s %s", again, b, third, b3)
		}
		for _, v := range []timeline.View{{}, open, closed} {
			m.Judge(v)
			_ = Explain(m, v, false)
			_ = Explain(m, v, true)
		}
	})
}
