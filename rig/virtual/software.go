package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/version"
)

// Marks of defects that concern software; a factory reset leaves them.
const (
	// markTried holds the version that installs-nothing has rebooted for.
	markTried = "tried"
	// markLoops is how often version-loop will install its version again.
	markLoops = "loops"
	// markRow is how often in a row refuses-sixth-upgrade has installed, markIdle how
	// often since then it had nothing to install.
	markRow  = "in a row"
	markIdle = "idle"
	// markHalf says that single-bank was writing over what it runs.
	markHalf = "half written"
	// markWas is the version that reports-old-version goes on telling.
	markWas = "was"
)

// versionFile asks for the version file: in the folder of the MAC first, then
// at the root, where the fact says so. nil stands for none.
func (c *cycle) versionFile(ctx context.Context) []byte {
	name := c.h.cfg.Model.VersionFile()
	if c.h.cfg.Facts.Yes(model.VersionInFolder) && !c.has(defect.RootVersionOnly) {
		if data, err := c.ask(ctx, c.h.ownName()+"/"+name); err == nil {
			return slices.Concat([]byte{}, data)
		}
	}
	data, err := c.ask(ctx, name)
	if _, ok := c.src.(*web); ok && c.has(defect.VersionByTFTP) && !c.over {
		c.b.askBeside(ctx, c.h.settings(), c.b.net.current(), defect.VersionByTFTP, name)
	}
	if err != nil {
		c.noVersion = errors.Is(err, errMissing)
		return nil
	}
	return slices.Concat([]byte{}, data)
}

// software installs what the version file lists if its version differs from the
// running one, and tells whether it did. With the download of software disabled
// the version file is asked for all the same, and nothing else (assumed).
func (c *cycle) software(ctx context.Context, data []byte) (installed bool) {
	file, err := version.Parse(c.h.cfg.Facts.Text(model.VersionSyntax), data, version.Options{CommentsOnlyOnTop: c.has(defect.CommentsOnlyOnTop), KeepsTrailing: c.has(defect.TrailingBytesCount)})
	switch {
	case err != nil:
		c.h.log.Warn("version file dropped", "error", err)
		c.badVersion = true
		return false
	case len(file.Files) == 0:
		c.h.log.Info("version file lists nothing", "version", file.Version)
		return false
	case c.h.settings().fact(model.DownloadFlagFields, 1) == "disable" && !c.force && !c.has(defect.IgnoresSoftwareFlag):
		c.h.log.Info("software download is disabled", "version", file.Version)
		return false
	}
	same := file.Version == c.b.version && (!c.has(defect.VersionLoop) || c.h.mark(markLoops) <= 0)
	switch {
	case same && !c.has(defect.DownloadsSameVersion):
		c.h.store(c.rest)
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
	return c.install(ctx, strings.TrimSpace(file.Version), files)
}

// download fetches all files, each whole. The first that fails ends it: nothing
// is installed then.
func (c *cycle) download(ctx context.Context, list []version.Listed) (map[string]int, error) {
	sizes := map[string]int{}
	for i, l := range list {
		body, err := c.ask(ctx, l.Name)
		if err == nil && c.has(defect.FetchesTwice) {
			body, err = c.ask(ctx, l.Name)
		}
		missing := errors.Is(err, errMissing)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case missing && c.has(defect.InstallsIncomplete), err != nil && !missing && !c.over && c.has(defect.InstallsBroken):
			continue
		case err != nil:
			return nil, fmt.Errorf("file %s could not be had: %w", l.Name, err)
		}
		ignored := c.has(defect.IgnoresChecksum) || i > 0 && c.has(defect.ChecksMainFileOnly)
		if err := c.h.inspect(l, body); err != nil && !ignored {
			return nil, err
		}
		sizes[l.Name] = len(body)
	}
	if c.has(defect.FetchesUnlisted) {
		_, _ = c.ask(ctx, unlisted)
	}
	return sizes, nil
}

// unlisted is what the defect fetches-unlisted asks for.
const unlisted = "bootloader.rom"

// inspect refuses a file that is empty, that is not what the version file says,
// where that holds a checksum, or that is another model's.
func (h *Handset) inspect(l version.Listed, body []byte) error {
	if len(body) == 0 {
		return fmt.Errorf("file %s is empty", l.Name)
	}
	if sum := crc32.ChecksumIEEE(body); l.HasCRC && sum != l.CRC {
		return fmt.Errorf("file %s has CRC-32 %08x, want %08x", l.Name, sum, l.CRC)
	}
	if other, ok := anothers(h.cfg.Model, body); ok && h.cfg.Facts.Yes(model.ImageModelCheck) && !h.cfg.Defects.Has(defect.TakesAnyModel) {
		return fmt.Errorf("file %s is one of an %s", l.Name, other)
	}
	return nil
}

