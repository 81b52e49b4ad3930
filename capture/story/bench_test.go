package story_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/story"
)

// writeDownloads makes a capture of so many frames: 50 handsets, half of which load
// files over TFTP block by block, the others over HTTP.
func writeDownloads(w io.Writer, frames int) error {
	m := newMaker(w)
	const handsets = 50
	block, body := make([]byte, 4+512), bytes.Repeat([]byte("x"), 1400)
	n := func() int { return m.frames }
	for h := range handsets {
		m.discover([6]byte{2, 0, 0, 1, 0, byte(h)})
	}
	for turn := 0; n() < frames; turn++ {
		h := turn % handsets
		mac := [6]byte{2, 0, 0, 1, 0, byte(h)}
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + h)})
		port := uint16(20000 + turn%20000)
		client := netip.AddrPortFrom(addr, port)
		if h%2 == 0 {
			server := netip.AddrPortFrom(serverAddr, 69)
			m.udp(mac, serverMAC, client, server, []byte("\x00\x01image\x00octet\x00"))
			tid := netip.AddrPortFrom(serverAddr, port)
			for i := 1; i <= 2000 && n() < frames; i++ {
				block[0], block[1], block[2], block[3] = 0, 3, byte(i>>8), byte(i)
				payload := block
				if i == 2000 {
					payload = block[:100]
				}
				m.udp(serverMAC, mac, tid, client, payload)
				m.udp(mac, serverMAC, client, tid, []byte{0, 4, byte(i >> 8), byte(i)})
			}
			continue
		}
		const syn, ack, fin, segments = 2, 16, 1, 1000
		server := netip.AddrPortFrom(serverAddr, 80)
		m.tcp(mac, serverMAC, client, server, 0, 0, syn, nil)
		m.tcp(serverMAC, mac, server, client, 0, 1, syn|ack, nil)
		get := []byte("GET /image HTTP/1.1\r\nHost: x\r\n\r\n")
		m.tcp(mac, serverMAC, client, server, 1, 1, ack, get)
		head := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", segments*len(body)))
		m.tcp(serverMAC, mac, server, client, 1, uint32(1+len(get)), ack, head)
		seq := uint32(1 + len(head))
		for i := range segments {
			m.tcp(serverMAC, mac, server, client, seq, uint32(1+len(get)), ack, body)
			if seq += uint32(len(body)); i%2 == 1 {
				m.tcp(mac, serverMAC, client, server, uint32(1+len(get)), seq, ack, nil)
			}
		}
		m.tcp(serverMAC, mac, server, client, seq, uint32(1+len(get)), fin|ack, nil)
		m.tcp(mac, serverMAC, client, server, uint32(1+len(get)), seq+1, fin|ack, nil)
	}
	m.flush()
	return m.err
}

// BenchmarkDownloads reads captures of downloads, beside tshark where it is
// installed. Memory is the most that was in use at once.
func BenchmarkDownloads(b *testing.B) {
	for _, frames := range []int{1_000_000, 10_000_000} {
		path := filepath.Join(b.TempDir(), "downloads.pcapng")
		file, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := writeDownloads(file, frames); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("ip88rig/%d", frames), func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				runtime.GC()
				c, err := story.Tell(b.Context(), path, story.Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Write(io.Discard); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(frames)/time.Since(began).Seconds(), "frames/s")
				b.ReportMetric(float64(peakMemory(b)), "MB")
			}
		})
		if _, err := exec.LookPath("tshark"); err != nil || frames > 1_000_000 {
			continue
		}
		b.Run(fmt.Sprintf("tshark/%d", frames), func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				cmd := exec.CommandContext(b.Context(), "tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number", "-e", "tftp.opcode", "-e", "http.request.uri", "-e", "dhcp.option.dhcp")
				cmd.Stdout = io.Discard
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(frames)/time.Since(began).Seconds(), "frames/s")
			}
		})
	}
}

// peakMemory is the most that this process ever had in memory, in MB.
func peakMemory(b *testing.B) int {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc")
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); err == nil {
			return kilobytes / 1000
		}
	}
	return 0
}
