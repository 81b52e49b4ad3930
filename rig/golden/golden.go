// Package golden keeps what was measured of a handset when its software was
// last certified. Nobody promises an observed row; what can be said of one is
// that it came out as it did before, or that it drifted.
//
// A record is one text file for a model, a link and a software version, made to
// be read and to be compared line by line:
//
//	# Asked twice at once since 1.2.40, see LAB-71.
//	ORD-11 | tftp | global file missing | retries | 4
//	NET-04 | https | quiet | power to registered | 153 | ms within x3
//
// A line is row, transport, case, name, value and, where it has one, unit; "-"
// stands for nothing. A text that would be mistaken (with a bar, a quote, "-",
// blanks around it) is quoted as in Go. A time has the unit ms and the factor
// within which another is the same; everything else is the same or it is not.
package golden

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ip88rig/rig/bench"
	"ip88rig/rig/report"
)

// Within is the factor that a time gets when it is recorded for the first time. To
// use another factor, edit the time's line in the record.
const Within = 3.0

// milliseconds is the unit of a time.
const milliseconds = "ms"

// Key says whose record it is.
type Key struct {
	// Model is "IP8830", Link "wired", Firmware the version that it runs.
	Model, Link, Firmware string
	Simulated             bool
}

// KeyOf returns the key of a bench entry; false: its software is not known, so
// that there is nothing to compare it with.
func KeyOf(h bench.Handset) (Key, bool) {
	k := Key{Model: h.Model.String(), Link: string(h.Link), Firmware: h.Software(), Simulated: h.Simulated}
	return k, k.Firmware != ""
}

// File is the name of the record's file: "ip8830-wired-1.2.3.txt". What a file
// cannot be called after is written as %20.
func (k Key) File() string {
	name := k.Model + "-" + k.Link + "-" + k.Firmware
	if k.Simulated {
		name = "simulated-" + name
	}
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(name)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._+", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String() + ".txt"
}

// String is how people call the handset: "IP8830 wired, software 1.2.3".
func (k Key) String() string {
	s := fmt.Sprintf("%s %s, software %s", k.Model, k.Link, k.Firmware)
	if k.Simulated {
		s = "simulated " + s
	}
	return s
}

// at is what is measured in one case of one row.
type at struct{ row, transport, cell string }

func (a at) String() string {
	return strings.Join([]string{a.row, dash(a.transport), dash(a.cell)}, " | ")
}

// line is one value of a record.
type line struct {
	at
	report.Value
	// within is the factor of a time, 0 of all else.
	within float64
	// above are the comments and blank lines that stand before it.
	above []string
}

// Record is what was measured of one model on one link with one software. A nil
// record holds nothing. It is not safe for concurrent use with Update.
type Record struct {
	// Name is the file's.
	Name string

	// head and tail are comments that belong to no line.
	head, tail []string
	lines      []line
}

// Load reads a record; fs.ErrNotExist says that there is none.
func Load(fsys fs.FS, key Key) (*Record, error) {
	data, err := fs.ReadFile(fsys, key.File())
	if err != nil {
		return nil, fmt.Errorf("golden record of the %s: %w", key, err)
	}
	return Parse(key.File(), data)
}

// LoadFor reads the record that a handset of a bench is compared with; nil, and
// no error, when there is none.
func LoadFor(b bench.Bench, h bench.Handset) (*Record, error) {
	key, ok := KeyOf(h)
	if !ok {
		return nil, nil //nolint:nilnil // a nil record is one that holds nothing
	}
	r, err := Load(b.GoldenFS(), key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // as above
	}
	if err != nil && b.GoldenRecords != "" {
		return nil, fmt.Errorf("%s: %w", b.GoldenRecords, err)
	}
	return r, err
}

// Missing is the reason why an observed row is not judged: it names what would
// enable it.
func Missing(h bench.Handset) string {
	key, ok := KeyOf(h)
	if !ok {
		return "needs the version that the handset runs (running: in the bench file), to be compared with its golden record"
	}
	return "needs a golden record of the " + key.String() + " (run --update-golden writes one)"
}

