package tftpc

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestForeignServer reads from servers that nobody here wrote.
func TestForeignServer(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	for name, body := range map[string][]byte{"small": []byte("hello"), "empty": nil, "big": big} {
		if err := os.WriteFile(filepath.Join(root, name), body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, peer := range []struct {
		name string
		args func(port string) []string
	}{
		{"dnsmasq", func(string) []string {
			return []string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--tftp-root=" + root, "--user=root", "--listen-address=127.0.0.1", "--bind-interfaces", "--tftp-port-range=40000,41000", "--pid-file="}
		}},
		// Debian's atftpd and tftpd-hpa exclude each other: ATFTPD may name one
		// that was unpacked by hand.
		{"atftpd", func(port string) []string {
			program := os.Getenv("ATFTPD")
			if program == "" {
				program = "atftpd"
			}
			return []string{program, "--daemon", "--no-fork", "--user", "root", "--bind-address", "127.0.0.1", "--port", port, root}
		}},
	} {
		t.Run(peer.name, func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("needs root")
			}
			port := "20069"
			if peer.name == "dnsmasq" {
				port = "69" // it knows no other
				c, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:69")
				if err != nil {
					t.Skipf("port 69: %v", err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			args := peer.args(port)
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skip(err)
			}
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Config{
				Listen: func(ctx context.Context) (net.PacketConn, error) {
					return new(net.ListenConfig).ListenPacket(ctx, "udp4", "127.0.0.1:0")
				},
				Server: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(number)), Timeout: 200 * time.Millisecond, Tries: 25,
			}
			for _, list := range []string{"", "tsize blksize=1428"} {
				options, err := ParseOptions(list)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Options = options
				for name, want := range map[string][]byte{"small": []byte("hello"), "empty": nil, "big": big} {
					got, err := Get(t.Context(), cfg, name)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("options %q: %s: got %d bytes and %v, want %d", list, name, len(got), err, len(want))
					}
				}
				_, err = Get(t.Context(), cfg, "missing")
				if refused, ok := errors.AsType[*ServerError](err); !ok || refused.Code != FileNotFound {
					t.Errorf("options %q: missing: got %v, want error 1", strings.TrimSpace(list), err)
				}
			}
		})
	}
}
