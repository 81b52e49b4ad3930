package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/model"
)

// RBT: when it reboots. Rows that count reboots are triggered by power: it is
// not known whether NOTIFY reboots these handsets by itself.

var _ = scenario("reboots once after the cycle in which its own file changed an asterisked field",
	covers("RBT-01"), anyTransport(), takes(1), needsField(model.RebootFields), changesAsterisked(Own))

var _ = scenario("reboots once after the cycle in which the global file changed an asterisked field",
	covers("RBT-01"), anyTransport(), takes(1), needsField(model.RebootFields), changesAsterisked(Global))

func changesAsterisked(c Config) func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.SetAsterisked(c)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("RBT-01", RebootAfterAsking(phone.Version())))
		Eventually(ctx, boot.Within(2*phone.Patience.Boot)).Should(Show("RBT-01", RebootOnce()))
		up := boot.Within(2 * phone.Patience.Boot).After(timeline.FactRebooted()).Within(phone.Patience.Boot)
		Consistently(ctx, up.After(timeline.FactRegistered()).Within(phone.Patience.Settle)).
			ShouldNot(Show("RBT-01", Reboot()))
	}
}

var _ = scenario("does not reboot for a changed field without asterisk",
	covers("RBT-02"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), phone.RegisteredAs(user), "")
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("RBT-02", Reboot()))
	})

var _ = scenario("does not reboot for an asterisked field served with the value it has",
	covers("RBT-03"), anyTransport(), takes(1), needsField(model.RebootFields),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.RepeatAsterisked()

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactFetched(phone.Own().Files...), "")
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRegistered(), "")
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("RBT-03", Reboot()))
	})

var _ = scenario("reboots once for an asterisked field and software in one cycle",
	covers("RBT-05"), anyTransport(), takes(1), needsField(model.RebootFields), needsFirmware(),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.SetAsterisked(Own)
		next := phone.Publish(phone.Firmware("next"))

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Upgrade), timeline.FactFetched(next.Files[0].Name), "FWU-01")
		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("RBT-05", RebootOnce()))
		up := boot.Within(phone.Patience.Upgrade).After(timeline.FactRebooted()).Within(phone.Patience.Boot)
		Consistently(ctx, up.After(timeline.FactRegistered()).Within(phone.Patience.Settle)).
			ShouldNot(Show("RBT-05", Reboot()))
	})

var _ = scenario("is quiet in the cycles after the reboot for an asterisked field",
	covers("RBT-06"), anyTransport(), takes(2), needsField(model.RebootFields), standsOn("RBT-01"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.SetAsterisked(Own)
		boot := phone.PowerCycle(ctx)
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRebooted(), "RBT-01")
		up := boot.Within(phone.Patience.Boot).After(timeline.FactRebooted())

		Eventually(ctx, up.Within(phone.Patience.Boot)).Should(ShowCase("RBT-06", "comes up", Register()))
		Consistently(ctx, phone.Quiet(up)).ShouldNot(ShowCase("RBT-06", "comes up", Reboot()))

		next := phone.PowerCycle(ctx)
		Eventually(ctx, next.Within(phone.Patience.Boot)).Should(ShowCase("RBT-06", "the cycle after", Register()))
		Consistently(ctx, phone.Quiet(next)).ShouldNot(ShowCase("RBT-06", "the cycle after", Reboot()))
	})

var _ = scenario("is quiet in the cycles after an upgrade: no reboot loop, no second download",
	covers("RBT-06"), anyTransport(), takes(2), needsFirmware(), standsOn("FWU-01", "ORD-05"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		next := phone.Publish(phone.Firmware("next"))
		boot := phone.PowerCycle(ctx)
		phone.Reach(ctx, boot.Within(phone.Patience.Upgrade), timeline.FactRebooted(), "RBT-04")
		up := boot.Within(phone.Patience.Upgrade).After(timeline.FactRebooted())

		Eventually(ctx, up.Within(phone.Patience.Boot)).Should(ShowCase("RBT-06", "comes up", Register()))
		quiet := phone.Quiet(up)
		Consistently(ctx, quiet).ShouldNot(ShowCase("RBT-06", "comes up", Reboot()))
		Consistently(ctx, quiet).ShouldNot(ShowCase("RBT-06", "no second download", Ask(phone.AnyListed(next))))

		again := phone.PowerCycle(ctx)
		Eventually(ctx, again.Within(phone.Patience.Boot)).Should(ShowCase("RBT-06", "the cycle after", Register()))
		quiet = phone.Quiet(again)
		Consistently(ctx, quiet).ShouldNot(ShowCase("RBT-06", "the cycle after", Reboot()))
		Consistently(ctx, quiet).ShouldNot(ShowCase("RBT-06", "no second download", Ask(phone.AnyListed(next))))
	})

var _ = scenario("reboots or not when its own file sets back what the global file changed",
	covers("RBT-07"), anyTransport(), takes(1), needsField(model.RebootFields),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.SetBackAsterisked()
		boot := phone.PowerCycle(ctx)
		phone.Observe(ctx, "RBT-07", "", boot.Within(phone.Patience.Boot), Reboots())
	})

var _ = scenario("does not reboot after a cycle that was broken off",
	covers("RBT-08"), anyTransport(), takes(4),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		for _, step := range []Step{phone.Global(), phone.Own(), phone.Version()} {
			phone.BreakOff(step)
			boot := phone.PowerCycle(ctx)
			name := "broken off in the " + step.Name
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("RBT-08", name, Register()))
			Consistently(ctx, phone.Quiet(boot)).ShouldNot(ShowCase("RBT-08", name, Reboot()))
			phone.Calm()
		}
	})
