package virtual

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

// cycle is one run of the guide's download routine.
type cycle struct {
	b      *boot
	h      *Handset
	src    source
	force  bool
	before settings
	// global holds what the global file has set; held are its settings while
	// the defect global-needs-own keeps them back.
	global map[model.Field]bool
	held   *config.File
	// named holds what either file has set, touched the asterisked fields that
	// the global file has changed.
	named, touched map[model.Field]bool
	// ownRead says that the phone-specific file was read.
	ownRead bool
	// mentioned says that an asterisked field was named without a change.
	mentioned bool
	// version is the version file, asked says that it was asked for early.
	version []byte
	asked   bool
	// noVersion says that there is no version file, badVersion that it cannot be
	// read, broken that the transfer of a file broke off.
	noVersion, badVersion, broken bool
	// over ends the cycle: the server's certificate was refused.
	over bool
}

// provision runs one cycle and returns why to reboot, blank for no reason. force
// disregards the download flags.
func (b *boot) provision(ctx context.Context, force bool) (reason string) {
	defer func() { b.cycled = time.Now() }()
	if !b.net.askTime(ctx) {
		return b.once("")
	}
	src := b.choose(ctx)
	if ctx.Err() != nil {
		return ""
	}
	if src == nil {
		b.h.log.Warn("nothing to provision from")
		return b.once("")
	}
	defer src.close()
	c := b.newCycle(src, force)
	reason = c.run(ctx)
	if next := b.fallback(ctx, src); next != nil {
		defer next.close()
		c = b.newCycle(next, force)
		reason = c.run(ctx)
	}
	if ctx.Err() != nil {
		return ""
	}
	b.h.log.Info("cycle ends", "reboot", reason)
	return b.once(reason)
}

func (b *boot) newCycle(src source, force bool) *cycle {
	b.h.log.Info("cycle", "from", src.String(), "regardless of flags", force)
	return &cycle{
		b: b, h: b.h, src: src, force: force, before: b.h.settings(),
		global: map[model.Field]bool{}, named: map[model.Field]bool{}, touched: map[model.Field]bool{},
	}
}

// once adds the reboot that a defect owes.
func (b *boot) once(reason string) string {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	if reason == "" && b.h.memory.again {
		b.h.memory.again = false
		return "once more (defect)"
	}
	return reason
}

func (c *cycle) has(d defect.Name) bool { return c.h.cfg.Defects.Has(d) }

// run is global file, phone-specific file, version file, listed files, and the
// reboot flag at the end.
func (c *cycle) run(ctx context.Context) string {
	if c.configuration(ctx) {
		return "asterisked field, at once (defect)"
	}
	c.resetUnmentioned()
	if !c.asked {
		c.version = c.versionFile(ctx)
	}
	if _, ok := c.src.(*web); ok && c.has(defect.HTTPAsksGlobalAgain) && c.configurable() {
		_, _ = c.ask(ctx, c.h.cfg.Model.GlobalFile())
	}
	installed := c.version != nil && c.software(ctx, c.version)
	if ctx.Err() != nil {
		return ""
	}
	return c.reason(installed)
}

// reason tells why to reboot, blank for no reason. Neither a file that could
// not be had nor one that could not be read is one (assumed).
func (c *cycle) reason(installed bool) string {
	c.h.mu.Lock()
	once := !c.h.memory.needless
	c.h.memory.needless = false
	c.h.mu.Unlock()
	changed, setBack := c.changed(), c.setBack()
	switch {
	case installed:
		return c.reboot("software", c.has(defect.RebootsTwiceAfterSoftware) || c.has(defect.RebootsPerReason) && changed != "" || c.has(defect.RebootFlagSticks))
	case changed != "":
		return c.reboot(changed, c.has(defect.RebootFlagSticks))
	case setBack && c.h.cfg.Facts.Yes(model.SetBackReboots) && !c.has(defect.SetBackReboots):
		return c.reboot("asterisked field, set back", c.has(defect.RebootFlagSticks))
	case c.mentioned:
		return "asterisked field named (defect)"
	case !once:
		return ""
	case setBack && !c.h.cfg.Facts.Yes(model.SetBackReboots) && c.has(defect.SetBackReboots):
		return c.needless("asterisked field, set back")
	case c.noVersion && c.has(defect.MissingVersionReboots):
		return c.needless("no version file")
	case c.badVersion && c.has(defect.DamagedVersionReboots):
		return c.needless("damaged version file")
	case c.broken && c.has(defect.BrokenCycleReboots):
		return c.needless("file broken off")
	}
	return ""
}

