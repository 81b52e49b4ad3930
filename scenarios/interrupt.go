package scenarios

import (
	"context"
	"errors"
	"time"

	. "github.com/onsi/ginkgo/v2"
)

// errInterrupted is why the context of a spec ends where Ginkgo hears no signals.
var errInterrupted = errors.New("interrupted")

// interruptible is the context of a spec that ends, too, once interrupted is
// closed; nil: it is Ginkgo's own.
func interruptible(ctx SpecContext, interrupted <-chan struct{}) (SpecContext, func()) {
	if interrupted == nil {
		return ctx, func() {}
	}
	inner, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	// Ends with the spec.
	go func() {
		select {
		case <-interrupted:
			cancel(errInterrupted)
		case <-over:
		}
	}()
	return endable{ctx, inner}, func() {
		close(over)
		cancel(nil)
	}
}

// endable is a SpecContext with the end of another context that stems from it.
type endable struct {
	SpecContext

	inner context.Context //nolint:containedctx // it takes the place of the embedded one
}

// Deadline implements context.Context.
func (e endable) Deadline() (time.Time, bool) { return e.inner.Deadline() }

// Done implements context.Context.
func (e endable) Done() <-chan struct{} { return e.inner.Done() }

// Err implements context.Context.
func (e endable) Err() error { return e.inner.Err() }

// Value implements context.Context.
func (e endable) Value(key any) any { return e.inner.Value(key) }

// toEnd tells whether somebody wants the run to end.
func (o Options) toEnd() bool { return o.Ending != nil && o.Ending() }
