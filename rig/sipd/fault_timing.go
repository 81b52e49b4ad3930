package sipd

import (
	"fmt"
	"time"
)

// Drop ignores the request of the handset, so that its next retransmission is
// seen anew; or does not send ours, as if it were lost on the way.
type Drop struct{}

// Delay sends an answer so much later. What the handset sends again meanwhile
// gets none of its own.
type Delay struct{ By time.Duration }

// Duplicate sends a message so many times more, at once.
type Duplicate struct{ Copies int }

// maxCopies bounds Duplicate.
const maxCopies = 1000

func (Drop) sealed()      {}
func (Delay) sealed()     {}
func (Duplicate) sealed() {}

// String is the predicate of a sentence.
func (Drop) String() string { return "drops it" }

// String is the predicate of a sentence.
func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

// String is the predicate of a sentence.
func (e Duplicate) String() string {
	if e.Copies == 1 {
		return "sends it twice"
	}
	return fmt.Sprintf("sends it %d times", e.Copies+1)
}

func (Drop) check() error { return nil }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("sipd cannot answer %v late: up to an hour", e.By)
	}
	return nil
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > maxCopies {
		return fmt.Errorf("sipd cannot send %d copies: 1 to %d", e.Copies, maxCopies)
	}
	return nil
}

func (Drop) fits(string) bool        { return true }
func (Delay) fits(phase string) bool { return phase == PhaseAnswer }
func (Duplicate) fits(string) bool   { return true }
