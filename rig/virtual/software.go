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

// installer is what one cycle does about the version file and the software files.
type installer struct {
	*fetcher

	choice  *chooser
	running string // the version
	force   bool   // whatever the download flag says
	// noVersion says that there is no version file, badVersion that it cannot be
	// read.
	noVersion, badVersion bool
}

// versionFile asks for the version file: in the folder of the MAC first, then
// at the root, where the fact says so. nil stands for none.
func (i *installer) versionFile(ctx context.Context) []byte {
	name := i.cfg.Model.VersionFile()
	if i.cfg.Facts.Yes(model.VersionInFolder) && !i.has(defect.RootVersionOnly) {
		if data, err := i.ask(ctx, i.ownName()+"/"+name); err == nil {
			return slices.Concat([]byte{}, data)
		}
	}
	data, err := i.ask(ctx, name)
	if _, ok := i.src.(*web); ok && i.has(defect.VersionByTFTP) && !i.over {
		i.choice.askBeside(ctx, i.settings(), i.choice.net.current(), defect.VersionByTFTP, name)
	}
	if err != nil {
		i.noVersion = errors.Is(err, errMissing)
		return nil
	}
	return slices.Concat([]byte{}, data)
}

// follow installs what the version file lists if its version differs from the
// running one, and reports whether it did; configured says that the phone-specific
// file was read. With the download of software disabled
// the version file is asked for all the same, and nothing else (assumed).
func (i *installer) follow(ctx context.Context, data []byte, configured bool) (installed bool) {
	file, err := version.Parse(i.cfg.Facts.Text(model.VersionSyntax), data, version.Options{CommentsOnlyOnTop: i.has(defect.CommentsOnlyOnTop), KeepsTrailing: i.has(defect.TrailingBytesCount)})
	switch {
	case err != nil:
		i.log.Warn("version file dropped", "error", err)
		i.badVersion = true
		return false
	case len(file.Files) == 0:
		i.log.Info("version file lists nothing", "version", file.Version)
		return false
	case i.settings().fact(model.DownloadFlagFields, 1) == "disable" && !i.force && !i.has(defect.IgnoresSoftwareFlag):
		i.log.Info("software download is disabled", "version", file.Version)
		return false
	}
	same := file.Version == i.running && (!i.has(defect.VersionLoop) || count(i.flash.Read().Marks, markLoops) <= 0)
	switch {
	case same && !i.has(defect.DownloadsSameVersion):
		i.store(i.rest)
		return false
	case !same && i.has(defect.NewerOnly) && !version.Newer(file.Version, i.running):
		return false
	}
	if i.has(defect.SkipsXML) {
		file.Files = file.Files[:len(file.Files)-1]
	}
	files, err := i.download(ctx, file.Files)
	if err != nil {
		i.log.Warn("software not installed", "version", file.Version, "error", err)
		return false
	}
	if same {
		return false
	}
	return i.install(ctx, strings.TrimSpace(file.Version), files, configured)
}

// download fetches all files, each whole. The first that fails ends it: nothing
// is installed then.
func (i *installer) download(ctx context.Context, list []version.Listed) (map[string]int, error) {
	sizes := map[string]int{}
	for n, l := range list {
		body, err := i.ask(ctx, l.Name)
		if err == nil && i.has(defect.FetchesTwice) {
			body, err = i.ask(ctx, l.Name)
		}
		missing := errors.Is(err, errMissing)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case missing && i.has(defect.InstallsIncomplete), err != nil && !missing && !i.over && i.has(defect.InstallsBroken):
			continue
		case err != nil:
			return nil, fmt.Errorf("file %s could not be had: %w", l.Name, err)
		}
		ignored := i.has(defect.IgnoresChecksum) || n > 0 && i.has(defect.ChecksMainFileOnly)
		if err := i.inspect(l, body); err != nil && !ignored {
			return nil, err
		}
		sizes[l.Name] = len(body)
	}
	if i.has(defect.FetchesUnlisted) {
		_, _ = i.ask(ctx, unlisted)
	}
	return sizes, nil
}

// unlisted is what the defect fetches-unlisted asks for.
const unlisted = "bootloader.rom"

