package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/model"
	"ip88rig/rig/tftpd"
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
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-04", AskAlike(phone.Own(), phone.Version())))
	})

var _ = scenario("names its own file by the MAC of the WiFi module",
	covers("ORD-03"), anyTransport(), takes(1), onWiFi(), first(5),
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

var _ = scenario("looks the version file up in folders",
	covers("ORD-06", "ORD-02"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.ObserveAll(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), timeline.FactRegistered(),
			Measured{"ORD-06", "", Asks(phone.labels(), nil)},
			Measured{"ORD-02", "how the name is written", Spells(phone.Own())})
	})

var _ = scenario("asks for its own file although the global file is missing",
	covers("ORD-08"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Withhold(Global)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-08", AskInOrder(phone.Global(), phone.Own())))
	})

var _ = scenario("asks for the version file although its own file is missing",
	covers("ORD-09"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Withhold(Own)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-09", AskInOrder(phone.Own(), phone.Version())))
	})

var _ = scenario("works without a version file: no download, no reboot",
	covers("ORD-10"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.WithholdVersion()
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-10", RegisterAs(user)))
		quiet := phone.Quiet(boot)
		Consistently(ctx, quiet).ShouldNot(Show("ORD-10", Reboot()))
		Consistently(ctx, quiet).ShouldNot(Show("ORD-10", Ask(phone.AnySoftware())))
	})

// Refuse answers each request for the step with an error of the server: 500, or
// TFTP's error 0.
func (p *Phone) Refuse(s Step) {
	GinkgoHelper()
	on := fault.On(s.Files[0])
	if p.over == timeline.TFTP {
		p.Inject(on.In("tftpd").Do(tftpd.Fail{Code: 0, Text: "not now"}))
		return
	}
	p.Inject(on.In("httpd").Do(httpd.Status{Code: 500}))
}

var _ = scenario("asks again for a file that is missing, answered with an error or not answered for",
	covers("ORD-11"), anyTransport(), takes(9),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, c := range []struct {
			step     Step
			withhold func()
		}{
			{phone.Global(), func() { phone.Withhold(Global) }},
			{phone.Own(), func() { phone.Withhold(Own) }},
			{phone.Version(), phone.WithholdVersion},
		} {
			c.withhold()
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			phone.Observe(ctx, "ORD-11", c.step.Name+" missing", boot, Requests(c.step))
			phone.ServeGolden()
			phone.Silent(c.step)
			boot = phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			phone.Observe(ctx, "ORD-11", c.step.Name+" not answered for", boot, Requests(c.step))
			phone.Calm()
			if phone.over == timeline.HTTPS {
				continue // an error is one over HTTP too
			}
			phone.Refuse(c.step)
			boot = phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			phone.Observe(ctx, "ORD-11", c.step.Name+" answered with an error", boot, Requests(c.step))
			phone.Calm()
		}
	})

var _ = scenario("names its own file by the template it is set to",
	covers("ORD-12"), over(timeline.HTTP, timeline.HTTPS), takes(3), needsField(model.NameTemplateField), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		template := phone.Field(model.NameTemplateField, 0)
		phone.Store(ctx, map[model.Field]string{template: "phone-$MAC.cfg"})
		phone.OfferOver(phone.over)

		boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)

		phone.Observe(ctx, "ORD-12", "phone-$MAC.cfg", boot, Asks(phone.labels(), nil))
		// The way home: golden's global file names the field, but its own file is
		// asked for by the old name in that cycle.
		phone.ServeGolden()
		phone.Finish(ctx, phone.PowerCycle(ctx))
	})
