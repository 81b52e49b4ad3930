package sipd

import (
	"ip88rig/rig/fault"
)

// Phases of an exchange at which the plan is asked; Message is the method.
const (
	// PhaseAnswer is when a request of the handset came that was not seen before.
	PhaseAnswer = "answer"
	// PhaseAgain is when the handset sent a request again that was answered, or
	// when the answer to its INVITE is sent again because no ACK came.
	PhaseAgain = "answer again"
	// PhaseRequest is each time that a request of ours is sent.
	PhaseRequest = "request"
)

// Effect is what the server can do instead of what it should. Each family has a
// file of its own. A rule fires at the first point that its effect fits.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	// fits reports whether the effect finds something to do in a phase.
	fits(phase string) bool
}

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// edit is an effect that changes a message as it goes out. One that it leaves as
// it is spared.
type edit interface {
	Effect
	edit(pkt []byte) []byte
}
