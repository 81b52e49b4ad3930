package virtual

import (
	"context"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
)

// provisioner runs provisioning cycles.
type provisioner struct {
	chooser

	// failed says that the transfer of a file has failed in the last cycle.
	failed bool
}

// provision runs one cycle and returns why to reboot, blank for no reason. force
// disregards the download flags.
func (p *provisioner) provision(ctx context.Context, force bool) (reason string) {
	p.failed = false
	if !p.clock.askTime(ctx) {
		return p.once("")
	}
	src := p.choose(ctx)
	if ctx.Err() != nil {
		return ""
	}
	if src == nil {
		p.log.Warn("nothing to provision from")
		return p.once("")
	}
	defer src.close()
	reason = p.from(ctx, src, force)
	if next := p.fallback(ctx, src); next != nil {
		defer next.close()
		reason = p.from(ctx, next, force)
	}
	if ctx.Err() != nil {
		return ""
	}
	p.log.Info("cycle ends", "reboot", reason)
	return p.once(reason)
}

// from runs the guide's download routine with one source.
func (p *provisioner) from(ctx context.Context, src source, force bool) (reason string) {
	p.log.Info("cycle", "from", src.String(), "regardless of flags", force)
	f := &fetcher{device: p.device, src: src}
	c := &cycle{
		fetcher: f, configuration: newConfiguration(f, force),
		installer: &installer{fetcher: f, choice: &p.chooser, running: p.version, force: force},
	}
	c.configuration.between = c.askVersion
	reason = c.run(ctx)
	p.failed = p.failed || f.failed
	return reason
}

// once adds the reboot that a defect owes.
func (p *provisioner) once(reason string) string {
	p.memory.update(func(v *volatile) {
		if reason == "" && v.again {
			v.again, reason = false, "once more (defect)"
		}
	})
	return reason
}

// cycle is one run of the guide's download routine.
type cycle struct {
	*fetcher

	configuration *configuration
	installer     *installer
	// version is the version file, asked says that it was asked for.
	version []byte
	asked   bool
}

func (c *cycle) askVersion(ctx context.Context) {
	c.asked, c.version = true, c.installer.versionFile(ctx)
}

// run is global file, phone-specific file, version file, listed files, and the
// reboot flag at the end.
func (c *cycle) run(ctx context.Context) string {
	if c.configuration.transferAll(ctx) {
		return "asterisked field, at once (defect)"
	}
	c.configuration.resetUnmentioned()
	if !c.asked {
		c.askVersion(ctx)
	}
	if _, ok := c.src.(*web); ok && c.has(defect.HTTPAsksGlobalAgain) && c.configuration.configurable() {
		_, _ = c.ask(ctx, c.cfg.Model.GlobalFile())
	}
	installed := c.version != nil && c.installer.follow(ctx, c.version, c.configuration.ownRead)
	if ctx.Err() != nil {
		return ""
	}
	return c.reason(installed)
}

// reason says why to reboot, blank for no reason. Neither a file that could
// not be had nor one that could not be read is one (assumed).
func (c *cycle) reason(installed bool) string {
	var once bool
	c.memory.update(func(v *volatile) { once, v.needless = !v.needless, false })
	changed, setBack := c.configuration.changed(), c.configuration.setBack()
	switch {
	case installed:
		return c.reboot("software", c.has(defect.RebootsTwiceAfterSoftware) || c.has(defect.RebootsPerReason) && changed != "" || c.has(defect.RebootFlagSticks))
	case changed != "":
		return c.reboot(changed, c.has(defect.RebootFlagSticks))
	case setBack && c.cfg.Facts.Yes(model.SetBackReboots) && !c.has(defect.SetBackReboots):
		return c.reboot("asterisked field, set back", c.has(defect.RebootFlagSticks))
	case c.configuration.mentioned:
		return "asterisked field named (defect)"
	case !once:
		return ""
	case setBack && !c.cfg.Facts.Yes(model.SetBackReboots) && c.has(defect.SetBackReboots):
		return c.needless("asterisked field, set back")
	case c.installer.noVersion && c.has(defect.MissingVersionReboots):
		return c.needless("no version file")
	case c.installer.badVersion && c.has(defect.DamagedVersionReboots):
		return c.needless("damaged version file")
	case c.broken && c.has(defect.BrokenCycleReboots):
		return c.needless("file broken off")
	}
	return ""
}

// reboot is a reboot for a reason, with a defect's after it.
func (c *cycle) reboot(reason string, again bool) string {
	c.memory.update(func(v *volatile) { v.again = v.again || again })
	return reason
}

// needless is the reboot of a defect that does not do so twice running: a
// handset in a loop would show nothing else.
func (c *cycle) needless(reason string) string {
	c.memory.update(func(v *volatile) { v.needless = true })
	return reason + " (defect)"
}
