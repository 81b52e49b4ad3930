package wire

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Tap records every frame that passes p on interface Cable. A received frame
// leaves it with its Number. A frame to be sent is stamped, recorded, then
// written, so the recording never lacks what went out; sent frames are recorded
// in the order of their stamps. A frame to be sent that already has a Number was
// recorded as the host's view by an Impair; the recording names it as partner.
// record must not keep the data it is given.
func Tap(p Port, record Record) Port {
	return &tap{port: p, record: record}
}

type tap struct {
	port    Port
	record  Record
	sending sync.Mutex // from stamp to write
}

// Receive implements Port.
func (t *tap) Receive(ctx context.Context) (Frame, error) {
	f, err := t.port.Receive(ctx)
	if err != nil {
		return Frame{}, err
	}
	f.Number = t.record(Cable, false, f.At, f.Data)
	return f, nil
}

// Send implements Port.
func (t *tap) Send(f Frame) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	var comments []string
	if f.Number != 0 {
		comments = []string{partner(f.Number)}
	}
	f.At = time.Now()
	f.Number = t.record(Cable, true, f.At, f.Data, comments...)
	return t.port.Send(f)
}

// Close implements Port.
func (t *tap) Close() error { return t.port.Close() }

// partner is how a comment names the other view of a frame.
func partner(number int) string { return fmt.Sprintf("partner frame %d", number) }
