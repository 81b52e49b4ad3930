package sipd

import (
	"fmt"
	"time"

	"ip88rig/rig/fault"
)

// Effect is what the server can do instead of what it should. Points are asked
// with the method as Message: Phase "answer" when a request of the handset came
// that was not seen before, Phase "request" each time one of ours is sent.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
}

// Drop ignores the request of the handset, so that its next retransmission is
// seen anew; or does not send ours, as if it were lost on the way.
type Drop struct{}

// Respond answers a request of the handset with this status and does nothing
// else. RetryAfter, in seconds, is sent if it is above 0.
type Respond struct {
	Code       int
	RetryAfter int
}

func (Drop) sealed()    {}
func (Respond) sealed() {}

// String is the predicate of a sentence.
func (Drop) String() string { return "drops it" }

// String is the predicate of a sentence.
func (e Respond) String() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("answers %d with Retry-After %d", e.Code, e.RetryAfter)
	}
	return fmt.Sprintf("answers %d", e.Code)
}

// Can says whether the server can do this, and if not, why.
func (s *Server) Can(e fault.Effect) error {
	own, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("sipd cannot do %T", e)
	}
	switch own := own.(type) {
	case Drop:
	case Respond:
		if own.Code < 200 || own.Code > 699 {
			return fmt.Errorf("sipd cannot answer %d: a final status is 200 to 699", own.Code)
		}
		if own.RetryAfter < 0 || own.RetryAfter > int(24*time.Hour/time.Second) {
			return fmt.Errorf("sipd cannot send Retry-After %d: 0 to a day", own.RetryAfter)
		}
	}
	return nil
}
