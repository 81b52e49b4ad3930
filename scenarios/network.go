package scenarios

import (
	"net/netip"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/sntpd"
)

// DHC and TIM: how it gets its address and its time.

var _ = scenario("says of itself to DHCP what it is",
	covers("DHC-01"), over(timeline.TFTP), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Observe(ctx, "DHC-01", "", phone.PowerCycle(ctx).Within(phone.Patience.Boot), DHCPAsks(phone.lane.Handset.Active().String()))
	})

// dhcpFaults are what a bad network does to DHCP, by what follows: some must be
// answered in one way only.
func (p *Phone) dhcpFaults() []stress {
	a := p.lane.Addrs
	second := a.Second
	offered, acked := fault.On("OFFER").In("dhcpd"), fault.On("ACK").In("dhcpd")
	// A handset that holds a lease may ask for it again (INIT-REBOOT): only a NAK
	// makes that one begin at DISCOVER.
	anew := fault.On("REQUEST").In("dhcpd").During("rebooting").Do(dhcpd.Nak{}).Once()
	nobody := netip.MustParseAddr(unusedHost)
	nowhere := dhcpd.Options{{Code: 66, Value: unusedHost}, {Code: 150, Value: string(nobody.AsSlice())}}
	// That it probes is recommended only (RFC 2131, 2.2).
	probe, decline := timeline.FactKind(timeline.ARPProbe), timeline.FactKind(timeline.DHCPDecline)
	bound, again := timeline.FactKind(timeline.DHCPAck), timeline.FactKind(timeline.DHCPRequest)
	goneOn := timeline.FactKind(timeline.DHCPDiscover)
	return []stress{
		{name: "a NAK in the place of the ACK", rules: rules(acked.Do(dhcpd.Nak{}).Once()), fact: &goneOn},
		{name: "the OFFER is lost", prepare: rules(anew), rules: rules(offered.Do(dhcpd.Drop{}).Once())},
		{name: "the ACK is lost", rules: rules(acked.Do(dhcpd.Drop{}).Once())},
		{name: "the ACK is late", rules: rules(acked.Do(dhcpd.Delay{D: p.scaled(2 * time.Second)}).Once())},
		{name: "the ACK comes three times", rules: rules(acked.Do(dhcpd.Duplicate{Copies: 2}))},
		{name: "silence for a minute", rules: rules(fault.On("*").In("dhcpd").Do(dhcpd.Silence{For: p.scaled(time.Minute)}).Once())},
		{name: "the address is in use", prepare: rules(anew), rules: rules(fault.On("ARP probe").In("dhcpd").Do(dhcpd.InUse{}).Once()), needs: &probe, fact: &decline},
		{name: "another server offers too", prepare: rules(anew), rules: rules(offered.Do(dhcpd.SecondServer{ID: second, Addr: second.Next()}).Once())},
		{name: "another server offers first, and sends it to nobody", prepare: rules(anew), rules: rules(offered.Do(dhcpd.SecondServer{ID: second, Addr: second.Next(), First: true, Says: nowhere}).Once())},
		{name: "another server offers first, and nothing to provision from", prepare: rules(anew), rules: rules(offered.Do(dhcpd.SecondServer{ID: second, Addr: second.Next(), First: true, Bare: true}).Once())},
		{name: "another server offers too, and nothing to provision from", prepare: rules(anew), rules: rules(offered.Do(dhcpd.SecondServer{ID: second, Addr: second.Next(), Bare: true}).Once())},
		{name: "the ACK names another server", prepare: rules(anew), rules: rules(acked.During("selecting").Do(dhcpd.WrongServerID{ID: second}).Once()), after: &bound, fact: &again},
		{name: "the OFFER has another transaction", prepare: rules(anew), rules: rules(offered.Do(dhcpd.WrongXID{}).Once())},
		{name: "the ACK is another client's", rules: rules(acked.Do(dhcpd.WrongChaddr{MAC: "02:00:5e:00:53:77"}).Once())},
		{name: "no cookie", prepare: rules(anew), rules: rules(offered.Do(dhcpd.WrongCookie{Cookie: 0x01020304}).Once())},
		{name: "the ACK is cut", rules: rules(acked.Do(dhcpd.Truncate{Len: 241}).Once())},
		{name: "the OFFER is late", prepare: rules(anew), rules: rules(offered.Do(dhcpd.Delay{D: p.scaled(2 * time.Second)}).Once())},
		{name: "the OFFER comes three times", prepare: rules(anew), rules: rules(offered.Do(dhcpd.Duplicate{Copies: 2}))},
		{name: "no mask", prepare: rules(anew), rules: rules(acked.Do(dhcpd.WithoutOption{Code: 1}), offered.Do(dhcpd.WithoutOption{Code: 1}))},
		{name: "a router of three bytes", rules: rules(acked.Do(dhcpd.SetOption{Code: 3, Value: "\x01\x02\x03"}))},
		{name: "options twice", rules: rules(acked.Do(dhcpd.DoubleOption{Code: 3, Second: "\xc0\x00\x02\x63"}))},
		{name: "unknown options", rules: rules(acked.Do(dhcpd.UnknownOptions{Len: 8}))},
		{name: "options in file and sname", rules: rules(acked.Do(dhcpd.Overload{File: true, Sname: true}))},
		{name: "garbage among the options", rules: rules(acked.Do(dhcpd.Garbage{Len: 24, Seed: 7}).Once())},
		{name: "no end", rules: rules(acked.Do(dhcpd.NoEnd{}))},
		{name: "T1 beyond T2 beyond the lease", rules: rules(acked.Do(dhcpd.LeaseTimes{Lease: 3600, T1: 9000, T2: 7200}))},
		{name: "T1 and T2 of zero", rules: rules(acked.Do(dhcpd.LeaseTimes{Lease: 3600}).Times(2))},
		// Last: who has no lease any more does not ask for it again.
		{name: "a lease of two seconds", rules: rules(acked.Do(dhcpd.LeaseTimes{Lease: 2, T1: 1, T2: 1}))},
	}
}

