package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/deviation"
	"ip88rig/rig/fault"
	"ip88rig/rig/firmware"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/model"
	"ip88rig/rig/publish"
	"ip88rig/rig/tftpd"
)

// FWU: firmware. Going home from an upgrade is a downgrade, or the other way
// round, so that both are judged over the baseline path before anything else
// stands on them.

var _ = scenario("installs a different version, whole, with one reboot, and goes back to the lower one",
	covers("FWU-01", "FWU-03", "ORD-05", "RBT-04"), over(timeline.TFTP), takes(2), needsFirmware(), first(5), upAndDown())

var _ = scenario("installs a different version, whole, with one reboot, and goes back to the lower one",
	covers("FWU-01", "FWU-03", "ORD-05", "RBT-04"), over(timeline.HTTP, timeline.HTTPS), takes(2), needsFirmware(), upAndDown())

// upAndDown installs next and then golden again. Which of the two is the lower
// one is the bench's business: FWU-03 is shown on the way down, all else on the
// way up.
func upAndDown() func(SpecContext, *Phone) {
	return func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		if deviation.Compare(golden.Name, next.Name) == 0 {
			phone.run.inconclusive(fmt.Sprintf("there is no way down: neither golden %s nor next %s is lower", golden.Name, next.Name))
		}
		for _, way := range []struct{ to, from firmware.Version }{{next, golden}, {golden, next}} {
			phone.Publish(way.to)
			boot := phone.PowerCycle(ctx)
			if deviation.Compare(way.to.Name, way.from.Name) < 0 {
				phone.goesDown(ctx, boot, way.to, way.from)
			} else {
				phone.goesUp(ctx, boot, way.to, way.from)
			}
		}
		phone.RunsGolden()
	}
}

func (p *Phone) goesUp(ctx context.Context, boot *timeline.Window, to, from firmware.Version) {
	GinkgoHelper()
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(Show("ORD-05", DownloadOnly(p.Files(to)...).Of(p.ListedNames(from, to)...).After(p.Version(), p.Global(), p.Own())))
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(Show("FWU-01", Download(p.Files(to)...)))
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(Show("RBT-04", RebootAfterAsking(p.Listed(to)[len(to.Files)-1])))
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(Show("RBT-04", RebootOnce()))
	up := boot.Within(p.Patience.Upgrade).After(timeline.FactRebooted())
	Eventually(ctx, up.Within(p.Patience.Boot)).Should(Show("FWU-01", p.Runs(to, from)))
	Consistently(ctx, up.Within(p.Patience.Boot).After(timeline.FactRegistered()).Within(p.Patience.Settle)).ShouldNot(Show("RBT-04", Reboot()))
}

func (p *Phone) goesDown(ctx context.Context, boot *timeline.Window, to, from firmware.Version) {
	GinkgoHelper()
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(Show("FWU-03", Download(p.Files(to)...)))
	down := boot.Within(p.Patience.Upgrade).After(timeline.FactRebooted())
	Eventually(ctx, down.Within(p.Patience.Boot)).Should(Show("FWU-03", p.Runs(to, from)))
}

var _ = scenario("downloads nothing when the version file names the running version",
	covers("FWU-02", "ORD-05"), anyTransport(), takes(1), needsFirmware(), first(6),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden := phone.Firmware("golden")

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("FWU-02", DownloadOnly().Of(phone.ListedNames(golden)...)))
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("FWU-02", Ask(phone.Version())))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("ORD-05", Ask(phone.AnyListed(golden))))
	})

var _ = scenario("takes comment lines anywhere in the version file for comments",
	covers("FWU-04"), anyTransport(), takes(2), needsFirmware(), standsOn("FWU-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden := phone.Firmware("golden")
		phone.Publish(golden.Commented("img #image.rom 00000000"))

		quiet := phone.PowerCycle(ctx)

		Eventually(ctx, quiet.Within(phone.Patience.Boot)).Should(Show("FWU-04", DownloadOnly().Of(phone.ListedNames(golden)...)))
		Consistently(ctx, phone.Quiet(quiet)).ShouldNot(Show("FWU-04", Reboot()))

		next := phone.Publish(phone.Firmware("next").Commented("img #image.rom 00000000"))

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Upgrade)).Should(Show("FWU-04", Download(phone.Files(next)[0])))
		phone.Reach(ctx, boot.Within(phone.Patience.Upgrade).After(timeline.FactRebooted()).Within(phone.Patience.Boot), timeline.FactRegistered(), "FWU-01")
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-04", Ask(phone.CommentedNames())))
	})

