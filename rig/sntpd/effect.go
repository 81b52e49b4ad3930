package sntpd

import (
	"errors"
	"fmt"
	"time"

	"ip88rig/rig/fault"
)

// Effect is what this service can do instead of answering as it should. Each
// family has a file of its own.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	// act changes the answer; last is what the client was told before. Where it
	// leaves the answer as it is, the occasion is spared.
	act(a *answer, last time.Time)
}

// choosy is an effect that can do nothing to some answers; before: the client was
// told a time already.
type choosy interface {
	fits(before bool) bool
}

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("sntpd",
		Delay{}, Drop{}, FromOtherPort{}, KissOfDeath{}, Offset{}, SetTo{}, StepBack{}, Truncated{},
		Unsynchronised{}, WrongMode{}, WrongOrigin{}, WrongVersion{},
	)
}

// Can says whether this service can do e; the error says why not.
func (s *Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("sntpd cannot do %T", e)
	}
	if _, ok := e.(FromOtherPort); ok && s.open == nil {
		return errors.New("sntpd has no other port to answer from: Open is nil")
	}
	if c, ok := e.(checked); ok {
		return c.check()
	}
	return nil
}
