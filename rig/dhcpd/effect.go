package dhcpd

import (
	"fmt"
	"slices"
	"time"

	"ip88rig/rig/fault"
)

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// Kinds lists the effects, so that a file can name them: what this service can do
// instead of answering as it should. The families stand in files of their own,
// fault_*.go.
func Kinds() fault.Kinds {
	return fault.NewKinds("dhcpd",
		Delay{}, DoubleOption{}, Drop{}, Duplicate{}, Garbage{}, InUse{}, LeaseTimes{}, Nak{}, NoEnd{},
		Overload{}, Overwrite{}, SecondServer{}, SetOption{}, Silence{}, SplitOption{}, Truncate{},
		UnknownOptions{}, UnsplitOption{}, WithoutOption{}, WrongAddr{}, WrongChaddr{}, WrongCookie{},
		WrongHlen{}, WrongLength{}, WrongServerID{}, WrongXID{},
	)
}

// answering is an effect on an answer.
type answering interface {
	fault.Effect
	// act changes what is about to be sent and tells whether it did. Where it did
	// not, or what is sent is the same as before, the occasion is spared and the
	// rule has not fired.
	act(o *outgoing) bool
}

// choosy is an answering effect that finds nothing to do about some answers. For
// others every answer is an occasion.
type choosy interface {
	answering
	// fits tells whether the effect finds something to do here; it changes nothing.
	fits(o *outgoing) bool
}

// shape is what can be seen of what is about to be done.
type shape struct {
	payload    string
	silent     bool
	delay, gap time.Duration
	copies     int
	others     int // answers of other servers
}

func (o *outgoing) shape() (now shape, leftOut []byte) {
	payload, leftOut := o.bytes()
	return shape{
		payload: string(payload), silent: o.silent, delay: o.delay, gap: o.gap, copies: o.copies,
		others: len(o.before) + len(o.after),
	}, leftOut
}

// suffer has an effect act, and tells whether anybody can see it. One that
// leaves no room for an option, its own or another, does not what it says: it is
// taken back, and leftOut are those options.
func (o *outgoing) suffer(e answering) (acted bool, leftOut []byte) {
	was, lacked := o.shape()
	sound, reason := *o.answer, o.reason
	sound.options, sound.edits = slices.Clone(sound.options), slices.Clone(sound.edits)
	if !e.act(o) {
		return false, nil
	}
	now, lacks := o.shape()
	grown := o.room > sound.room
	crowded := len(lacks) > 0 && (grown || !slices.Equal(lacks, lacked))
	// Whole seconds come out as the lease has them now and then: they are as told.
	_, times := e.(LeaseTimes)
	if (now != was || times) && !crowded {
		return true, nil
	}
	o.answer, o.reason = &sound, reason
	if crowded {
		return false, lacks
	}
	return false, nil
}

// maxValue bounds the bytes that an effect may put into a message, so that the
// message stays within one frame.
const maxValue = 1024

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("dhcpd cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("dhcpd: %s: %w", e, err)
		}
	}
	return nil
}