// Nothing promises what comes of blanks before #: to one that takes them for a
// line the version file is a damaged one.
var _ = scenario("takes a line with blanks before # for a comment or for a file",
	covers("FWU-04"), over(timeline.TFTP), takes(1), needsFirmware(), riskBrick(), standsOn("FWU-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		next := phone.Publish(phone.Firmware("next").CommentedBehindBlanks("img #image.rom 00000000"))
		boot := phone.PowerCycle(ctx).Within(phone.Patience.Upgrade)
		phone.ObserveAll(ctx, boot, timeline.FactRegistered(),
			Measured{"FWU-04", "blanks before #: the version is installed", Does("main file taken", timeline.FactFetched(next.Files[0].Name))},
			Measured{"FWU-04", "blanks before #: taken for a line", Does("what it names asked for", timeline.FactAsked(phone.CommentedNames().Files...))})
	})

var _ = scenario("downloads no software when software download is disabled",
	covers("FWU-09"), anyTransport(), takes(2), needsFirmware(), needsField(model.DownloadFlagFields), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.DownloadFlagFields, 1): "disable"})
		next := phone.Publish(phone.Firmware("next"))

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactFetched(phone.Own().Files...), "")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.AnyListed(next))))
		phone.RunsGolden()
	})

var _ = scenario("asks for no configuration when configuration download is disabled",
	covers("FWU-09"), anyTransport(), takes(2), needsField(model.DownloadFlagFields), riskLockout(), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ProveCheckSync(ctx)
		phone.Store(ctx, map[model.Field]string{phone.Field(model.DownloadFlagFields, 0): "disable"})

		boot := phone.PowerCycle(ctx)

		phone.Reach(ctx, boot.Within(phone.Patience.Boot), timeline.FactAsked(phone.Version().Files...), "ORD-04")
		phone.Finish(ctx, boot)
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.Global())))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("FWU-09", Ask(phone.Own())))
		phone.HomeByCheckSync(ctx)
	})

// Foreign is a version in the clothes of another one: another model's software
// under its names, with checksums that are right. Of a vendor's bundle there is
// none: the rig has one model's only, so its files are turned into noise there.
func (p *Phone) Foreign(v firmware.Version) (foreign firmware.Version, what string) {
	GinkgoHelper()
	if v.StandIn {
		all := model.All()
		other := all[(slices.Index(all, p.lane.Handset.Model)+1)%len(all)]
		f, err := v.Foreign(other, p.hash("another model's"), len(v.Files[0].Content))
		if err != nil {
			p.run.inconclusive(err.Error())
		}
		return f, "another model's"
	}
	noise := v
	noise.Files = slices.Clone(v.Files)
	content := slices.Clone(v.Files[0].Content)
	for i := range content {
		content[i] ^= 0xff
	}
	noise.Files[0].Content = content
	return noise, "of another kind"
}

// upgradeStopped is what follows an upgrade that could not succeed: the handset
// comes up, and the old version runs.
func (p *Phone) upgradeStopped(ctx context.Context, row, name string, boot *timeline.Window, golden, next firmware.Version) {
	GinkgoHelper()
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, name+": it comes up", Register()))
	p.Calm()
	p.Publish(golden)
	again := p.PowerCycle(ctx)
	Eventually(ctx, again.Within(p.Patience.Boot)).Should(ShowCase(row, name+": the old version runs", p.Runs(golden, next)))
}

