package dhcpd

import (
	"fmt"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/fault"
)

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// answering is an effect on an answer.
type answering interface {
	fault.Effect
	// act changes what is about to be sent and reports whether it did. Where it did
	// not, or what is sent is the same as before, the occasion is spared and the
	// rule has not fired.
	act(o *outgoing) bool
}

// choosy is an answering effect that finds nothing to do about some answers. For
// others every answer is an occasion.
type choosy interface {
	answering
	// fits reports whether the effect finds something to do here; it changes nothing.
	fits(o *outgoing) bool
}

// outgoing is what is about to be done about a message; effects change it.
type outgoing struct {
	m *message
	// hush has the server hear nothing of the handset for so long.
	hush func(time.Duration)
	// enter makes another server known that has offered a lease.
	enter func(*otherLease)
	// lease is what the handset's own server has for it.
	lease Lease
	phase phase
	*answer
	reason string
	// silent sends nothing.
	silent bool
	// delay is how late the answer goes out; copies more follow, gap apart.
	delay, gap time.Duration
	copies     int
	// before and after are answers of other servers around it.
	before, after []*answer
	// turn is the message with its answer, for who counts.
	turn fault.Exchange
}

// note adds to what the journal says.
func (o *outgoing) note(format string, args ...any) {
	o.reason += ", " + fmt.Sprintf(format, args...) + " by fault"
}

// gives reports whether the answer gives an address.
func (o *outgoing) gives() bool { return o.kind != dhcpv4.MessageTypeNak && o.yiaddr.IsValid() }
