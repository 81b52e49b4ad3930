package scenarios

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/control"
	"ip88rig/rig/impair"
	"ip88rig/rig/model"
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

		boot := phone.settled(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot))

		// Judged once the module is back: who fails has it too in the next spec.
		phone.closed(ctx, boot)
		phone.ByHand(ctx, control.Request{Verb: control.InstallModule, MAC: module, Text: "put the WiFi module back"})
		again := phone.PowerCycle(ctx)
		Eventually(ctx, boot).Should(Show("ORD-02", Ask(phone.NamedByPhone())))
		phone.Finish(ctx, again)
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

var _ = scenario("associates under each security mode",
	covers("WIF-03"), over(timeline.TFTP), onWiFi(), takes(5),
	byHand("wifi-security", "wifi-security", "wifi-security", "wifi-security", "wifi-security"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		defer func() { // also where the spec breaks off
			phone.ByHand(ctx, control.Request{
				Verb:     control.WiFiSecurity,
				Text:     "set the network at the access point, and the WiFi of the handset, back to the security mode that they had before",
				ReadBack: "the access point shows that mode",
			})
			phone.Finish(ctx, phone.PowerCycle(ctx))
		}()
		for _, mode := range model.Securities() {
			phone.ByHand(ctx, control.Request{
				Verb: control.WiFiSecurity, Security: mode,
				Text: fmt.Sprintf("set the network at the access point, and the WiFi of the handset, to %s: the same SSID, the lab's passphrase or 802.1X identity; "+
					"leave the handset as it is where it has no such setting", mode),
				ReadBack: fmt.Sprintf("the access point shows %s for that network", mode),
			})
			boot := phone.PowerCycle(ctx)
			phone.Observe(ctx, "WIF-03", string(mode), phone.wholeBoot(boot), Does("associates", timeline.FactBooted()))
		}
	})

var _ = scenario("sends from its module, from its cable or from both when both are in",
	covers("WIF-03"), over(timeline.TFTP), onWiFi(), takes(2), byHand("plug-cable", "unplug-cable"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		defer func() { // also where the spec breaks off
			phone.ByHand(ctx, control.Request{Verb: control.UnplugCable, Text: "pull the cable beside the WiFi module out of the phone again"})
			phone.Finish(ctx, phone.PowerCycle(ctx))
		}()
		phone.ByHand(ctx, control.Request{
			Verb: control.PlugCable, Text: "plug a cable of the same network, one without power over Ethernet, into the phone beside its WiFi module",
		})

		boot := phone.PowerCycle(ctx)

		h := phone.lane.Handset
		phone.Observe(ctx, "WIF-03", "with a cable in beside the module", phone.wholeBoot(boot), SendsFrom(h.Module.String(), h.MAC.String()))
	})

// wholeBoot is the window of a power cycle from the power on, for as long as a
// boot takes from now on: it begins also where a person gives the power and the
// handset never shows a sign of life.
func (p *Phone) wholeBoot(boot *timeline.Window) *timeline.Window {
	spec := boot.Spec()
	w := p.lane.Recorder.Timeline().Since(spec.From).Within(spec.Steps[0].Within).After(timeline.FactKind(timeline.PowerOn))
	return fromNow(w, p.Patience.Boot)
}
