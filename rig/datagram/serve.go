package datagram

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Reply is what becomes of a datagram; the zero Reply is nothing.
type Reply struct {
	// Send is called after Delay, with a context that ends when serving does.
	Send  func(ctx context.Context)
	Delay time.Duration
}

// Serve reads one datagram after another and has handle say what becomes of it,
// until ctx ends; then it closes the socket, waits for what is being sent, drops
// what is yet to come, and returns nil. Where the socket fails before that it
// returns the connection's error. Replies without a delay are sent before the
// next datagram is read. handle may keep no part of b.
func (s *Socket) Serve(ctx context.Context, handle func(b []byte, from, to netip.AddrPort) Reply) error {
	// The goroutine of AfterFunc ends with Close, which wakes the read below.
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	var late sync.WaitGroup
	defer late.Wait()
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	buf := make([]byte, 64<<10)
	for {
		n, from, to, err := s.ReadFromTo(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil // the read failed because ctx ended
			}
			return err
		}
		reply := handle(buf[:n], from, to)
		switch {
		case reply.Send == nil:
		case reply.Delay > 0:
			released := s.released()
			late.Go(func() { // ends with the delay, Release or ctx
				timer := time.NewTimer(reply.Delay)
				defer timer.Stop()
				select {
				case <-timer.C:
					reply.Send(running)
				case <-released:
					reply.Send(running)
				case <-running.Done():
				}
			})
		default:
			reply.Send(running)
		}
	}
}

// Release has every reply sent now whose delay is not over.
func (s *Socket) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.release)
	s.release = make(chan struct{})
}

func (s *Socket) released() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release
}
