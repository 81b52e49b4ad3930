package virtual

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

// configuration is what one cycle does about the two configuration files.
type configuration struct {
	*fetcher

	force  bool // whatever the download flags say
	before settings
	// between is called after the global file where a defect wants the version file
	// then.
	between func(context.Context)
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
}

func newConfiguration(f *fetcher, force bool) *configuration {
	return &configuration{
		fetcher: f, force: force, before: f.settings(),
		global: map[model.Field]bool{}, named: map[model.Field]bool{}, touched: map[model.Field]bool{},
	}
}

// configFile gets a configuration file; nil stands for none, for whatever reason.
func (c *configuration) configFile(ctx context.Context, name string, stops defect.Name) []byte {
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

// transferAll asks for the two files, if the flag allows that. It returns true
// to reboot at once, as it never does without a defect.
func (c *configuration) transferAll(ctx context.Context) bool {
	if !c.configurable() {
		c.log.Info("configuration download is disabled")
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
		c.between(ctx)
	}
	if c.has(defect.SkipsOwnFile) {
		return false
	}
	return c.apply(ctx, c.ownFile(ctx), true)
}

// configurable reports whether configuration may be asked for.
func (c *configuration) configurable() bool {
	return c.before.fact(model.DownloadFlagFields, 0) != "disable" || c.force || c.has(defect.IgnoresConfigFlag)
}

// ownName is the phone-specific file: the MAC, or what the name template in
// memory makes of it over the transports that obey one (68).
func (c *configuration) ownName() string {
	name, form := c.device.ownName(), c.settings().text(httpsMACForm)
	if form == "" || c.has(defect.IgnoresMacForm) || !slices.Contains(c.cfg.Facts.List(model.NameTemplateOver), c.src.transport()) {
		return name
	}
	return strings.ReplaceAll(form, "$MAC", name)
}

func (c *configuration) ownFile(ctx context.Context) []byte {
	return c.configFile(ctx, c.ownName(), defect.StopsWithoutOwn)
}

func (c *configuration) globalFile(ctx context.Context) bool {
	data := c.configFile(ctx, c.cfg.Model.GlobalFile(), defect.StopsWithoutGlobal)
	if data != nil && c.has(defect.AsksSibling) {
		models := model.All()
		i := slices.Index(models, c.cfg.Model)
		_, _ = c.ask(ctx, models[(i+1)%len(models)].GlobalFile())
	}
	return c.apply(ctx, data, false)
}

// apply transfers a file's settings to the memory. Files that it includes are
// fetched and put aside: the phone book is not simulated.
func (c *configuration) apply(ctx context.Context, data []byte, own bool) (rebootNow bool) {
	if data == nil || ctx.Err() != nil {
		return false
	}
	text, err := c.open(data, own)
	if err != nil {
		c.log.Warn("configuration dropped", "own", own, "error", err)
		c.wipe()
		return false
	}
	file := config.Parse(text, c.rules, config.Options{KeepsComments: c.has(defect.KeepsComment)})
	for _, r := range file.Remarks {
		c.log.Info("configuration line left out", "own", own, "line", r.String())
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
func (c *configuration) open(data []byte, own bool) ([]byte, error) {
	form, key := c.cfg.Facts.Text(model.DecryptKeyForm), c.key(own)
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
		c.log.Info("decrypted", "own", own)
	}
	return text, err
}

// key is the one that a file is decrypted with: that in memory. Whether one that
// the global file has set counts for the phone-specific file of the same cycle
// is a fact.
func (c *configuration) key(own bool) string {
	stored := c.storedKey(own)
	if stored == "" && c.has(defect.BlankKeyIsZero) {
		return strings.Repeat("0", 32)
	}
	return stored
}

func (c *configuration) storedKey(own bool) string {
	switch {
	case own && c.has(defect.OwnFileNotDecrypted), !own && c.has(defect.GlobalNotDecrypted):
		return ""
	case own && (c.has(defect.LateKey) || !c.cfg.Facts.Yes(model.KeyInCycle)):
		return c.before.text(decryptKey)
	}
	return c.settings().text(decryptKey)
}

// sticks reports whether this file is not taken because of a defect that an earlier
// bad file has brought about, or this one does.
func (c *configuration) sticks(d defect.Name, bad bool) bool {
	if !c.has(d) {
		return false
	}
	mark := flash.SettingsMark + string(d)
	if bad {
		c.store(func(s *flash.State) { s.Marks[mark] = "yes" })
	}
	return c.mark(mark) != ""
}

// wipe is the defect wrong-key-wipes.
func (c *configuration) wipe() {
	if c.has(defect.WrongKeyWipes) {
		c.forgetLines()
	}
}

// resetUnmentioned is the defect resets-unmentioned.
func (c *configuration) resetUnmentioned() {
	if !c.has(defect.ResetsUnmentioned) || !c.ownRead {
		return
	}
	c.store(func(s *flash.State) {
		maps.DeleteFunc(s.Settings, func(path, _ string) bool {
			section, name, _ := strings.Cut(path, "/")
			return !c.named[model.Field{Section: section, Name: name}]
		})
	})
}

func (c *configuration) transfer(list []config.Setting, own bool) {
	set := c.settings()
	c.memory.update(func(v *volatile) {
		for _, s := range list {
			if _, noted := v.undo[s.Field]; !noted && v.undo != nil {
				v.undo[s.Field] = nil
				if old, ok := set.state.Get(s.Field); ok {
					v.undo[s.Field] = &old
				}
			}
		}
	})
	c.store(func(state *flash.State) {
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
	c.log.Info("transferred to memory", "own", own, "settings", len(list))
	if !own {
		now := c.settings()
		for _, f := range c.cfg.Facts.Fields(model.RebootFields) {
			c.touched[f] = now.get(f) != c.before.get(f)
		}
	}
}

// mention is the defect reboots-on-mention.
func (c *configuration) mention(state *flash.State, s config.Setting, own bool) {
	if !c.has(defect.RebootsOnMention) || !own || !c.global[s.Field] ||
		!slices.Contains(c.cfg.Facts.Fields(model.RebootFields), s.Field) || c.before.get(s.Field) != s.Value {
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

// asterisked reports whether a field of Table D-1 with an asterisk has another
// value than before the cycle.
func (c *configuration) asterisked() bool {
	now := c.settings()
	return slices.ContainsFunc(c.cfg.Facts.Fields(model.RebootFields), func(f model.Field) bool { return now.get(f) != c.before.get(f) })
}

// setBack reports whether the phone-specific file has set back an asterisked field
// that the global file had changed. Whether that reboots is a fact.
func (c *configuration) setBack() bool {
	now := c.settings()
	return slices.ContainsFunc(c.cfg.Facts.Fields(model.RebootFields), func(f model.Field) bool {
		return c.touched[f] && now.get(f) == c.before.get(f)
	})
}

// changed returns why the configuration asks for a reboot, blank if it does not.
func (c *configuration) changed() string {
	switch {
	case c.asterisked():
		if c.has(defect.NoRebootOnAsterisk) {
			return ""
		}
		return "asterisked field"
	case c.has(defect.RebootsOnAnyChange):
		now := c.settings()
		names := slices.Concat(slices.Collect(maps.Keys(now.state.Settings)), slices.Collect(maps.Keys(c.before.state.Settings)))
		if slices.ContainsFunc(names, func(path string) bool { return now.text(path) != c.before.text(path) }) {
			return "some field (defect)"
		}
	}
	return ""
}
