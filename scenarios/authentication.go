package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
)

// AUT: HTTP authentication, over HTTP and HTTPS.

var _ = scenario("answers a Basic challenge with the stored ID and password",
	covers("AUT-01"), over(timeline.HTTP, timeline.HTTPS), takes(1), needsField(model.CredentialFields), first(3), standsOn("CFG-11"), authenticates("AUT-01", rig.Basic, "Basic"))

var _ = scenario("answers a Digest challenge with qop=auth",
	covers("AUT-02"), over(timeline.HTTP, timeline.HTTPS), takes(1), needsField(model.CredentialFields), standsOn("CFG-11"), authenticates("AUT-02", rig.DigestQOP, "Digest"))

var _ = scenario("answers a Digest challenge without qop",
	covers("AUT-02"), over(timeline.HTTP, timeline.HTTPS), takes(1), needsField(model.CredentialFields), standsOn("CFG-11"), authenticates("AUT-02", rig.Digest, "Digest"))

func authenticates(row string, scheme rig.Scheme, name string) func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Challenge(scheme)
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show(row, Authenticate(name, phone.httpsID())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show(row, RegisterAs(user)))
	}
}

var _ = scenario("offers no credentials before it is challenged",
	covers("AUT-04"), over(timeline.HTTP, timeline.HTTPS), takes(1), needsField(model.CredentialFields),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactAsked(phone.Global().Files...), "")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("AUT-04", OfferCredentialsUnasked()))
	})

var _ = scenario("offers another host no credentials that one asked for",
	covers("AUT-04"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsField(model.CredentialFields), standsOn("AUT-01", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.ChallengeFirstOnly(rig.Basic)

		boot := phone.PowerCycle(ctx)
		answered := timeline.Fact{Name: "answered the challenge", Kinds: []timeline.Kind{timeline.HTTPRequest}, Fields: map[string]string{"auth.ok": "true"}}
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), answered, "AUT-01")
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRegistered(), "AUT-01")
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: phone.OtherURL(phone.over)})
		other := phone.PowerCycle(ctx)

		phone.Reach(ctx, other.Within(phone.Patience.Boot), timeline.FactAsked(phone.Global().Files...), "")
		phone.Finish(ctx, other)
		Consistently(ctx, phone.Quiet(other)).ShouldNot(Show("AUT-04", OfferCredentialsUnasked()))
	})

var _ = scenario("offers a server whose certificate it refused no credentials",
	covers("AUT-04"), over(timeline.HTTPS), takes(1), needsField(model.CredentialFields),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Challenge(rig.Basic)
		phone.Present(pki.UnknownAuthority)

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRefused(), "TLS-02")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("AUT-04", OfferCredentialsUnasked()))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("AUT-04", Authenticate("Basic", phone.httpsID())))
	})

var _ = scenario("gives wrong credentials up, and goes on",
	covers("AUT-03"), over(timeline.HTTP, timeline.HTTPS), takes(4), needsField(model.CredentialFields), standsOn("AUT-01", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, scheme := range []rig.Scheme{rig.Basic, rig.DigestQOP} {
			phone.lane.Challenge(scheme, phone.httpsID(), phone.secret("another password", 16))
			boot := phone.PowerCycle(ctx)
			name := scheme.String()
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("AUT-03", name+": it goes on", Register()))
			Eventually(ctx, phone.Quiet(boot)).Should(ShowCase("AUT-03", name+": a bounded number of tries", AskAtMost(phone.Global(), boundedTries)))
		}
		phone.lane.Challenge(rig.NoAuth, "", "")
		phone.Good(ctx, "AUT-03", "the next good cycle")
	})

// boundedTries is far above what a handset needs and far below "without end".
const boundedTries = 12

var _ = scenario("takes no credentials along to another host",
	covers("AUT-04"), over(timeline.HTTP, timeline.HTTPS), takes(1), needsField(model.CredentialFields), standsOn("AUT-01", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.ChallengeFirstOnly(rig.Basic)
		phone.Inject(fault.On(phone.Version().Files[0]).In("httpd").Do(httpd.Redirect{Code: 302, To: phone.OtherURL(phone.over) + phone.Version().Files[0]}).Once())

		boot := phone.PowerCycle(ctx)

		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("AUT-04", OfferCredentialsUnasked()))
		phone.Calm()
	})

var _ = scenario("answers challenges of every kind in its own way",
	covers("AUT-05"), over(timeline.HTTP, timeline.HTTPS), takes(11), needsField(model.CredentialFields), standsOn("AUT-02", "AUT-04", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Challenge(rig.DigestQOP)
		challenge := fault.On("401").In("httpd")
		for _, c := range []struct {
			name string
			rule fault.Rule
		}{
			{"a stale nonce", fault.On(phone.Own().Files[0]).In("httpd").Do(httpd.Stale{}).Once()},
			{"qop auth-int", challenge.Do(httpd.Offer{Schemes: "Digest MD5 auth-int"})},
			{"SHA-256", challenge.Do(httpd.Offer{Schemes: "Digest SHA-256 auth"})},
			{"SHA-256 before MD5", challenge.Do(httpd.Offer{Schemes: "Digest SHA-256 auth; Digest MD5 auth"})},
			{"Basic before Digest", challenge.Do(httpd.Offer{Schemes: "Basic; Digest MD5 auth"})},
			{"a realm with quotes", challenge.Do(httpd.Realm{Text: `the "lab"`})},
			{"a challenge on each file", fault.On("GET").In("httpd").Do(httpd.NonceOnce{})},
		} {
			phone.Inject(c.rule)
			phone.Observe(ctx, "AUT-05", c.name, phone.PowerCycle(ctx).Within(phone.Patience.Boot), Authenticates())
			phone.Calm()
		}
		phone.Store(ctx, map[model.Field]string{
			phone.Field(model.CredentialFields, 0): "",
			phone.Field(model.CredentialFields, 1): "",
		})
		phone.Challenge(rig.Basic)
		phone.Observe(ctx, "AUT-05", "ID and password are blank", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Authenticates())
	})