// reboot is a reboot for a reason, with a defect's after it.
func (c *cycle) reboot(reason string, again bool) string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.memory.again = c.h.memory.again || again
	return reason
}

// needless is the reboot of a defect that does not do so twice running: a
// handset in a loop would show nothing else.
func (c *cycle) needless(reason string) string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.memory.needless = true
	return reason + " (defect)"
}

// errCycleOver says that nothing more is asked of the server in this cycle.
var errCycleOver = errors.New("the cycle is over")

// partial is an error that holds what had come of a file.
type partial interface{ Partial() []byte }

// ask gets a file, again as the facts say when its transfer fails. A file that
// cannot be had is gone without, and the cycle goes on (assumed), but for a
// server whose certificate was refused.
func (c *cycle) ask(ctx context.Context, name string) ([]byte, error) {
	for try := 1; ; try++ {
		if c.over {
			return nil, errCycleOver
		}
		body, err := c.src.get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			c.h.log.Info("fetched", "file", name, "bytes", len(body))
			return body, nil
		}
		c.h.log.Warn("not fetched", "file", name, "error", err)
		var part partial
		c.over = c.over || refused(err)
		c.broken = c.broken || errors.As(err, &part)
		c.b.failed = c.b.failed || !c.over && !errors.Is(err, errMissing)
		if c.over || errors.Is(err, errMissing) || try >= c.h.cfg.Facts.Int(model.FileTries) {
			return nil, err
		}
		if err := c.h.pause(ctx, c.h.retry(model.FileRetryTime)); err != nil {
			return nil, err
		}
	}
}

// configFile gets a configuration file; nil stands for none, for whatever reason.
func (c *cycle) configFile(ctx context.Context, name string, stops defect.Name) []byte {
	body, err := c.ask(ctx, name)
	var part partial
	switch {
	case err == nil && body == nil:
		return []byte{}
	case err == nil:
		return body
	case errors.Is(err, errMissing):
		c.over = c.over || c.has(stops)
	case c.has(defect.AppliesPartialFile) && errors.As(err, &part):
		return part.Partial()
	}
	return nil
}

// configuration asks for the two files, if the flag allows that. It returns true
// to reboot at once, as it never does without a defect.
func (c *cycle) configuration(ctx context.Context) bool {
	if !c.configurable() {
		c.h.log.Info("configuration download is disabled")
		return false
	}
	if c.has(defect.OwnFileFirst) {
		own := c.ownFile(ctx)
		return c.globalFile(ctx) || c.apply(ctx, own, true)
	}
	if c.globalFile(ctx) {
		return true
	}
	if c.has(defect.VersionFileFirst) {
		c.asked, c.version = true, c.versionFile(ctx)
	}
	if c.has(defect.SkipsOwnFile) {
		return false
	}
	return c.apply(ctx, c.ownFile(ctx), true)
}

// configurable tells whether configuration may be asked for.
func (c *cycle) configurable() bool {
	return c.before.fact(model.DownloadFlagFields, 0) != "disable" || c.force || c.has(defect.IgnoresConfigFlag)
}

// ownName is the phone-specific file: the MAC, or what the name template in
// memory makes of it over the transports that obey one (68).
func (c *cycle) ownName() string {
	name, form := c.h.ownName(), c.h.settings().text(httpsMACForm)
	if form == "" || c.has(defect.IgnoresMacForm) || !slices.Contains(c.h.cfg.Facts.List(model.NameTemplateOver), c.src.transport()) {
		return name
	}
	return strings.ReplaceAll(form, "$MAC", name)
}