// upgradesLater ends such a spec: a whole cycle upgrades.
func (p *Phone) upgradesLater(ctx context.Context, row string, golden, next firmware.Version) {
	GinkgoHelper()
	p.Publish(next)
	boot := p.PowerCycle(ctx)
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, "a later whole cycle", Download(p.Files(next)...)))
	Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, "a later whole cycle", Reboot()))
	up := boot.Within(p.Patience.Upgrade).After(timeline.FactRebooted())
	Eventually(ctx, up.Within(p.Patience.Boot)).Should(ShowCase(row, "a later whole cycle upgrades", p.Runs(next, golden)))
}

var _ = scenario("keeps the old version when a listed file is missing, and upgrades later",
	covers("FWU-05", "ORD-11"), anyTransport(), takes(6), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		for i, f := range next.Files {
			phone.Publish(next)
			phone.WithholdFile(f.Name)
			boot := phone.PowerCycle(ctx)
			phone.Observe(ctx, "ORD-11", "listed file "+strconv.Itoa(i+1)+" missing", boot.Within(phone.Patience.Upgrade), Requests(Step{Name: f.Name}))
			phone.upgradeStopped(ctx, "FWU-05", f.Name+" missing", boot, golden, next)
			phone.ServeGolden()
		}
		phone.upgradesLater(ctx, "FWU-05", golden, next)
	})

var _ = scenario("keeps the old version when a listed file is damaged, and upgrades later",
	covers("FWU-06"), anyTransport(), takes(13), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		image, second := next.Files[0], next.Files[1%len(next.Files)]
		foreign, what := phone.Foreign(next)
		for i, c := range []struct {
			name    string
			serves  firmware.Version
			file    string
			content []byte
		}{
			{"cut to half", next, image.Name, image.Content[:len(image.Content)/2]},
			{"empty", next, image.Name, nil},
			{"a bit flipped", next, image.Name, flipped(len(image.Content) / 2)(image.Content)},
			{"the running version's", next, image.Name, golden.Files[0].Content},
			{what, foreign, image.Name, foreign.Files[0].Content},
			{"a bit flipped", next, second.Name, flipped(len(second.Content) / 2)(second.Content)},
		} {
			if phone.over != timeline.TFTP && i%2 != 0 {
				continue // how a file came makes no difference to most of them
			}
			phone.Publish(c.serves)
			phone.Damage(c.file, c.content)
			phone.upgradeStopped(ctx, "FWU-06", c.file+" "+c.name, phone.PowerCycle(ctx), golden, next)
			phone.ServeGolden()
		}
		phone.upgradesLater(ctx, "FWU-06", golden, next)
	})

// breaking is one way in which a transfer breaks off, and after how many bytes.
type breaking struct {
	how  string
	at   int64
	rule fault.Rule
}

// breaks are the ways in which the transfer of a file breaks off: at its start,
// in its middle and in its last block. Over HTTP(S) each place has one way: how
// often is TFTP's to show.
func (p *Phone) breaks(f publish.File) []breaking {
	size := int64(len(f.Content))
	silence := func(at int64) breaking { return breaking{"silence", at, p.silence(f.Name, at)} }
	if p.over != timeline.TFTP {
		reset := func(at int64) breaking {
			return breaking{"reset", at, fault.On(f.Name).In("httpd").Do(httpd.Reset{AfterBytes: at})}
		}
		return []breaking{reset(0), silence(size / 2), reset(size - 1)}
	}
	fail := func(at int64) breaking {
		return breaking{"error 0", at, fault.On("DATA").Of(f.Name).Behind(at).Do(tftpd.Fail{Code: 0, Text: "broken off"})}
	}
	return []breaking{silence(0), fail(0), silence(size / 2), fail(size / 2), fail(p.lastPart(size)), silence(size - 1)}
}

// lastPart is where the last part of a file begins that a service sends at once:
// a block of the size that the model asks for, or what httpd writes of a body.
// It is never so late that smaller blocks leave none behind it.
func (p *Phone) lastPart(size int64) int64 {
	part := int64(16 << 10)
	if p.over == timeline.TFTP {
		part = 512
		for _, o := range p.lane.Handset.Facts.List(model.TFTPOptions) {
			if n, err := strconv.ParseInt(strings.TrimPrefix(o, "blksize="), 10, 64); err == nil && strings.HasPrefix(o, "blksize=") && n > 0 {
				part = n
			}
		}
	}
	return max(min((size-1)/part*part, size-512), 0)
}

