package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/model"
)

// FWU: firmware. Going home from an upgrade is a downgrade, so that both are
// judged over the baseline path before anything else stands on them.

var _ = scenario("installs a different version, whole, with one reboot, and goes back to the lower one",
	covers("FWU-01", "FWU-03", "ORD-05", "RBT-04"), over(timeline.TFTP), takes(2), needsFirmware(), first(5), upAndDown())

var _ = scenario("installs a different version, whole, with one reboot, and goes back to the lower one",
	covers("FWU-01", "FWU-03", "ORD-05", "RBT-04"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsFirmware(), upAndDown())

func upAndDown() func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden := phone.Firmware("golden")
		next := phone.Publish(phone.Firmware("next"))

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("ORD-05", DownloadOnly(phone.Files(next)...).Of(phone.ListedNames(golden, next)...)))
		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("FWU-01", Download(phone.Files(next)...)))
		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("RBT-04", RebootAfterAsking(phone.Listed(next)[len(next.Files)-1])))
		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("RBT-04", RebootOnce()))
		up := boot.Within(phone.Patience.Upgrade).After(timeline.FactRebooted())
		Eventually(ctx, up.Within(phone.Patience.Boot)).Should(Show("FWU-01", phone.Runs(next, golden)))
		Consistently(ctx, up.Within(phone.Patience.Boot).After(timeline.FactRegistered()).Within(phone.Patience.Settle)).ShouldNot(Show("RBT-04", Reboot()))

		phone.Publish(golden)

		down := phone.PowerCycle(ctx)

		Eventually(ctx, down.Within(phone.Patience.Upgrade)).Should(Show("FWU-03", Download(phone.Files(golden)...)))
		back := down.Within(phone.Patience.Upgrade).After(timeline.FactRebooted())
		Eventually(ctx, back.Within(phone.Patience.Boot)).Should(Show("FWU-03", phone.Runs(golden, next)))
		phone.IsGolden()
	}
}

var _ = scenario("downloads nothing when the version file names the running version",
	covers("FWU-02", "ORD-05"), anyTransport(), takes(1), needsFirmware(), first(6),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden := phone.Firmware("golden")

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("FWU-02", DownloadOnly().Of(phone.ListedNames(golden)...)))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("FWU-02", Ask(phone.Version())))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("ORD-05", Ask(phone.AnyListed(golden))))
	})

var _ = scenario("takes comment lines anywhere in the version file for comments",
	covers("FWU-04"), anyTransport(), takes(2), needsFirmware(), standsOn("FWU-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden := phone.Firmware("golden")
		phone.Publish(golden.Commented("img #image.rom 00000000"))

		quiet := phone.PowerCycle(ctx)

		Eventually(ctx, quiet.Within(phone.Patience.Boot)).Should(Show("FWU-04", DownloadOnly().Of(phone.ListedNames(golden)...)))
		Consistently(ctx, phone.Quiet(quiet)).ShouldNot(Show("FWU-04", Reboot()))

		next := phone.Publish(phone.Firmware("next").Commented("img #image.rom 00000000"))

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("FWU-04", Download(phone.Files(next)[0])))
		phone.Reach(ctx, boot.Within(phone.Patience.Upgrade).After(timeline.FactRebooted()).Within(phone.Patience.Boot), timeline.FactRegistered(), "FWU-01")
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-04", Ask(phone.CommentedNames())))
	})

var _ = scenario("downloads no software when software download is disabled",
	covers("FWU-09"), anyTransport(), takes(2), needsFirmware(), needsField(model.DownloadFlagFields), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.DownloadFlagFields, 1): "disable"})
		next := phone.Publish(phone.Firmware("next"))

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactFetched(phone.Own().Files...), "")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.AnyListed(next))))
		phone.RunsGolden()
	})

var _ = scenario("asks for no configuration when configuration download is disabled",
	covers("FWU-09"), anyTransport(), takes(2), needsField(model.DownloadFlagFields), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ProveCheckSync(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.DownloadFlagFields, 0): "disable"})

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactAsked(phone.Version().Files...), "ORD-04")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.Global())))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.Own())))
		phone.HomeByCheckSync(ctx)
	})
