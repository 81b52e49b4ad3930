package sntpd

import (
	"errors"
	"fmt"
	"time"
)

// Offset answers with a time that is off by D.
type Offset struct{ D time.Duration }

func (e Offset) String() string { return fmt.Sprintf("tells a time that is off by %v", e.D) }

func (e Offset) check() error {
	if e.D == 0 {
		return errors.New("sntpd: an offset of 0 is the right time")
	}
	return nil
}

func (e Offset) act(a *answer, _ time.Time) { a.shift(e.D) }

// SetTo answers that it is At, each time anew. What was before 1900 or comes
// after 2036-02-07 06:28:15 UTC travels without its era, as it does with every
// server: 1970 can be told, and 2036 and later ones look like 1900. Make it in
// UTC, so that equal ones compare equal.
type SetTo struct{ At time.Time }

func (e SetTo) String() string { return "tells that it is " + e.At.UTC().Format(time.RFC3339Nano) }

func (e SetTo) check() error {
	if e.At.IsZero() {
		return errors.New("sntpd: SetTo needs a time")
	}
	return nil
}

func (e SetTo) act(a *answer, _ time.Time) {
	took := a.sent.Sub(a.received)
	a.received, a.sent = e.At, e.At.Add(took)
}

// StepBack answers with a time that lies By before the one that this client
// was told last. The first answer to a client is no occasion for it.
type StepBack struct{ By time.Duration }

func (e StepBack) String() string { return fmt.Sprintf("tells a time %v before the last one", e.By) }

func (e StepBack) check() error {
	if e.By <= 0 || e.By > maxStep {
		return fmt.Errorf("sntpd: a step back of %v is not within 0 and a hundred years", e.By)
	}
	return nil
}

func (StepBack) fits(before bool) bool { return before }

func (e StepBack) act(a *answer, last time.Time) {
	took := a.sent.Sub(a.received)
	a.sent = last.Add(-e.By)
	a.received = a.sent.Add(-took)
}

// Unsynchronised answers with the right time and a header that says not to take
// it: leap indicator 3, stratum 0 or one above 15.
type Unsynchronised struct {
	Leap, Stratum int
	// Off is by how much its time is wrong besides.
	Off time.Duration
}

func (e Unsynchronised) String() string {
	return fmt.Sprintf("says that it is not synchronised: leap indicator %d, stratum %d", e.Leap, e.Stratum)
}

func (e Unsynchronised) check() error {
	switch {
	case e.Leap < 0 || e.Leap > 3:
		return fmt.Errorf("sntpd: leap indicator %d is not within 0 to 3", e.Leap)
	case e.Stratum < 0 || e.Stratum > 255:
		return fmt.Errorf("sntpd: stratum %d is not within 0 to 255", e.Stratum)
	case e.Leap != leapUnsynchronised && e.Stratum != 0 && e.Stratum <= 15:
		return fmt.Errorf("sntpd: leap indicator %d with stratum %d is that of a synchronised server", e.Leap, e.Stratum)
	}
	return nil
}

func (e Unsynchronised) act(a *answer, _ time.Time) {
	a.leap, a.stratum, a.why = byte(e.Leap), byte(e.Stratum), "not synchronised" //nolint:gosec // check bounds both
	a.shift(e.Off)
	if e.Stratum == 0 {
		a.refID = "INIT"
	}
}

// KissOfDeath answers with stratum 0 and a code (RFC 5905 section 7.4).
type KissOfDeath struct {
	// Code is one to four printable ASCII characters: "RATE", "DENY", "RSTR".
	Code string
}

func (e KissOfDeath) String() string { return "answers kiss-of-death " + e.Code }

func (e KissOfDeath) check() error {
	if len(e.Code) < 1 || len(e.Code) > 4 {
		return fmt.Errorf("sntpd: kiss code %q is not one to four characters", e.Code)
	}
	for _, c := range []byte(e.Code) {
		if c < ' ' || c > '~' {
			return errors.New("sntpd: kiss code is not printable ASCII")
		}
	}
	return nil
}

func (e KissOfDeath) act(a *answer, _ time.Time) {
	a.leap, a.stratum, a.refID, a.why = leapUnsynchronised, 0, e.Code, "kiss-of-death "+e.Code
}

// maxStep bounds StepBack: what a duration can hold of it twice.
const maxStep = 100 * 365 * 24 * time.Hour

func (a *answer) shift(d time.Duration) {
	a.received, a.sent = a.received.Add(d), a.sent.Add(d)
}
