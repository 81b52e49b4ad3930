package tftpd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// RefuseOptions answers a request that has options with ERROR 8, and serves one
// that has none (RFC 2347: a client may ask again without).
type RefuseOptions struct{}

func (RefuseOptions) String() string { return "refuses options with ERROR 8" }

func (RefuseOptions) fits(at stand) bool {
	return at.request() && len(at.opts) > 0 || at.message == "OACK"
}

func (RefuseOptions) end(t *transfer, p packet) *ending {
	return errorEnding(OptionRefused, optionsRefused, t.name(p.n)+", as told")
}

// IgnoreOptions answers a request that has options as a server does that knows
// none: with DATA in blocks of 512 bytes.
type IgnoreOptions struct{}

func (IgnoreOptions) String() string { return "ignores the options" }

func (IgnoreOptions) fits(at stand) bool { return at.begins() && len(at.opts) > 0 }

func (IgnoreOptions) begin(t *transfer) { t.agree(terms{blockSize: defaultBlockSize, window: 1}) }

// Offer puts options of its own into the OACK: pairs as in "blksize=1428
// tsize=-1", in place of the right value or, unasked, after the others. A
// client that asked for nothing gets an OACK all the same. The server keeps to
// what it offered where that can be done (blksize 8 to 65464, windowsize 1 to
// 64, timeout 1 to 255); what cannot be done counts as not agreed.
type Offer struct{ Options string }

func (e Offer) String() string { return fmt.Sprintf("offers %s", e.Options) }

func (e Offer) check() error {
	if len(e.Options) > maxRequest || strings.Contains(e.Options, "\x00") {
		return fmt.Errorf("tftpd cannot offer %q: up to %d bytes without NUL", e.Options, maxRequest)
	}
	words := strings.Fields(e.Options)
	for _, w := range words {
		if name, _, ok := strings.Cut(w, "="); !ok || name == "" {
			return fmt.Errorf("tftpd cannot offer %q: %q is no name=value", e.Options, w)
		}
	}
	if len(words) == 0 {
		return errors.New("tftpd cannot offer nothing; see IgnoreOptions")
	}
	return nil
}

func (Offer) fits(at stand) bool { return at.begins() || at.message == "OACK" }

func (e Offer) begin(t *transfer) {
	for w := range strings.FieldsSeq(e.Options) {
		name, value, _ := strings.Cut(w, "=")
		t.offer(name, value)
	}
}

func (e Offer) act(t *transfer, _ packet) {
	e.begin(t)
	t.dispatch(packet{b: t.oack})
}

// LieAboutSize tells a tsize that is off by so many bytes.
type LieAboutSize struct{ By int64 }

func (e LieAboutSize) String() string { return fmt.Sprintf("tells a tsize that is off by %+d", e.By) }

func (e LieAboutSize) check() error {
	if e.By == 0 {
		return fmt.Errorf("tftpd cannot lie about a size by %d bytes", e.By)
	}
	return nil
}

func (LieAboutSize) fits(at stand) bool {
	if !at.begins() && at.message != "OACK" {
		return false
	}
	for _, o := range at.opts {
		if strings.EqualFold(o.name, "tsize") {
			return true
		}
	}
	return false
}

func (e LieAboutSize) begin(t *transfer) {
	t.offer("tsize", strconv.FormatInt(int64(len(t.content))+e.By, 10))
}

func (e LieAboutSize) act(t *transfer, _ packet) {
	e.begin(t)
	t.dispatch(packet{b: t.oack})
}

const optionsRefused = "options refused"

// offer makes an option of the OACK what a fault wants.
func (t *transfer) offer(name, value string) {
	now := t.terms
	now.accepted = nil
	found := false
	for _, o := range t.terms.accepted {
		if strings.EqualFold(o.name, name) {
			o.value, found = value, true
		}
		now.accepted = append(now.accepted, o)
	}
	if !found {
		now.accepted = append(now.accepted, option{name, value})
	}
	within := func(lowest, highest, otherwise int) int {
		n, err := strconv.Atoi(value)
		if err != nil || n < lowest || n > highest {
			return otherwise
		}
		return n
	}
	switch strings.ToLower(name) {
	case "blksize":
		now.blockSize = within(minBlockSize, maxBlockSize, defaultBlockSize)
	case "windowsize":
		now.window = within(1, maxWindow, 1)
	case "timeout":
		now.timeout = within(minTimeout, maxTimeout, 0)
	}
	t.agree(now)
}