// Parse reads the text of a record; name stands in errors, which say the line.
func Parse(name string, data []byte) (*Record, error) {
	r := &Record{Name: name}
	var above []string
	seen := map[string]int{}
	if len(data) == 0 {
		return r, nil
	}
	for n, raw := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		raw = strings.TrimRight(raw, " ")
		if raw == "" || strings.HasPrefix(raw, "#") {
			if raw == "" && len(r.lines) == 0 {
				// The last blank line before the first value ends the head.
				r.head, above = append(append(r.head, above...), raw), nil
				continue
			}
			above = append(above, raw)
			continue
		}
		l, err := parseLine(raw)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		id := l.String() + " | " + l.Name
		if was, ok := seen[id]; ok {
			return nil, fmt.Errorf("%s:%d: %s stands in line %d already", name, n+1, id, was)
		}
		seen[id] = n + 1
		l.above, above = above, nil
		r.lines = append(r.lines, l)
	}
	r.tail = above
	r.sort()
	return r, nil
}

func parseLine(raw string) (line, error) {
	var l line
	fields, err := split(raw)
	if err != nil {
		return l, err
	}
	if len(fields) != 5 && len(fields) != 6 {
		return l, fmt.Errorf("%d fields: want row | transport | case | name | value, and | unit where it has one", len(fields))
	}
	l.at = at{fields[0], fields[1], fields[2]}
	l.Value = report.Value{Name: fields[3], Value: fields[4]}
	if !isRow(l.row) {
		return l, fmt.Errorf("%q is not a row such as NET-04", l.row)
	}
	if l.Name == "" {
		return l, errors.New("the name of the value is missing")
	}
	if len(fields) == 5 {
		return l, nil
	}
	unit, factor, timed := strings.Cut(fields[5], " within x")
	l.Unit = unit
	switch {
	case unit == "":
		return l, errors.New("the unit is empty: leave it out with its bar")
	case timed != (unit == milliseconds):
		return l, fmt.Errorf("unit %q: a time is in \"ms within x3\", and nothing else is within", fields[5])
	case !timed:
		return l, nil
	}
	l.within, err = strconv.ParseFloat(factor, 64)
	if err != nil || !(l.within >= 1 && l.within <= 1000) || formatFactor(l.within) != factor {
		return l, fmt.Errorf("%q is not a factor such as 3 or 1.5, from 1 to 1000", factor)
	}
	if _, ok := number(l.Value.Value); !ok {
		return l, fmt.Errorf("%q is not a time in ms", l.Value.Value)
	}
	return l, nil
}

// split breaks a line at its bars and takes quotes off.
func split(raw string) ([]string, error) {
	var out []string
	rest := raw
	for {
		rest = strings.TrimLeft(rest, " ")
		var field string
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("field %d: the quote is not ended", len(out)+1)
			}
			if field, err = strconv.Unquote(quoted); err != nil {
				return nil, fmt.Errorf("field %d: %s: %w", len(out)+1, quoted, err)
			}
			rest = strings.TrimLeft(rest[len(quoted):], " ")
			if rest != "" && rest[0] != '|' {
				return nil, fmt.Errorf("field %d: %q stands behind the quote", len(out)+1, rest)
			}
		} else {
			i := strings.IndexByte(rest, '|')
			if i < 0 {
				i = len(rest)
			}
			field = strings.TrimRight(rest[:i], " ")
			switch {
			case field == "-":
				field = ""
			case field != "" && quote(field) != field:
				return nil, fmt.Errorf("field %d: %q needs quotes", len(out)+1, field)
			case field == "":
				return nil, fmt.Errorf("field %d is empty: want - for nothing", len(out)+1)
			}
			rest = rest[i:]
		}
		out = append(out, field)
		if rest == "" {
			return out, nil
		}
		rest = rest[1:]
	}
}

