// Package deviation reads the file of known deviations: rows that a model is
// known to fail, or to do otherwise than its golden record, with some software, why, where that is followed up, and until
// when it is put up with. A known deviation is reported, never hidden: it turns
// a failure or drift into "known" until it expires, and must be removed as soon as the
// handset no longer fails.
//
//   - requirement: FWU-03
//     model: IP8830               # or "*", every model
//     firmware: ">=1.2 <1.4"      # all must hold; one version "1.2.3", or "*"
//     reason: refuses to go back before 1.3, mended in 1.4
//     link: https://tracker.example.com/LAB-71
//     expires: 2027-03-31         # the last day on which it holds
package deviation

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"ip88rig/rig/model"
)

// every stands for each model or version.
const every = "*"

// Day is how dates are written.
const Day = time.DateOnly

// Deviation is one row that some handsets are known to fail.
type Deviation struct {
	// Requirement is the row, Model "IP8830" or "*", Firmware the range of
	// versions as it is written.
	Requirement, Model, Firmware string
	// Reason says why, Link where it is followed up.
	Reason, Link string
	// Expires is the last day on which it holds, at midnight UTC.
	Expires time.Time
	// Line is where it stands in its file.
	Line int

	bounds []bound
}

// Subject is whom it is about: "FWU-03 of IP8830 with software >=1.2 <1.4".
func (d Deviation) Subject() string {
	s := d.Requirement + " of " + d.Model
	if d.Model == every {
		s = d.Requirement + " of every model"
	}
	if d.Firmware == every {
		return s + " with any software"
	}
	return s + " with software " + d.Firmware
}

// Grounds are reason, link and expiry: what a report says of it.
func (d Deviation) Grounds() string {
	return fmt.Sprintf("%s (%s, until %s)", d.Reason, d.Link, d.Expires.Format(Day))
}

// Expired tells whether its last day is over on the day of t, as a clock where
// t was read shows it.
func (d Deviation) Expired(t time.Time) bool {
	y, m, day := t.Date()
	return time.Date(y, m, day, 0, 0, 0, 0, time.UTC).After(d.Expires)
}

// Applies tells whether it is about a model with a version; a version that is
// not known is met by "*" alone.
func (d Deviation) Applies(m, firmware string) bool {
	if d.Model != every && !strings.EqualFold(d.Model, m) {
		return false
	}
	for _, b := range d.bounds {
		if firmware == "" || !b.holds(firmware) {
			return false
		}
	}
	return true
}

// List is a file of deviations. A nil list excuses nothing.
type List []Deviation

// Match returns the deviation that a row of a handset falls under on a day: one
// that still holds before one that has expired.
func (l List) Match(row, m, firmware string, today time.Time) (d Deviation, expired, ok bool) {
	for _, e := range l {
		if e.Requirement != row || !e.Applies(m, firmware) {
			continue
		}
		if !e.Expired(today) {
			return e, false, true
		}
		if !ok || e.Expires.After(d.Expires) {
			d, expired, ok = e, true, true
		}
	}
	return d, expired, ok
}

// Excuse says what becomes of a row that failed or drifted: known, with the grounds in front of
// what was seen; or not, and then the reason says so where a deviation has
// expired.
func (l List) Excuse(row, m, firmware, seen string, today time.Time) (reason string, known bool) {
	d, expired, ok := l.Match(row, m, firmware, today)
	switch {
	case !ok:
		return seen, false
	case expired:
		return strings.TrimPrefix(fmt.Sprintf("%s; the deviation expired on %s: %s (%s)", seen, d.Expires.Format(Day), d.Reason, d.Link), "; "), false
	}
	return strings.TrimSuffix("known deviation: "+d.Grounds()+": "+seen, ": "), true
}

// The file as it is written.
type entry struct {
	Requirement string `yaml:"requirement"`
	Model       string `yaml:"model"`
	Firmware    string `yaml:"firmware"`
	Reason      string `yaml:"reason"`
	Link        string `yaml:"link"`
	Expires     string `yaml:"expires"`
}

// Load reads a file of deviations. known tells whether there is such a row. The
// errors name file and line.
func Load(path string, known func(row string) bool) (List, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return nil, fmt.Errorf("deviations: %w", err)
	}
	return Parse(path, data, known)
}

