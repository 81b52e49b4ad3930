package sntpd

import (
	"errors"
	"fmt"
	"time"

	"ip88rig/rig/fault"
)

// Effect is what this service can do instead of answering as it should.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
}

// Drop leaves the request without an answer.
type Drop struct{}

// KissOfDeath answers with stratum 0 and a code (RFC 5905 section 7.4).
type KissOfDeath struct {
	// Code is one to four printable ASCII characters: "RATE", "DENY", "RSTR".
	Code string
}

// Offset answers with a time that is off by D.
type Offset struct{ D time.Duration }

func (Drop) sealed()        {}
func (KissOfDeath) sealed() {}
func (Offset) sealed()      {}

// String is the predicate of the fault's sentence.
func (Drop) String() string { return "does not answer" }

// String is the predicate of the fault's sentence.
func (e KissOfDeath) String() string { return "answers kiss-of-death " + e.Code }

// String is the predicate of the fault's sentence.
func (e Offset) String() string { return fmt.Sprintf("tells a time that is off by %v", e.D) }

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	mine, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("sntpd cannot do %T", e)
	}
	switch e := mine.(type) {
	case Drop, Offset:
	case KissOfDeath:
		if len(e.Code) < 1 || len(e.Code) > 4 {
			return fmt.Errorf("sntpd: kiss code %q is not one to four characters", e.Code)
		}
		for _, c := range []byte(e.Code) {
			if c < ' ' || c > '~' {
				return errors.New("sntpd: kiss code is not printable ASCII")
			}
		}
	}
	return nil
}