// anothers tells whether a software file names another model where a header
// would, and not the handset's (assumed: nothing is known of the headers of
// these files; one that names no model is taken).
func anothers(own model.Model, body []byte) (other model.Model, ok bool) {
	const header = 256
	head := body[:min(len(body), header)]
	if bytes.Contains(head, []byte(own.String())) {
		return "", false
	}
	for _, m := range model.All() {
		if bytes.Contains(head, []byte(m.String())) {
			return m, true
		}
	}
	return "", false
}

// mark is the number in a mark, 0 without one.
func (h *Handset) mark(name string) int {
	s := h.flash.Read()
	n, _ := strconv.Atoi(s.Marks[name]) // no number is 0
	return n
}

// install writes the bank that does not run, and has the boot loader start it
// next. A cut of power on the way leaves the running bank and no other.
func (c *cycle) install(ctx context.Context, v string, files map[string]int) bool {
	const row = 5 // of refuses-sixth-upgrade
	switch {
	case c.has(defect.InstallsNothing), c.has(defect.InstallsConfiguredOnly) && !c.ownRead:
		s := c.h.flash.Read()
		if s.Marks[markTried] == v {
			return false
		}
		c.h.store(func(s *flash.State) { s.Marks[markTried] = v })
		return c.h.pause(ctx, c.writeTime(files)) == nil
	case c.has(defect.RefusesSixthUpgrade) && c.h.mark(markRow) >= row:
		c.h.store(func(s *flash.State) { delete(s.Marks, markRow) })
		return false
	}
	_, byTFTP := c.src.(*tftp)
	single := c.has(defect.SingleBank) || byTFTP && c.has(defect.SingleBankByTFTP)
	c.h.store(func(s *flash.State) {
		s.Banks[s.Other()] = flash.Bank{}
		if single {
			s.Marks[markHalf] = v
		}
	})
	if c.h.pause(ctx, c.writeTime(files)) != nil {
		return false
	}
	if err := c.h.flash.Update(func(s *flash.State) {
		c.note(s, v)
		if !single {
			s.Boot = s.Other()
		}
		s.Banks[s.Boot] = flash.Bank{Version: v, Files: files}
	}); err != nil {
		c.h.log.Error("flash", "error", err)
		return false
	}
	c.h.log.Info("installed", "version", v, "files", strings.Join(slices.Sorted(maps.Keys(files)), " "))
	return true
}

// note keeps what defects go by after version v was written.
func (c *cycle) note(s *flash.State, v string) {
	delete(s.Marks, markHalf)
	count := func(mark string) int {
		n, _ := strconv.Atoi(s.Marks[mark]) // no number is 0
		return n
	}
	const loops = 3
	switch {
	case c.has(defect.VersionLoop) && s.Running() == v:
		s.Marks[markLoops] = strconv.Itoa(count(markLoops) - 1)
	case c.has(defect.VersionLoop):
		s.Marks[markLoops] = strconv.Itoa(loops)
	case c.has(defect.RefusesSixthUpgrade):
		s.Marks[markRow] = strconv.Itoa(count(markRow) + 1)
		delete(s.Marks, markIdle)
	case c.has(defect.ReportsOldVersion):
		s.Marks[markWas] = s.Running()
	case c.has(defect.LosesSettingsOnUpgrade):
		s.Settings = map[string]string{}
	}
}

// rest is what becomes of marks in a cycle that has nothing to install. The one
// after an installation is not yet a rest.
func (c *cycle) rest(s *flash.State) {
	delete(s.Marks, markTried)
	switch {
	case !c.has(defect.RefusesSixthUpgrade):
	case s.Marks[markIdle] != "":
		delete(s.Marks, markRow)
	default:
		s.Marks[markIdle] = "1"
	}
}

// dead tells whether there is nothing to start but the boot loader.
func (h *Handset) dead() bool {
	s := h.flash.Read()
	return s.Marks[markHalf] != ""
}

// told is the version that the handset says it runs.
func (h *Handset) told(running string) string {
	s := h.flash.Read()
	if was := s.Marks[markWas]; was != "" {
		return was
	}
	return running
}

func (c *cycle) writeTime(files map[string]int) time.Duration {
	const page = 64 << 10
	pages := 0
	for _, n := range files {
		pages += (n + page - 1) / page
	}
	return time.Duration(pages) * c.h.wait(model.FlashWriteTime)
}
