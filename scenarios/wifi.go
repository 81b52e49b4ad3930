package scenarios

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/control"
	"ip88rig/rig/impair"
)

// WIF: the WiFi module. What it is at is the access point that the bench file has
// commands for; a simulated handset has one of its own.

var _ = scenario("sends every frame of the cycle from the module's MAC",
	covers("WIF-01"), anyTransport(), takes(1), onWiFi(),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("WIF-01", SendOnlyFrom(phone.lane.Handset.Module.String())))
	})

var _ = scenario("names its own file by its own MAC once the module is gone",
	covers("ORD-02"), anyTransport(), takes(2), onWiFi(), byHand("remove-module", "install-module"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		module := phone.lane.Handset.Module
		phone.ByHand(ctx, control.Request{Verb: control.RemoveModule, Text: "take the WiFi module out and plug the cable in"})

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("ORD-02", Ask(phone.NamedByPhone())))
		phone.ByHand(ctx, control.Request{Verb: control.InstallModule, MAC: module, Text: "put the WiFi module back"})
		phone.Finish(ctx, phone.PowerCycle(ctx))
	})

// air is a deed of the access point, which lasts as long as in the field.
func (p *Phone) air(deed impair.AirDeed) impair.Air {
	e := impair.Air{Does: deed, Back: p.scaled(20 * time.Second)}
	switch deed {
	case impair.Restart, impair.WrongPassphrase:
		e.For = p.scaled(time.Minute)
	case impair.Deauth, impair.Roam, impair.Channel: // over at once
	}
	return e
}

// airPoints is a deed in every stage of the cycle.
func (p *Phone) airPoints(deed impair.AirDeed) []point {
	var points []point
	e := p.air(deed)
	for _, s := range p.tellingStages() {
		points = append(points, point{s.name, s.at.Do(e).Once(), e.For + e.Back})
	}
	return points
}

// Disturb has the access point do a deed, and goes on when that is over.
func (p *Phone) Disturb(ctx context.Context, deed impair.AirDeed) {
	GinkgoHelper()
	e := p.air(deed)
	p.run.verb("access point: "+string(deed), e.String())
	if err := p.lane.Disturb(ctx, e); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// inEveryStage is the body of a story about one deed in the cycle.
func inEveryStage(deed impair.AirDeed) func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 32<<10)
		phone.Sweep(ctx, "WIF-02", phone.airPoints(deed))
	}
}

// inOperation is the body of a story about one deed while nothing is under way:
// who is back hears of the next check-sync.
func inOperation(deed impair.AirDeed) func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Finish(ctx, phone.PowerCycle(ctx))
		phone.Disturb(ctx, deed)
		patient, cancel := context.WithTimeout(ctx, phone.Patience.Cycle) // who is lost answers no NOTIFY
		defer cancel()

		cycle := phone.CheckSync(patient)

		Eventually(ctx, cycle.Within(phone.Patience.Cycle)).Should(Show("WIF-02", Ask(phone.Global())))
		phone.quiesce(ctx, cycle.Within(phone.Patience.Cycle), false)
		phone.Calm()
	}
}

var _ = scenario("gets over a de-authentication in every stage of the cycle",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Deauth), takes(17), inEveryStage(impair.Deauth))

var _ = scenario("gets over a restart of its access point in every stage of the cycle",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Restart), takes(17), inEveryStage(impair.Restart))

var _ = scenario("gets over a wrong passphrase, made right again, in every stage of the cycle",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.WrongPassphrase), takes(17), inEveryStage(impair.WrongPassphrase))

var _ = scenario("roams to another access point in every stage of the cycle",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Roam), takes(17), inEveryStage(impair.Roam))

var _ = scenario("follows its access point to another channel in every stage of the cycle",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Channel), takes(17), inEveryStage(impair.Channel))

var _ = scenario("provisions after a de-authentication, without being powered",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Deauth), takes(1), standsOn("RSY-01"), inOperation(impair.Deauth))

var _ = scenario("provisions after a restart of its access point, without being powered",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Restart), takes(1), standsOn("RSY-01"), inOperation(impair.Restart))

var _ = scenario("provisions once a wrong passphrase is right again, without being powered",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.WrongPassphrase), takes(1), standsOn("RSY-01"), inOperation(impair.WrongPassphrase))

var _ = scenario("provisions at another access point, without being powered",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Roam), takes(1), standsOn("RSY-01"), inOperation(impair.Roam))

var _ = scenario("provisions on another channel of its access point, without being powered",
	covers("WIF-02"), anyTransport(), onWiFi(), needsAir(impair.Channel), takes(1), standsOn("RSY-01"), inOperation(impair.Channel))

var _ = scenario("associates in its own time",
	covers("WIF-03"), over(timeline.TFTP), onWiFi(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		phone.Observe(ctx, "WIF-03", "", boot, Took("power to the first frame", timeline.Fact{}, timeline.FactBooted()))
	})
