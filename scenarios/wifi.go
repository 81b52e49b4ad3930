package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/rig/control"
)

// WIF: the WiFi module.

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
