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
	sealed()
	// check says what is wrong with the parameters.
	check() error
	// fits tells whether the effect finds something to do about an answer.
	fits(a *answer) bool
	// act changes the answer.
	act(a *answer)
}

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("dnsd",
		Chain{}, Delay{}, Drop{}, Empty{}, Loop{}, Rcode{}, Truncated{}, WrongAddress{}, WrongID{},
	)
}

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	mine, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("dnsd cannot do %T", e)
	}
	return mine.check()
}