func (c *cycle) ownFile(ctx context.Context) []byte {
	return c.configFile(ctx, c.ownName(), defect.StopsWithoutOwn)
}

func (c *cycle) globalFile(ctx context.Context) bool {
	data := c.configFile(ctx, c.h.cfg.Model.GlobalFile(), defect.StopsWithoutGlobal)
	if data != nil && c.has(defect.AsksSibling) {
		models := model.All()
		i := slices.Index(models, c.h.cfg.Model)
		_, _ = c.ask(ctx, models[(i+1)%len(models)].GlobalFile())
	}
	return c.apply(ctx, data, false)
}

// apply transfers a file's settings to the memory. Files that it includes are
// fetched and put aside: the phone book is not simulated.
func (c *cycle) apply(ctx context.Context, data []byte, own bool) (rebootNow bool) {
	if data == nil || ctx.Err() != nil {
		return false
	}
	text, err := c.open(data, own)
	if err != nil {
		c.h.log.Warn("configuration dropped", "own", own, "error", err)
		c.wipe()
		return false
	}
	file := config.Parse(text, c.h.rules, config.Options{KeepsComments: c.has(defect.KeepsComment)})
	for _, r := range file.Remarks {
		c.h.log.Info("configuration line left out", "own", own, "line", r.String())
	}
	senseless := len(text) == 0 || file.Ignored > 0 && len(file.Settings) == 0 || bytes.HasPrefix(text, []byte("\ufeff"))
	if c.sticks(defect.DamagedFileSticks, senseless) {
		return false
	}
	switch {
	case !own && c.has(defect.GlobalNeedsOwn):
		c.held = &file
		return false
	case own && c.held != nil:
		c.transfer(c.held.Settings, false)
	}
	c.transfer(file.Settings, own)
	c.ownRead = c.ownRead || own
	const most = 4
	for _, name := range file.Includes[:min(len(file.Includes), most)] {
		_, _ = c.ask(ctx, name)
	}
	return c.has(defect.RebootsAtOnce) && c.asterisked()
}

// open returns the text of a file: as it stands if it is readable, else
// decrypted (guide F-2).
func (c *cycle) open(data []byte, own bool) ([]byte, error) {
	form, key := c.h.cfg.Facts.Text(model.DecryptKeyForm), c.key(own)
	if c.has(defect.DecryptsAll) && key != "" {
		return config.Decrypt(data, form, key)
	}
	text, encrypted, err := config.Open(data, form, key)
	switch {
	case !encrypted:
		return text, err
	case config.DamagedText(data):
		c.sticks(defect.DamagedFileSticks, true)
		return text, err
	case c.sticks(defect.BrokenCipherSticks, config.Damaged(data, form, key)):
		return nil, errors.New("no encrypted file is taken any more (defect)")
	}
	if err == nil {
		c.h.log.Info("decrypted", "own", own)
	}
	return text, err
}

// key is the one that a file is decrypted with: that in memory. Whether one that
// the global file has set counts for the phone-specific file of the same cycle
// is a fact.
func (c *cycle) key(own bool) string {
	stored := c.storedKey(own)
	if stored == "" && c.has(defect.BlankKeyIsZero) {
		return strings.Repeat("0", 32)
	}
	return stored
}

func (c *cycle) storedKey(own bool) string {
	switch {
	case own && c.has(defect.OwnFileNotDecrypted), !own && c.has(defect.GlobalNotDecrypted):
		return ""
	case own && (c.has(defect.LateKey) || !c.h.cfg.Facts.Yes(model.KeyInCycle)):
		return c.before.text(decryptKey)
	}
	return c.h.settings().text(decryptKey)
}

// sticks tells whether a defect that a bad file has brought about bars this
// one, which may be bad itself.
func (c *cycle) sticks(d defect.Name, bad bool) bool {
	if !c.has(d) {
		return false
	}
	mark := flash.SettingsMark + string(d)
	if bad {
		c.h.store(func(s *flash.State) { s.Marks[mark] = "yes" })
	}
	s := c.h.flash.Read()
	return s.Marks[mark] != ""
}

