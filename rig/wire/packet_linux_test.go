package wire_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// receive is the next frame that is one of these tests' (the kernel talks on a
// fresh interface, too).
func receive(t *testing.T, p wire.Port) wire.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		f, err := p.Receive(ctx)
		if err != nil {
			t.Fatalf("receive: %v", err)
		}
		if ours(f) {
			return f
		}
	}
}

// ours tells frames of the documentation addresses.
func ours(f wire.Frame) bool { return bytes.HasPrefix(f.Data[6:], addr(0)[:5]) }

func TestPacketPortCarriesFramesAsTheyAre(t *testing.T) {
	cable := netns.New(t)
	a, b := cable.Open(t, wire.PacketOptions{}), cable.OpenPeer(t, wire.PacketOptions{})
	for _, tt := range []struct {
		name string
		send []byte
	}{
		{"untagged", frame(2, 1, "hello")},
		{"tagged", tagged(88, 2, 1, "hello")},
		{"tagged with a priority", tagged(5<<13|88, 2, 1, "hello")},
		{"priority-tagged", tagged(5<<13, 2, 1, "hello")},
		{"tagged with nothing but zeros", tagged(0, 2, 1, "hello")},
		{"a provider's tag", append(append(frame(2, 1, "")[:12], 0x88, 0xa8, 0, 9), frame(2, 1, "hello")[12:]...)},
		{"tagged twice", append(tagged(9, 2, 1, "")[:16], tagged(88, 2, 1, "hello")[12:]...)},
		{"the longest untagged", append(frame(2, 1, ""), make([]byte, 1500)...)},
		{"the longest tagged", append(tagged(88, 2, 1, ""), make([]byte, 1500)...)},
		{"to nobody on the wire", frame(77, 1, "promiscuous")},
		{"broadcast", frame(255, 1, "hello")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now()
			send(t, a, tt.send)
			f := receive(t, b)
			if !bytes.Equal(f.Data, tt.send) {
				t.Errorf("got  %s\nwant %s", hex.EncodeToString(f.Data), hex.EncodeToString(tt.send))
			}
			if f.At.Before(before.Round(0)) || f.At.After(time.Now().Round(0)) {
				t.Errorf("stamped %v, want between %v and now", f.At, before)
			}
		})
	}
	// What a sent does not come back to it.
	send(t, b, frame(1, 2, "last"))
	if f := receive(t, a); string(f.Data[14:]) != "last" {
		t.Errorf("the sender received %q, want what the other side sent", f.Data[14:])
	}
}

func TestTaggedFramesAreSeenByTcpdump(t *testing.T) {
	cable := netns.New(t)
	a, b := cable.Open(t, wire.PacketOptions{}), cable.OpenPeer(t, wire.PacketOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dump := cable.Peer(ctx, "tcpdump", "-i", netns.PeerEnd, "-e", "-n", "-l", "-c", "2", "ether proto 0x88b5 or vlan")
	out, err := dump.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	notes, err := dump.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dump.Start(); err != nil {
		t.Skipf("tcpdump: %v", err)
	}
	said := make([]byte, 0, 1000)
	for !bytes.Contains(said, []byte("listening on")) {
		n, err := notes.Read(said[len(said):cap(said)])
		said = said[:len(said)+n]
		if err != nil {
			t.Skipf("tcpdump does not work here: %s", said)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, notes) }() // ends with tcpdump

	send(t, wire.Tagged(a, 88, 5), frame(2, 1, "tagged by us"))
	send(t, a, frame(2, 1, "plain"))
	lines, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := dump.Wait(); err != nil {
		t.Fatalf("tcpdump: %v", err)
	}
	heads := slices.DeleteFunc(strings.Split(string(lines), "\n"), func(l string) bool { return !strings.Contains(l, "ethertype") })
	if len(heads) != 2 {
		t.Fatalf("tcpdump saw %q, want two frames", heads)
	}
	for i, want := range []string{"vlan 88, p 5, ethertype Unknown (0x88b5)", "ethertype Unknown (0x88b5)"} {
		got := heads[i]
		if !strings.Contains(got, want) || strings.Contains(got, "vlan") != (i == 0) {
			t.Errorf("tcpdump line %d: got %q, want %q", i, got, want)
		}
	}
	if f, err := wire.Tagged(b, 88, 0).Receive(ctx); err != nil || !bytes.Equal(f.Data, frame(2, 1, "tagged by us")) {
		t.Errorf("the other side received % x, %v, want the untagged frame", f.Data, err)
	}
}

func TestPacketPortFiltersInTheKernel(t *testing.T) {
	cable := netns.New(t)
	a := cable.Open(t, wire.PacketOptions{})
	b := cable.OpenPeer(t, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1), addr(2)}})
	strangers := cable.OpenPeer(t, wire.PacketOptions{MACs: []net.HardwareAddr{}})
	dhcp := append(frame(255, 7, "")[:12], 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 68, 0, 67, 0, 8, 0, 0)
	for _, f := range [][]byte{
		frame(9, 1, "from us"), frame(2, 9, "to us"), frame(9, 8, "between others"), frame(255, 8, "broadcast of others"),
		dhcp, frame(9, 2, "last"),
	} {
		send(t, a, f)
	}
	var got []string
	for len(got) == 0 || got[len(got)-1] != "last" {
		got = append(got, string(receive(t, b).Data[14:]))
	}
	if want := []string{"from us", "to us", string(dhcp[14:]), "last"}; !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
	if f := receive(t, strangers); !bytes.Equal(f.Data, dhcp) {
		t.Errorf("the port for strangers received % x, want the DHCP message", f.Data)
	}
	if n, _ := strangers.Stats(); n != 1 {
		t.Errorf("the port for strangers received %d frames, want 1", n)
	}
}

