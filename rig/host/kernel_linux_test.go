package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// The kernel's offloads are left on in these tests: its checksums come
// unfinished, and its segments together in super-frames.

func TestKernelFetchesFromAHostOverVeth(t *testing.T) {
	cable := netns.New(t)
	cable.Address(t, "192.0.2.2/24")
	port := cable.Open(t, wire.PacketOptions{})
	body := image(4 << 20)
	from := serve(t, startOn(t, port, 1), body)

	if out, err := cable.Peer(patience(t), "busybox", "ping", "-c", "3", "-i", "0.01", from.Addr().String()).CombinedOutput(); err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	out, err := cable.Peer(patience(t), "sh", "-c", fmt.Sprintf("curl -sS http://%s/ | sha256sum", from)).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	if want := hash(body); !strings.HasPrefix(string(out), want) {
		t.Errorf("curl: got %s, want the hash %s", out, want)
	}
	if received, dropped := port.Stats(); received == 0 || dropped != 0 {
		t.Errorf("the port received %d and dropped %d, want many and none", received, dropped)
	}
}

func TestKernelSendsSuperFramesToAHost(t *testing.T) {
	cable := netns.New(t)
	cable.Address(t, "192.0.2.2/24")
	var longest atomic.Int64
	port := wire.Tap(cable.Open(t, wire.PacketOptions{}), func(_ int, outbound bool, _ time.Time, data []byte, _ ...string) int {
		if n := int64(len(data)); !outbound && n > longest.Load() {
			longest.Store(n)
		}
		return 0
	})
	h := startOn(t, port, 1)
	l, err := h.ListenTCP(netip.AddrPortFrom(at(1), 80))
	if err != nil {
		t.Fatal(err)
	}
	sum := make(chan string, 1)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			sum <- hash(b)
		}),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }() // ends with the server
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})

	body := image(4 << 20)
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := cable.Peer(patience(t), "curl", "-sS", "-T", file, "http://192.0.2.1/").CombinedOutput(); err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	if got, want := <-sum, hash(body); got != want {
		t.Errorf("received a body with the hash %s, want %s", got, want)
	}
	if longest.Load() <= 1514 {
		t.Errorf("the longest frame had %d bytes: there were no super-frames, nothing was shown", longest.Load())
	}
	if n := h.Corrupt(); n != 0 {
		t.Errorf("%d packets were taken for corrupt, want none", n)
	}
}

func TestKernelAnswersDatagramsOfAHost(t *testing.T) {
	cable := netns.New(t)
	cable.Address(t, "192.0.2.2/24")
	h := startOn(t, cable.Open(t, wire.PacketOptions{}), 1)
	s, err := h.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 69))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	peer := cable.Peer(patience(t), "bash", "-c", "exec 3<>/dev/udp/192.0.2.1/69; printf 'unfinished checksum' >&3; head -c 6 <&3")
	peer.Stdout, peer.Stderr = &out, &out
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, to, err := s.ReadFromTo(b)
	if err != nil || string(b[:n]) != "unfinished checksum" || to.Addr() != at(1) {
		t.Errorf("received %q to %s, %v, want what the peer sent", b[:n], to, err)
	}
	if _, err := s.WriteFromTo([]byte("answer"), to, from); err != nil {
		t.Error(err)
	}
	if err := peer.Wait(); err != nil || out.String() != "answer" {
		t.Errorf("the kernel's peer received %q, %v, want the answer", out.String(), err)
	}
}

func hash(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