// Parse reads the text of a file; name stands in errors.
func Parse(name string, data []byte, known func(row string) bool) (list List, err error) {
	// The YAML library panics on some texts that are no YAML.
	defer func() {
		if r := recover(); r != nil {
			list, err = nil, fmt.Errorf("%s: not readable as YAML: %v", name, r)
		}
	}()
	var entries []entry
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(&entries); err != nil && len(bytes.TrimSpace(data)) > 0 && !onlyComments(data) {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	p := parser{name: name, data: data}
	seen := map[string]int{}
	for i, e := range entries {
		d := p.deviation(i, e, known)
		if was, ok := seen[d.Subject()]; ok {
			p.fail(i, "requirement", "%s stands in line %d already", d.Subject(), was)
		}
		seen[d.Subject()] = d.Line
		list = append(list, d)
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return list, nil
}

func onlyComments(data []byte) bool {
	for l := range bytes.Lines(data) {
		if l = bytes.TrimSpace(l); len(l) > 0 && l[0] != '#' {
			return false
		}
	}
	return true
}

type parser struct {
	name string
	data []byte
	errs []error
}

// line is where a path stands in the file; 0: nowhere.
func (p *parser) line(path string) int {
	yp, err := yaml.PathString(path)
	if err != nil {
		return 0
	}
	node, err := yp.ReadNode(bytes.NewReader(p.data))
	if err != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 0
	}
	return node.GetToken().Position.Line
}

func (p *parser) fail(i int, key, format string, args ...any) {
	where := p.name
	for _, path := range []string{fmt.Sprintf("$[%d].%s", i, key), fmt.Sprintf("$[%d]", i)} {
		if n := p.line(path); n > 0 {
			where = fmt.Sprintf("%s:%d", p.name, n)
			break
		}
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s: %s", where, key, fmt.Sprintf(format, args...)))
}

func (p *parser) deviation(i int, e entry, known func(string) bool) Deviation {
	d := Deviation{
		Requirement: e.Requirement, Model: e.Model, Firmware: strings.Join(strings.Fields(e.Firmware), " "), Reason: strings.TrimSpace(e.Reason),
		Link: strings.TrimSpace(e.Link), Line: p.line(fmt.Sprintf("$[%d].requirement", i)),
	}
	missing := false
	for _, f := range []struct{ key, text string }{
		{"requirement", e.Requirement},
		{"model", e.Model},
		{"firmware", d.Firmware},
		{"reason", d.Reason},
		{"link", d.Link},
		{"expires", e.Expires},
	} {
		if f.text == "" {
			p.fail(i, f.key, "is missing; requirement, model, firmware, reason, link and expires are all needed")
			missing = true
		}
	}
	if missing {
		return d
	}
	if !known(e.Requirement) {
		p.fail(i, "requirement", "there is no row %q; \"ip88rig requirements\" lists them", e.Requirement)
	}
	if e.Model != every {
		m, err := model.Parse(e.Model)
		if err != nil {
			p.fail(i, "model", "%v, or \"*\"", err)
		}
		d.Model = m.String()
	}
	bounds, err := parseRange(d.Firmware)
	if err != nil {
		p.fail(i, "firmware", "%v", err)
	}
	d.bounds = bounds
	d.Expires, err = time.Parse(Day, e.Expires)
	if err != nil {
		p.fail(i, "expires", "%q is not a day such as 2027-03-31", e.Expires)
	}
	return d
}

// bound is one condition on a version.
type bound struct{ op, version string }

func (b bound) holds(version string) bool {
	c := Compare(version, b.version)
	switch b.op {
	case ">=":
		return c >= 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case "<":
		return c < 0
	}
	return c == 0
}

func parseRange(s string) ([]bound, error) {
	if s == every {
		return nil, nil
	}
	var out []bound
	for word := range strings.FieldsSeq(s) {
		b := bound{op: word[:len(word)-len(strings.TrimLeft(word, "<>="))]}
		b.version = word[len(b.op):]
		if !slices.Contains([]string{"", "=", ">=", "<=", ">", "<"}, b.op) {
			return nil, fmt.Errorf("%q in %q: want >=, <=, >, < or a version alone", b.op, s)
		}
		for part := range strings.SplitSeq(b.version, ".") {
			if part == "" || strings.Trim(part, "0123456789") != "" && !versionPart(part) {
				return nil, fmt.Errorf("%q in %q is not a version such as 1.2.3, with >=, <=, >, < before it or nothing; \"*\" is any", b.version, s)
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// versionPart is what may stand between two dots: a number, letters behind it.
func versionPart(s string) bool {
	digits := leading(s)
	return digits != "" && strings.Trim(strings.ToLower(s[len(digits):]), "abcdefghijklmnopqrstuvwxyz0123456789-_+") == ""
}

func leading(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }

// Compare orders two versions by the numbers between their dots, 1.10 after
// 1.9; what is not there counts as 0, and what stands behind a number is
// compared as text.
func Compare(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := "0", "0"
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		dx, dy := leading(x), leading(y)
		// Numbers of any length: without zeros in front the longer one is larger.
		nx, ny := strings.TrimLeft(dx, "0"), strings.TrimLeft(dy, "0")
		if c := cmp.Or(cmp.Compare(len(nx), len(ny)), strings.Compare(nx, ny), strings.Compare(x[len(dx):], y[len(dy):])); c != 0 {
			return c
		}
	}
	return 0
}
