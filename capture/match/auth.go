package match

import (
	"fmt"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

func authMatchers() registry[params] {
	return registry[params]{"Authenticate": authenticate{}, "OfferCredentialsUnasked": offerCredentialsUnasked{}}
}

type authenticate struct {
	Scheme string `json:"scheme"`
	User   string `json:"user,omitempty"`
}

// Authenticate claims that the handset answers challenges of the scheme
// ("Basic", "Digest") as this user, rightly every time: the password, and for
// Digest realm, URI and a nonce count that goes up. It rests on what the
// service wrote down of each request with credentials (auth.*). It holds once
// the cycle is known to be over. An empty user is not compared.
func Authenticate(scheme, user string) Matcher {
	return claims(authenticate{Scheme: scheme, User: user})
}

func (m authenticate) says() string {
	s := "authenticate by " + m.Scheme
	if m.User != "" {
		s += " as " + m.User
	}
	return s
}

func (m authenticate) judge(v timeline.View) Verdict {
	vd := Verdict{Problem: "it sent no credentials", Line: 1}
	counts := map[string]uint64{}
	last := 0
	for e := range v.Brief.All() {
		if e.Kind != timeline.HTTPRequest || e.Fields["auth.scheme"] == "" || strings.EqualFold(e.Fields["auth.stale"], "true") {
			continue
		}
		if e.Fields["auth.unasked"] == "true" && !strings.EqualFold(e.Fields["auth.scheme"], m.Scheme) {
			// Sent before any challenge it answers none: OfferCredentialsUnasked judges it.
			continue
		}
		last = e.Seq
		vd.Expected = append(vd.Expected, m.says())
		vd.Seen = append(vd.Seen, line(e))
		if problem := m.wrong(e, counts); problem != "" {
			vd.Line, vd.Final, vd.Problem = len(vd.Seen), true, problem
			return vd
		}
	}
	if last == 0 {
		vd.Expected = []string{m.says()}
		return vd
	}
	vd.Line, vd.OK = 0, over(v, last)
	vd.Problem = "it is not yet known whether every request is right"
	return vd
}

// wrong says what is wrong with the credentials of one request.
func (m authenticate) wrong(e *timeline.Event, counts map[string]uint64) string {
	f := e.Fields
	switch {
	case !strings.EqualFold(f["auth.scheme"], m.Scheme):
		return "it used " + f["auth.scheme"]
	case m.User != "" && f["auth.user"] != m.User:
		return fmt.Sprintf("it named itself %q", f["auth.user"])
	case f["auth.ok"] != "true":
		if why := f["auth.problem"]; why != "" {
			return "its credentials were wrong: " + why
		}
		return "its credentials were wrong"
	}
	if nonce, nc := f["auth.nonce"], f["auth.nc"]; nonce != "" && nc != "" {
		n, err := strconv.ParseUint(nc, 16, 32)
		if err != nil || n <= counts[nonce] {
			return fmt.Sprintf("its nonce count did not go up: nc=%s", nc)
		}
		counts[nonce] = n
	}
	return ""
}

type offerCredentialsUnasked struct{}

// OfferCredentialsUnasked claims that the handset sends credentials to a server
// that has not challenged it since it booted, or that the service knows to be
// unasked for ("auth.unasked"). It is mostly used negated.
func OfferCredentialsUnasked() Matcher { return claims(offerCredentialsUnasked{}) }

func (m offerCredentialsUnasked) says() string { return "offer its credentials unasked" }

func (m offerCredentialsUnasked) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"credentials before any 401 of that server"}, Line: 1, Problem: "it did not"}
	challenged := map[string]bool{}
	for e := range v.All.All() {
		switch e.Kind {
		case timeline.Booted, timeline.Rebooted:
			clear(challenged)
		case timeline.HTTPResponse:
			if e.Status == 401 {
				challenged[e.Src.String()], challenged[e.Dst.String()] = true, true
			}
		case timeline.HTTPRequest:
			inside := e.Seq > v.From && (v.Bound == 0 || !e.At.After(v.Anchor.Add(v.Bound)))
			if inside && credentials(e) && (!challenged[e.Dst.String()] || e.Fields["auth.unasked"] == "true") {
				vd.OK, vd.Final = true, true
				vd.Seen = append(vd.Seen, line(e))
			}
		default: // the others are not about credentials
		}
	}
	return vd
}

func credentials(e *timeline.Event) bool {
	return e.Fields["http.authorization.scheme"] != "" || e.Fields["auth.scheme"] != ""
}
