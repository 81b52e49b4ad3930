package dhcpd

import (
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

// Drop leaves the message without an answer.
type Drop struct{}

// Delay sends the answer late. Other messages are answered meanwhile.
type Delay struct{ D time.Duration }

// Nak sends a NAK in place of the answer.
type Nak struct{}

// WithoutOption leaves one option out of the answer, even one that RFC 2131
// demands.
type WithoutOption struct{ Code uint8 }

func (Drop) sealed()          {}
func (Delay) sealed()         {}
func (Nak) sealed()           {}
func (WithoutOption) sealed() {}

// String is the predicate of the fault's sentence.
func (Drop) String() string { return "does not answer" }

// String is the predicate of the fault's sentence.
func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.D) }

// String is the predicate of the fault's sentence.
func (Nak) String() string { return "answers NAK" }

// String is the predicate of the fault's sentence.
func (e WithoutOption) String() string { return fmt.Sprintf("leaves out option %d", e.Code) }

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	mine, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("dhcpd cannot do %T", e)
	}
	switch e := mine.(type) {
	case Drop, Nak:
	case Delay:
		if e.D <= 0 {
			return fmt.Errorf("dhcpd: a delay of %v is none", e.D)
		}
	case WithoutOption:
		if e.Code == optPad || e.Code == optEnd {
			return fmt.Errorf("dhcpd: %d is not an option", e.Code)
		}
	}
	return nil
}
