package wire

import (
	"context"
	"net"
	"sync"
	"time"
)

// queueLimit is how many frames wait for one receiver before further ones are
// dropped: several whole TCP windows, so that only a receiver that has stopped
// reading loses anything.
const queueLimit = 8192

// Queue hands frames from any number of senders to any number of receivers, in
// order. It is bounded, and grows with what waits in it: a switch of many quiet
// ports stays small. It is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex
	ring    []Frame // len is a power of two, or 0
	head    int     // index of the oldest frame
	count   int
	dropped uint64
	off     bool // nothing is taken in
	closed  bool
	ready   chan struct{} // holds one token while a frame waits
	done    chan struct{} // closed by close
}

// NewQueue returns an empty queue.
func NewQueue() *Queue {
	return &Queue{ready: make(chan struct{}, 1), done: make(chan struct{})}
}

// Put appends f, which belongs to the queue from now on. A full queue drops it
// and counts that; a closed one just drops it.
func (q *Queue) Put(f Frame) { q.put(f, false) }

// put is Put. With stamp the frame is given the time of this very moment, so
// that the frames of one queue are in the order of their stamps.
func (q *Queue) put(f Frame, stamp bool) {
	q.mu.Lock()
	if q.off || q.closed {
		q.mu.Unlock()
		return
	}
	if q.count == queueLimit {
		q.dropped++
		q.mu.Unlock()
		return
	}
	if q.count == len(q.ring) {
		q.grow()
	}
	if stamp {
		f.At = time.Now()
	}
	q.ring[(q.head+q.count)&(len(q.ring)-1)] = f
	q.count++
	q.mu.Unlock()
	q.signal()
}

// grow is called with mu held and a full ring.
func (q *Queue) grow() {
	ring := make([]Frame, max(16, 2*len(q.ring)))
	for i := range q.count {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}

func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// tryPop returns the oldest frame, if there is one.
func (q *Queue) tryPop() (f Frame, ok, closed bool) {
	q.mu.Lock()
	if q.count == 0 {
		closed = q.closed
		q.mu.Unlock()
		return Frame{}, false, closed
	}
	f = q.ring[q.head]
	q.ring[q.head] = Frame{} // let go of its data
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.count--
	more := q.count > 0
	q.mu.Unlock()
	if more {
		q.signal() // another receiver may be waiting
	}
	return f, true, false
}

// Receive waits for a frame. It returns ctx's error when ctx ends and
// net.ErrClosed once the queue is closed.
func (q *Queue) Receive(ctx context.Context) (Frame, error) {
	if err := ctx.Err(); err != nil {
		return Frame{}, err
	}
	for {
		f, ok, closed := q.tryPop()
		switch {
		case ok:
			return f, nil
		case closed:
			return Frame{}, net.ErrClosed
		}
		select {
		case <-q.ready:
		case <-q.done:
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		}
	}
}

// turn switches the queue on or off. Off, it forgets what waits and takes
// nothing in.
func (q *Queue) turn(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.off = !on
	if !on {
		clear(q.ring)
		q.head, q.count = 0, 0
	}
}

// Close drops what waits and wakes every receiver. It is idempotent and returns
// nil.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	q.ring, q.head, q.count = nil, 0, 0
	close(q.done)
	return nil
}

// Dropped returns how many frames a full queue has dropped.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