var _ = scenario("ends with one working address, whatever the DHCP server does, and provisions",
	covers("DHC-02"), over(timeline.TFTP), takes(30),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		from := phone.run.verb("one address", nil)
		phone.Survive(ctx, "DHC-02", phone.dhcpFaults())
		Eventually(ctx, phone.Quiet(from)).Should(ShowCase("DHC-02", "it used the address that it was given, and no other", RegisterFromLease()))
	})

// shortLease is as short as its times allow: on a real handset T1, T2 and the end
// are further apart than the minute that RFC 2131 wants between two REQUESTs, in
// whole seconds on the wire.
func (p *Phone) shortLease() time.Duration {
	return max(p.scaled(4*time.Minute).Truncate(3*time.Second), 3*time.Second)
}

var _ = scenario("renews its lease without a reboot, and comes through the end of one",
	covers("DHC-03"), over(timeline.TFTP), takes(2),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()
		lease := phone.shortLease()
		third := uint32(lease / 3 / time.Second)
		times := fault.On("ACK").In("dhcpd").Do(dhcpd.LeaseTimes{Lease: 3 * third, T1: third, T2: 2 * third})
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, Lease: lease})
		phone.Inject(times)
		boot := phone.PowerCycle(ctx)
		phone.Reach(ctx, boot.Within(phone.Patience.Boot), phone.RegisteredAs(user), "")
		up := boot.Within(phone.Patience.Boot).After(phone.RegisteredAs(user))

		Eventually(ctx, up.Within(lease)).Should(ShowCase("DHC-03", "it renews", Renew()))
		renewed := up.Within(lease).After(timeline.FactKind(timeline.DHCPRequest))
		asks := fault.On("REQUEST").In("dhcpd")
		phone.Inject(asks.During("renewing").Do(dhcpd.Drop{}))
		phone.Inject(asks.During("rebinding").From(2).Do(dhcpd.Drop{}))
		Eventually(ctx, renewed.Within(2*lease)).Should(ShowCase("DHC-03", "its server is silent: it rebinds", Rebind()))
		Eventually(ctx, renewed.Within(4*lease)).Should(ShowCase("DHC-03", "the lease that it was given then has ended unanswered: it asks anew", BeginAnew()))
		again := renewed.Within(4 * lease).After(timeline.FactKind(timeline.DHCPDiscover))
		Eventually(ctx, again.Within(phone.Patience.Boot)).Should(ShowCase("DHC-03", "it has an address again", Fire(timeline.FactKind(timeline.DHCPAck))))
		phone.Calm()
		quiet := phone.Quiet(boot)
		judged := quiet.Within(rebootTells(phone.closed(ctx, quiet), phone.Global()))
		Consistently(ctx, judged).ShouldNot(ShowCase("DHC-03", "none of this is a reboot", Reboot()))
		phone.Offer(rig.Offer{TFTP: true, SNTP: true})
		phone.Withhold(Global)
		phone.Withhold(Own)
		next := phone.PowerCycle(ctx)
		Eventually(ctx, next.Within(phone.Patience.Boot)).Should(ShowCase("DHC-03", "its settings survive", RegisterAs(user)))
	})

