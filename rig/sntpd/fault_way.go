package sntpd

import (
	"fmt"
	"time"
)

// Drop leaves the request without an answer.
type Drop struct{}

// Delay sends the answer so much later, with the stamps it had: as if it had
// been long on the way.
type Delay struct{ By time.Duration }

// FromOtherPort sends the answer from another port than the one asked. It needs
// Config.Open.
type FromOtherPort struct{}

func (Drop) sealed()          {}
func (Delay) sealed()         {}
func (FromOtherPort) sealed() {}

// String is the predicate of the fault's sentence.
func (Drop) String() string { return "does not answer" }

// String is the predicate of the fault's sentence.
func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

// String is the predicate of the fault's sentence.
func (FromOtherPort) String() string { return "answers from another port" }

func (Drop) check() error { return nil }

func (e Delay) check() error {
	if e.By <= 0 || e.By > 24*time.Hour {
		return fmt.Errorf("sntpd: a delay of %v is not within 0 and a day", e.By)
	}
	return nil
}

func (FromOtherPort) check() error { return nil }

func (Drop) fits(bool) bool          { return true }
func (Delay) fits(bool) bool         { return true }
func (FromOtherPort) fits(bool) bool { return true }

func (Drop) act(a *answer, _ time.Time) { a.drop = true }

func (e Delay) act(a *answer, _ time.Time) { a.delay = e.By }

func (FromOtherPort) act(a *answer, _ time.Time) { a.fresh = true }
