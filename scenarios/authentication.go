package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
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
