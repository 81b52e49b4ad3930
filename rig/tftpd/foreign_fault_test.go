package tftpd_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// TestForeignClientsUnderFaults holds the journal against what clients that
// nobody here wrote make of a fault.
func TestForeignClientsUnderFaults(t *testing.T) {
	t.Parallel()
	const size = 3000
	busybox := func(port, to string) []string {
		return []string{"tftp", "-b", "1000", "-g", "-r", "own", "-l", to, "127.0.0.1", port}
	}
	curl := func(port, to string) []string {
		return []string{"-sS", "-m", "20", "--tftp-blksize", "1000", "-o", to, "tftp://127.0.0.1:" + port + "/own"}
	}
	atftp := func(port, to string) []string {
		return []string{"--option", "blksize 1000", "--get", "-r", "own", "-l", to, "127.0.0.1", port}
	}
	hpa := func(port, to string) []string {
		return []string{"-m", "binary", "127.0.0.1", port, "-c", "get", "own", to}
	}
	for _, c := range []struct {
		name, tool string
		args       func(port, to string) []string
		rule       fault.Rule
		want       []byte // nil: the client gives up
	}{
		{"a flipped bit is not noticed", "busybox", busybox, fault.On("own").During("block 2").Do(tftpd.FlipBit{Byte: 5, Bit: 3}).Once(), changed(size, 1005, 8)},
		{"a flipped bit is not noticed", "curl", curl, fault.On("own").During("block 2").Do(tftpd.FlipBit{Byte: 5, Bit: 3}).Once(), changed(size, 1005, 8)},
		{"a block cut short ends the file", "curl", curl, fault.On("own").During("block 2").Do(tftpd.Resize{To: 10}).Once(), content(size)[:1010]},
		{"a block cut short ends the file", "atftp", atftp, fault.On("own").During("block 2").Do(tftpd.Resize{To: 10}).Once(), content(size)[:1010]},
		{"a block from another port changes nothing", "atftp", atftp, fault.On("own").During("block 2").Do(tftpd.FromOtherPort{Besides: true}).Once(), content(size)},
		{"a block from another port changes nothing", "busybox", busybox, fault.On("own").During("block 2").Do(tftpd.FromOtherPort{}).Once(), content(size)},
		{"options ignored", "busybox", busybox, fault.On("own").Do(tftpd.IgnoreOptions{}).Once(), content(size)},
		{"options ignored", "curl", curl, fault.On("own").Do(tftpd.IgnoreOptions{}).Once(), content(size)},
		{"a larger blksize than asked is refused", "curl", curl, fault.On("OACK").Do(tftpd.Offer{Options: "blksize=2000"}).Once(), nil},
		{"blocks come twice", "tftp", hpa, fault.On("DATA").Do(tftpd.Duplicate{Copies: 1}), content(size)},
		{"a disk is full in the middle", "tftp", hpa, fault.On("DATA").During("block 3").Do(tftpd.Fail{Code: tftpd.DiskFull, Text: "full"}), nil},
	} {
		t.Run(c.tool+": "+c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skipf("needs %s: %v", c.tool, err)
			}
			b := newBench(t)
			b.files["own"] = content(size)
			b.faults.Add(c.rule)
			port, end := b.onLoopback()
			to := filepath.Join(t.TempDir(), "got")
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, failed := exec.CommandContext(ctx, c.tool, c.args(strconv.Itoa(port), to)...).CombinedOutput()
			if c.want != nil {
				b.awaitN(timeline.Served, 1)
			}
			end() // a client that gave up may not have said so
			e := b.served()
			if n := b.faults.Ledger()[0].Fired; n == 0 {
				t.Errorf("%q never fired", c.rule)
			}
			if c.want == nil {
				if e.Complete {
					t.Errorf("journal has %+v, want it broken off; the client says (%v) %s", e, failed, out)
				}
				return
			}
			got, err := os.ReadFile(to)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%v: got %d bytes, want %d: %v %s", err, len(got), len(c.want), failed, out)
			}
			if !e.Complete || e.Bytes != int64(len(got)) || e.SHA256 != hashOf(got) {
				t.Errorf("journal has %+v, want %d bytes complete with hash %s", e, len(got), hashOf(got))
			}
		})
	}
}
