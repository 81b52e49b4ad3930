package scenarios

import (
	"context"
	"fmt"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/control"
	"ip88rig/rig/fault"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
	"ip88rig/rig/sntpd"
)

// TLS: certificates. Wherever expiry is judged, the given includes that SNTP
// was answered before the handshake.

// TLS-06 is eight specs, one a mask: one cycle stores the mask over TFTP, then
// each cell is an HTTPS cycle that serves the configuration already held, so
// that an accepted cell changes nothing and a refused one neither.
var _ = func() bool {
	for mask := range 8 {
		scenario(fmt.Sprintf("checks under mask %d just what the mask says", mask),
			covers("TLS-01", "TLS-02", "TLS-03", "TLS-04", "TLS-06"), over(timeline.HTTPS), takes(2),
			func(ctx SpecContext, phone *Phone) { phone.judgeMask(ctx, mask) })
	}
	return true
}()

// cellsOf returns the flaws that are tried under a mask: all at full depth, at
// night good and single flaws where they tell most, 20 in all.
func cellsOf(d Depth, mask int) []pki.Flaw {
	if d == Full {
		return pki.Flaws()
	}
	switch mask {
	case 0, 7:
		return []pki.Flaw{pki.Good, pki.UnknownAuthority, pki.WrongName, pki.Expired, pki.UnknownAuthority | pki.WrongName | pki.Expired}
	case 1, 2, 4:
		return []pki.Flaw{pki.Flaw(mask), pki.Flaw(7 &^ mask)} //nolint:gosec // a mask of three bits
	case 3, 5:
		return []pki.Flaw{pki.Flaw(7 &^ mask)} //nolint:gosec // a mask of three bits
	}
	return []pki.Flaw{pki.Good, pki.Flaw(7 &^ mask)} //nolint:gosec // a mask of three bits
}

func (p *Phone) judgeMask(ctx SpecContext, mask int) {
	GinkgoHelper()
	p.Claim(ctx)
	field := p.Field(model.MaskField, 0)
	p.Store(ctx, map[model.Field]string{field: strconv.Itoa(mask)})
	p.OfferOver(timeline.HTTPS)
	cells := cellsOf(p.run.Depth, mask)
	for i, flaw := range cells {
		p.Present(flaw)
		power := i == 0 || !p.run.wayBack
		cycle := p.trigger(ctx, power)
		name := fmt.Sprintf("mask %d, %s", mask, flaw)
		w := cycle.Within(p.Patience.Boot)
		if flaw.Has(pki.Expired) {
			p.ReachTime(ctx, w)
		}
		row := cellRow(flaw)
		if int(flaw)&mask == 0 {
			p.cell(ctx, row, name, w, AcceptCertificate(flaw.String()))
		} else {
			p.cell(ctx, row, name, w, RefuseCertificate(flaw.String()))
		}
		p.quiesce(ctx, w, power)
	}
	p.coverRest(cells)
	p.endCells(len(cells))
}

// cellRow names the row that a cell is about: TLS-06 for the combinations.
func cellRow(f pki.Flaw) string {
	switch f {
	case pki.Good:
		return "TLS-01"
	case pki.UnknownAuthority:
		return "TLS-02"
	case pki.WrongName:
		return "TLS-03"
	case pki.Expired:
		return "TLS-04"
	}
	return "TLS-06"
}

// trigger starts a cycle by power, or by NOTIFY, which is cheaper and suffices
// where no reboot is counted, once this run has seen that it works (RSY-01).
func (p *Phone) trigger(ctx context.Context, power bool) *timeline.Window {
	GinkgoHelper()
	if power {
		return p.PowerCycle(ctx)
	}
	return p.CheckSync(ctx)
}

var _ = scenario("sends nothing to a server whose certificate it refused, and applies nothing",
	covers("TLS-09"), over(timeline.HTTPS), takes(3),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, flaw := range []pki.Flaw{pki.UnknownAuthority, pki.WrongName, pki.Expired} {
			// What it took after one refusal says nothing of the next.
			user := phone.SetUser()
			phone.Present(flaw)

			boot := phone.PowerCycle(ctx)

			if flaw.Has(pki.Expired) {
				phone.ReachTime(ctx, boot.Within(phone.Patience.Boot))
			}
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("TLS-09", flaw.String(), SendNothingAfterRefusal()))
			if !Fire(phone.AskedOver(timeline.TFTP)).Judge(boot.View()).OK {
				// What it applies after falling back to TFTP is not from that server.
				Consistently(ctx, phone.Quiet(boot)).ShouldNot(ShowCase("TLS-09", flaw.String()+": nothing of it is applied", RegisterAs(user)))
			}
		}
	})

