package tftpd

import (
	"fmt"
	"strings"
)

// Fail sends an ERROR instead, and ends the transfer. Before an ERROR it takes
// its place.
type Fail struct {
	Code uint16
	Text string
}

func (e Fail) String() string { return fmt.Sprintf("answers ERROR %d %q", e.Code, e.Text) }

func (e Fail) check() error {
	if strings.Contains(e.Text, "\x00") {
		return fmt.Errorf("tftpd cannot send a NUL in the text of an ERROR: %q", e.Text)
	}
	return nil
}

func (Fail) fits(at stand) bool { return at.sends() }

func (e Fail) end(t *transfer, p packet) *ending {
	return errorEnding(e.Code, e.Text, t.name(p.n)+", as told")
}