func TestPacketPortLosesNothing(t *testing.T) {
	cable := netns.New(t)
	a, b := cable.Open(t, wire.PacketOptions{}), cable.OpenPeer(t, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	const total = 50_000
	began := time.Now()
	// The sender does not run further ahead than the ring has blocks: however
	// slow the receiver is on a busy computer, what is lost is lost by the port.
	ahead := make(chan struct{}, 200)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range total {
			select {
			case ahead <- struct{}{}:
			case <-t.Context().Done():
				return
			}
			if err := a.Send(wire.Frame{Data: frame(2, 1, fmt.Sprintf("%06d%0200d", i, 0))}); err != nil {
				t.Errorf("frame %d: %v", i, err)
				return
			}
		}
	})
	for i := range total {
		f := receive(t, b)
		<-ahead
		if !bytes.HasPrefix(f.Data[14:], fmt.Appendf(nil, "%06d", i)) {
			received, dropped := b.Stats()
			t.Fatalf("got frame %s, want %06d; the port received %d, dropped %d", f.Data[14:20], i, received, dropped)
		}
	}
	wg.Wait()
	t.Logf("%.0f frames/s", total/time.Since(began).Seconds())
	if received, dropped := b.Stats(); received != total || dropped != 0 {
		t.Errorf("stats: received %d, dropped %d, want %d and 0", received, dropped, total)
	}
}

func TestPacketPortCountsWhatNobodyReads(t *testing.T) {
	cable := netns.New(t)
	a, b := cable.Open(t, wire.PacketOptions{}), cable.OpenPeer(t, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	data := append(frame(2, 1, ""), make([]byte, 1500)...)
	const total = 120_000 // 280 MB, with what the kernel adds, into a buffer of 128 MiB
	for range total {
		send(t, a, data)
	}
	received, dropped := b.Stats()
	if received != total || dropped == 0 || dropped >= total {
		t.Errorf("stats: received %d, dropped %d, want %d and some of them", received, dropped, total)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if r, d := b.Stats(); r != received || d != dropped {
		t.Errorf("stats after close: received %d, dropped %d, want %d, %d as before", r, d, received, dropped)
	}
}

func TestPacketPortEnds(t *testing.T) {
	cable := netns.New(t)
	before := runtime.NumGoroutine()
	p := cable.Open(t, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	got := make(chan error, 1)
	go func() {
		_, err := p.Receive(t.Context())
		got <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("receive with an ended context: got %v, want context.Canceled", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("receive: got %v, want net.ErrClosed", err)
	}
	if err := p.Send(wire.Frame{Data: frame(255, 1, "")}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send: got %v, want net.ErrClosed", err)
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("goroutines: %d before, %d after", before, after)
	}
}

func TestPacketPortTellsOfALostInterface(t *testing.T) {
	cable := netns.New(t)
	p := cable.Open(t, wire.PacketOptions{MACs: []net.HardwareAddr{addr(1)}})
	if out, err := cable.Rig(t.Context(), "ip", "link", "set", netns.RigEnd, "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.Receive(ctx); err == nil || !strings.Contains(err.Error(), "interface lab0: it went down") {
		t.Errorf("receive: got %v, want that lab0 went down", err)
	}
}

func TestOpenPacketNamesTheInterface(t *testing.T) {
	for _, name := range []string{"", "no-such-nic"} {
		if _, err := wire.OpenPacket(name, wire.PacketOptions{}); err == nil || !strings.Contains(err.Error(), "wire: interface "+name) {
			t.Errorf("open %q: got %v, want an error that names it", name, err)
		}
	}
}
