package virtual

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/version"
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
	// mentioned says that an asterisked field was named without a change.
	mentioned bool
	// version is the version file, asked says that it was asked for early.
	version []byte
	asked   bool
	// over ends the cycle: the server's certificate was refused.
	over bool
}

// provision runs one cycle and returns why to reboot, blank for no reason. force
// disregards the download flags.
func (b *boot) provision(ctx context.Context, force bool) (reason string) {
	defer func() { b.cycled = time.Now() }()
	b.net.askTime(ctx)
	src := b.choose(ctx)
	if ctx.Err() != nil {
		return ""
	}
	if src == nil {
		b.h.log.Warn("nothing to provision from")
		return b.once("")
	}
	defer src.close()
	b.h.log.Info("cycle", "from", src.String(), "regardless of flags", force)
	c := &cycle{b: b, h: b.h, src: src, force: force, before: b.h.settings(), global: map[model.Field]bool{}}
	reason = c.run(ctx)
	if ctx.Err() != nil {
		return ""
	}
	b.h.log.Info("cycle ends", "reboot", reason)
	return b.once(reason)
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
	if !c.asked {
		c.version = c.versionFile(ctx)
	}
	if _, ok := c.src.(*web); ok && c.has(defect.HTTPAsksGlobalAgain) && c.configurable() {
		c.fetch(ctx, c.h.cfg.Model.GlobalFile())
	}
	installed := c.version != nil && c.software(ctx, c.version)
	changed := c.changed()
	switch {
	case ctx.Err() != nil:
		return ""
	case installed:
		if c.has(defect.RebootsTwiceAfterSoftware) || c.has(defect.RebootsPerReason) && changed != "" {
			c.h.mu.Lock()
			c.h.memory.again = true
			c.h.mu.Unlock()
		}
		return "software"
	case changed != "":
		return changed
	case c.mentioned:
		return "asterisked field named (defect)"
	}
	return ""
}

// fetch gets a file; nil stands for none, for whatever reason. A file that
// cannot be had is gone without, and the cycle goes on (assumed), but for a
// server whose certificate was refused.
func (c *cycle) fetch(ctx context.Context, name string) []byte {
	if c.over || ctx.Err() != nil {
		return nil
	}
	body, err := c.src.get(ctx, name)
	if err != nil {
		c.h.log.Warn("not fetched", "file", name, "error", err)
		c.over = c.over || refused(err)
		return nil
	}
	c.h.log.Info("fetched", "file", name, "bytes", len(body))
	if body == nil {
		body = []byte{}
	}
	return body
}

