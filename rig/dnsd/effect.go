package dnsd

import (
	"fmt"

	"ip88rig/rig/fault"
)

// Effect is what this service can do instead of answering as it should. Each
// family has a file of its own.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	// act changes the answer.
	act(a *answer)
}

// choosy is an effect that can do nothing to some answers.
type choosy interface {
	fits(a *answer) bool
}

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("dnsd",
		Chain{}, Delay{}, Drop{}, Empty{}, Loop{}, Rcode{}, Truncated{}, WrongAddress{}, WrongID{},
	)
}

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("dnsd cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		return c.check()
	}
	return nil
}
