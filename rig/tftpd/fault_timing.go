package tftpd

import (
	"fmt"
	"time"
)

// Delay sends an OACK or DATA packet so much later. Beyond the timeout it comes
// after the one that was sent in its place: a late duplicate, also behind the
// end of the transfer.
type Delay struct{ By time.Duration }

// Duplicate sends an OACK or DATA packet so many times more, at once.
type Duplicate struct{ Copies int }

// Swap holds an OACK or DATA packet back until one of another number was sent,
// so that the two change places. In lock-step that is after the timeout, and
// the packet comes once more behind the next one.
type Swap struct{}

// maxCopies bounds Duplicate.
const maxCopies = 1000

func (Delay) sealed()     {}
func (Duplicate) sealed() {}
func (Swap) sealed()      {}

// String is the predicate of a sentence.
func (e Delay) String() string { return fmt.Sprintf("sends it %v late", e.By) }

// String is the predicate of a sentence.
func (e Duplicate) String() string {
	if e.Copies == 1 {
		return "sends it twice"
	}
	return fmt.Sprintf("sends it %d times", e.Copies+1)
}

// String is the predicate of a sentence.
func (Swap) String() string { return "sends it behind the next one" }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("tftpd cannot send %v late: up to an hour", e.By)
	}
	return nil
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > maxCopies {
		return fmt.Errorf("tftpd cannot send %d copies: 1 to %d", e.Copies, maxCopies)
	}
	return nil
}

func (Swap) check() error { return nil }

func (Delay) fits(at stand) bool     { return at.packet() }
func (Duplicate) fits(at stand) bool { return at.packet() }
func (Swap) fits(at stand) bool      { return at.packet() }

func (e Delay) act(t *transfer, p packet) {
	t.postpone(p, time.Now().Add(e.By))
}

func (e Duplicate) act(t *transfer, p packet) {
	for range e.Copies + 1 {
		t.dispatch(p)
	}
}

func (Swap) act(t *transfer, p packet) {
	t.swapped = append(t.swapped, p.clone())
}
