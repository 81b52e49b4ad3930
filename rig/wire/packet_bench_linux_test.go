package wire_test

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// BenchmarkPacketPortExchange sends a frame over a pair of interfaces and waits for
// the answer, as a transfer in lock-step does. Both ends are ports, so that one of
// them adds half of what is reported.
func BenchmarkPacketPortExchange(b *testing.B) {
	cable := netns.New(b)
	a, z := cable.Open(b, wire.PacketOptions{}), cable.OpenPeer(b, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	var echo sync.WaitGroup
	echo.Go(func() { // ends when the port is closed
		for {
			if _, err := z.Receive(b.Context()); err != nil {
				return
			}
			if err := z.Send(wire.Frame{Data: frame(1, 2, "answer")}); err != nil {
				return
			}
		}
	})
	request := frame(2, 1, "request")
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		send(b, a, request)
		for {
			f, err := a.Receive(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if string(f.Data[14:]) == "answer" {
				break
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/2, "p50-µs/port")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/2, "p99-µs/port")
	if err := z.Close(); err != nil {
		b.Error(err)
	}
	echo.Wait()
}

// BenchmarkPacketPortFlood sends as fast as the interface takes frames, and reports
// how many a second arrive and how many are lost.
func BenchmarkPacketPortFlood(b *testing.B) {
	cable := netns.New(b)
	a, z := cable.Open(b, wire.PacketOptions{}), cable.OpenPeer(b, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	var arrived atomic.Int64
	var reader sync.WaitGroup
	reader.Go(func() { // ends when the port is closed
		for {
			if _, err := z.Receive(b.Context()); err != nil {
				return
			}
			arrived.Add(1)
		}
	})
	data := append(frame(2, 1, ""), make([]byte, 200)...)
	began := time.Now()
	sent := int64(0)
	for b.Loop() {
		send(b, a, data)
		sent++
	}
	for deadline := time.Now().Add(2 * time.Second); arrived.Load() < sent && time.Now().Before(deadline); {
		if _, dropped := z.Stats(); arrived.Load()+int64(dropped) >= sent {
			break
		}
	}
	b.ReportMetric(float64(sent)/time.Since(began).Seconds(), "frames/s")
	_, dropped := z.Stats()
	b.ReportMetric(float64(dropped), "lost")
	if err := z.Close(); err != nil {
		b.Error(err)
	}
	reader.Wait()
}
