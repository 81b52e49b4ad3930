package scenarios

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/model"
	"ip88rig/rig/sipd"
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

var _ = scenario("bears floods of NOTIFY, unknown events and what is no NOTIFY at all",
	covers("RSY-04"), over(timeline.TFTP), takes(2), standsOn("RSY-01"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Finish(ctx, phone.PowerCycle(ctx))
		event := phone.lane.Handset.Facts.Text(model.CheckSyncEvent)
		for _, c := range []struct {
			name   string
			notice sipd.Notice
			count  int
		}{
			{"an unknown event", sipd.Notice{Event: "nonsense"}, 1},
			{"no event", sipd.Notice{}, 1},
			{"a CSeq of nonsense", sipd.Notice{Event: event, Headers: []sipd.SetHeader{{Name: "CSeq", Value: "x NOTIFY"}}}, 1},
			{"cut in the middle", sipd.Notice{Event: event, CutTo: 90}, 1},
			{"message-summary, which is no re-sync", sipd.Notice{Event: "message-summary", ContentType: "application/simple-message-summary", Body: "Messages-Waiting: no\r\n"}, 1},
		} {
			odd := phone.Notices(ctx, c.name, c.notice, c.count)
			quiet := phone.Quiet(odd)
			Consistently(ctx, quiet).ShouldNot(ShowCase("RSY-04", c.name+": no reboot", Reboot()))
			Consistently(ctx, quiet).ShouldNot(ShowCase("RSY-04", c.name+": no cycle", Ask(phone.Global())))
		}
		reboots := 0
		if phone.lane.Handset.Facts.Yes(model.CheckSyncReboots) {
			reboots = 1
		}
		flood := phone.Notices(ctx, "a flood", sipd.Notice{Event: event}, 50)
		phone.quiesce(ctx, flood.Within(phone.Patience.Cycle), false)
		quiet := phone.Quiet(flood)
		Eventually(ctx, quiet).Should(ShowCase("RSY-04", "a flood: no reboot storm", RebootAtMost(reboots)))
		Eventually(ctx, quiet).Should(ShowCase("RSY-04", "a flood: no storm of cycles", AskAtMost(phone.Global(), boundedTries)))
		phone.Good(ctx, "RSY-04", "the next good cycle")
	})

var _ = scenario("provisions by itself from time to time",
	covers("RSY-05"), over(timeline.TFTP), takes(2), standsOn("CFG-11"), fullDepth(),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Set(Global, provision("smartup_use"), "enable")
		phone.Set(Global, provision("smartup_type"), "1")
		phone.Set(Global, provision("smartup_interval"), "60")
		boot := phone.PowerCycle(ctx)
		phone.Finish(ctx, boot)
		up := boot.Within(phone.Patience.Boot).After(timeline.FactRegistered())
		hour := phone.scaled(time.Hour)
		phone.ObserveUntil(ctx, "RSY-05", "smartup_interval 60", up.Within(hour+phone.Patience.Boot), timeline.FactAsked(phone.Version().Files...),
			Took("registered to the next cycle", timeline.Fact{}, timeline.FactAsked(phone.Global().Files...)))
	})
