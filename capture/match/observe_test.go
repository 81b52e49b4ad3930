package match

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

func hellos(name string) timeline.Event {
	e := wire(phoneMAC, timeline.TLSClientHello, "192.0.2.10:3001", "192.0.2.1:443")
	e.Fields = map[string]string{"tls.handshake.version": "0x0301", "tls.handshake.ciphersuite": "0x002f"}
	if name != "" {
		e.Fields["tls.handshake.extensions_server_name"] = name
	}
	return e
}

func answer(status int) timeline.Event {
	e := request("3001", "a")
	e.Kind, e.Status = timeline.HTTPResponse, status
	return e
}

func asking(fields map[string]string) timeline.Event {
	e := wire(phoneMAC, timeline.DHCPDiscover, "0.0.0.0:68", "255.255.255.255:67")
	e.Fields = fields
	return e
}

// served is what a service says of a transfer of the file a.
func served(size int64) timeline.Event {
	return timeline.Event{By: "tftpd", Kind: timeline.Served, File: "a", Bytes: size}
}

// registering is a REGISTER with a display name.
func registering(display string) timeline.Event {
	e := wire(phoneMAC, timeline.SIPRequest, "192.0.2.10:5060", "192.0.2.1:5060")
	e.Message, e.Fields = "REGISTER", map[string]string{"sip.from.display.info": display}
	return e
}

// answering is a 200 to INVITE with a session.
func answering(mac, media string) timeline.Event {
	e := wire(mac, timeline.SIPResponse, "192.0.2.10:5060", "192.0.2.1:5060")
	e.Message, e.Status, e.Fields = "INVITE", 200, map[string]string{"sdp.media": media}
	return e
}

func ofAnother(file string) timeline.Event {
	e := asked(file)
	e.Dst = netip.MustParseAddrPort("192.0.2.9:69")
	return e
}

// mac are the forms in which a MAC may name a file.
func mac() Step {
	return Step{Name: "own file", Files: []string{"00005e005301", "00005E005301", "00-00-5E-00-53-01"}}
}

type observationCase struct {
	o      Observation
	events []timeline.Event
	want   []string
}

