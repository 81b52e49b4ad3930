package dnsd

import (
	"fmt"

	"ip88rig/rig/fault"
)

// Effect is what this service can do instead of answering as it should.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
}

// Drop leaves the query without an answer.
type Drop struct{}

// Rcode answers with response code N and no records.
type Rcode struct {
	// N is a response code of RFC 1035 section 4.1.1, 0 to 15: 2 is SERVFAIL, 5
	// is REFUSED.
	N int
}

func (Drop) sealed()  {}
func (Rcode) sealed() {}

// String is the predicate of the fault's sentence.
func (Drop) String() string { return "does not answer" }

// String is the predicate of the fault's sentence.
func (e Rcode) String() string { return "answers " + rcodeName(e.N) }

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	mine, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("dnsd cannot do %T", e)
	}
	switch e := mine.(type) {
	case Drop:
	case Rcode:
		if e.N < 0 || e.N > 15 {
			return fmt.Errorf("dnsd: response code %d is not within 0 to 15", e.N)
		}
	}
	return nil
}
