package dnsd

import (
	"fmt"
	"time"
)

// Drop leaves the query without an answer.
type Drop struct{}

// Delay sends the answer so much later.
type Delay struct{ By time.Duration }

func (Drop) sealed()  {}
func (Delay) sealed() {}

// String is the predicate of the fault's sentence.
func (Drop) String() string { return "does not answer" }

// String is the predicate of the fault's sentence.
func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

func (Drop) check() error { return nil }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("dnsd: a delay of %v is not within 0 and an hour", e.By)
	}
	return nil
}

func (Drop) fits(*answer) bool  { return true }
func (Delay) fits(*answer) bool { return true }

func (Drop) act(*answer) {}

func (e Delay) act(a *answer) { a.delay = e.By }
