package match

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

func downloadMatchers() registry[params] {
	return registry[params]{"Download": download{}, "DownloadOnly": downloadOnly{}, "GiveUpOn": giveUpOn{}}
}

// File is a file as it was published. An empty SHA256, or Bytes 0, is not
// compared.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
}

func (f File) String() string {
	s := f.Name
	if f.Bytes > 0 {
		s += fmt.Sprintf(", %d bytes", f.Bytes)
	}
	if f.SHA256 != "" {
		s += ", sha256 " + short(f.SHA256)
	}
	return s
}

// differs says what is wrong with a fetched file, or nothing.
func (f File) differs(e *timeline.Event) string {
	switch {
	case f.Bytes > 0 && e.Bytes != f.Bytes:
		return fmt.Sprintf("%d bytes of it are %d", f.Bytes, e.Bytes)
	case f.SHA256 != "" && !strings.EqualFold(f.SHA256, e.SHA256):
		return "its content is another"
	}
	return ""
}

func short(sha string) string { return sha[:min(len(sha), 8)] }

func fileNames(files []File) []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	return names
}

// fetched compares the files with what was downloaded whole.
func fetched(v timeline.View, files []File) Verdict {
	vd := Verdict{presence: true}
	missing := 0
	for i, f := range files {
		vd.Expected = append(vd.Expected, f.String())
		seen, problem := "not asked for", f.Name+" was not asked for"
		for e := range v.Brief.All() {
			if e.File != f.Name {
				continue
			}
			if e.Kind == timeline.Asked && !strings.HasPrefix(seen, "fetched") {
				seen, problem = line(e)+", not fetched whole", f.Name+" was not fetched whole"
			}
			if e.Kind == timeline.Fetched {
				seen, problem = line(e), ""
				if d := f.differs(e); d != "" {
					problem = f.Name + " was fetched, but " + d
					continue
				}
				break
			}
		}
		vd.Seen = append(vd.Seen, seen)
		if problem != "" {
			missing++
			if vd.Line == 0 {
				vd.Line, vd.Problem = i+1, problem
			}
		}
	}
	vd.OK = missing == 0
	vd.Final = vd.OK
	return vd
}

type download struct {
	Files []File `json:"files"`
}

// Download claims that each of the files is downloaded whole, with its hash.
func Download(files ...File) Matcher { return claims(download{Files: files}) }

func (m download) says() string { return "download " + strings.Join(fileNames(m.Files), ", ") }

func (m download) judge(v timeline.View) Verdict { return fetched(v, m.Files) }

type downloadOnly struct {
	Files  []File   `json:"files,omitempty"`
	Listed []string `json:"listed,omitempty"`
	// Version, if any, is the step after which, up to the boot, no file may be asked
	// for but those of Files and of the steps of Routine.
	Version *Step  `json:"version,omitempty"`
	Routine []Step `json:"routine,omitempty"`
}

// DownloadOnly claims that each of the files is downloaded whole, and that no
// other of those that Of names is asked for. It holds once the cycle is known to
// be over.
func DownloadOnly(files ...File) Downloading {
	return Downloading{claim[downloadOnly]{downloadOnly{Files: files}}}
}

// Downloading is the matcher of DownloadOnly.
type Downloading struct{ claim[downloadOnly] }

// Of names the files that are software: of these only the claimed ones may be asked
// for.
func (m Downloading) Of(listed ...string) Downloading {
	m.with.Listed = listed
	return m
}

// After adds that from the version file up to the boot nothing but the files is asked
// for, listed or not; the steps of the routine do not count. A handset that looks the
// version file up in a folder first may do the same with the files that it lists.
func (m Downloading) After(version Step, routine ...Step) Downloading {
	m.with.Version, m.with.Routine = &version, routine
	return m
}

