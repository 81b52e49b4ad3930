package scenarios

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
)

// XPT: which transport. The baseline path is judged first in each lane, because
// settings are stored over it.

var _ = scenario("provisions over TFTP when neither option 160 nor a stored URL is there",
	covers("XPT-01"), over(timeline.TFTP), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-01", AskOver(timeline.TFTP)))
	})

var _ = scenario("uses the URL of option 160 although options 66 and 150 are there",
	covers("XPT-02"), over(timeline.HTTP, timeline.HTTPS), takes(1), first(6),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-02", AskOver(phone.over)))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("XPT-02", Fire(timeline.FactKind(timeline.TFTPRead))))
	})

var _ = scenario("contacts the URL it has stored when option 160 is not there",
	covers("XPT-03"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsField(model.StoredURLField), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.StoredURLField, 0): phone.OtherURL(phone.over)})
		phone.OfferOver(timeline.TFTP)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-03", AskServer(phone.lane.Addrs.Second.String())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-03", Fire(phone.AskedOver(phone.over))))
	})

var _ = scenario("reads the URL from the option number it is set to",
	covers("XPT-04"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsField(model.OptionNumberField), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		const number = 161
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.OptionNumberField, 0): "161"})
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: phone.OtherURL(phone.over), URLOption: number})

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-04", AskServer(phone.lane.Addrs.Second.String())))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-04", Fire(phone.AskedOver(phone.over))))
	})

var _ = scenario("speaks in clear to an http URL",
	covers("XPT-05"), over(timeline.HTTP), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-05", Fire(phone.AskedOver(timeline.HTTP))))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("XPT-05", OpenTLS()))
	})

var _ = scenario("opens TLS to an https URL",
	covers("XPT-05"), over(timeline.HTTPS), takes(1), first(9),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-05", OpenTLS()))
	})

var _ = scenario("follows the routine of TFTP, step for step",
	covers("XPT-06"), over(timeline.HTTP, timeline.HTTPS), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)

		boot := phone.PowerCycle(ctx)

		phone.Accepted(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("XPT-06", AskFor(phone.Global(), phone.Own(), phone.Version())))
	})

// hosts names the rig's servers, whose addresses differ from bench to bench.
func (p *Phone) hosts() Aliases {
	a := p.lane.Addrs
	return Aliases{a.Server.String(): "the server", a.Second.String(): "the second server", unusedHost: "nobody"}
}

// otherPort is one of the server's at which nobody listens.
const otherPort = "81"

// unusedHost answers to nothing: TEST-NET-2 (RFC 5737), behind the rig's gateway.
const unusedHost = "198.51.100.9"

var _ = scenario("chooses between the TFTP servers of options 66 and 150",
	covers("XPT-07"), over(timeline.TFTP), takes(2),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		a := phone.lane.Addrs
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, TFTPName: a.Second.String()})
		phone.Observe(ctx, "XPT-07", "66 names the second server, 150 the first", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Asks(phone.labels(), phone.hosts()))
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, TFTPServer: a.Second})
		phone.Observe(ctx, "XPT-07", "150 names the second server, 66 the first", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Asks(phone.labels(), phone.hosts()))
	})

// labels are the steps of the routine, for what is asked.
func (p *Phone) labels() Aliases {
	l := AliasSteps(p.Global(), p.Own(), p.Version())
	for _, own := range anyCase(p.ownNames()) {
		l[own+"/"+p.lane.Handset.Model.VersionFile()] = "version file in the MAC's folder"
	}
	return l
}

// malformedURLs are contents of option 160 that are no URL to provision from.
func (p *Phone) malformedURLs() []struct{ name, text string } {
	server := p.lane.Addrs.Name
	return []struct{ name, text string }{
		{"empty", ""},
		{"255 bytes", "http://" + server + "/" + strings.Repeat("a", 255-8-len(server))},
		{"no scheme", server},
		{"tftp://", "tftp://" + p.lane.Addrs.Server.String() + "/"},
		{"a name that does not resolve", "http://nowhere.invalid/"},
		{"control bytes", "http://\x01\x02\r\n/\x7f"},
		{"a NUL at the end", "http://" + server + "/\x00"},
		{"over 255 bytes, split", "http://" + server + "/" + strings.Repeat("b", 300)},
		{"no text at all", "\xff\xfe\xfd"},
	}
}