// wipe is the defect wrong-key-wipes.
func (c *cycle) wipe() {
	if c.has(defect.WrongKeyWipes) {
		c.h.forgetLines()
	}
}

// forgetLines is what several defects do.
func (h *Handset) forgetLines() {
	h.store(func(s *flash.State) {
		maps.DeleteFunc(s.Settings, func(path, _ string) bool { return strings.HasPrefix(path, "VOIP/line") })
	})
}

// resetUnmentioned is the defect resets-unmentioned.
func (c *cycle) resetUnmentioned() {
	if !c.has(defect.ResetsUnmentioned) || !c.ownRead {
		return
	}
	c.h.store(func(s *flash.State) {
		maps.DeleteFunc(s.Settings, func(path, _ string) bool {
			section, name, _ := strings.Cut(path, "/")
			return !c.named[model.Field{Section: section, Name: name}]
		})
	})
}

func (c *cycle) transfer(list []config.Setting, own bool) {
	set := c.h.settings()
	c.h.mu.Lock()
	for _, s := range list {
		if _, noted := c.h.memory.undo[s.Field]; !noted && c.h.memory.undo != nil {
			c.h.memory.undo[s.Field] = nil
			if old, ok := set.state.Get(s.Field); ok {
				c.h.memory.undo[s.Field] = &old
			}
		}
	}
	c.h.mu.Unlock()
	c.h.store(func(state *flash.State) {
		for _, s := range list {
			c.named[s.Field] = true
			if own && c.has(defect.GlobalWins) && c.global[s.Field] {
				continue
			}
			if !own {
				c.global[s.Field] = true
			}
			state.Set(s.Field, s.Value)
			c.mention(state, s, own)
		}
	})
	c.h.log.Info("transferred to memory", "own", own, "settings", len(list))
	if !own {
		now := c.h.settings()
		for _, f := range c.h.cfg.Facts.Fields(model.RebootFields) {
			c.touched[f] = now.get(f) != c.before.get(f)
		}
	}
}

// mention is the defect reboots-on-mention.
func (c *cycle) mention(state *flash.State, s config.Setting, own bool) {
	if !c.has(defect.RebootsOnMention) || !own || !c.global[s.Field] ||
		!slices.Contains(c.h.cfg.Facts.Fields(model.RebootFields), s.Field) || c.before.get(s.Field) != s.Value {
		return
	}
	mark := "mentioned " + s.Field.Section + "/" + s.Field.Name
	if state.Marks[mark] != "" {
		delete(state.Marks, mark)
		return
	}
	state.Marks[mark] = "rebooted for it"
	c.mentioned = true
}

// asterisked tells whether a field of Table D-1 with an asterisk has another
// value than before the cycle.
func (c *cycle) asterisked() bool {
	now := c.h.settings()
	return slices.ContainsFunc(c.h.cfg.Facts.Fields(model.RebootFields), func(f model.Field) bool { return now.get(f) != c.before.get(f) })
}

// setBack tells whether the phone-specific file has set back an asterisked field
// that the global file had changed. Whether that reboots is a fact.
func (c *cycle) setBack() bool {
	now := c.h.settings()
	return slices.ContainsFunc(c.h.cfg.Facts.Fields(model.RebootFields), func(f model.Field) bool {
		return c.touched[f] && now.get(f) == c.before.get(f)
	})
}

// changed returns why the configuration asks for a reboot, blank if it does not.
func (c *cycle) changed() string {
	switch {
	case c.asterisked():
		if c.has(defect.NoRebootOnAsterisk) {
			return ""
		}
		return "asterisked field"
	case c.has(defect.RebootsOnAnyChange):
		now := c.h.settings()
		names := slices.Concat(slices.Collect(maps.Keys(now.state.Settings)), slices.Collect(maps.Keys(c.before.state.Settings)))
		if slices.ContainsFunc(names, func(path string) bool { return now.text(path) != c.before.text(path) }) {
			return "some field (defect)"
		}
	}
	return ""
}
