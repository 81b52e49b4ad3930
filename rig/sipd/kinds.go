package sipd

import (
	"fmt"

	"ip88rig/rig/fault"
)

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("sipd",
		Challenge{}, Cut{}, Delay{}, Drop{}, Duplicate{}, Garbage{}, Respond{}, SetHeader{},
	)
}

// can says why the server cannot do what an effect says; nil: it can.
func can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("sipd cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		return c.check()
	}
	return nil
}
