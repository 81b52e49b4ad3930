package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

func TestKernelFetchesFromAHostOverVeth(t *testing.T) {
	cable := netns.New(t)
	cable.Address(t, "192.0.2.2/24")
	port := cable.Open(t, wire.PacketOptions{})
	h := startOn(t, port, 1)
	body := image(4 << 20)
	from := serve(t, h, body)

	// Offloads are left on: checksums come unfinished, and super-frames.
	ping := cable.Peer(patience(t), "busybox", "ping", "-c", "20", "-i", "0.01", "-q", from.Addr().String())
	out, err := ping.CombinedOutput()
	if err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	curl := cable.Peer(patience(t), "sh", "-c", fmt.Sprintf(
		"curl -sS -w '%%{stderr}%%{time_total}' http://%s/ | sha256sum", from))
	out, err = curl.CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	sum := sha256.Sum256(body)
	if want := hex.EncodeToString(sum[:]); !strings.Contains(string(out), want) {
		t.Errorf("curl: got %s, want the hash %s", out, want)
	}
	t.Logf("curl: %s", out)
	if received, dropped := port.Stats(); received == 0 || dropped != 0 {
		t.Errorf("the port received %d and dropped %d, want many and none", received, dropped)
	}
}
