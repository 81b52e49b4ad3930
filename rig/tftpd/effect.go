package tftpd

import (
	"fmt"
	"strings"

	"ip88rig/rig/fault"
)

// Effect is what the server can do instead of what it should. Points are asked
// with Message "RRQ" when a read request came, and "OACK", "DATA" (Phase
// "block N", counted on past 65535) and "ERROR" before that packet is sent or
// sent again. A rule on a file name thus applies first at its RRQ.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
}

// Drop ignores the request, or does not send the packet: it is as if lost on
// the way, so it is sent again at the next timeout.
type Drop struct{}

// Fail sends an ERROR instead, and ends the transfer. Before an ERROR it takes
// its place.
type Fail struct {
	Code uint16
	Text string
}

// FallSilent lets the transfer send no DATA that ends beyond so many bytes of
// the file, and from there on nothing at all. With 0 not one packet is sent.
// The transfer's port stays open and swallows what comes, until the same
// host asks anew: a closed one would say so.
type FallSilent struct{ AfterBytes int }

func (Drop) sealed()       {}
func (Fail) sealed()       {}
func (FallSilent) sealed() {}

// String is the predicate of a sentence.
func (Drop) String() string { return "drops it" }

// String is the predicate of a sentence.
func (e Fail) String() string { return fmt.Sprintf("answers ERROR %d %q", e.Code, e.Text) }

// String is the predicate of a sentence.
func (e FallSilent) String() string { return fmt.Sprintf("falls silent after %d bytes", e.AfterBytes) }

// Can says whether the server can do this, and if not, why.
func (s *Server) Can(e fault.Effect) error {
	own, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("tftpd cannot do %T", e)
	}
	switch own := own.(type) {
	case Drop:
	case Fail:
		if strings.Contains(own.Text, "\x00") {
			return fmt.Errorf("tftpd cannot send a NUL in the text of an ERROR: %q", own.Text)
		}
	case FallSilent:
		if own.AfterBytes < 0 {
			return fmt.Errorf("tftpd cannot fall silent after %d bytes", own.AfterBytes)
		}
	}
	return nil
}
