package httpd

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

const secret = "Circle of Life"

// md5Hex is H of RFC 2617.
func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func digest(qop bool) Auth {
	return Auth{Scheme: Digest, Realm: "testrealm@host.com", User: "Mufasa", Password: func() string { return secret }, QOP: qop}
}

func basic() Auth {
	return Auth{Scheme: Basic, Realm: "r", User: "Mufasa", Password: func() string { return secret }}
}

// asked is a request with one Authorization line, or none.
func asked(t *testing.T, target, authorization string) *request {
	t.Helper()
	r := &request{Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func TestTheExamplesOfTheStandardsAreRight(t *testing.T) {
	t.Parallel()
	// RFC 2617, 3.5; and RFC 2069, 2.4 as its erratum 749 corrects it.
	nonceOfRFC := "dcd98b7102dd2f0e8b11d0f600bfb0c093"
	for name, c := range map[string]struct {
		auth  Auth
		value string
	}{
		"RFC 2617": {digest(true), `Digest username="Mufasa", realm="testrealm@host.com", nonce="` + nonceOfRFC + `", uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"`},
		"RFC 2069": {func() Auth { a := digest(false); a.Password = func() string { return "CircleOfLife" }; return a }(), `Digest username="Mufasa", realm="testrealm@host.com", nonce="` + nonceOfRFC + `", uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea", opaque="5ccc069c403ebaf9f0171e9517f40e41"`},
	} {
		if name == "RFC 2617" {
			c.auth.Password = func() string { return "Circle Of Life" }
		}
		g := &gate{nonces: map[string]*nonce{nonceOfRFC: {}}}
		v := g.judge(c.auth, asked(t, "/dir/index.html", c.value), "http://h", netip.Addr{})
		if v.status != 0 || v.fields["auth.ok"] != "true" {
			t.Errorf("%s: status %d, %v", name, v.status, v.fields)
		}
	}
}

func TestWhatIsWrongWithCredentialsIsSaid(t *testing.T) {
	t.Parallel()
	from := netip.MustParseAddr("192.0.2.7")
	for name, c := range map[string]struct {
		auth   Auth
		change map[string]string // of right digest credentials, before the response is computed; "-" takes one out
		raw    string            // instead
		status int
		stale  bool
		want   string
	}{
		"right with qop":                   {auth: digest(true)},
		"right without qop":                {auth: digest(false), change: map[string]string{"qop": "-", "nc": "-", "cnonce": "-"}},
		"qop not used though offered":      {auth: digest(true), change: map[string]string{"qop": "-", "nc": "-", "cnonce": "-"}},
		"no credentials":                   {auth: digest(true), raw: "-", status: 401},
		"another user":                     {auth: digest(true), change: map[string]string{"username": "Scar"}, status: 401, want: "another user than the one assigned"},
		"another realm":                    {auth: digest(true), change: map[string]string{"realm": "x"}, status: 401, want: `realm "x" is not "testrealm@host.com"`},
		"another uri":                      {auth: digest(true), change: map[string]string{"uri": "/b"}, status: 400, want: `uri "/b" is not that of the request, "/a?b=c"`},
		"the uri without its query":        {auth: digest(true), change: map[string]string{"uri": "/a"}, status: 400, want: `uri "/a" is not that of the request, "/a?b=c"`},
		"a nonce from elsewhere":           {auth: digest(true), change: map[string]string{"nonce": "x"}, status: 401, stale: true, want: "nonce was not given out here, or was forgotten"},
		"nc begins at nothing":             {auth: digest(true), change: map[string]string{"nc": "00000000"}, status: 401, stale: true, want: "nc did not count up: 00000000 after 00000000"},
		"nc of three digits":               {auth: digest(true), change: map[string]string{"nc": "001"}, status: 401, stale: true, want: `nc "001" is not eight hexadecimal digits`},
		"qop though not offered":           {auth: digest(false), status: 401, want: `qop "auth" where none was offered`},
		"qop that was not offered":         {auth: digest(true), change: map[string]string{"qop": "auth-int"}, status: 401, want: `qop "auth-int" is not auth`},
		"qop without cnonce":               {auth: digest(true), change: map[string]string{"cnonce": "-"}, status: 401, want: "qop without cnonce"},
		"another algorithm":                {auth: digest(true), change: map[string]string{"algorithm": "MD5-sess"}, status: 401, want: `algorithm "MD5-sess" is not MD5`},
		"another response":                 {auth: digest(true), change: map[string]string{"response": "0"}, status: 401, want: "wrong response: another password, or computed wrongly"},
		"no response":                      {auth: digest(true), change: map[string]string{"response": "-"}, status: 401, want: "no response; wrong response: another password, or computed wrongly"},
		"another user, Basic":              {auth: basic(), raw: "Basic " + base64.StdEncoding.EncodeToString([]byte("Scar:"+secret)), status: 401, want: "another user than the one assigned"},
		"another password, Basic":          {auth: basic(), raw: "Basic " + base64.StdEncoding.EncodeToString([]byte("Mufasa:x")), status: 401, want: "wrong password"},
		"right, Basic":                     {auth: basic(), raw: "basic " + base64.StdEncoding.EncodeToString([]byte("Mufasa:"+secret))},
		"Basic that is not base64":         {auth: basic(), raw: "Basic !", status: 401, want: "credentials that are not base64"},
		"Basic without a colon":            {auth: basic(), raw: "Basic " + base64.StdEncoding.EncodeToString([]byte("x")), status: 401, want: "credentials without a colon"},
		"Basic where Digest was asked for": {auth: digest(true), raw: "Basic " + base64.StdEncoding.EncodeToString([]byte("Mufasa:"+secret)), status: 401, want: "Basic where Digest was asked for"},
		"something else":                   {auth: digest(true), raw: "Digest nonce", status: 401, want: "credentials with a parameter that is not name=value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gate{}
			g.ask(*c.auth.ask(false), "http://h", from)
			value := c.raw
			if c.raw == "" {
				value = answerTo(g.order[0], c.auth, c.change)
			}
			if value == "-" {
				value = ""
			}
			v := g.judge(c.auth, asked(t, "/a?b=c", value), "http://h", from)
			if v.status != c.status || v.stale != c.stale || v.fields["auth.problem"] != c.want {
				t.Errorf("status %d, stale %t, problem %q; want %d, %t, %q", v.status, v.stale, v.fields["auth.problem"], c.status, c.stale, c.want)
			}
			if ok := v.fields["auth.ok"]; value != "" && ok != strconv.FormatBool(c.want == "") || value == "" && ok != "" {
				t.Errorf("auth.ok %q", ok)
			}
			if got, want := v.fields["auth.stale"] == "true", strings.HasPrefix(c.want, "nonce"); got != want {
				t.Errorf("auth.stale %t, want %t", got, want)
			}
			if v.fields["auth.unasked"] != "" {
				t.Error("unasked after a challenge")
			}
			if text := fmt.Sprint(v.fields); strings.Contains(text, secret) {
				t.Errorf("the password is in %s", text)
			}
		})
	}
}

// answerTo computes Digest credentials as RFC 2617, 3.2.2.1 says, in plain steps.
func answerTo(nonce string, a Auth, change map[string]string) string {
	p := map[string]string{
		"username": a.User, "realm": a.Realm, "nonce": nonce, "uri": "/a?b=c", "qop": "auth", "nc": "00000001", "cnonce": "c",
	}
	maps.Copy(p, change)
	maps.DeleteFunc(p, func(_, v string) bool { return v == "-" })
	a1 := md5Hex(a.User + ":" + a.Realm + ":" + secret)
	a2 := md5Hex("GET:" + p["uri"])
	if p["qop"] == "auth-int" {
		a2 = md5Hex("GET:" + p["uri"] + ":" + md5Hex(""))
	}
	if _, given := change["response"]; !given {
		p["response"] = md5Hex(a1 + ":" + p["nonce"] + ":" + a2)
		if p["qop"] != "" {
			p["response"] = md5Hex(strings.Join([]string{a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2}, ":"))
		}
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, k+"="+quoted(p[k]))
	}
	return "Digest " + strings.Join(parts, ", ")
}

