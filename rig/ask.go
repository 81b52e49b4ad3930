package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/control"
	"ip88rig/rig/impair"
)

// lastUndo is how long a deed of the access point may take to be undone once it
// was broken off. After an interrupt that is for all: half of it is for the
// command that runs.
const lastUndo = time.Minute

// errCutOff is why a command was not waited for.
var errCutOff = errors.New("cut off, because the deed was broken off and it took too long")

// request is a deed that is asked of an access point.
type request struct {
	impair.Air

	of control.AccessPoint
	// prompt tells one that does it in no time.
	prompt bool
	// tell takes what went wrong, over is called once all is as it was.
	tell func(trouble string)
	over func()
}

// ask has the access point do a deed, and undoes it after its time, or when it is
// broken off. A command that runs then is let run, so that no access point is left
// half-way; but not for ever once ctx has ended or the deeds are closed.
func (d *deeds) ask(ctx context.Context, r request) {
	deed := control.AirDeed(r.Does)
	var done error
	if r.prompt {
		done = r.of.Do(ctx, deed)
	}
	d.start(ctx, func(broken context.Context) {
		whole, stop := outlasting(context.WithoutCancel(ctx), lastUndo, ctx.Done(), d.closes())
		defer stop()
		happened := r.prompt
		if !r.prompt && broken.Err() == nil {
			limited, stop := outlasting(whole, lastUndo/2, ctx.Done(), d.closes())
			done = told(limited, r.of.Do(limited, deed))
			stop()
			happened = broken.Err() == nil
		}
		// What failed is told as such; what was too late is no test of anything.
		if !happened && !d.isClosed() {
			r.tell(fmt.Sprintf("the access point had not yet done %s when the cycle was over", r.Does))
		}
		if done == nil {
			pause(broken, r.For)
		}
		// Whatever came in between, and even if the command said that it failed: no
		// network is left that the module cannot join.
		limited, stop := outlasting(whole, lastUndo, broken.Done())
		undone := told(limited, r.of.Undo(limited, deed))
		stop()
		if undone != nil {
			undone = fmt.Errorf("%s is not undone: %w", r.Does, undone)
		}
		if err := errors.Join(done, undone); err != nil {
			r.tell("what the access point was asked for went wrong: " + strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		pause(broken, r.Back)
		r.over()
	})
}

// told is an error of what ran in ctx, and that it was cut off if it was.
func told(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// outlasting is ctx, cut off once any of the ends is a while ago. It is to be
// stopped.
func outlasting(ctx context.Context, while time.Duration, ends ...<-chan struct{}) (context.Context, func()) {
	out, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	for _, end := range ends {
		// Ends with out.
		watching.Go(func() {
			select {
			case <-end:
				if pause(out, while) {
					cancel(errCutOff)
				}
			case <-out.Done():
			}
		})
	}
	return out, func() {
		cancel(nil)
		watching.Wait()
	}
}