var _ = scenario("survives an option 160 that is no good URL, keeps its settings and asks again",
	covers("XPT-08"), over(timeline.HTTP, timeline.HTTPS), takes(10),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		held := phone.held()
		// What it has lost nothing gives back to it before it is seen.
		phone.Withhold(Global)
		phone.Withhold(Own)
		for i, c := range phone.malformedURLs() {
			if phone.over == timeline.HTTPS && i%3 != 0 {
				continue // the scheme of the good URL makes no difference to most of them
			}
			if c.text == "" {
				// No DHCP server sends an option of no bytes but on purpose.
				phone.OfferOver(phone.over)
				phone.Inject(fault.On("ACK").In("dhcpd").Do(dhcpd.SetOption{Code: 160}))
			} else {
				phone.Offer(rig.Offer{TFTP: true, SNTP: true, Raw: &c.text})
			}
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			Eventually(ctx, phone.settled(ctx, boot)).Should(ShowCase("XPT-08", c.name, RegisterAsOneOf(held)))
			phone.Calm()
		}
		phone.Give(Global)
		phone.Give(Own)
		user := phone.SetUser()
		phone.OfferOver(phone.over)
		boot := phone.PowerCycle(ctx)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("XPT-08", "a good URL at the next boot", RegisterAs(user)))
	})

var _ = scenario("does something when its HTTP server cannot be reached",
	covers("XPT-09"), over(timeline.HTTP, timeline.HTTPS), takes(4),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, c := range []struct{ name, host string }{
			{"nobody has the address", unusedHost},
			{"the port is closed", phone.lane.Addrs.Server.String() + ":" + otherPort},
		} {
			phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: string(phone.over) + "://" + c.host + "/"})
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			phone.ObserveAll(ctx, boot, timeline.FactRegistered(),
				Measured{"XPT-09", c.name, Asks(phone.labels(), phone.hosts())},
				Measured{"XPT-09", c.name + ", what it tries", Connects(phone.hosts())},
				Measured{"XPT-09", c.name + ", until it registers", Took("power to registered", timeline.Fact{}, timeline.FactRegistered())})
		}
	})

var _ = scenario("understands forms of a URL",
	covers("XPT-10"), over(timeline.HTTP, timeline.HTTPS), takes(8),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		a, scheme := phone.lane.Addrs, string(phone.over)+"://"
		port := ":80"
		if phone.over == timeline.HTTPS {
			port = ":443"
		}
		for _, c := range []struct{ name, url string }{
			{"a path", scheme + a.Name + "/phones/"},
			{"a path without slash at its end", scheme + a.Name + "/phones"},
			{"no slash at all", scheme + a.Name},
			{"a port", scheme + a.Name + port + "/"},
			{"user information", scheme + "lab:secret@" + a.Name + "/"},
			{"an IPv4 literal", scheme + a.Server.String() + "/"},
			{"$MAC in the path", scheme + a.Name + "/$MAC/"},
		} {
			phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: c.url})
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			phone.Observe(ctx, "XPT-10", c.name, boot, Asks(phone.labels(), phone.hosts()))
		}
		// Nobody listens there: where it knocks tells whether it went by the port.
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: scheme + a.Name + ":" + otherPort + "/"})
		phone.Observe(ctx, "XPT-10", "a port that is not the default", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Connects(phone.hosts()))
	})

var _ = scenario("chooses between its stored URL and that of option 160, and forgets or remembers it",
	covers("XPT-11"), over(timeline.HTTP, timeline.HTTPS), takes(4), needsField(model.StoredURLField), riskLockout(), standsOn("CFG-11", "XPT-03"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Omit(phone.Field(model.StoredURLField, 0))
		phone.OfferOver(phone.over)
		phone.Finish(ctx, phone.PowerCycle(ctx))
		phone.OfferOver(timeline.TFTP)
		phone.Observe(ctx, "XPT-11", "160 withheld after it was there", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Asks(phone.labels(), phone.hosts()))
		phone.Store(ctx, map[model.Field]string{phone.Field(model.StoredURLField, 0): phone.OtherURL(phone.over)})
		phone.OfferOver(phone.over)
		phone.Observe(ctx, "XPT-11", "160 names the server, the stored URL the second one", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Asks(phone.labels(), phone.hosts()))
	})

var _ = scenario("asks nobody else over TFTP when it has refused the certificate of its server",
	covers("XPT-02"), over(timeline.HTTPS), takes(1), standsOn("TLS-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Present(pki.UnknownAuthority)

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactRefused(), "TLS-02")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("XPT-02", Fire(timeline.FactKind(timeline.TFTPRead))))
	})
