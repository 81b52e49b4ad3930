package impair

import (
	"errors"
	"fmt"
	"time"
)

// LinkDown takes the handset's link away for a time.
type LinkDown struct{ For time.Duration }

func (e LinkDown) String() string { return fmt.Sprintf("takes the link down for %v", e.For) }

func (e LinkDown) check() error {
	if e.For <= 0 {
		return fmt.Errorf("link down for %v: needs more than 0", e.For)
	}
	return nil
}

// Deed marks what is done to the bench.
func (LinkDown) Deed() {}

// PowerCut takes the handset's power away for a time, at once or after a while.
type PowerCut struct{ After, For time.Duration }

func (e PowerCut) String() string {
	if e.After > 0 {
		return fmt.Sprintf("cuts the power after %v for %v", e.After, e.For)
	}
	return fmt.Sprintf("cuts the power for %v", e.For)
}

func (e PowerCut) check() error {
	if e.For <= 0 || e.After < 0 {
		return fmt.Errorf("power cut after %v for %v: needs to last more than 0", e.After, e.For)
	}
	return nil
}

// Deed marks what is done to the bench.
func (PowerCut) Deed() {}

// Phase begins a phase of the wire, for rules that are bound by During.
type Phase struct{ Name string }

func (e Phase) String() string { return fmt.Sprintf("begins the wire's phase %q", e.Name) }

func (e Phase) check() error {
	if e.Name == "" {
		return errors.New("phase: needs a name")
	}
	return nil
}

// Deed marks what is done to the bench.
func (Phase) Deed() {}
