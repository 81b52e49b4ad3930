package scenarios

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/rig/bench"
)

// WIF: the WiFi module.

var _ = scenario("sends every frame of the cycle from the module's MAC",
	covers("WIF-01"), anyTransport(), takes(1), onLink(bench.WiFi),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("WIF-01", SendOnlyFrom(phone.lane.Handset.Module.String())))
	})
