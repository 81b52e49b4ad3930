package sipd

import (
	"fmt"
	"time"
)

// Drop ignores the request of the handset, so that its next retransmission is
// seen anew; or does not send ours, as if it were lost on the way.
type Drop struct{}

func (Drop) String() string { return "drops it" }

func (Drop) fits(string) bool { return true }

// Delay sends an answer so much later. What the handset sends again meanwhile
// gets none of its own.
type Delay struct{ By time.Duration }

func (e Delay) String() string { return fmt.Sprintf("answers %v late", e.By) }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("sipd cannot answer %v late: up to an hour", e.By)
	}
	return nil
}

func (Delay) fits(phase string) bool { return phase == PhaseAnswer }

// Duplicate sends a message so many times more, at once.
type Duplicate struct{ Copies int }

func (e Duplicate) String() string {
	if e.Copies == 1 {
		return "sends it twice"
	}
	return fmt.Sprintf("sends it %d times", e.Copies+1)
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > maxCopies {
		return fmt.Errorf("sipd cannot send %d copies: 1 to %d", e.Copies, maxCopies)
	}
	return nil
}

func (Duplicate) fits(string) bool { return true }

// maxCopies bounds Duplicate.
const maxCopies = 1000
