package httpd

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// drained is a connection that does at Drain what a test says.
type drained struct {
	net.Conn
	drain  func(until time.Time) error
	once   sync.Once
	closed chan struct{}
}

func (d *drained) Drain(until time.Time) error { return d.drain(until) }

func (d *drained) SetLinger(int) error { return nil }

func (d *drained) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}

// dialDrained connects a client that asks for the image.
func dialDrained(t *testing.T, p *pipe, d *drained) net.Conn {
	t.Helper()
	client, far := net.Pipe()
	d.Conn, d.closed = far, make(chan struct{})
	p.conns <- d
	t.Cleanup(func() { _ = client.Close() })
	if _, err := io.WriteString(client, "GET /image.rom HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return client
}

func TestAResetDoesNotWaitOnceMoreForAHandsetThatAcknowledgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := &fault.Plan{}
		plan.Act(func(_ fault.Deed, sentence string) { t.Errorf("a deed is done: %s", sentence) })
		plan.Add(fault.On("image.rom").Behind(1 << 14).Do(deed{}))
		plan.Add(fault.On("image.rom").Do(Reset{AfterBytes: 100_000}))
		p := newPipe()
		j := serveOn(t, p, Config{Stall: 7 * time.Second, Faults: plan})
		start := time.Now()
		client := dialDrained(t, p, &drained{drain: func(until time.Time) error {
			<-time.After(time.Until(until))
			return os.ErrDeadlineExceeded
		}})
		_, _ = io.Copy(io.Discard, client) // how it ends is the pipe's affair
		if closed := j.wait(t, timeline.ConnClosed, 1)[0]; closed.Reason != "reset as told" {
			t.Errorf("closed %+v", closed)
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("reset after %s, want 7s", took)
		}
		if odd := j.of(timeline.ServiceOddity); len(odd) != 1 {
			t.Errorf("oddities %v", odd)
		}
	})
}

// The service closes its connections when it ends, also those on which it waits
// for a place to be reached.
func TestNoDeedIsDoneAtTheEndOfTheService(t *testing.T) {
	var deeds atomic.Int64
	t.Run("served", func(t *testing.T) {
		plan := &fault.Plan{}
		plan.Act(func(fault.Deed, string) { deeds.Add(1) })
		plan.Add(fault.On("done").Of("image.rom").Do(deed{}))
		p := newPipe()
		serveOn(t, p, Config{Faults: plan})
		d := &drained{}
		waiting := make(chan struct{})
		d.drain = func(time.Time) error {
			close(waiting)
			<-d.closed
			return nil
		}
		client := dialDrained(t, p, d)
		// Ends with the connection.
		go func() { _, _ = io.Copy(io.Discard, client) }()
		select {
		case <-waiting:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody waits for the end of the file")
		}
	})
	if n := deeds.Load(); n != 0 {
		t.Errorf("%d deeds are done as the service ends", n)
	}
}