func observationCases() map[string]observationCase {
	type events = []timeline.Event
	files := AliasSteps(global(), own(), version())
	hosts := Aliases{"192.0.2.1": "the server"}
	users := Aliases{"rig": "the old one", "new": "the new one"}
	names := Aliases{"before": "as before", "two": "the first word", "two words": "the whole value"}
	twice := rrq("a")
	twice.Fields = map[string]string{"tftp.option.tsize": "0", "tftp.option.blksize": "1428", "tftp.type": "octet"}
	return map[string]observationCase{
		"what is asked, in order, look-ups and repetitions one": {
			Asks(files, hosts),
			events{asked("sysconf_8830_sip.cfg"), asked("VER"), asked("VER"), asked("x/VER")},
			[]string{"asked for = global file of the server over tftp, version file of the server over tftp, x/<version file> of the server over tftp"},
		},
		"nothing asked":                 {Asks(files, nil), events{booted()}, []string{"asked for = none"}},
		"requests and their distance":   {Requests(Step{Name: "a"}), events{rrq("a"), rrq("b"), rrq("a")}, []string{"requests = 2", "longest time between two = * ms"}},
		"one request has no distance":   {Requests(Step{Name: "a"}), events{rrq("a")}, []string{"requests = 1", "longest time between two = none"}},
		"set-back-reboots":              {Reboots(), events{rebooted(), booted(), rebooted()}, []string{"reboots = 2"}},
		"a good certificate":            {Trusts(), events{handshake("3001", "good", true), refused("3002")}, []string{"certificate = accepted", "alert = none"}},
		"a refused one, with its alert": {Trusts(), events{handshake("3001", "good", false), refused("3002")}, []string{"certificate = refused", "alert = unknown_ca"}},
		"a ClientHello with a name": {Hello(), events{hellos("rig.test")}, []string{
			"server_name = yes", "version = 0x0301", "ciphersuite = 0x002f", "extension.type = none",
			"extensions_supported_group = none", "extensions_ec_point_format = none", "sig_hash_alg = none", "extensions.supported_version = none",
		}},
		"no-server-name": {Hello(), events{hellos("")}, []string{
			"server_name = no", "version = 0x0301", "ciphersuite = 0x002f", "extension.type = none",
			"extensions_supported_group = none", "extensions_ec_point_format = none", "sig_hash_alg = none", "extensions.supported_version = none",
		}},
		"the last registration counts": {
			Registers(Aliases{"2001": "old", "2002": "new"}, Aliases{"300": "golden"}),
			events{registered("2001"), registered("2002")},
			[]string{"line = new", "registration period = golden"},
		},
		"a registration as somebody else": {Registers(Aliases{"2001": "old"}, nil), events{registered("9")}, []string{"line = another"}},
		"no registration":                 {Registers(Aliases{"2001": "old"}, nil), nil, []string{"line = none"}},
		"what DHCP is asked for": {
			DHCPAsks(phoneMAC),
			events{asking(map[string]string{"dhcp.option.request_list": "1,3", "dhcp.option.hostname": "IP8830-00005E005301"})},
			[]string{"parameter request list = 1,3", "vendor class = none", "host name = IP8830-$MAC", "client id = none", "options = none"},
		},
		"the time first": {
			AsksTime(Aliases{"192.0.2.1": "the server"}),
			events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123"), hellos(""), asked("a"), wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123")},
			[]string{"asked = yes", "of whom = the server", "before the first handshake = yes", "before the first request = yes"},
		},
		"another time server, then its own": {
			AsksTime(Aliases{"192.0.2.1": "the server"}),
			events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "198.51.100.7:123"), wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123")},
			[]string{"asked = yes", "of whom = 198.51.100.7, the server", "before the first handshake = none", "before the first request = none"},
		},
		"where it knocks": {
			Connects(Aliases{"192.0.2.1": "the server"}),
			events{
				wire(phoneMAC, timeline.TCPTry, "192.0.2.10:3001", "192.0.2.1:81"), wire(phoneMAC, timeline.TCPTry, "192.0.2.10:3002", "192.0.2.1:80"),
				wire(phoneMAC, timeline.TCPOpen, "192.0.2.10:3002", "192.0.2.1:80"), wire(phoneMAC, timeline.TCPTry, "192.0.2.10:3003", "192.0.2.1:81"),
			},
			[]string{"tries to connect = the server at port 81 more than once, the server at port 80 once"},
		},
		"knocks nowhere": {Connects(nil), events{hellos("")}, []string{"tries to connect = none"}},
		"asks nobody for the time": {
			AsksTime(nil),
			events{hellos(""), asked("a")},
			[]string{"asked = no", "of whom = none", "before the first handshake = no", "before the first request = no"},
		},
		"asks-time-late": {
			AsksTime(nil),
			events{hellos(""), asked("a"), wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123")},
			[]string{"asked = yes", "of whom = 192.0.2.1", "before the first handshake = no", "before the first request = no"},
		},
		"a time between two facts":     {Took("to boot", timeline.FactBooted(), timeline.FactRegistered()), events{registered("1"), booted(), registered("2")}, []string{"to boot = * ms"}},
		"a time that never ends":       {Took("to boot", timeline.FactBooted(), timeline.FactRegistered()), events{registered("1"), booted()}, []string{"to boot = none"}},
		"a time from the window's own": {Took("to boot", timeline.Fact{}, timeline.FactRegistered()), events{registered("1")}, []string{"to boot = * ms"}},
		"fetches-twice": {
			Transfers("a"),
			events{twice, served(9), fetchedFile("a", "aa", 9), fetchedFile("b", "aa", 1), served(9), fetchedFile("a", "aa", 9)},
			[]string{"files fetched again = 1", "bytes fetched again = 9", "TFTP options = blksize=1428, tsize=0", "HTTP parameters = none", "HTTP connections = 0"},
		},
		"a transfer that broke off and began anew": {
			Transfers("a"),
			events{served(4), served(9), fetchedFile("a", "aa", 9)},
			[]string{"files fetched again = 0", "bytes fetched again = 4", "TFTP options = none", "HTTP parameters = none", "HTTP connections = 0"},
		},
		"files over two connections": {
			Transfers("a", "b"),
			events{request("3001", "a", "http.request.version", "HTTP/1.1", "http.connection", "close", "http.range", "bytes=0-"), request("3001", "b", "http.request.version", "HTTP/1.0"), request("3002", "b")},
			[]string{"files fetched again = 0", "bytes fetched again = 0", "TFTP options = none", "HTTP parameters = HTTP/1.1, connection=close, range=bytes=0-", "HTTP connections = 2"},
		},
		"a name in lower case":                       {Spells(mac()), events{asked("VER"), asked("00005e005301"), asked("00005e005301")}, []string{"letter case = lower", "separators = without"}},
		"upper-case-name":                            {Spells(mac()), events{asked("00005E005301")}, []string{"letter case = upper", "separators = without"}},
		"a name in two forms":                        {Spells(mac()), events{asked("00005e005301"), asked("00-00-5E-00-53-01")}, []string{"letter case = lower, upper", "separators = without, dashes"}},
		"a name nobody asked for":                    {Spells(mac()), events{asked("VER")}, []string{"letter case = none", "separators = none"}},
		"one file asked of one host, and of another": {AsksOf(own(), hosts), events{asked("VER"), asked("00005e005301"), asked("00005e005301"), ofAnother("00005e005301")}, []string{"of whom = the server, 192.0.2.9"}},
		"a file asked of nobody":                     {AsksOf(own(), hosts), events{asked("VER")}, []string{"of whom = none"}},
		"the file asked for as the old user":         {AnswersAs(own(), users), events{request("3001", "00005e005301"), request("3001", "00005e005301", "auth.user", "rig"), request("3001", "VER", "auth.user", "new")}, []string{"user = the old one"}},
		"and as the new one":                         {AnswersAs(own(), users), events{request("3001", "00005e005301", "auth.user", "rig"), request("3001", "00005e005301", "auth.user", "new")}, []string{"user = the old one, the new one"}},
		"the file asked for as nobody at all":        {AnswersAs(own(), users), events{request("3001", "00005e005301")}, []string{"user = none"}},
		"challenged once, then granted":              {Authenticates(), events{answer(401), request("3001", "a", "http.authorization.scheme", "Digest"), answer(200)}, []string{"answers 401 = 1", "files granted = 1", "scheme = Digest"}},
		"never granted":                              {Authenticates(), events{answer(401), answer(401)}, []string{"answers 401 = 2", "files granted = 0", "scheme = none"}},
		"a quoted display name":                      {Displays(names), events{registering("before"), registering("two words")}, []string{"display name = the whole value"}},
		"the display name's first word":              {Displays(names), events{registering("two")}, []string{"display name = the first word"}},
		"a display name nobody gave it":              {Displays(names), events{registering("")}, []string{"display name = another"}},
		"nobody who has a display name":              {Displays(names), events{registered("1")}, []string{"display name = none"}},
		"codecs in their order":                      {AnswersWith(), events{answering(phoneMAC, "audio 23000 RTP/AVP 18 8 101")}, []string{"codecs = g729, pcma, 101"}},
		"the last answer":                            {AnswersWith(), events{answering(phoneMAC, "audio 23000 RTP/AVP 8"), answering(phoneMAC, "audio 23000 RTP/AVP 0"), answering(rigMAC, "audio 16384 RTP/AVP 9")}, []string{"codecs = pcmu"}},
		"an answer without audio":                    {AnswersWith(), events{answering(phoneMAC, "video 23000 RTP/AVP 34")}, []string{"codecs = none"}},
		"audio refused":                              {AnswersWith(), events{answering(phoneMAC, "audio 0 RTP/AVP 0")}, []string{"codecs = none"}},
		"no answer":                                  {AnswersWith(), events{registering("before")}, []string{"codecs = none"}},
		"the module alone": {
			SendsFrom(strings.ToUpper(moduleMAC), phoneMAC),
			events{wire(moduleMAC, timeline.DHCPDiscover, "0.0.0.0:68", "255.255.255.255:67"), booted(), wire(rigMAC, timeline.SNTPResponse, "192.0.2.1:123", "192.0.2.10:123")},
			[]string{"frames come from = the module alone"},
		},
		"the phone alone, though a service speaks of the module": {
			SendsFrom(moduleMAC, phoneMAC),
			events{wire(phoneMAC, timeline.ARPProbe, "0.0.0.0:0", "192.0.2.10:0"), {By: "dhcpd", Kind: timeline.DHCPAck, SrcMAC: moduleMAC}},
			[]string{"frames come from = the phone alone"},
		},
		"both-links-up": {
			SendsFrom(moduleMAC, phoneMAC),
			events{wire(moduleMAC, timeline.TFTPRead, "192.0.2.10:2001", "192.0.2.1:69"), wire(phoneMAC, timeline.DHCPDiscover, "0.0.0.0:68", "255.255.255.255:67")},
			[]string{"frames come from = both"},
		},
		"nobody who sends": {SendsFrom(moduleMAC, phoneMAC), events{booted(), wire(rigMAC, timeline.ARPRequest, "192.0.2.1:0", "192.0.2.10:0")}, []string{"frames come from = none"}},
		"whether at all":   {Does("boots", timeline.FactBooted()), events{booted(), booted()}, []string{"boots = yes"}},
		"not at all":       {Does("boots", timeline.FactBooted()), events{rebooted()}, []string{"boots = no"}},
		"how often":        {Happens("boots", timeline.FactBooted()), events{booted(), booted(), rebooted()}, []string{"boots = 2"}},
	}
}