func (m downloadOnly) says() string {
	what := "nothing"
	if len(m.Files) > 0 {
		what = strings.Join(fileNames(m.Files), ", ") + " and nothing else"
	}
	if len(m.Listed) > 0 {
		what += " of " + strings.Join(m.Listed, ", ")
	}
	if m.Version != nil {
		what += ", and nothing unlisted after the " + m.Version.Name
	}
	return "download " + what
}

func (m downloadOnly) judge(v timeline.View) Verdict {
	vd := fetched(v, m.Files)
	vd.presence, vd.Final = false, false
	last, at := v.From, beforeVersion
	for e := range v.Brief.All() {
		at = m.next(at, e)
		if e.Kind != timeline.Asked && e.Kind != timeline.Fetched {
			continue
		}
		last = e.Seq
		if !m.forbids(at, e.File) {
			continue
		}
		vd.OK, vd.Final = false, true
		vd.Seen = append(vd.Seen, line(e))
		vd.Line = len(vd.Seen)
		vd.Problem = e.File + " was " + string(e.Kind)
		if e.Kind == timeline.Asked {
			vd.Problem += " for"
		}
		return vd
	}
	if vd.OK && !over(v, last) {
		vd.OK, vd.Problem = false, "it is not yet known whether it asks for more"
	}
	return vd
}

// stage is how far a download cycle has come.
type stage int

const (
	beforeVersion stage = iota // the version file was not asked for
	afterVersion               // it was
	afterBoot                  // and the handset has booted since
)

func (m downloadOnly) next(s stage, e *timeline.Event) stage {
	switch {
	case s == beforeVersion && e.Kind == timeline.Asked && m.Version != nil && m.Version.has(e.File):
		return afterVersion
	case s == afterVersion && (e.Kind == timeline.Rebooted || e.Kind == timeline.Booted):
		return afterBoot
	}
	return s
}

// forbids reports whether the file may not be asked for.
func (m downloadOnly) forbids(s stage, file string) bool {
	file = m.plain(file)
	switch {
	case slices.Contains(fileNames(m.Files), file):
		return false
	case slices.Contains(m.Listed, file):
		return true
	}
	return s == afterVersion && !m.Version.has(file) && stepOf(m.Routine, file) < 0
}

// plain is the file without a folder that the version file is looked up in.
func (m downloadOnly) plain(file string) string {
	if m.Version == nil {
		return file
	}
	for _, lookup := range m.Version.Files {
		if folder, _, ok := strings.Cut(lookup, "/"); ok && strings.HasPrefix(file, folder+"/") {
			return file[len(folder)+1:]
		}
	}
	return file
}

type giveUpOn struct {
	File string `json:"file"`
}

// GiveUpOn claims that the file is asked for and not downloaded whole, and that
// the handset goes on: it asks for another file, registers or reboots.
func GiveUpOn(file string) Matcher { return claims(giveUpOn{File: file}) }

func (m giveUpOn) says() string { return "give up on " + m.File + " and go on" }

func (m giveUpOn) judge(v timeline.View) Verdict {
	vd := Verdict{
		Expected: []string{"asked for " + m.File, "then another request, a registration or a reboot"},
		Problem:  m.File + " was not asked for", Line: 1,
	}
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.Fetched && e.File == m.File:
			vd.OK, vd.Final, vd.Line = false, true, 2
			vd.Seen = append(vd.Seen[:min(1, len(vd.Seen))], line(e))
			vd.Problem = "it fetched it whole"
			return vd
		case e.Kind == timeline.Asked && e.File == m.File:
			if len(vd.Seen) == 0 {
				vd.Seen, vd.Line, vd.Problem = []string{line(e)}, 2, "it did not go on"
			}
		case vd.OK || len(vd.Seen) == 0:
		case e.Kind == timeline.Asked, e.Kind == timeline.Registered, e.Kind == timeline.Rebooted:
			vd.Seen = append(vd.Seen, line(e))
			vd.OK = true
		}
	}
	return vd
}
