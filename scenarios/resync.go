package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/model"
)

// RSY: re-sync by NOTIFY.

var _ = scenario("starts a cycle at NOTIFY check-sync when it is idle",
	covers("RSY-01"), anyTransport(), takes(1), first(4), resyncs("check-sync"))

var _ = scenario("starts a cycle at NOTIFY check-sync;reboot=true when it is idle",
	covers("RSY-01"), anyTransport(), takes(1), resyncs("check-sync;reboot=true"))

func resyncs(event string) func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), timeline.FactRegistered(), "")

		cycle := phone.notify(ctx, event)

		Eventually(ctx, cycle.Within(phone.Patience.Cycle)).Should(Show("RSY-01", Ask(phone.Global())))
		Eventually(ctx, cycle.Within(phone.Patience.Cycle)).Should(Show("RSY-01", Ask(phone.Version())))
		phone.quiesce(ctx, cycle.Within(phone.Patience.Cycle), false)
	}
}

var _ = scenario("waits with the cycle until its call is over",
	covers("RSY-02"), anyTransport(), takes(1), byHand("answer"), standsOn("RSY-01"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), timeline.FactRegistered(), "")
		hangUp := phone.Call(ctx)

		busy := phone.CheckSync(ctx)

		Consistently(ctx, busy.Within(phone.Patience.Settle)).ShouldNot(Show("RSY-02", Ask(phone.Global())))
		idle := hangUp(ctx)
		Eventually(ctx, idle.Within(phone.Patience.Cycle)).Should(Show("RSY-02", Ask(phone.Global())))
		phone.quiesce(ctx, idle.Within(phone.Patience.Cycle), false)
	})

var _ = scenario("downloads at check-sync what the download flags forbid",
	covers("RSY-03"), anyTransport(), takes(2), needsFirmware(), needsField(model.DownloadFlagFields), riskLockout(), standsOn("RSY-01", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ProveCheckSync(ctx)
		phone.Store(ctx, map[model.Field]string{
			phone.Field(model.DownloadFlagFields, 0): "disable",
			phone.Field(model.DownloadFlagFields, 1): "disable",
		})
		phone.OfferOver(phone.over)
		boot := phone.PowerCycle(ctx)
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRegistered(), "FWU-09")
		user := phone.SetUser()
		next := phone.Publish(phone.Firmware("next"))

		cycle := phone.CheckSync(ctx)

		Eventually(ctx, cycle.Within(phone.Patience.Upgrade)).Should(Show("RSY-03", Ask(phone.Own())))
		Eventually(ctx, cycle.Within(phone.Patience.Upgrade)).Should(Show("RSY-03", Download(phone.Files(next)[0])))
		Eventually(ctx, cycle.Within(phone.Patience.Upgrade)).Should(Show("RSY-03", RegisterAs(user)))
		phone.HomeByCheckSync(ctx)
	})
