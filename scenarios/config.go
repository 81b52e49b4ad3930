package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
)

// CFG: what it does with configuration data. A setting cannot be read out of a
// handset: the period of registration is the witness of the global file, the
// line's name that of the phone-specific one.

var _ = scenario("applies unencrypted files although a key is stored",
	covers("CFG-01"), anyTransport(), takes(1), first(6),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)
		phone.HoldKey(ctx)
		phone.ChallengeSIP()
		expires := phone.SetExpires()
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-01", RegisterWith{User: user, Expires: expires}))
	})

var _ = scenario("lets the phone-specific file overwrite the global one",
	covers("CFG-02"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		loser := phone.FreshUser()
		phone.Set(Global, voip("line1_name"), loser)
		winner := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		phone.Finish(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-02", RegisterAs(winner)))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("CFG-02", RegisterAs(loser)))
	})

var _ = scenario("decrypts the global file with the stored key and applies it",
	covers("CFG-03"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		expires := phone.SetExpires()
		phone.Encrypt(Global)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-03", RegisterWith{Expires: expires}))
	})

var _ = scenario("decrypts the phone-specific file with the stored key and applies it",
	covers("CFG-03"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()
		phone.Encrypt(Own)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-03", RegisterAs(user)))
	})

var _ = scenario("holds the global file's changes although its own file is missing",
	covers("CFG-09"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		expires := phone.SetExpires()
		phone.Withhold(Own)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-09", RegisterWith{Expires: expires}))
	})

var _ = scenario("still holds what a file set after a power cycle with no file served",
	covers("CFG-11"), anyTransport(), takes(2), first(4),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), phone.RegisteredAs(user), "CFG-01")
		phone.Withhold(Global)
		phone.Withhold(Own)
		phone.WithholdVersion()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-11", RegisterAs(user)))
	})
