package wire

import "context"

// Filter is p without the received frames that keep rejects. What is sent passes
// unseen. keep must neither change nor hold on to a frame's data; it is called
// from whoever receives.
func Filter(p Port, keep func(Frame) bool) Port {
	return &filtered{Port: p, keep: keep}
}

type filtered struct {
	Port
	keep func(Frame) bool
}

// Receive implements Port.
func (p *filtered) Receive(ctx context.Context) (Frame, error) {
	for {
		f, err := p.Port.Receive(ctx)
		if err != nil || p.keep(f) {
			return f, err
		}
		if err := ctx.Err(); err != nil { // a port that always has frames need not look at ctx
			return Frame{}, err
		}
	}
}
