package httpd

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestTheExamplesOfRFC7616AreRight(t *testing.T) {
	t.Parallel()
	// RFC 7616, 3.9.1.
	const id = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
	auth := Auth{Scheme: Digest, Realm: "http-auth@example.org", User: "Mufasa", Password: func() string { return secret }}
	for algorithm, response := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		opaque := "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
		o := offer{Digest, algorithm, "auth,auth-int"}
		a := auth.ask(false)
		a.offers, a.opaque = []offer{o}, opaque
		for change, want := range map[string]string{
			"":            "",
			opaque:        `opaque "x" is not "` + opaque + `"`,
			response[:32]: "wrong response: another password, or computed wrongly",
			algorithm:     `algorithm "x" is not ` + algorithm,
		} {
			g := &gate{nonces: map[string]*nonce{id: {asked: a, offer: o}}}
			value := `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=` + algorithm +
				`, nonce="` + id + `", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="` + response + `", opaque="` + opaque + `"`
			if change != "" {
				value = strings.Replace(value, change, "x", 1)
			}
			v := g.judge(auth, asked(t, "/dir/index.html", value), "http://h", netip.Addr{})
			if got := v.fields["auth.problem"]; got != want {
				t.Errorf("%s, without %q: %q, want %q", algorithm, change, got, want)
			}
		}
	}
}

func TestTheBodyIsInTheResponseOfAuthInt(t *testing.T) {
	t.Parallel()
	auth := digest(true)
	a := auth.ask(false)
	a.offers = []offer{{Digest, "MD5", "auth-int"}}
	for body, ok := range map[string]bool{"a body": true, "another body": false} {
		g := &gate{}
		g.ask(*a, "http://h", netip.Addr{})
		id := g.order[0]
		a1, a2 := md5Hex("Mufasa:testrealm@host.com:"+secret), md5Hex("GET:/a:"+md5Hex("a body"))
		r := asked(t, "/a", `Digest username="Mufasa", realm="testrealm@host.com", uri="/a", nonce="`+id+`", nc=00000001, cnonce="c", qop=auth-int, response="`+
			md5Hex(a1+":"+id+":00000001:c:auth-int:"+a2)+`"`)
		r.Body = io.NopCloser(strings.NewReader(body))
		if v := g.judge(auth, r, "http://h", netip.Addr{}); (v.status == 0) != ok {
			t.Errorf("%q: %v", body, v.fields)
		}
		if left, err := io.ReadAll(r.Body); err != nil || string(left) != body {
			t.Errorf("%q is left of the body, %v", left, err)
		}
	}
}