var _ = scenario("has all three checks on from factory state",
	covers("TLS-07"), over(timeline.HTTPS), takes(4), byHand("factory-reset", "upload-authority"), riskLockout(),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Omit(phone.Field(model.MaskField, 0))
		phone.OfferOver(timeline.TFTP)
		user := phone.SetUser()
		reset := phone.ByHand(ctx, control.Request{Verb: control.FactoryReset, Text: "return the handset to factory state"})
		phone.Reach(ctx, reset.Within(phone.Patience.Boot), phone.RegisteredAs(user), "")
		phone.UploadAuthority(ctx, pki.A)
		phone.OfferOver(timeline.HTTPS)
		for _, flaw := range []pki.Flaw{pki.Good, pki.UnknownAuthority, pki.WrongName, pki.Expired} {
			phone.Present(flaw)
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			if flaw == pki.Good {
				// Without this, "refused" would say nothing about the checks.
				phone.Accepts(ctx, boot, "TLS-01")
				continue
			}
			if flaw.Has(pki.Expired) {
				phone.ReachTime(ctx, boot)
			}
			Eventually(ctx, boot).Should(ShowCase("TLS-07", flaw.String(), RefuseCertificate()))
		}
	})

var _ = scenario("accepts an authority copied to it, and those it had before",
	covers("TLS-08"), over(timeline.HTTPS), takes(4), byHand("upload-authority"), first(-2),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.PresentFrom(pki.C)

		before := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		Eventually(ctx, before).Should(ShowCase("TLS-08", "refused before", RefuseCertificate()))
		phone.Reach(ctx, before, timeline.FactRegistered(), "")

		phone.UploadAuthority(ctx, pki.C)
		after := phone.trigger(ctx, !phone.run.wayBack).Within(phone.Patience.Boot)
		Eventually(ctx, after).Should(ShowCase("TLS-08", "accepted after", AcceptCertificate()))

		again := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		Eventually(ctx, again).Should(ShowCase("TLS-08", "accepted after a power cycle", AcceptCertificate()))
		phone.Reach(ctx, again, timeline.FactRegistered(), "")

		phone.PresentFrom(pki.A)
		old := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		Eventually(ctx, old).Should(ShowCase("TLS-08", "the authority of before", AcceptCertificate()))
	})

var _ = scenario("accepts a chain of a built-in public authority",
	covers("TLS-14"), over(timeline.HTTPS), takes(1), needsPublicChain(),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.PresentFrom(pki.P)
		phone.Offer(rig.Offer{TFTP: true, SNTP: true, URL: "https://" + phone.lane.PublicName() + "/"})

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("TLS-14", AcceptCertificate()))
	})

var _ = scenario("can have each check switched off by hand",
	covers("TLS-15"), over(timeline.HTTPS), takes(1), byHand("menu", "menu", "menu"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Omit(phone.Field(model.MaskField, 0))
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), timeline.FactRegistered(), "")
		for _, flaw := range []pki.Flaw{pki.UnknownAuthority, pki.WrongName, pki.Expired} {
			mask := 7 &^ int(flaw)
			power := !phone.run.wayBack
			phone.Present(flaw)
			before := phone.trigger(ctx, power).Within(phone.Patience.Boot)
			if flaw.Has(pki.Expired) {
				phone.ReachTime(ctx, before)
			}
			phone.Reach(ctx, before, timeline.FactRefused(), cellRow(flaw))
			phone.quiesce(ctx, before, power)
			phone.ByHand(ctx, control.Request{
				Verb: control.SetChecks, Mask: mask,
				Text:     fmt.Sprintf("in the handset's menu or Web Manager switch certificate checks to: authority %s, server name %s, expiry %s", onOff(mask&1), onOff(mask&2), onOff(mask&4)),
				ReadBack: fmt.Sprintf("the menu shows authority %s, server name %s, expiry %s", onOff(mask&1), onOff(mask&2), onOff(mask&4)),
			})
			cycle := phone.trigger(ctx, power).Within(phone.Patience.Boot)
			Eventually(ctx, cycle).Should(ShowCase("TLS-15", flaw.String(), AcceptCertificate()))
			phone.quiesce(ctx, cycle, power)
		}
	})

