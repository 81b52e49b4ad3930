package tftpd

import (
	"errors"
	"fmt"

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
// All of them are one fault.Exchange: a rule on a file name acts once in a
// transfer, at its RRQ if the effect fits there, else at the first OACK, DATA or
// ERROR that it fits, and From counts transfers. One on "DATA" counts packets.
// What a fault told and the server could not do is an oddity that says so
// (timeline.FaultUndone).
//
//sumtype:decl
type Effect interface {
	fault.Effect
	// fits reports whether the effect finds something to do here.
	fits(at stand) bool
}

// Kinds lists the effects, so that a file can name them.
func Kinds() fault.Kinds {
	return fault.NewKinds("tftpd",
		AnswerElsewhere{}, BlockNumber{}, Careless{}, Delay{}, Drop{}, Duplicate{}, Endless{}, Fail{},
		FallSilent{}, FlipBit{}, FromOtherAddress{}, FromOtherPort{}, IgnoreOptions{}, LieAboutSize{},
		Offer{}, OmitLast{}, RefuseOptions{}, Resize{}, Swap{}, WrapToOne{},
	)
}

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

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
	// Whether a file is served, how long it is on the wire, and whether it was told
	// already where to fall silent.
	served bool
	length int64
	silent bool
}

// request reports whether this is a point at which an RRQ was taken.
func (at stand) request() bool { return at.message == "RRQ" }

// begins reports whether this is a point at which an RRQ was taken that a transfer comes of.
func (at stand) begins() bool { return at.request() && at.served }

// packet reports whether this is a point before a packet of a transfer.
func (at stand) packet() bool { return at.message == "OACK" || at.message == "DATA" }

// sends reports whether this is a point before the server says something.
func (at stand) sends() bool { return at.message != "done" && at.message != "ACK" }

// Can says whether the server can do this, and if not, why.
func (s *Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("tftpd cannot do %T", e)
	}
	switch e.(type) {
	case AnswerElsewhere, FromOtherAddress:
		if s.cfg.Elsewhere == nil {
			return errors.New("tftpd has no other address to answer from: Elsewhere is nil")
		}
	default:
	}
	if c, ok := e.(checked); ok {
		return c.check()
	}
	return nil
}