func TestObservations(t *testing.T) {
	for name, c := range observationCases() {
		t.Run(name, func(t *testing.T) {
			tl, w := tell(c.events...)
			got := c.o.Measure(w.View())
			for i, v := range got {
				if v.Unit == "ms" && i < len(c.want) && strings.HasSuffix(c.want[i], "= * ms") && v.Value != none && !strings.HasPrefix(v.Value, "-") {
					got[i].Value = "*"
				}
			}
			var texts []string
			for _, v := range got {
				texts = append(texts, v.String())
			}
			if !reflect.DeepEqual(texts, c.want) {
				t.Errorf("measured\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(c.want, "\n"))
			}
			text, args := EncodeObservation(c.o)
			back, err := DecodeObservation(text, args)
			if err != nil {
				t.Fatal(err)
			}
			shut(tl)
			if a, b := c.o.Measure(w.View()), back.Measure(w.View()); !reflect.DeepEqual(a, b) {
				t.Errorf("decoded it measures %v, before %v", b, a)
			}
		})
	}
}

func TestDecodeObservationRefuses(t *testing.T) {
	for name, c := range map[string]struct{ name, args, want string }{
		"an unknown one":            {"Sing", "{}", `unknown observation "Sing"`},
		"a matcher":                 {"Register", "{}", "unknown observation"},
		"a field it does not have":  {"Reboots", `{"loud":true}`, "loud"},
		"a value of the wrong type": {"Took", `{"what":3}`, "arguments of Took:"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeObservation(c.name, []byte(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want an error with %q", err, c.want)
			}
		})
	}
}

// FuzzDecodeObservation checks that measuring by what was decoded never panics.
func FuzzDecodeObservation(f *testing.F) {
	for _, c := range observationCases() {
		name, args := EncodeObservation(c.o)
		f.Add(name, []byte(args))
	}
	_, w := tell(more(routine(), registered("2001"), rebooted(), refused("3001"), handshake("3001", "x", true), hellos("x"), answer(401))...)
	view := w.View()
	view.Watermark = time.Time{}
	f.Fuzz(func(_ *testing.T, name string, args []byte) {
		o, err := DecodeObservation(name, args)
		if err != nil {
			return
		}
		o.Measure(timeline.View{})
		o.Measure(view)
	})
}