func onOff(bit int) string {
	if bit != 0 {
		return "on"
	}
	return "off"
}

var _ = scenario("decides about certificates while it has no time",
	covers("TLS-05", "TLS-04"), over(timeline.HTTPS), takes(3),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, flaw := range []pki.Flaw{pki.Good, pki.Expired} {
			phone.Present(flaw)
			phone.Offer(rig.Offer{TFTP: true, URL: phone.URL(phone.over)})
			phone.Observe(ctx, "TLS-05", flaw.String(), phone.PowerCycle(ctx).Within(phone.Patience.Boot), Trusts())
		}
		// Told late: half of what it waits for an answer.
		phone.OfferOver(phone.over)
		late := phone.scaled(phone.lane.Handset.Facts.Duration(model.SNTPTimeout) / 2)
		phone.Inject(fault.On("SNTP").In("sntpd").Do(sntpd.Delay{By: late}))
		boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
		name := pki.Expired.String() + ", the time told late"
		phone.Observe(ctx, "TLS-05", name, boot, Trusts())
		// Who was told before its handshake has the time, however late that was. Who
		// has not waited has none, and who has opened no TLS decides nothing: what it
		// does then was measured.
		if told, seen := told(boot.View()); told && seen {
			phone.RestsOn(model.SNTPTimeout)
			Eventually(ctx, boot).Should(ShowCase("TLS-04", name, RefuseCertificate(pki.Expired.String())))
		} else {
			phone.Elsewhere("TLS-04")
		}
		phone.Calm()
	})

var _ = scenario("opens TLS and refuses certificates in its own way",
	covers("TLS-11"), over(timeline.HTTPS), takes(4),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Observe(ctx, "TLS-11", "ClientHello", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Hello())
		for _, flaw := range []pki.Flaw{pki.UnknownAuthority, pki.WrongName, pki.Expired} {
			phone.Present(flaw)
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			if flaw.Has(pki.Expired) {
				phone.ReachTime(ctx, boot)
			}
			phone.Observe(ctx, "TLS-11", "alert to "+flaw.String(), boot, Trusts())
		}
	})

var _ = scenario("decides about certificates of every kind",
	covers("TLS-10"), over(timeline.HTTPS), takes(22),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		// What is wrong with some are their dates: last, as they need the time too.
		for _, dated := range []bool{false, true} {
			for _, v := range pki.Catalogue() {
				if v.OwnRoot || dates(v.Name) != dated {
					continue // one with a root of its own is the next scenario's: it must be uploaded first
				}
				phone.PresentVariant(v)
				boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
				if dated {
					phone.ReachTime(ctx, boot)
				}
				phone.Observe(ctx, "TLS-10", v.Name, boot, Trusts())
			}
		}
	})

// dates tells the certificates of the catalogue in whose validity nothing but a
// clock finds a fault.
func dates(name string) bool {
	return name == pki.NotYetValid || name == pki.ExpiredIntermediate || name == pki.ExpiredRoot
}

// Its roots differ in their end and their name: the look at what the handset lists
// tells them apart, and one that a factory reset left behind says nothing of the
// other.
var _ = scenario("decides about a root that has expired, which was copied to it",
	covers("TLS-10"), over(timeline.HTTPS), takes(3), byHand("upload-authority", "factory-reset", "upload-authority", "factory-reset", "upload-authority"), riskLockout(), first(-1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, v := range []struct {
			name, root string
			mended     bool
		}{
			{"a root copied to it that is valid", "a valid root", true},
			{pki.ExpiredRoot, "an expired root", false},
		} {
			root := phone.PresentOwnRoot(pki.ExpiredRoot, v.mended)
			phone.UploadRoot(ctx, v.root, root)
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			if v.mended {
				// Otherwise the next would say nothing about its end.
				phone.Accepts(ctx, boot, "TLS-08")
			}
			phone.ReachTime(ctx, boot)
			phone.Observe(ctx, "TLS-10", v.name, boot, Trusts())
			phone.Forget(ctx)
		}
		phone.UploadAuthority(ctx, pki.A)
	})