func TestForeignClientsMeetOddChallenges(t *testing.T) {
	t.Parallel()
	const file = "sysconf_8830_sip.cfg"
	user := "Mufasa:" + secret
	on := func(e fault.Effect) fault.Rule { return fault.On("401").Do(e) }
	for name, c := range map[string]struct {
		auth Auth
		rule fault.Rule
		args []string
		line string   // in the first challenge
		want []string // status, scheme, algorithm, qop, verdict, problem
	}{
		"SHA-256":                             {digest(true), on(Offer{"Digest SHA-256 auth"}), []string{"--digest"}, `qop="auth", algorithm=SHA-256`, []string{"401", "200 Digest SHA-256 auth true"}},
		"SHA-256, a session":                  {digest(true), on(Offer{"Digest SHA-256-sess auth"}), []string{"--digest"}, `algorithm=SHA-256-sess`, []string{"401", "200 Digest SHA-256-sess auth true"}},
		"MD5, a session":                      {digest(true), on(Offer{"Digest MD5-sess auth"}), []string{"--digest"}, `algorithm=MD5-sess`, []string{"401", "200 Digest MD5-sess auth true"}},
		"auth-int":                            {digest(true), on(Offer{"Digest MD5 auth-int"}), []string{"--digest"}, `qop="auth-int"`, []string{"401", "200 Digest MD5 auth-int true"}},
		"both qops":                           {digest(true), on(Offer{"Digest MD5 auth-int,auth"}), []string{"--digest"}, `qop="auth-int,auth"`, []string{"401", "200 Digest MD5 auth true"}},
		"both schemes, curl takes the better": {digest(true), on(Offer{"Basic; Digest MD5 auth"}), []string{"--anyauth"}, "Basic realm=", []string{"401", "200 Digest MD5 auth true"}},
		"an algorithm that nobody knows":      {digest(true), on(Offer{"Digest SHA-1 auth"}), []string{"--digest"}, "algorithm=SHA-1", []string{"401"}},
		"a realm with quotes":                 {digest(true), on(Realm{Text: `a "quoted\" realm`}), []string{"--digest"}, `realm="a \"quoted\\\" realm"`, []string{"401", "200 Digest MD5 auth true"}},
		"an empty realm":                      {digest(true), on(Realm{}), []string{"--digest"}, `realm=""`, []string{"401", "200 Digest MD5 auth true"}},
		"an empty realm, Basic":               {basic(), on(Realm{}), []string{"--anyauth"}, `Basic realm=""`, []string{"401", "200 Basic true"}},
		"a realm without quotes":              {digest(true), on(Realm{Text: "here", Unquoted: true}), []string{"--digest"}, "realm=here,", []string{"401", "200 Digest MD5 auth true"}},
		"an opaque":                           {digest(true), on(Opaque{"5ccc069c"}), []string{"--digest"}, `opaque="5ccc069c"`, []string{"401", "200 Digest MD5 auth true"}},
		"a nonce that is stale once":          {digest(true), fault.On(file).Do(Stale{}).Once(), []string{"--digest"}, "", []string{"401", "401 Digest MD5 auth true", "200 Digest MD5 auth true"}},
		"asked again for right ones":          {digest(true), fault.On(file).Do(AskAgain{}), []string{"--digest"}, "", []string{"401", "401 Digest MD5 auth true"}},
		"wrong credentials are taken":         {digest(true), fault.On("401").Do(Accept{}), []string{"--digest", "-u", "Mufasa:x"}, "", []string{"401", "200 Digest MD5 auth false wrong response: another password, or computed wrongly"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{Auth: func(string) Auth { return c.auth }}, c.rule)
			args := append([]string{"-u", user}, c.args...)
			out, _ := curl(t, append(args, "-D", "-", "http://"+addr+"/"+file)...)
			if first, _, _ := strings.Cut(out, "\r\n\r\n"); !strings.Contains(first, c.line) {
				t.Errorf("answered %q, want %q in it", first, c.line)
			}
			j.wait(t, timeline.ConnClosed, 1)
			if got := outcomes(j); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if last := c.want[len(c.want)-1]; strings.HasPrefix(last, "200") != strings.HasSuffix(out, config) {
				t.Errorf("got %q", out)
			}
		})
	}
}

// outcomes is each request with its answer.
func outcomes(j *journal) []string {
	var all []string
	answers := j.of(timeline.HTTPResponse)
	for i, r := range j.of(timeline.HTTPRequest) {
		s := strconv.Itoa(answers[i].Status)
		for _, k := range []string{"auth.scheme", "auth.algorithm", "auth.qop", "auth.ok", "auth.problem"} {
			s += prefixed(" ", r.Fields[k])
		}
		all = append(all, s)
	}
	return all
}

func TestWhatIsOfferedMayBeAnsweredInEachWay(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{Auth: func(string) Auth { return digest(true) }}, fault.On("401").Do(Offer{"Digest SHA-256 auth; Digest MD5 auth; Basic"}))
	out, code := curl(t, "-D", "-", "http://"+addr+"/empty")
	for _, want := range []string{", algorithm=SHA-256\r\n", ", algorithm=MD5\r\n", "WWW-Authenticate: Basic realm=\"testrealm@host.com\"\r\n"} {
		if code != 0 || strings.Count(out, want) != 1 {
			t.Errorf("answered %q, %d, want %q in it", out, code, want)
		}
	}
	// Basic was offered to this client by now, and the second digest to curl.
	if out, code := curl(t, "--basic", "-u", "Mufasa:"+secret, "http://"+addr+"/sysconf_8830_sip.cfg"); out != config || code != 0 {
		t.Errorf("Basic: %q, %d", out, code)
	}
	if out, code := curl(t, "--digest", "-u", "Mufasa:"+secret, "http://"+addr+"/sysconf_8830_sip.cfg"); out != config || code != 0 {
		t.Errorf("Digest: %q, %d", out, code)
	}
	j.wait(t, timeline.ConnClosed, 3)
	if got := outcomes(j); got[1] != "200 Basic true" || !strings.HasPrefix(got[len(got)-1], "200 Digest ") {
		t.Errorf("got %q", got)
	}
}

