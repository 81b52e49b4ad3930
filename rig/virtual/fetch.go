package virtual

import (
	"context"
	"errors"

	"ip88rig/rig/model"
)

// errCycleOver says that nothing more is asked of the server in this cycle.
var errCycleOver = errors.New("the cycle is over")

// partial is an error that holds what had come of a file.
type partial interface{ Partial() []byte }

// fetcher gets the files of one cycle.
type fetcher struct {
	*device

	src source
	// over ends the cycle: the server's certificate was refused.
	over bool
	// broken says that the transfer of a file broke off, failed that one failed in
	// any way, which a cycle once more may help.
	broken, failed bool
}

// ask gets a file, again as the facts say when its transfer fails. A file that
// cannot be had is gone without, and the cycle goes on (assumed), but for a
// server whose certificate was refused.
func (f *fetcher) ask(ctx context.Context, name string) ([]byte, error) {
	for try := 1; ; try++ {
		if f.over {
			return nil, errCycleOver
		}
		body, err := f.src.get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			f.log.Info("fetched", "file", name, "bytes", len(body))
			return body, nil
		}
		f.log.Warn("not fetched", "file", name, "error", err)
		var part partial
		f.over = f.over || refused(err)
		f.broken = f.broken || errors.As(err, &part)
		f.failed = f.failed || !f.over && !errors.Is(err, errMissing)
		if f.over || errors.Is(err, errMissing) || try >= f.cfg.Facts.Int(model.FileTries) {
			return nil, err
		}
		if err := pause(ctx, f.retry(model.FileRetryTime)); err != nil {
			return nil, err
		}
	}
}
