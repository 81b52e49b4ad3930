package dnsd

import (
	"fmt"
	"time"
)

// Drop leaves the query without an answer.
type Drop struct{}

func (Drop) String() string { return "does not answer" }

func (Drop) act(*answer) {}

// Delay sends the answer so much later.
type Delay struct{ By time.Duration }

func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("dnsd: a delay of %v is not within 0 and an hour", e.By)
	}
	return nil
}

func (e Delay) act(a *answer) { a.delay = e.By }
