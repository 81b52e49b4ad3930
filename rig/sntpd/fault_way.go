package sntpd

import (
	"fmt"
	"time"
)

// Drop leaves the request without an answer.
type Drop struct{}

func (Drop) String() string { return "does not answer" }

func (Drop) act(a *answer, _ time.Time) { a.drop = true }

// Delay sends the answer so much later, with the stamps it had: as if it had
// been long on the way.
type Delay struct{ By time.Duration }

func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

func (e Delay) check() error {
	if e.By <= 0 || e.By > 24*time.Hour {
		return fmt.Errorf("sntpd: a delay of %v is not within 0 and a day", e.By)
	}
	return nil
}

func (e Delay) act(a *answer, _ time.Time) { a.delay = e.By }

// FromOtherPort sends the answer from another port than the one asked. It needs
// Config.Open.
type FromOtherPort struct{}

func (FromOtherPort) String() string { return "answers from another port" }

func (FromOtherPort) act(a *answer, _ time.Time) { a.fresh = true }
