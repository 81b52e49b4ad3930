package tftpd

import (
	"fmt"
	"time"
)

// Delay sends an OACK or DATA packet so much later. Beyond the timeout it comes
// after the one that was sent in its place: a late duplicate, also behind the
// end of the transfer.
type Delay struct{ By time.Duration }

func (e Delay) String() string { return fmt.Sprintf("sends it %v late", e.By) }

func (e Delay) check() error {
	if e.By <= 0 || e.By > time.Hour {
		return fmt.Errorf("tftpd cannot send %v late: up to an hour", e.By)
	}
	return nil
}

func (Delay) fits(at stand) bool { return at.packet() }

func (e Delay) act(t *transfer, p packet) {
	t.postpone(p, time.Now().Add(e.By))
}

// Duplicate sends an OACK or DATA packet so many times more, at once.
type Duplicate struct{ Copies int }

func (e Duplicate) String() string {
	if e.Copies == 1 {
		return "sends it twice"
	}
	return fmt.Sprintf("sends it %d times", e.Copies+1)
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > maxCopies {
		return fmt.Errorf("tftpd cannot send %d copies: 1 to %d", e.Copies, maxCopies)
	}
	return nil
}

func (Duplicate) fits(at stand) bool { return at.packet() }

func (e Duplicate) act(t *transfer, p packet) {
	for range e.Copies + 1 {
		t.dispatch(p)
	}
}

// Swap holds an OACK or DATA packet back until one of another number was sent,
// so that the two change places. In lock-step that is after the timeout, and
// the packet comes once more after the next one.
type Swap struct{}

func (Swap) String() string { return "sends it behind the next one" }

func (Swap) fits(at stand) bool { return at.packet() }

func (Swap) act(t *transfer, p packet) {
	t.swapped = append(t.swapped, p.clone())
}

// maxCopies bounds Duplicate.
const maxCopies = 1000