// inspect refuses a file that is empty, that is not what the version file says,
// where that holds a checksum, or that is another model's.
func (i *installer) inspect(l version.Listed, body []byte) error {
	if len(body) == 0 {
		return fmt.Errorf("file %s is empty", l.Name)
	}
	if sum := crc32.ChecksumIEEE(body); l.HasCRC && sum != l.CRC {
		return fmt.Errorf("file %s has CRC-32 %08x, want %08x", l.Name, sum, l.CRC)
	}
	if other, ok := anothers(i.cfg.Model, body); ok && i.cfg.Facts.Yes(model.ImageModelCheck) && !i.has(defect.TakesAnyModel) {
		return fmt.Errorf("file %s is one of an %s", l.Name, other)
	}
	return nil
}

// anothers reports whether a software file names another model where a header
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

// install writes the bank that does not run, and has the boot loader start it
// next. A cut of power on the way leaves the running bank and no other.
func (i *installer) install(ctx context.Context, v string, files map[string]int, configured bool) bool {
	const row = 5 // of refuses-sixth-upgrade
	switch {
	case i.has(defect.InstallsNothing), i.has(defect.InstallsConfiguredOnly) && !configured:
		if i.mark(markTried) == v {
			return false
		}
		i.store(func(s *flash.State) { s.Marks[markTried] = v })
		return pause(ctx, i.writeTime(files)) == nil
	case i.has(defect.RefusesSixthUpgrade) && count(i.flash.Read().Marks, markRow) >= row:
		i.store(func(s *flash.State) { delete(s.Marks, markRow) })
		return false
	}
	_, byTFTP := i.src.(*tftp)
	single := i.has(defect.SingleBank) || byTFTP && i.has(defect.SingleBankByTFTP)
	i.store(func(s *flash.State) {
		s.Banks[s.Other()] = flash.Bank{}
		if single {
			s.Marks[markHalf] = v
		}
	})
	if pause(ctx, i.writeTime(files)) != nil {
		return false
	}
	if err := i.flash.Update(func(s *flash.State) {
		i.note(s, v)
		if !single {
			s.Boot = s.Other()
		}
		s.Banks[s.Boot] = flash.Bank{Version: v, Files: files}
	}); err != nil {
		i.log.Error("flash", "error", err)
		return false
	}
	i.log.Info("installed", "version", v, "files", strings.Join(slices.Sorted(maps.Keys(files)), " "))
	return true
}

// count is the number in a mark, 0 without one.
func count(marks map[string]string, name string) int {
	n, _ := strconv.Atoi(marks[name]) // no number is 0
	return n
}

// note keeps what defects go by after version v was written.
func (i *installer) note(s *flash.State, v string) {
	delete(s.Marks, markHalf)
	const loops = 3
	switch {
	case i.has(defect.VersionLoop) && s.Running() == v:
		s.Marks[markLoops] = strconv.Itoa(count(s.Marks, markLoops) - 1)
	case i.has(defect.VersionLoop):
		s.Marks[markLoops] = strconv.Itoa(loops)
	case i.has(defect.RefusesSixthUpgrade):
		s.Marks[markRow] = strconv.Itoa(count(s.Marks, markRow) + 1)
		delete(s.Marks, markIdle)
	case i.has(defect.ReportsOldVersion):
		s.Marks[markWas] = s.Running()
	case i.has(defect.LosesSettingsOnUpgrade):
		s.Settings = map[string]string{}
	}
}

// rest is what becomes of marks in a cycle that has nothing to install. The one
// after an installation is not yet a rest.
func (i *installer) rest(s *flash.State) {
	delete(s.Marks, markTried)
	switch {
	case !i.has(defect.RefusesSixthUpgrade):
	case s.Marks[markIdle] != "":
		delete(s.Marks, markRow)
	default:
		s.Marks[markIdle] = "1"
	}
}

func (i *installer) writeTime(files map[string]int) time.Duration {
	const page = 64 << 10
	pages := 0
	for _, n := range files {
		pages += (n + page - 1) / page
	}
	return time.Duration(pages) * i.wait(model.FlashWriteTime)
}
