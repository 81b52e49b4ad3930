package dhcpd

import (
	"fmt"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Drop leaves the message without an answer. On DECLINE and RELEASE, which have
// none, it leaves them unheard.
type Drop struct{}

func (Drop) String() string { return "does not answer" }

func (Drop) act(o *outgoing) bool { o.silent = true; return true }

// Silence drops the message and all that the handset sends for so long from
// then on, or until its rule is taken out of force.
type Silence struct{ For time.Duration }

func (e Silence) String() string { return fmt.Sprintf("falls silent for %v", e.For) }

func (e Silence) check() error { return positive(e.For) }

func (e Silence) act(o *outgoing) bool {
	o.hush(e.For)
	o.silent = true
	return true
}

// Delay sends the answer late. Other messages are answered meanwhile.
type Delay struct{ D time.Duration }

func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.D) }

func (e Delay) check() error { return positive(e.D) }

func (e Delay) act(o *outgoing) bool { o.delay += e.D; return true }

// Duplicate sends the answer once and Copies times more, Gap apart.
type Duplicate struct {
	Copies int
	Gap    time.Duration
}

func (e Duplicate) String() string {
	return fmt.Sprintf("answers %d times, %v apart", e.Copies+1, e.Gap)
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > maxCopies {
		return fmt.Errorf("%d copies are not within 1 and %d", e.Copies, maxCopies)
	}
	if e.Gap < 0 {
		return fmt.Errorf("a gap of %v", e.Gap)
	}
	return nil
}

func (e Duplicate) act(o *outgoing) bool { o.copies, o.gap = e.Copies, e.Gap; return true }

// Nak sends a NAK in place of the answer.
type Nak struct{}

func (Nak) String() string { return "answers NAK" }

func (Nak) fits(o *outgoing) bool { return o.kind != dhcpv4.MessageTypeNak }

func (Nak) act(o *outgoing) bool {
	damage := o.damage
	o.answer = refuse(o.m, o.from, "refused by fault")
	o.damage = damage
	o.reason += ", but NAK by fault"
	return true
}

// maxCopies bounds Duplicate; more of them are a flood and no fault of DHCP.
const maxCopies = 100

func positive(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("a time of %v is none", d)
	}
	return nil
}