// rebootTells is how much of a window tells of a reboot. Who has lost its address
// may begin its registration anew, which looks like one (RFC 3261, 10.2): from the
// end of the lease on, one that asks for its files again has rebooted.
func rebootTells(v timeline.View, global Step) time.Duration {
	registered := false
	var ended time.Time
	for e := range v.Events.All() {
		switch {
		case e.Kind == timeline.Registered:
			registered = true
		case registered && ended.IsZero() && e.Kind == timeline.DHCPDiscover:
			ended = e.At
		case !ended.IsZero() && timeline.FactAsked(global.Files...).Is(e):
			return v.Bound
		}
	}
	if ended.IsZero() {
		return v.Bound
	}
	return ended.Sub(v.Anchor)
}

var _ = scenario("asks for the time",
	covers("TIM-01"), over(timeline.TFTP, timeline.HTTPS), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Observe(ctx, "TIM-01", "", phone.PowerCycle(ctx).Within(phone.Patience.Boot), AsksTime(phone.hosts()))
	})

// timeFaults are what a time server may do.
func (p *Phone) timeFaults() []stress {
	answer := fault.On("SNTP").In("sntpd")
	year := func(y int) sntpd.SetTo { return sntpd.SetTo{At: time.Date(y, 3, 1, 0, 0, 0, 0, time.UTC)} }
	return []stress{
		{name: "no answer", rules: rules(fault.On("SNTP").In("sntpd").Do(sntpd.Drop{}))},
		{name: "kiss-of-death", rules: rules(answer.Do(sntpd.KissOfDeath{Code: "RATE"}))},
		{name: "unsynchronised", rules: rules(answer.Do(sntpd.Unsynchronised{Leap: 3, Stratum: 16, Off: 14 * 365 * 24 * time.Hour}))},
		{name: "the year 1900", rules: rules(answer.Do(year(1900)))},
		{name: "the year 1970", rules: rules(answer.Do(year(1970)))},
		{name: "beyond the rollover of 2036", rules: rules(answer.Do(year(2037)))},
		{name: "wrong mode", rules: rules(answer.Do(sntpd.WrongMode{Mode: 3}))},
		{name: "the origin stamp of another request", rules: rules(answer.Do(sntpd.WrongOrigin{}))},
		{name: "a clock that is an hour slow", rules: rules(answer.Do(sntpd.Offset{D: -time.Hour}))},
		{name: "answered late", rules: rules(answer.Do(sntpd.Delay{By: p.scaled(3 * time.Second)}).Once())},
	}
}

// toldAfterwards is an answer that comes when the handset has long given up and is
// at work: an hour late where waiting costs nothing, on a real one after all the time
// that its boot may take, and on one whose boot is shortened twice as late as quiet
// must last to be believed.
func (p *Phone) toldAfterwards(ctx SpecContext) {
	GinkgoHelper()
	fresh := p.SetLine()
	late := p.Patience.Boot + p.Patience.Settle
	switch {
	case p.waitsForNothing():
		late = time.Hour
	case p.lane.Handset.Simulated:
		late = min(p.scaled(time.Hour), 2*p.Patience.Settle)
	}
	p.Inject(fault.On("SNTP").In("sntpd").Do(sntpd.Delay{By: late}))
	boot := p.PowerCycle(ctx)
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase("TIM-02", "answered when it is up: it comes up", Register()))
	after := p.Quiet(boot)
	all := after.Within(after.Spec().Within + late)
	Consistently(ctx, all).ShouldNot(ShowCase("TIM-02", "answered when it is up: no reboot", Reboot()))
	Eventually(ctx, all).Should(ShowCase("TIM-02", "answered when it is up: its files are whole or not at all", RegisterAsOneOf(RegisterWith{User: p.user()}, fresh)))
	view := all.View()
	p.Calm()
	if !toldWhenUp(view) {
		const why = "the handset was not up yet when it was told the time"
		p.run.retract(why)
		p.run.inconclusive(why)
	}
}

// toldWhenUp tells whether the time was told behind the first registration.
func toldWhenUp(v timeline.View) bool {
	up := false
	for e := range v.Events.All() {
		switch {
		case e.Kind == timeline.Registered:
			up = true
		case up && e.Kind == timeline.SNTPResponse && e.By == timeline.Wire:
			return true
		}
	}
	return false
}

var _ = scenario("survives whatever the time server does, and provisions at the next good cycle",
	covers("TIM-02"), over(timeline.TFTP, timeline.HTTPS), takes(13), first(-6),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.toldAfterwards(ctx)
		phone.Survive(ctx, "TIM-02", phone.timeFaults())
	})
