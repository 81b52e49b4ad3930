package sntpd

import (
	"fmt"
	"time"
)

// WrongMode answers in another mode than a server's, which is 4: 3 is a client's,
// 5 a broadcast, 1 and 2 those of peers (RFC 5905 section 7.3).
type WrongMode struct{ Mode int }

func (e WrongMode) String() string { return fmt.Sprintf("answers in mode %d", e.Mode) }

func (e WrongMode) check() error {
	if e.Mode < 0 || e.Mode > 7 || e.Mode == modeServer {
		return fmt.Errorf("sntpd: mode %d is not within 0 to 7, or it is a server's", e.Mode)
	}
	return nil
}

func (e WrongMode) act(a *answer, _ time.Time) { a.mode = byte(e.Mode) } //nolint:gosec // check bounds it

// WrongVersion answers with another version than the client's.
type WrongVersion struct{ Version int }

func (e WrongVersion) String() string { return fmt.Sprintf("answers with version %d", e.Version) }

func (e WrongVersion) check() error {
	if e.Version < 0 || e.Version > 7 {
		return fmt.Errorf("sntpd: version %d is not within 0 to 7", e.Version)
	}
	return nil
}

func (e WrongVersion) act(a *answer, _ time.Time) { a.version = byte(e.Version) } //nolint:gosec // check bounds it

// WrongOrigin answers with an origin stamp that is not the client's transmit
// stamp, as an answer to another request or a forged one has it (RFC 4330
// section 5): with one bit turned over, or with zero.
type WrongOrigin struct{ Zero bool }

func (e WrongOrigin) String() string {
	if e.Zero {
		return "answers with an origin stamp of zero"
	}
	return "answers with the origin stamp of another request"
}

func (e WrongOrigin) act(a *answer, _ time.Time) {
	if e.Zero {
		a.origin = 0
		return
	}
	a.origin ^= 1 << 32 // a second
}

// Truncated cuts the answer to so many bytes.
type Truncated struct{ To int }

func (e Truncated) String() string { return fmt.Sprintf("cuts the answer to %d bytes", e.To) }

func (e Truncated) check() error {
	if e.To < 0 || e.To >= packetLen {
		return fmt.Errorf("sntpd: %d bytes are not within 0 to %d", e.To, packetLen-1)
	}
	return nil
}

func (e Truncated) act(a *answer, _ time.Time) { a.length = e.To }