var _ = scenario("keeps the old version when a transfer breaks off, and upgrades later",
	covers("FWU-07", "ORD-11"), anyTransport(), takes(14), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		if phone.over != timeline.TFTP {
			phone.Elsewhere("ORD-11") // how often is TFTP's to show
		}
		for _, b := range tried(phone.breaks(next.Files[0]), phone.run.points()) {
			phone.Publish(next)
			phone.Inject(b.rule)
			boot := phone.PowerCycle(ctx)
			if phone.over == timeline.TFTP && b.at == 0 {
				phone.Observe(ctx, "ORD-11", "listed file 1, "+b.how, boot.Within(phone.Patience.Upgrade), Requests(Step{Name: next.Files[0].Name}))
			}
			phone.upgradeStopped(ctx, "FWU-07", fmt.Sprintf("%s after %d bytes", b.how, b.at), boot, golden, next)
		}
		phone.upgradesLater(ctx, "FWU-07", golden, next)
	})

var _ = scenario("comes through a link that goes down during the download",
	covers("FWU-07"), anyTransport(), takes(6), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		size := int64(len(next.Files[0].Content))
		var points []point
		for _, at := range []int64{0, phone.lastPart(size), size / 2} {
			down := fault.On(next.Files[0].Name).Behind(at).Do(impair.LinkDown{For: phone.scaled(time.Minute)}).Once()
			points = append(points, point{name: fmt.Sprintf("link down after %d bytes", at), rule: down})
		}
		phone.SweepUpgrade(ctx, "FWU-07", points, golden, next)
	})

var _ = scenario("comes back when the power is cut during the download or the flash write",
	covers("FWU-08"), anyTransport(), takes(12), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		size := int64(len(next.Files[0].Content))
		last := next.Files[len(next.Files)-1].Name
		cut := func(d time.Duration) fault.Effect { return impair.PowerCut{After: d, For: phone.Patience.Off} }
		points := []point{
			{"in the flash write", fault.On("done").Of(last).Do(cut(phone.flashWrite(2))).Once(), 0},
			{"after the last byte", fault.On("done").Of(last).Do(cut(0)).Once(), 0},
			{"after byte 0", fault.On(next.Files[0].Name).Do(cut(0)).Once(), 0},
			{fmt.Sprintf("after byte %d", size/4), fault.On(next.Files[0].Name).Behind(size / 4).Do(cut(0)).Once(), 0},
			{fmt.Sprintf("after byte %d", size/2), fault.On(next.Files[0].Name).Behind(size / 2).Do(cut(0)).Once(), 0},
			{"at the start of the flash write", fault.On("done").Of(last).Do(cut(phone.flashWrite(0))).Once(), 0},
		}
		phone.SweepUpgrade(ctx, "FWU-08", points, golden, next)
	})

var _ = scenario("goes up and down again and again",
	covers("FWU-10"), over(timeline.TFTP), takes(6), needsFirmware(), standsOn("FWU-01", "ORD-05", "RBT-04", "FWU-03"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		const rounds = 3
		for i := range rounds {
			for _, to := range []struct{ v, other firmware.Version }{{next, golden}, {golden, next}} {
				phone.Publish(to.v)
				boot := phone.PowerCycle(ctx).Within(phone.Patience.Upgrade)
				Eventually(ctx, boot).Should(ShowCase("FWU-10", fmt.Sprintf("round %d, to %s", i+1, label(to.v, golden)), Download(phone.Files(to.v)...)))
				Eventually(ctx, boot).Should(ShowCase("FWU-10", fmt.Sprintf("round %d, to %s", i+1, label(to.v, golden)), Reboot()))
				Eventually(ctx, boot.After(timeline.FactRebooted()).Within(phone.Patience.Boot)).Should(ShowCase("FWU-10", fmt.Sprintf("round %d, to %s", i+1, label(to.v, golden)), phone.Runs(to.v, to.other)))
			}
		}
		phone.RunsGolden()
	})