func TestANonceThatIsGoodOnce(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		addr, j := faulty(t, Config{Auth: func(string) Auth { return digest(true) }}, fault.On("GET").Do(NonceOnce{Stale: stale}), fault.On("moved").Do(Redirect{Code: 302, To: "/sysconf_8830_sip.cfg"}).Once())
		// curl keeps a nonce across redirections only.
		out, code := curl(t, "--digest", "-u", "Mufasa:"+secret, "-L", "http://"+addr+"/moved")
		j.wait(t, timeline.ConnClosed, 1)
		want := []string{"401", "302 Digest MD5 auth true", "401 Digest MD5 auth true", "200 Digest MD5 auth true"}
		if !stale { // curl takes that for a refusal
			want = want[:3]
		}
		if got := outcomes(j); !slices.Equal(got, want) || stale != (out == config) || code != 0 {
			t.Errorf("stale %t: %q, %q, %d", stale, got, out, code)
		}
	}
}

func TestANonceThatWasCalledStaleStaysSo(t *testing.T) {
	t.Parallel()
	auth := digest(true)
	for name, c := range map[string]struct {
		effect fault.Effect
		want   []string // of the answers to the same nonce
	}{
		"stale":       {Stale{}, []string{"401 stale", "401 stale", "401 stale"}},
		"once":        {NonceOnce{Stale: true}, []string{"200", "401 stale", "401 stale"}},
		"asked again": {AskAgain{}, []string{"401", "200", "200"}}, // nothing was said of the nonce
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := func(string, netip.AddrPort) ([]byte, error) { return []byte(config), nil }
			addr, _ := faulty(t, Config{Auth: func(string) Auth { return auth }, Lookup: file}, fault.On("a").Do(c.effect).Once())
			client := dial(t, addr)
			br := bufio.NewReader(client)
			request := func(authorization string) (status int, challenge string) {
				if _, err := io.WriteString(client, "GET /a?b=c HTTP/1.1\r\nHost: a\r\n"+authorization+"\r\n"); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				return resp.StatusCode, resp.Header.Get("WWW-Authenticate")
			}
			nonce := func(challenge string) string {
				_, after, _ := strings.Cut(challenge, `nonce="`)
				id, _, _ := strings.Cut(after, `"`)
				return id
			}
			with := func(nonce, nc string) (status int, challenge string) {
				return request("Authorization: " + answerTo(nonce, auth, map[string]string{"nc": nc}) + "\r\n")
			}
			_, challenge := request("")
			old, last := nonce(challenge), nonce(challenge)
			var got []string
			for _, nc := range []string{"00000001", "00000002", "00000003"} {
				status, challenge := with(old, nc)
				s := strconv.Itoa(status)
				if strings.HasSuffix(challenge, ", stale=true") {
					s += " stale"
				}
				if id := nonce(challenge); id != "" {
					if id == last {
						t.Errorf("nonce %q is given out again", id)
					}
					last = id
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if status, _ := with(last, "00000009"); status != http.StatusOK {
				t.Errorf("the last nonce: %d", status)
			}
		})
	}
}

func TestTheNextNonceIsGood(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{Auth: func(string) Auth { return digest(true) }}, fault.On("GET").Do(NextNonce{}))
	out, code := curl(t, "--digest", "-u", "Mufasa:"+secret, "-D", "-", "http://"+addr+"/empty")
	_, after, ok := strings.Cut(out, "\r\nAuthentication-Info: nextnonce=\"")
	id, _, _ := strings.Cut(after, "\"")
	if !ok || code != 0 {
		t.Fatalf("answered %q, %d", out, code)
	}
	client := dial(t, addr)
	if _, err := io.WriteString(client, "GET /a?b=c HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\nAuthorization: "+answerTo(id, digest(true), nil)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(client); err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 404") {
		t.Errorf("answered %q, %v", out, err)
	}
	j.wait(t, timeline.ConnClosed, 2)
	if got := outcomes(j); len(got) != 3 || got[2] != "404 Digest auth true" {
		t.Errorf("got %q", got)
	}
}
