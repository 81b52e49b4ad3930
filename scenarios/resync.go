package scenarios

import (
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/model"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
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
		_, hangUp := phone.Call(ctx)

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

// None of these rests on what the manuals of others say of check-sync.
var _ = scenario("bears unknown events and what is no NOTIFY at all",
	covers("RSY-04"), over(timeline.TFTP), takes(2),
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
		phone.Good(ctx, "RSY-04", "the next good cycle")
	})

var _ = scenario("bears floods of check-sync, also while it is not registered",
	covers("RSY-04"), over(timeline.TFTP), takes(3), standsOn("RSY-01"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Finish(ctx, phone.PowerCycle(ctx))
		event := phone.lane.Handset.Facts.Text(model.CheckSyncEvent)
		reboots := 0
		h := phone.lane.Handset
		if fact, ok := h.Facts.Get(model.CheckSyncReboots); h.Facts.Yes(model.CheckSyncReboots) || ok && !h.Simulated && !fact.Source.Settled() {
			reboots = 1 // nobody knows that it may not, and one is no storm
		}
		flood := phone.Notices(ctx, "a flood", sipd.Notice{Event: event}, 50)
		phone.quiesce(ctx, flood.Within(phone.Patience.Cycle), false)
		quiet := phone.Quiet(flood)
		Eventually(ctx, quiet).Should(ShowCase("RSY-04", "a flood: no reboot storm", RebootAtMost(reboots)))
		Eventually(ctx, quiet).Should(ShowCase("RSY-04", "a flood: no storm of cycles", AskAtMost(phone.Global(), boundedTries)))

		// The rig still knows where it registered before.
		phone.Inject(fault.On("REGISTER").In("sipd").Do(sipd.Respond{Code: 403}))
		boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		phone.Reach(ctx, boot, timeline.Fact{Name: "its registration was refused", Kinds: []timeline.Kind{timeline.SIPResponse}, Status: 403}, "")
		bare := phone.Notices(ctx, "check-sync while it is not registered", sipd.Notice{Event: event}, 3)
		Eventually(ctx, phone.Quiet(bare)).Should(ShowCase("RSY-04", "while it is not registered: no reboot storm", RebootAtMost(reboots)))
		phone.Calm()
		phone.Good(ctx, "RSY-04", "the next good cycle")
	})

var _ = scenario("provisions by itself from time to time",
	covers("RSY-05"), over(timeline.TFTP), takes(3), standsOn("CFG-11"), fullDepth(),
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

		// The clock that it is told stands a little before the hour, or five hours where
		// they cost nothing, at Greenwich, where it is whether it goes by DHCP or by its
		// own settings.
		soon := max(phone.scaled(phone.Patience.Boot), 2*time.Second)
		if phone.waitsForNothing() {
			soon = 5 * time.Hour
		}
		const oClock = 4
		phone.Set(Global, provision("smartup_type"), "2")
		phone.Set(Global, provision("smartup_time"), strconv.Itoa(oClock))
		phone.Set(Global, nettime("timezone"), "21")
		phone.Set(Global, nettime("dst_auto_adjust"), "off")
		phone.Inject(fault.On("SNTP").In("sntpd").Do(sntpd.SetTo{At: time.Date(2026, 3, 1, oClock, 0, 0, 0, time.UTC).Add(-soon)}))
		phone.Inject(fault.On("ACK").In("dhcpd").Do(dhcpd.SetOption{Code: 2, Value: "\x00\x00\x00\x00"}))
		boot = phone.PowerCycle(ctx)
		phone.Finish(ctx, boot)
		up = boot.Within(phone.Patience.Boot).After(timeline.FactRegistered())
		phone.ObserveUntil(ctx, "RSY-05", "smartup_type 2, daily", up.Within(soon+phone.Patience.Cycle), timeline.FactAsked(phone.Version().Files...),
			Does("provisions at the hour", timeline.FactAsked(phone.Global().Files...)))
		phone.Calm()
	})