func label(v, golden firmware.Version) string {
	if v.Name == golden.Name {
		return "golden"
	}
	return "next"
}

// damagedVersions are ways in which a version file is none. One with other line
// ends names the running version: whoever takes what stands behind it for a part
// of it never finds it equal.
func damagedVersions(next, running firmware.Version) []struct {
	name string
	of   firmware.Version
	text []byte
} {
	text := string(next.VersionFile)
	return []struct {
		name string
		of   firmware.Version
		text []byte
	}{
		{"empty", next, nil},
		{"the running version with CRLF", running, running.WithLineEnds("\r\n").VersionFile},
		{"the running version with trailing blanks", running, running.WithLineEnds("  \n").VersionFile},
		{"no version", next, []byte(strings.Join(strings.SplitAfter(text, "\n")[1:], ""))},
		{"no files", next, []byte(strings.SplitAfter(text, "\n")[0])},
		{"a line of 64 KiB", next, []byte(strings.Repeat("v", 64<<10) + "\n")},
		{"binary", next, bytes.Repeat([]byte{0, 0xff, 0x80, 7}, 256)},
		{"cut in its first line", next, []byte(text[:min(9, len(text))])},
	}
}

var _ = scenario("takes a damaged version file for none: no download, no reboot, no loop",
	covers("FWU-11"), anyTransport(), takes(8), needsFirmware(), riskBrick(), standsOn("FWU-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		next := phone.Firmware("next")
		for i, c := range damagedVersions(next, phone.Firmware("golden")) {
			if phone.over != timeline.TFTP && i%5 != 0 {
				continue // how a file came makes no difference to most of them
			}
			phone.Publish(c.of)
			phone.Damage(phone.lane.Handset.Model.VersionFile(), c.text)
			boot := phone.PowerCycle(ctx)
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("FWU-11", c.name, Register()))
			quiet := phone.Quiet(boot)
			Consistently(ctx, quiet).ShouldNot(ShowCase("FWU-11", c.name+": no reboot", Reboot()))
			Consistently(ctx, quiet).ShouldNot(ShowCase("FWU-11", c.name+": no download", Ask(phone.AnySoftware())))
			phone.ServeGolden()
		}
		phone.RunsGolden()
	})

var _ = scenario("keeps its settings over an upgrade and a downgrade",
	covers("FWU-12"), anyTransport(), takes(3), needsFirmware(), standsOn("FWU-01", "ORD-05", "RBT-04", "ORD-08", "ORD-09", "FWU-03", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		user := phone.SetUser()
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), phone.RegisteredAs(user), "CFG-01")
		for _, to := range []firmware.Version{next, golden} {
			phone.Publish(to)
			phone.Withhold(Global)
			phone.Withhold(Own)
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Upgrade)
			phone.Reach(ctx, boot, timeline.FactRebooted(), "FWU-01")
			up := boot.After(timeline.FactRebooted()).Within(phone.Patience.Boot)
			Eventually(ctx, up).Should(ShowCase("FWU-12", "to "+label(to, golden), RegisterAs(user)))
			// And they are those of a handset that was upgraded, not of one that only rebooted.
			Eventually(ctx, up).Should(ShowCase("FWU-12", "to "+label(to, golden)+", which then runs", phone.Runs(to, golden, next)))
		}
		phone.RunsGolden()
	})

var _ = scenario("downloads software in its own way",
	covers("FWU-13"), anyTransport(), takes(1), needsFirmware(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		next := phone.Publish(phone.Firmware("next"))
		boot := phone.PowerCycle(ctx).Within(phone.Patience.Upgrade)
		names := phone.ListedNames(next)
		phone.ObserveAll(ctx, boot, timeline.FactRebooted(),
			Measured{"FWU-13", "", Transfers(names...)},
			Measured{"FWU-13", "from the first file asked for to the last one taken", Took("download time", timeline.FactAsked(names[0]), timeline.FactFetched(names[len(names)-1]))})
		phone.Reach(ctx, boot.After(timeline.FactRebooted()).Within(phone.Patience.Boot), timeline.FactRegistered(), "FWU-01")
	})