// configuration asks for the two files, if the flag allows that. It returns true
// to reboot at once, as it never does without a defect.
func (c *cycle) configuration(ctx context.Context) bool {
	if !c.configurable() {
		c.h.log.Info("configuration download is disabled")
		return false
	}
	if c.has(defect.OwnFileFirst) {
		own := c.fetch(ctx, c.ownName())
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
	return c.apply(ctx, c.fetch(ctx, c.ownName()), true)
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

func (c *cycle) globalFile(ctx context.Context) bool {
	data := c.fetch(ctx, c.h.cfg.Model.GlobalFile())
	if data != nil && c.has(defect.AsksSibling) {
		models := model.All()
		i := slices.Index(models, c.h.cfg.Model)
		c.fetch(ctx, models[(i+1)%len(models)].GlobalFile())
	}
	return c.apply(ctx, data, false)
}

// apply transfers a file's settings to the memory. The key is the one in memory
// at this moment, so one that the global file sets counts for the
// phone-specific file (assumed). Files that it includes are fetched and put
// aside: the phone book is not simulated.
func (c *cycle) apply(ctx context.Context, data []byte, own bool) (rebootNow bool) {
	if data == nil || ctx.Err() != nil {
		return false
	}
	text, err := c.open(data, own)
	if err != nil {
		c.h.log.Warn("configuration dropped", "own", own, "error", err)
		return false
	}
	file := config.Parse(text, c.h.rules)
	for _, r := range file.Remarks {
		c.h.log.Info("configuration line left out", "own", own, "line", r.String())
	}
	switch {
	case !own && c.has(defect.GlobalNeedsOwn):
		c.held = &file
		return false
	case own && c.held != nil:
		c.transfer(c.held.Settings, false)
	}
	c.transfer(file.Settings, own)
	const most = 4
	for _, name := range file.Includes[:min(len(file.Includes), most)] {
		c.fetch(ctx, name)
	}
	return c.has(defect.RebootsAtOnce) && c.asterisked()
}

// open returns the text of a file: as it stands if it is readable, else
// decrypted (guide F-2).
func (c *cycle) open(data []byte, own bool) ([]byte, error) {
	form, key := c.h.cfg.Facts.Text(model.DecryptKeyForm), c.h.settings().text(decryptKey)
	if c.has(defect.DecryptsAll) && key != "" {
		return config.Decrypt(data, form, key)
	}
	if own && c.has(defect.OwnFileNotDecrypted) {
		key = ""
	}
	text, encrypted, err := config.Open(data, form, key)
	if encrypted && err == nil {
		c.h.log.Info("decrypted", "own", own)
	}
	return text, err
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
// value than before the cycle. What a field held in between does not count, so
// one that the phone-specific file sets back is no change (assumed).
func (c *cycle) asterisked() bool {
	now := c.h.settings()
	return slices.ContainsFunc(c.h.cfg.Facts.Fields(model.RebootFields), func(f model.Field) bool { return now.get(f) != c.before.get(f) })
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

// versionFile asks for the version file: in the folder of the MAC first, then
// at the root, where the fact says so.
func (c *cycle) versionFile(ctx context.Context) []byte {
	name := c.h.cfg.Model.VersionFile()
	if c.h.cfg.Facts.Yes(model.VersionInFolder) {
		if data := c.fetch(ctx, c.h.ownName()+"/"+name); data != nil {
			return data
		}
	}
	return c.fetch(ctx, name)
}

// software installs what the version file lists if its version differs from the
// running one, and tells whether it did. With the download of software disabled
// the version file is asked for all the same, and nothing else (assumed).
func (c *cycle) software(ctx context.Context, data []byte) (installed bool) {
	file, err := version.Parse(c.h.cfg.Facts.Text(model.VersionSyntax), data, version.Options{CommentsOnlyOnTop: c.has(defect.CommentsOnlyOnTop)})
	switch {
	case err != nil:
		c.h.log.Warn("version file dropped", "error", err)
		return false
	case len(file.Files) == 0:
		c.h.log.Info("version file lists nothing", "version", file.Version)
		return false
	case c.h.settings().fact(model.DownloadFlagFields, 1) == "disable" && !c.force && !c.has(defect.IgnoresSoftwareFlag):
		c.h.log.Info("software download is disabled", "version", file.Version)
		return false
	}
	same := file.Version == c.b.version
	switch {
	case same && !c.has(defect.DownloadsSameVersion):
		c.h.store(func(s *flash.State) { delete(s.Marks, markTried) })
		return false
	case !same && c.has(defect.NewerOnly) && !version.Newer(file.Version, c.b.version):
		return false
	}
	if c.has(defect.SkipsXML) {
		file.Files = file.Files[:len(file.Files)-1]
	}
	files, err := c.download(ctx, file.Files)
	if err != nil {
		c.h.log.Warn("software not installed", "version", file.Version, "error", err)
		return false
	}
	if same {
		return false
	}
	return c.install(ctx, file.Version, files)
}

// download fetches all files, each whole and, where the version file says so,
// with its checksum. The first that fails ends it: nothing is installed then.
func (c *cycle) download(ctx context.Context, list []version.Listed) (map[string]int, error) {
	sizes := map[string]int{}
	for _, l := range list {
		body := c.fetch(ctx, l.Name)
		switch sum := crc32.ChecksumIEEE(body); {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case body == nil:
			return nil, fmt.Errorf("file %s could not be had", l.Name)
		case len(body) == 0:
			return nil, fmt.Errorf("file %s is empty", l.Name)
		case l.HasCRC && sum != l.CRC:
			return nil, fmt.Errorf("file %s has CRC-32 %08x, want %08x", l.Name, sum, l.CRC)
		}
		sizes[l.Name] = len(body)
	}
	return sizes, nil
}

// markTried holds the version that the defect installs-nothing has rebooted for.
const markTried = "tried"

// install writes the bank that does not run, and has the boot loader start it
// next. A cut of power on the way leaves the running bank and no other.
func (c *cycle) install(ctx context.Context, v string, files map[string]int) bool {
	if c.has(defect.InstallsNothing) {
		s := c.h.flash.Read()
		if s.Marks[markTried] == v {
			return false
		}
		c.h.store(func(s *flash.State) { s.Marks[markTried] = v })
		return c.h.pause(ctx, c.writeTime(files)) == nil
	}
	c.h.store(func(s *flash.State) { s.Banks[s.Other()] = flash.Bank{} })
	if c.h.pause(ctx, c.writeTime(files)) != nil {
		return false
	}
	if err := c.h.flash.Update(func(s *flash.State) {
		s.Banks[s.Other()] = flash.Bank{Version: v, Files: files}
		s.Boot = s.Other()
	}); err != nil {
		c.h.log.Error("flash", "error", err)
		return false
	}
	c.h.log.Info("installed", "version", v, "files", strings.Join(slices.Sorted(maps.Keys(files)), " "))
	return true
}

func (c *cycle) writeTime(files map[string]int) time.Duration {
	const page = 64 << 10
	pages := 0
	for _, n := range files {
		pages += (n + page - 1) / page
	}
	return time.Duration(pages) * c.h.wait(model.FlashWriteTime)
}