func TestNcMustCountUpPerNonce(t *testing.T) {
	t.Parallel()
	g, a, from := &gate{}, digest(true), netip.MustParseAddr("192.0.2.7")
	nonce := func() string {
		g.ask(*a.ask(false), "http://h", from)
		return g.order[len(g.order)-1]
	}
	one, two := nonce(), nonce()
	for i, step := range []struct{ nonce, nc, want string }{
		{one, "00000001", ""},
		{one, "00000001", "nc did not count up: 00000001 after 00000001"},
		{one, "00000002", ""},
		{two, "00000001", ""},
		{one, "0000000a", ""},
		{one, "00000009", "nc did not count up: 00000009 after 0000000a"},
	} {
		v := g.judge(a, asked(t, "/a?b=c", answerTo(step.nonce, a, map[string]string{"nc": step.nc})), "http://h", from)
		if got := v.fields["auth.problem"]; got != step.want || v.fields["auth.nc"] != step.nc {
			t.Errorf("step %d: problem %q, want %q", i, got, step.want)
		}
	}
}

func TestCredentialsBeforeAChallengeAreNoted(t *testing.T) {
	t.Parallel()
	handset, other := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.8")
	realm := func(r string) Auth { a := basic(); a.Realm = r; return a }
	value := "Basic " + base64.StdEncoding.EncodeToString([]byte("Mufasa:"+secret))
	for name, c := range map[string]struct {
		auth    Auth
		space   string
		from    netip.Addr
		forget  bool
		unasked bool
	}{
		"where it was challenged":                 {realm("r"), "http://h", handset, false, false},
		"on another host":                         {realm("r"), "http://other", handset, false, true},
		"over another transport":                  {realm("r"), "https://h", handset, false, true},
		"in another realm":                        {realm("x"), "http://h", handset, false, true},
		"from another handset":                    {realm("r"), "http://h", other, false, true},
		"after all was forgotten":                 {realm("r"), "http://h", handset, true, true},
		"where none are needed but were":          {Auth{}, "http://h", handset, false, false},
		"where none are needed, on another host":  {Auth{}, "http://other", handset, false, true},
		"where none are needed, after forgetting": {Auth{}, "http://h", handset, true, true},
	} {
		g := &gate{}
		g.ask(*realm("r").ask(false), "http://h", handset)
		if c.forget {
			g.forget()
		}
		v := g.judge(c.auth, asked(t, "/a", value), c.space, c.from)
		if got := v.fields["auth.unasked"] == "true"; got != c.unasked {
			t.Errorf("%s: unasked %t, want %t", name, got, c.unasked)
		}
		if v.fields["auth.user"] != "Mufasa" || v.fields["auth.scheme"] != "Basic" {
			t.Errorf("%s: fields %v", name, v.fields)
		}
	}
}

func TestNoncesAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	g := &gate{}
	for range maxNonces + 10 {
		g.ask(*digest(true).ask(false), "http://h", netip.Addr{})
	}
	if len(g.nonces) != maxNonces || len(g.order) != maxNonces {
		t.Errorf("%d nonces, %d in order", len(g.nonces), len(g.order))
	}
}

func TestForeignClientsAuthenticate(t *testing.T) {
	t.Parallel()
	auth := func(a Auth) Config { return Config{Auth: func(string) Auth { return a }} }
	stale := digest(true)
	stale.NonceUses = 1
	quotes := digest(true)
	quotes.Realm = `a "quoted" realm`
	user := "Mufasa:" + secret
	for name, c := range map[string]struct {
		cfg  Config
		args []string
		want []string // status of each request, with what the journal says of its credentials
	}{
		"curl, Basic":                       {auth(basic()), []string{"curl", "--basic", "--anyauth", "-u", user}, []string{"401", "200 Basic true"}},
		"curl, Basic, before any challenge": {auth(basic()), []string{"curl", "--basic", "-u", user}, []string{"200 Basic true unasked"}},
		"curl, Basic, another password":     {auth(basic()), []string{"curl", "--anyauth", "-u", "Mufasa:x"}, []string{"401", "401 Basic false wrong password"}},
		"curl, Digest with qop":             {auth(digest(true)), []string{"curl", "--digest", "-u", user}, []string{"401", "200 Digest true nc=00000001 qop=auth"}},
		"curl, Digest without qop":          {auth(digest(false)), []string{"curl", "--digest", "-u", user}, []string{"401", "200 Digest true"}},
		"curl, Digest over HTTP/1.0":        {auth(digest(true)), []string{"curl", "--http1.0", "--digest", "-u", user}, []string{"401", "200 Digest true nc=00000001 qop=auth"}},
		"curl, Digest, another password":    {auth(digest(true)), []string{"curl", "--digest", "-u", "Mufasa:x"}, []string{"401", "401 Digest false nc=00000001 qop=auth wrong response: another password, or computed wrongly"}},
		"curl, a realm with quotes":         {auth(quotes), []string{"curl", "--digest", "-u", user}, []string{"401", "200 Digest true nc=00000001 qop=auth"}},
		"wget, Digest":                      {auth(digest(true)), []string{"wget", "--user=Mufasa", "--password=" + secret}, []string{"401", "200 Digest true nc=00000001 qop=auth"}},
		"wget, Basic":                       {auth(basic()), []string{"wget", "--user=Mufasa", "--password=" + secret}, []string{"401", "200 Basic true"}},
		"wget of busybox, Basic":            {auth(basic()), []string{"busybox", "wget", "USER"}, []string{"200 Basic true unasked"}},
		"nobody asks":                       {Config{}, []string{"curl", "--basic", "-u", user}, []string{"200 Basic unasked"}},
		"curl, a nonce used up":             {auth(stale), []string{"curl", "--digest", "-u", user, "-L", "MOVED"}, []string{"401", "302 Digest true nc=00000001 qop=auth", "401 Digest false nc=00000002 qop=auth nonce is stale", "200 Digest true nc=00000001 qop=auth"}},
		"curl, the second file":             {auth(digest(true)), []string{"curl", "--digest", "-u", user, "-L", "MOVED"}, []string{"401", "302 Digest true nc=00000001 qop=auth", "200 Digest true nc=00000002 qop=auth"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Faults = &fault.Plan{}
			c.cfg.Faults.Add(fault.On("moved").Do(Status{Code: 302, Header: "Location: /sysconf_8830_sip.cfg"}))
			addr, j := serve(t, c.cfg)
			url := "http://" + addr + "/sysconf_8830_sip.cfg"
			args := slices.Clone(c.args)
			if args[len(args)-1] == "MOVED" { // curl keeps a nonce within one transfer only
				args = args[:len(args)-1]
				url = "http://" + addr + "/moved"
			}
			if args[len(args)-1] == "USER" { // busybox has no options for it
				args = args[:len(args)-1]
				url = "http://Mufasa:" + strings.ReplaceAll(secret, " ", "%20") + "@" + addr + "/sysconf_8830_sip.cfg"
			}
			switch c.args[0] {
			case "curl":
				args = append(args, "-sS")
			default:
				args = append(args, "-q", "-O", "-")
			}
			out, err := run(t, args[0], append(args[1:], url)...)
			if right := !strings.HasPrefix(c.want[len(c.want)-1], "401"); right && (err != nil || !strings.HasPrefix(out, "[LAN]\n")) {
				t.Errorf("got %q, %v", out, err)
			}
			j.wait(t, timeline.ConnClosed, 1)
			requests, answers := j.of(timeline.HTTPRequest), j.of(timeline.HTTPResponse)
			var got []string
			for i, r := range requests {
				f := r.Fields
				s := strconv.Itoa(answers[i].Status)
				for _, part := range []string{f["auth.scheme"], f["auth.ok"], prefixed("nc=", f["auth.nc"]), prefixed("qop=", f["auth.qop"]), f["auth.problem"]} {
					s += prefixed(" ", part)
				}
				if f["auth.unasked"] != "" {
					s += " unasked"
				}
				got = append(got, s)
				if f["auth.user"] != "Mufasa" && f["auth.scheme"] != "" {
					t.Errorf("auth.user %q", f["auth.user"])
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if text := j.String(); strings.Contains(text, secret) || strings.Contains(text, "response=") {
				t.Errorf("a secret is in the journal:\n%s", text)
			}
		})
	}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func TestAFaultOnAFileWaitsForTheRequestThatGetsIt(t *testing.T) {
	t.Parallel()
	plan := &fault.Plan{}
	plan.Add(fault.On("image.rom").Do(Status{Code: 404}).Once())
	addr, j := serve(t, Config{Auth: func(string) Auth { return digest(true) }, Faults: plan})
	out, err := run(t, "curl", "-sS", "-f", "--digest", "-u", "Mufasa:"+secret, "http://"+addr+"/image.rom")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(out, "404") {
		t.Errorf("curl: %v, %s", err, out)
	}
	j.wait(t, timeline.ConnClosed, 1)
	if got, want := kinds(j.of(timeline.HTTPResponse)), []string{"HTTP response GET image.rom 401", "HTTP response GET image.rom 404"}; !slices.Equal(got, want) {
		t.Errorf("answered %q, want %q", got, want)
	}
}

func TestAChallengeMadeByAFaultCountsAsOne(t *testing.T) {
	t.Parallel()
	plan := &fault.Plan{}
	plan.Add(fault.On("empty").Do(Status{Code: 401, Header: `WWW-Authenticate: Basic realm="r"`}).Once())
	addr, j := serve(t, Config{Faults: plan})
	if out, err := run(t, "curl", "-sS", "-f", "--anyauth", "-u", "Mufasa:"+secret, "http://"+addr+"/empty"); err != nil {
		t.Errorf("curl: %v, %s", err, out)
	}
	j.wait(t, timeline.ConnClosed, 1)
	requests := j.of(timeline.HTTPRequest)
	if len(requests) != 2 || requests[1].Fields["auth.scheme"] != "Basic" || requests[1].Fields["auth.unasked"] != "" {
		t.Errorf("requests %+v", requests)
	}
}

func TestAuthorizationIsParsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want map[string]string
		ok   bool
	}{
		"quotes and tokens":      {`Digest a="1", b=2`, map[string]string{"a": "1", "b": "2"}, true},
		"no blanks":              {`Digest a="1",b=2,c="3"`, map[string]string{"a": "1", "b": "2", "c": "3"}, true},
		"a comma within quotes":  {`Digest a="1,2"`, map[string]string{"a": "1,2"}, true},
		"an escaped quote":       {`Digest a="\"\\"`, map[string]string{"a": `"\`}, true},
		"empty elements":         {`Digest ,a=1,, b=2,`, map[string]string{"a": "1", "b": "2"}, true},
		"blanks around equals":   {`Digest a = 1`, map[string]string{"a": "1"}, true},
		"names in capitals":      {`Digest NC=1`, map[string]string{"nc": "1"}, true},
		"an empty string":        {`Digest a=""`, map[string]string{"a": ""}, true},
		"nothing":                {`Digest`, map[string]string{}, true},
		"a quote left open":      {`Digest a="1`, nil, false},
		"a backslash at the end": {`Digest a="1\`, nil, false},
		"no comma":               {`Digest a="1" b=2`, nil, false},
		"two values":             {`Digest a=1, a=2`, nil, false},
		"no value":               {`Digest a=`, nil, false},
		"no scheme":              {``, nil, false},
	} {
		got, err := parseAuthorization(c.in)
		if (err == nil) != c.ok || c.ok && !maps.Equal(got.params, c.want) {
			t.Errorf("%s: %v, %v", name, got.params, err)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		answerTo("n", digest(true), nil), "Basic TXVmYXNhOng=", "Basic !", "Digest", `Digest a="\"", b=c,,d = "e"`, `Digest a="`, "Bearer x", "\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := parseAuthorization(value)
		if err != nil || c.params == nil {
			return
		}
		// What was understood, written properly, is understood the same.
		var parts []string
		for k, v := range c.params {
			parts = append(parts, k+"="+quoted(v))
		}
		again, err := parseAuthorization(c.scheme + " " + strings.Join(parts, ","))
		if err != nil || !maps.Equal(again.params, c.params) {
			t.Errorf("%q: %v, then %v, %v", value, c.params, again.params, err)
		}
	})
}
