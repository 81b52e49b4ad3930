package scenarios

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

// What name server and registrar do to a handset. No row is theirs alone: to a
// handset an option 160 with a name that does not resolve is XPT-08's, for
// whatever reason it does not, and one that the registrar does not take is
// unregistered, which is RSY-04's.

// nameFaults are ways in which the name of option 160 is of no use.
func nameFaults() []stress {
	asked := fault.On("A").In("dnsd")
	return []stress{
		{name: "SERVFAIL", rules: rules(asked.Do(dnsd.Rcode{N: 2}))},
		{name: "NXDOMAIN", rules: rules(asked.Do(dnsd.Rcode{N: 3}))},
		{name: "silence", rules: rules(asked.Do(dnsd.Drop{}))},
		{name: "a wrong address", rules: rules(asked.Do(dnsd.WrongAddress{Addr: netip.MustParseAddr(unusedHost)}))},
		{name: "a chain of 20 aliases", rules: rules(asked.Do(dnsd.Chain{Length: 20}))},
		{name: "aliases in a circle", rules: rules(asked.Do(dnsd.Loop{}))},
		{name: "truncated", rules: rules(asked.Do(dnsd.Truncated{}))},
		{name: "the answer to another question", rules: rules(asked.Do(dnsd.WrongID{}))},
	}
}

var _ = scenario("survives a name server that does not tell it where its server is, and asks again",
	covers("XPT-08"), over(timeline.HTTP), takes(10),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Survive(ctx, "XPT-08", nameFaults())
	})

// registrarFaults are ways in which a REGISTER is not taken.
func registrarFaults() []struct {
	name string
	rule fault.Rule
} {
	register := fault.On("REGISTER").In("sipd")
	return []struct {
		name string
		rule fault.Rule
	}{
		{"403", register.Do(sipd.Respond{Code: 403})},
		{"401 without end", register.Do(sipd.Challenge{})},
		{"401 without end, each nonce stale", register.Do(sipd.Challenge{Stale: true})},
		{"503 with Retry-After", register.Do(sipd.Respond{Code: 503, RetryAfter: 1})},
		{"silence", register.Do(sipd.Drop{})},
	}
}

var _ = scenario("is not upset by a registrar that does not take it, and registers at the next good cycle",
	covers("RSY-04"), over(timeline.TFTP), takes(7),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		tries := timeline.Fact{Name: "a REGISTER", Kinds: []timeline.Kind{timeline.SIPRequest}, Message: "REGISTER"}
		for _, c := range registrarFaults() {
			phone.Inject(c.rule)
			boot := phone.PowerCycle(ctx)
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("RSY-04", c.name+": it tries to register", Fire(tries)))
			quiet := phone.Quiet(boot)
			Consistently(ctx, quiet).ShouldNot(ShowCase("RSY-04", c.name+": no reboot", Reboot()))
			Eventually(ctx, quiet).Should(ShowCase("RSY-04", c.name+": no storm of cycles", AskAtMost(phone.Global(), boundedTries)))
			phone.Calm()
		}
		phone.Good(ctx, "RSY-04", "the next good cycle")
	})
