package sipd

import "github.com/emiago/sipgo/sip"

// decision is what a request of a handset comes to: its answer, and what else
// the server does then. Until commit nothing has changed.
type decision struct {
	answer *sip.Response
	deeds  []func()
}

// then adds what is to be done if the answer is given.
func (d *decision) then(deed func()) { d.deeds = append(d.deeds, deed) }

// commit does what goes with the answer, in the order in which it was decided.
func (d *decision) commit() {
	for _, deed := range d.deeds {
		deed()
	}
}