// quote writes a field so that split reads it back.
func quote(s string) string {
	switch {
	case s == "":
		return "-"
	case s == "-", strings.ContainsAny(s, `|"\`), strings.HasPrefix(s, "#"), strings.TrimSpace(s) != s:
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.Quote(s)
		}
	}
	return s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func isRow(s string) bool {
	return len(s) == 6 && s[3] == '-' && strings.Trim(s[:3], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && strings.Trim(s[4:], "0123456789") == ""
}

func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && f >= 0 && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func formatFactor(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func (l line) text() string {
	fields := []string{quote(l.row), quote(l.transport), quote(l.cell), quote(l.Name), quote(l.Value.Value)}
	switch {
	case l.within > 0:
		fields = append(fields, l.Unit+" within x"+formatFactor(l.within))
	case l.Unit != "":
		fields = append(fields, quote(l.Unit))
	}
	return strings.Join(fields, " | ")
}

// String is the record as it stands in its file, sorted.
func (r *Record) String() string {
	var b strings.Builder
	write := func(lines []string) {
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
	}
	write(r.head)
	for _, l := range r.lines {
		write(l.above)
		b.WriteString(l.text() + "\n")
	}
	write(r.tail)
	return b.String()
}

func (r *Record) sort() {
	slices.SortStableFunc(r.lines, func(a, b line) int {
		return slices.Compare([]string{a.row, a.transport, a.cell, a.Name}, []string{b.row, b.transport, b.cell, b.Name})
	})
}

// Compare holds what was measured in one case of a row against the record. It
// returns one line for each value that differs, in the order of the names, and
// whether the record knows the case at all. The order of got does not matter.
func (r *Record) Compare(row, transport, name string, got []report.Value) (diff []string, known bool) {
	if r == nil {
		return nil, false
	}
	a := at{row, transport, name}
	have := map[string]report.Value{}
	for _, v := range got {
		if was, ok := have[v.Name]; ok && was != v {
			diff = append(diff, fmt.Sprintf("%s: measured %s and %s at once", v.Name, show(was, 0), show(v, 0)))
		}
		have[v.Name] = v
	}
	for _, l := range r.lines {
		if l.at != a {
			continue
		}
		known = true
		v, ok := have[l.Name]
		delete(have, l.Name)
		switch {
		case !ok:
			diff = append(diff, fmt.Sprintf("%s: recorded %s, not measured", l.Name, show(l.Value, l.within)))
		case !l.same(v):
			diff = append(diff, fmt.Sprintf("%s: recorded %s, measured %s", l.Name, show(l.Value, l.within), show(v, 0)))
		}
	}
	if !known {
		return nil, false
	}
	for _, v := range have {
		diff = append(diff, fmt.Sprintf("%s: not recorded, measured %s", v.Name, show(v, 0)))
	}
	slices.Sort(diff)
	return diff, true
}

// Unmet lists the cases of a record that a run of a handset which left nothing out
// did not measure, as row, transport and case: they were renamed, or nobody looks
// at them any more. Of a row whose specs did not all run to their end over that
// transport nothing is said.
func (r *Record) Unmet(specs []report.Spec) []string {
	if r == nil {
		return nil
	}
	type cell struct{ row, transport string }
	measured, broken := map[at]bool{}, map[cell]bool{}
	for _, s := range specs {
		if s.Failure != "" || s.Verdict != report.Pass && s.Verdict != report.Drift && s.Verdict != report.Known {
			for _, row := range s.Rows {
				broken[cell{row, s.Transport}] = true
			}
		}
		for _, j := range s.Judgements {
			if len(j.Measured) > 0 {
				measured[at{j.Row, j.Transport, j.Case}] = true
			}
		}
	}
	var out []string
	for _, l := range r.lines {
		if a := l.at; !measured[a] && !broken[cell{a.row, a.transport}] && !slices.Contains(out, a.String()) {
			out = append(out, a.String())
		}
	}
	return out
}

// same tells whether a value is what was recorded: a time within its factor,
// anything under a millisecond counting as one; all else to the letter.
func (l line) same(v report.Value) bool {
	if v.Unit != l.Unit {
		return false
	}
	was, ok1 := number(l.Value.Value)
	is, ok2 := number(v.Value)
	if l.within == 0 || !ok1 || !ok2 {
		return v.Value == l.Value.Value
	}
	was, is = max(was, 1), max(is, 1)
	return is <= was*l.within && was <= is*l.within
}

func show(v report.Value, within float64) string {
	s := strconv.Quote(v.Value)
	if v.Unit != "" {
		s = v.Value + " " + v.Unit
	} else if _, ok := number(v.Value); ok {
		s = v.Value
	}
	if within > 0 {
		s += " within x" + formatFactor(within)
	}
	return s
}

// Measurement is what a run has measured in one case of one row.
type Measurement struct {
	Row, Transport, Case string
	Values               []report.Value
}

// Measurements are what may go into a record: all that specs of a handset have
// measured whole. What the rig or the lab has spoiled, and what a handset was
// failed or blocked in, is left out.
func Measurements(h report.Handset) []Measurement {
	var out []Measurement
	for _, s := range h.Specs {
		for _, j := range s.Judgements {
			switch j.Verdict {
			case report.Pass, report.Drift, report.Skip:
				if len(j.Measured) > 0 {
					out = append(out, Measurement{Row: j.Row, Transport: j.Transport, Case: j.Case, Values: j.Measured})
				}
			case report.Fail, report.Blocked, report.Inconclusive, report.Known:
			}
		}
	}
	return out
}

// Update takes what was measured into the record, and says each change in a
// line. A case that was measured is replaced whole; what was not measured, each
// comment, and a time that is within its factor stay as they are. A case that
// was measured twice and differently is left alone, and said. within is the
// factor of times that are new.
func (r *Record) Update(ms []Measurement, within float64) (changes []string, err error) {
	cases := map[at][]report.Value{}
	var order []at
	torn := map[at]bool{}
	for _, m := range ms {
		a := at{m.Row, m.Transport, m.Case}
		values := slices.Clone(m.Values)
		slices.SortFunc(values, func(a, b report.Value) int { return strings.Compare(a.Name, b.Name) })
		before, again := cases[a]
		if !again {
			order = append(order, a)
			cases[a] = values
		} else if !agree(before, values, within) && !torn[a] {
			torn[a] = true
			changes = append(changes, fmt.Sprintf("! %s: measured twice, and differently: left as it was", a))
		}
	}
	for _, a := range order {
		if torn[a] {
			continue
		}
		said, err := r.replace(a, cases[a], within)
		if err != nil {
			return nil, err
		}
		changes = append(changes, said...)
	}
	r.sort()
	return changes, nil
}

// agree tells whether two measurements of one case would make the same record.
func agree(a, b []report.Value, within float64) bool {
	return slices.EqualFunc(a, b, func(x, y report.Value) bool {
		l := line{Value: x}
		if x.Unit == milliseconds {
			l.within = within
		}
		return x.Name == y.Name && l.same(y)
	})
}

func (r *Record) replace(a at, values []report.Value, within float64) (changes []string, err error) {
	fresh := make([]line, 0, len(values))
	for i, v := range values {
		if i > 0 && values[i-1].Name == v.Name {
			return nil, fmt.Errorf("golden record: %s: %s was measured under this name twice", a, v.Name)
		}
		l := line{at: a, Value: v}
		if v.Unit == milliseconds {
			l.within = within
		}
		// What cannot be read back is not written.
		if _, err := parseLine(l.text()); err != nil {
			return nil, fmt.Errorf("golden record: %s: %s = %q %s cannot be recorded: %w", a, v.Name, v.Value, v.Unit, err)
		}
		fresh = append(fresh, l)
	}
	var kept []line
	var above []string
	for _, l := range r.lines {
		// The comment of a line that is gone stays, above the next one.
		l.above = append(above, l.above...)
		above = nil
		if l.at != a {
			kept = append(kept, l)
			continue
		}
		i := slices.IndexFunc(fresh, func(f line) bool { return f.Name == l.Name })
		if i < 0 {
			changes = append(changes, "- "+l.text())
			above = l.above
			continue
		}
		f := fresh[i]
		fresh = slices.Delete(fresh, i, i+1)
		if !l.same(f.Value) {
			was := l.text()
			l.Value, l.within = f.Value, cmpFactor(l.within, f.within)
			changes = append(changes, "- "+was, "+ "+l.text())
		}
		kept = append(kept, l)
	}
	r.tail = append(above, r.tail...)
	for _, l := range fresh {
		changes = append(changes, "+ "+l.text())
		kept = append(kept, l)
	}
	r.lines = kept
	return changes, nil
}

// cmpFactor keeps the factor that somebody chose for a time that stays a time.
func cmpFactor(was, is float64) float64 {
	if was > 0 && is > 0 {
		return was
	}
	return is
}

// Update writes what was measured of a handset into the record in a folder, and
// makes folder and record when there is none. The file is written whole or not
// at all, and not touched when nothing changes.
func Update(dir string, key Key, ms []Measurement) (changes []string, err error) {
	path := filepath.Join(dir, key.File())
	r, err := Load(os.DirFS(dir), key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = &Record{Name: key.File(), head: []string{
			"# What was measured of the " + key.String() + ". Written by ip88rig run --update-golden,",
			"# which keeps comments. A change is drift: record it with its reason.",
			"# row | transport | case | name | value | unit",
			"",
		}}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	changes, err = r.Update(ms, Within)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(changes, func(c string) bool { return !strings.HasPrefix(c, "!") }) {
		return changes, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // records are for everybody on the lab machine
		return nil, fmt.Errorf("golden records: %w", err)
	}
	if err := writeWhole(path, r.String()); err != nil {
		return nil, fmt.Errorf("golden record: %w", err)
	}
	return changes, nil
}

func writeWhole(path, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = bytes.NewBufferString(text).WriteTo(f)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
