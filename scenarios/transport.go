package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/model"
)

// XPT: which transport. The baseline path is judged first in each lane, because
// settings are stored over it.

var _ = scenario("provisions over TFTP when neither option 160 nor a stored URL is there",
	covers("XPT-01"), over(timeline.TFTP), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-01", AskOver(timeline.TFTP)))
	})

var _ = scenario("uses the URL of option 160 although options 66 and 150 are there",
	covers("XPT-02"), over(timeline.HTTP, timeline.HTTPS), takes(1), first(6),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-02", AskOver(phone.over)))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("XPT-02", Fire(timeline.FactKind(timeline.TFTPRead))))
	})

var _ = scenario("contacts the URL it has stored when option 160 is not there",
	covers("XPT-03"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsField(model.StoredURLField), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.StoredURLField, 0): phone.OtherURL(phone.over)})
		phone.OfferOver(timeline.TFTP)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-03", AskServer(phone.lane.Addrs.Second.String())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-03", Fire(phone.AskedOver(phone.over))))
	})

var _ = scenario("reads the URL from the option number it is set to",
	covers("XPT-04"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsField(model.OptionNumberField), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		const number = 161
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.OptionNumberField, 0): "161"})
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: phone.OtherURL(phone.over), URLOption: number})

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-04", AskServer(phone.lane.Addrs.Second.String())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-04", Fire(phone.AskedOver(phone.over))))
	})

var _ = scenario("speaks in clear to an http URL",
	covers("XPT-05"), over(timeline.HTTP), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-05", Fire(phone.AskedOver(timeline.HTTP))))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("XPT-05", OpenTLS()))
	})

var _ = scenario("opens TLS to an https URL",
	covers("XPT-05"), over(timeline.HTTPS), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-05", OpenTLS()))
	})

var _ = scenario("follows the routine of TFTP, step for step",
	covers("XPT-06"), over(timeline.HTTP, timeline.HTTPS), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-06", AskFor(phone.Global(), phone.Own(), phone.Version())))
	})
