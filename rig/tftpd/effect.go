package tftpd

import (
	"errors"
	"fmt"
	"strings"

	"ip88rig/rig/fault"
)

// Effect is what the server can do instead of what it should. Each family has a
// file of its own. The plan is asked
//
//   - with Message "RRQ" when a read request came that is not one sent again,
//   - with Message "OACK", "DATA" (Phase "block N", counted on past 65535, Bytes
//     those of the file before it) and "ERROR" before that packet is sent or sent
//     again,
//   - with Message "ACK" (Phase "block N", "block 0" for that of an OACK, Bytes
//     those that it acknowledges) after an ACK came that takes the transfer
//     further; with windows not every block has one, so wait for bytes there. Only
//     rules on "ACK" find it,
//   - with Message "done" (Bytes those of the file) after the last ACK, where
//     only deeds find something to do.
//
// A rule fires at the first point that its effect fits: one on a file name
// applies to its RRQ if the effect does, else to its OACK or DATA. From counts
// points, whether the effect fits them or not.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
	// check says what is wrong with the parameters.
	check() error
	// fits tells whether the effect finds something to do here.
	fits(at stand) bool
}

// onTransfer is an effect that a transfer begins with.
type onTransfer interface {
	Effect
	begin(t *transfer)
}

// onPacket is an effect on one packet of a transfer: it sends what is sent of it.
type onPacket interface {
	Effect
	act(t *transfer, p packet)
}

// onCourse is an effect on a transfer that stands before a packet: it ends it,
// or says how it goes on.
type onCourse interface {
	Effect
	end(t *transfer, p packet) *ending
}

// stand is where the server stands when it asks the plan.
type stand struct {
	message string
	// opts are those of an RRQ.
	opts []option
	// Of a packet of a transfer: its number, the bytes of its payload (of an
	// OACK those of its options), whether it is the last one, whether the client
	// answered before, and whether numbers went past 65535 to 1 already.
	n       int
	payload int
	last    bool
	heard   bool
	wrapped bool
}

// request tells a point at which an RRQ was taken.
func (at stand) request() bool { return at.message == "RRQ" }

// packet tells a point before a packet of a transfer.
func (at stand) packet() bool { return at.message == "OACK" || at.message == "DATA" }

// sends tells a point before the server says something.
func (at stand) sends() bool { return at.message != "done" && at.message != "ACK" }

// Drop ignores the request or the ACK, or does not send the packet: it is as if
// lost on the way, so the packet is sent again at the next timeout.
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

func (Drop) check() error { return nil }

func (e Fail) check() error {
	if strings.Contains(e.Text, "\x00") {
		return fmt.Errorf("tftpd cannot send a NUL in the text of an ERROR: %q", e.Text)
	}
	return nil
}

func (e FallSilent) check() error {
	if e.AfterBytes < 0 {
		return fmt.Errorf("tftpd cannot fall silent after %d bytes", e.AfterBytes)
	}
	return nil
}

func (Drop) fits(at stand) bool       { return at.message != "done" }
func (Fail) fits(at stand) bool       { return at.sends() }
func (FallSilent) fits(at stand) bool { return at.sends() }

func (Drop) act(*transfer, packet) {}

func (e Fail) end(t *transfer, p packet) *ending {
	return errorEnding(e.Code, e.Text, t.name(p.n)+", as told")
}

func (e FallSilent) begin(t *transfer) { t.silentAt = e.AfterBytes }

func (e FallSilent) end(t *transfer, p packet) *ending {
	t.silentAt = e.AfterBytes
	return t.emit(p.n)
}

// Can says whether the server can do this, and if not, why.
func (s *Server) Can(e fault.Effect) error {
	own, ok := e.(Effect)
	if !ok {
		return fmt.Errorf("tftpd cannot do %T", e)
	}
	if err := own.check(); err != nil {
		return err
	}
	switch own.(type) {
	case AnswerElsewhere, FromOtherAddress:
		if s.cfg.Elsewhere == nil {
			return errors.New("tftpd has no other address to answer from: Elsewhere is nil")
		}
	default:
	}
	return nil
}
