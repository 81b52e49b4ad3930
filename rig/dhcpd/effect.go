package dhcpd

import (
	"fmt"

	"ip88rig/rig/fault"
)

// Effect is what this service can do instead of answering as it should. The
// families stand in files of their own, fault_*.go.
type Effect interface {
	fault.Effect
	// check says what is wrong with the parameters.
	check() error
}

// answering is an Effect on an answer.
type answering interface {
	Effect
	// act changes what is about to be sent and tells whether it did. Where it did
	// not, the occasion is spared and the rule has not fired.
	act(o *outgoing) bool
}

// maxValue bounds the bytes that an effect may put into a message, so that the
// message stays within one frame.
const maxValue = 1024

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	mine, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("dhcpd cannot do %T", e)
	}
	if err := mine.check(); err != nil {
		return fmt.Errorf("dhcpd: %s: %w", e, err)
	}
	return nil
}
