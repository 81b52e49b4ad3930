package tftpd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/tftpd"
)

// onLoopback serves on a kernel socket, for clients that nobody here wrote.
func (b *bench) onLoopback() (port int, end func()) {
	b.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.t.Fatal(err)
	}
	_, end = b.start(func(c *tftpd.Config) {
		c.Conn = conn
		c.Transfer = func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenUDP("udp4", &net.UDPAddr{IP: local.AsSlice()})
		}
	})
	addr, _ := conn.LocalAddr().(*net.UDPAddr)
	return addr.Port, end
}

func TestForeignClients(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{
		"empty": {}, "511": content(511), "512": content(512), "513": content(513), "1MiB": content(1 << 20),
		"33MiB": content(65537*512 + 1), "75000blocks": content(600_000),
	}
	small := []string{"empty", "511", "512", "513", "1MiB"}
	filled := small[1:] // curl 7.88 cannot end an empty file: "getpeername() failed with errno 107"
	for _, c := range []struct {
		name  string
		tool  string
		args  func(port, file, to string) []string
		files []string
		want  string // options in the journal, %d is the size
	}{
		{"tftp-hpa", "tftp", func(port, file, to string) []string {
			return []string{"-m", "binary", "127.0.0.1", port, "-c", "get", file, to}
		}, append(slices.Clone(small), "33MiB"), ""},
		{"busybox", "busybox", func(port, file, to string) []string {
			return []string{"tftp", "-g", "-r", file, "-l", to, "127.0.0.1", port}
		}, append(slices.Clone(small), "33MiB"), "tsize=%d"},
		{"busybox with blksize", "busybox", func(port, file, to string) []string {
			return []string{"tftp", "-b", "1428", "-g", "-r", file, "-l", to, "127.0.0.1", port}
		}, small, "blksize=1428 tsize=%d"},
		{"curl", "curl", func(port, file, to string) []string {
			return []string{"-sS", "-o", to, "tftp://127.0.0.1:" + port + "/" + file}
		}, filled, "tsize=%d blksize=512 timeout=6"},
		{"curl with blksize", "curl", func(port, file, to string) []string {
			return []string{"-sS", "--tftp-blksize", "65464", "-o", to, "tftp://127.0.0.1:" + port + "/" + file}
		}, append(slices.Clone(filled), "33MiB"), "tsize=%d blksize=65464 timeout=6"},
		{"atftp", "atftp", func(port, file, to string) []string {
			return []string{"--get", "-r", file, "-l", to, "127.0.0.1", port}
		}, small, ""},
		{"atftp with all options", "atftp", func(port, file, to string) []string {
			return []string{"--option", "tsize", "--option", "timeout 2", "--option", "blksize 1428", "--option", "windowsize 8", "--get", "-r", file, "-l", to, "127.0.0.1", port}
		}, append(slices.Clone(small), "33MiB"), "tsize=%d timeout=2 blksize=1428 windowsize=8"},
		{"atftp with windows past block 65535", "atftp", func(port, file, to string) []string {
			return []string{"--option", "blksize 8", "--option", "windowsize 16", "--get", "-r", file, "-l", to, "127.0.0.1", port}
		}, []string{"75000blocks"}, "blksize=8 windowsize=16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skipf("needs %s: %v", c.tool, err)
			}
			for _, file := range c.files {
				t.Run(file, func(t *testing.T) {
					t.Parallel()
					if testing.Short() && file == "33MiB" {
						t.Skip("33 MiB take seconds; run without -short")
					}
					b := newBench(t)
					b.files = files
					port, end := b.onLoopback()
					to := filepath.Join(t.TempDir(), "got")
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					out, err := exec.CommandContext(ctx, c.tool, c.args(strconv.Itoa(port), file, to)...).CombinedOutput()
					if err != nil {
						t.Fatalf("%s: %v: %s", c.tool, err, out)
					}
					got, err := os.ReadFile(to)
					if err != nil && (len(files[file]) > 0 || !errors.Is(err, os.ErrNotExist)) {
						t.Fatalf("%v: %s", err, out)
					}
					if !bytes.Equal(got, files[file]) {
						t.Fatalf("got %d bytes that differ from the %d of the file: %s", len(got), len(files[file]), out)
					}
					b.await(timeline.Served)
					end()
					e := b.served()
					if !e.Complete || e.Bytes != int64(len(got)) || e.SHA256 != hashOf(got) {
						t.Errorf("journal has %+v, want %d bytes complete", e, len(got))
					}
					want := c.want
					if strings.Contains(want, "%d") {
						want = fmt.Sprintf(want, len(got))
					}
					if e.Fields["options"] != want {
						t.Errorf("journal has options %q, want %q", e.Fields["options"], want)
					}
					if odd := b.of(timeline.ServiceOddity); odd != nil {
						t.Errorf("oddities: %+v", odd)
					}
				})
			}
		})
	}
}

func TestForeignClientsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tool   string
		args   []string // PORT is replaced
		code   string
		output string
	}{
		{"tftp", []string{"127.0.0.1", "PORT", "-c", "get", "nothing", "/dev/null"}, "1", "file not found"},
		{"tftp", []string{"127.0.0.1", "PORT", "-c", "put", "/etc/hostname", "own"}, "2", "nothing can be written here"},
		{"curl", []string{"-sS", "tftp://127.0.0.1:PORT/secret"}, "2", ""},
		{"busybox", []string{"tftp", "-g", "-r", "../x", "-l", "/dev/null", "127.0.0.1", "PORT"}, "2", `".." in the file name`},
	} {
		t.Run(c.tool+" "+c.code, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(c.tool); err != nil {
				t.Skipf("needs %s: %v", c.tool, err)
			}
			b := newBench(t)
			port, end := b.onLoopback()
			args := make([]string, 0, len(c.args))
			for _, a := range c.args {
				args = append(args, strings.ReplaceAll(a, "PORT", strconv.Itoa(port)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, _ := exec.CommandContext(ctx, c.tool, args...).CombinedOutput()
			b.await(timeline.Served)
			end()
			// A client that had no processor for a while asks again.
			for _, e := range b.of(timeline.Served) {
				if e.Complete || e.Fields["tftp.error.code"] != c.code {
					t.Errorf("journal has %+v, want ERROR %s", e, c.code)
				}
			}
			if !strings.Contains(string(out), c.output) {
				t.Errorf("%s says %q, want %q", c.tool, out, c.output)
			}
		})
	}
}

func TestForeignClientAsksForNetascii(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tftp"); err != nil {
		t.Skipf("needs tftp-hpa: %v", err)
	}
	b := newBench(t)
	b.files["own"] = bytes.Repeat([]byte("[LAN]\nnetwork_mode dhcp\n;\r odd\r\n"), 100)
	port, end := b.onLoopback()
	to := filepath.Join(t.TempDir(), "got")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tftp", "-m", "ascii", "127.0.0.1", strconv.Itoa(port), "-c", "get", "own", to).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.await(timeline.Served)
	end()
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.files["own"]) {
		t.Errorf("got %d bytes that differ from the %d of the file", len(got), len(b.files["own"]))
	}
	if e := b.served(); e.Fields["tftp.type"] != "netascii" || !e.Complete || e.Bytes <= int64(len(got)) {
		t.Errorf("journal has %+v, want more bytes than the file's %d", e, len(got))
	}
}
