package capture_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
)

// tshark runs it on a capture; it must be content with the file.
func tshark(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark %q: %v: %s", args, err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user ") { // what it says to root
			t.Errorf("tshark complains: %s", line)
		}
	}
	return stdout.String()
}

func TestTsharkReadsARecording(t *testing.T) {
	r, dir := open(t, options())
	all := frames(t, "dhcp-udhcpc.pcapng")
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	long := strings.Repeat("ä", 40_000)
	r.Frame(capture.Cable, false, at, all[0].data)
	r.Frame(capture.Host, true, at.Add(1), all[1].data, "dropped by a fault; partner frame 1", "zweiter Kommentar: größer")
	r.Record(timeline.Event{At: at.Add(2), By: "power", Kind: timeline.PowerOff})
	r.Frame(capture.Cable, true, at.Add(3), all[1].data, "not\xffUTF-8", long)
	r.Frame(capture.Cable, true, at.Add(4), append(slices.Clone(all[1].data), make([]byte, 65000)...))
	r.Frame(capture.Cable, true, at.Add(5), all[3].data[:1+len(all[3].data)/4*4])
	path := filepath.Join(dir, capture.CaptureFile)
	for _, when := range []string{"while it is written", "when it is closed"} {
		t.Run(when, func(t *testing.T) {
			out := tshark(t, "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-E", "aggregator=;",
				"-e", "frame.number", "-e", "frame.interface_id", "-e", "frame.time_epoch", "-e", "frame.comment", "-e", "frame.packet_flags_direction", "-e", "frame.interface_name")
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != 6 {
				t.Fatalf("%d lines, want 6:\n%.2000s", len(lines), out)
			}
			for i, want := range []string{
				"1|0|1772366400.123456789||1|cable",
				"2|1|1772366400.123456790|dropped by a fault; partner frame 1;zweiter Kommentar: größer|2|host",
				"3|2|1772366400.123456791|power: power off|2|notes",
				"4|0|1772366400.123456792|not\uFFFDUTF-8;ää",
				"5|0|1772366400.123456793||2|cable",
				"6|0|1772366400.123456794||2|cable",
			} {
				got := strings.ReplaceAll(lines[i], "0x0000000", "")
				if !strings.HasPrefix(got, want) {
					t.Errorf("got  %.200s\nwant %s", got, want)
				}
			}
			tshark(t, "-n", "-r", path, "-V")
		})
		if when == "while it is written" {
			closed(t, r)
		}
	}
}

// segmenter turns what two ends of a pipe write into the frames of a TCP
// connection.
type segmenter struct {
	mu   sync.Mutex
	r    *capture.Recorder
	t    *testing.T
	ends [2]netip.AddrPort
	seq  [2]uint32
	at   time.Time
}

func (s *segmenter) frame(i int, set func(*layers.TCP), payload []byte) {
	src, dst := s.ends[i], s.ends[1-i]
	eth := &layers.Ethernet{SrcMAC: mustMAC(s.t, handset), DstMAC: mustMAC(s.t, server), EthernetType: layers.EthernetTypeIPv4}
	if i == 1 {
		eth.SrcMAC, eth.DstMAC = eth.DstMAC, eth.SrcMAC
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: s.seq[i], Ack: s.seq[1-i], ACK: true, Window: 65535}
	set(tcp)
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		s.t.Error(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
		s.t.Error(err)
	}
	s.seq[i] += uint32(len(payload))
	if tcp.SYN || tcp.FIN {
		s.seq[i]++
	}
	s.at = s.at.Add(time.Millisecond)
	s.r.Frame(capture.Cable, i == 1, s.at, buf.Bytes())
}

func (s *segmenter) said(i int, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part := range slices.Chunk(b, 1400) {
		s.frame(i, func(tcp *layers.TCP) { tcp.PSH = true }, part)
		s.frame(1-i, func(*layers.TCP) {}, nil)
	}
}

func mustMAC(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	mac, err := net.ParseMAC(s)
	if err != nil {
		t.Error(err)
	}
	return mac
}

type heard struct {
	net.Conn
	end int
	s   *segmenter
}

func (h heard) Write(b []byte) (int, error) {
	h.s.said(h.end, b)
	return h.Conn.Write(b)
}

// fetch downloads /<file> over TLS while it is recorded.
func fetch(t *testing.T, r *capture.Recorder, port uint16, version uint16, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"server.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := &segmenter{
		r: r, t: t, at: time.Now(), seq: [2]uint32{100, 900},
		ends: [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), port), netip.MustParseAddrPort("192.0.2.1:443")},
	}
	s.frame(0, func(tcp *layers.TCP) { tcp.SYN, tcp.ACK = true, false }, nil)
	s.frame(1, func(tcp *layers.TCP) { tcp.SYN = true }, nil)
	s.frame(0, func(*layers.TCP) {}, nil)
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() { // ends when the answer is written
		srv := tls.Server(heard{b, 1, s}, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			KeyLogWriter: r.KeyLog(), MaxVersion: version, MinVersion: tls.VersionTLS12,
		})
		done <- func() error {
			if err := srv.HandshakeContext(context.WithoutCancel(t.Context())); err != nil {
				return err
			}
			buf := make([]byte, 4096)
			if _, err := srv.Read(buf); err != nil {
				return err
			}
			if _, err := io.WriteString(srv, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
				return err
			}
			return srv.Close()
		}()
	}()
	client := tls.Client(heard{a, 0, s}, &tls.Config{InsecureSkipVerify: true, ServerName: "server.example"})
	if _, err := fmt.Fprintf(client, "GET /%s HTTP/1.1\r\nHost: server.example\r\n\r\n", file); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(client); err != nil || !strings.HasSuffix(string(body), "hello") {
		t.Fatalf("got %q, %v", body, err)
	}
	_ = a.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A closed recording shows what was encrypted, whichever version of TLS; until
// then the secrets stand beside it. Frames keep their numbers.
func TestTsharkDecrypts(t *testing.T) {
	r, dir := open(t, options())
	fetch(t, r, 4001, tls.VersionTLS12, "first.cfg")
	fetch(t, r, 4002, tls.VersionTLS13, "second.cfg")
	path := filepath.Join(dir, capture.CaptureFile)
	read := func() (all []string) {
		err := capture.Read(path, func(iface, number int, at time.Time, data []byte, comments []string) error {
			all = append(all, fmt.Sprint(iface, number, at.UnixNano(), string(data), comments))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := read()
	live := r.Timeline().Events()
	closed(t, r)
	if after := read(); !slices.Equal(before, after) {
		t.Error("frames changed when the secrets were put in")
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("the temporary file is still there")
	}
	loaded, err := capture.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	differ(t, loaded.Events()[:len(live)], live)

	out := tshark(t, "-n", "-r", path, "-Y", "http", "-T", "fields", "-e", "http.request.method", "-e", "http.request.uri", "-e", "http.response.code")
	want := http.MethodGet + "\t/first.cfg\t\n\t\t200\n" + http.MethodGet + "\t/second.cfg\t\n\t\t200\n"
	if out != want {
		t.Errorf("tshark shows %q, want %q", out, want)
	}
}
