package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
)

// ORD: what is asked for, in which order.

var _ = scenario("asks for the global file first, then for its own",
	covers("ORD-01", "ORD-02"), anyTransport(), takes(1), first(8),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-01", AskFirst(phone.Global())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-02", AskInOrder(phone.Global(), phone.Own())))
	})

var _ = scenario("asks for the version file after the configuration files, the same way",
	covers("ORD-04"), anyTransport(), takes(1), first(7),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-04", AskInOrder(phone.Global(), phone.Own(), phone.Version())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-04", Fire(phone.VersionAskedOver(phone.over))))
	})

var _ = scenario("names its own file by the MAC of the WiFi module",
	covers("ORD-03"), anyTransport(), takes(1), onLink(bench.WiFi), first(5),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-03", Ask(phone.Own())))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("ORD-03", Ask(phone.NamedByPhone())))
	})

var _ = scenario("never asks for another model's files",
	covers("ORD-07"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactAsked(phone.Version().Files...), "")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("ORD-07", Ask(phone.Siblings())))
	})
