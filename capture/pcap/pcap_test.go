package pcap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/pcap"
)

// read is all frames of a file, their data and comments copied.
func read(b []byte) ([]pcap.Packet, error) {
	r, err := pcap.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var all []pcap.Packet
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		p.Data = bytes.Clone(p.Data)
		all = append(all, p)
	}
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs a program of Wireshark.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, &stderr)
	}
	return stdout.String()
}

// listed is a line for each frame, as tshark prints these fields.
func listed(all []pcap.Packet) string {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "%d\t%d.%09d\t%d\t%d\t%d\n", p.Number, p.At.Unix(), p.At.Nanosecond(), p.Length, len(p.Data), p.Interface)
	}
	return b.String()
}

// TestWiresharkReadsTheSame compares every frame's number, time, lengths and
// interface with what tshark says of the same file, in each format that editcap
// can write and this package reads.
func TestWiresharkReadsTheSame(t *testing.T) {
	// tshark takes half a second to start: one capture of each kind.
	paths := []string{}
	for _, name := range []string{"snap96.pcap", "sll.pcap", "ng-second-iface.pcapng", "ng-loopback-beside.pcapng", "ng.pcapng.gz"} {
		paths = append(paths, filepath.Join("../testdata/field", name))
	}
	dir := t.TempDir()
	for _, format := range []string{"pcap", "nsecpcap", "modpcap", "pcapng"} {
		path := filepath.Join(dir, format)
		run(t, "editcap", "-F", format, "../testdata/field/base.pcap", path)
		paths = append(paths, path)
	}
	sections := filepath.Join(dir, "sections")
	second := bytes.Clone(file(t, "../testdata/field/ng-second-iface.pcapng"))
	if err := os.WriteFile(sections, slices.Concat(file(t, filepath.Join(dir, "pcapng")), second), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, sections) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			all, err := read(file(t, path))
			if err != nil {
				t.Fatal(err)
			}
			want := run(t, "tshark", "-r", path, "-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.interface_id")
			// tshark numbers the interfaces of a file on over its sections, and names
			// none in pcap.
			got := listed(all)
			if !bytes.HasPrefix(file(t, path), []byte("\x0a\x0d\x0d\x0a")) && !strings.HasSuffix(path, ".gz") {
				got = strings.ReplaceAll(got, "\t0\n", "\t\n")
			}
			if path == sections {
				got, want = withoutLast(got), withoutLast(want)
			}
			if got != want {
				t.Errorf("we read\n%s, tshark\n%s", got, want)
			}
		})
	}
}

// withoutLast takes away the last field of each line.
func withoutLast(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(line[:strings.LastIndexByte(line, '\t')] + "\n")
	}
	return b.String()
}

// block is a pcapng block in big-endian order.
func block(kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(len(body) + 12)
	b := binary.BigEndian.AppendUint32(nil, kind)
	b = binary.BigEndian.AppendUint32(b, n)
	return binary.BigEndian.AppendUint32(append(b, body...), n)
}

func section() []byte {
	return block(0x0a0d0d0a, []byte("\x1a\x2b\x3c\x4d\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"))
}

// TestBlocksThatFewProgramsWrite reads big-endian sections with simple and obsolete
// packet blocks, units of time that are powers of two, an offset of time, and a
// block of an unknown type.
func TestBlocksThatFewProgramsWrite(t *testing.T) {
	b := section()
	// Raw IP, snap length 4, units of 1/1024 s, 1000 s to add.
	b = append(b, block(1, []byte("\x00\x65\x00\x00\x00\x00\x00\x04"+"\x00\x09\x00\x01\x8a\x00\x00\x00"+"\x00\x0e\x00\x08\x00\x00\x00\x00\x00\x00\x03\xe8"))...)
	b = append(b, block(0x80001234, []byte("who knows"))...)
	// An obsolete packet at 5.5 s.
	b = append(b, block(2, []byte("\x00\x00\x00\x07"+"\x00\x00\x00\x00\x00\x00\x16\x00"+"\x00\x00\x00\x03\x00\x00\x00\x09"+"abc\x00"+"\x00\x01\x00\x02hi\x00\x00"+"\x00\x02\x00\x04\x00\x00\x00\x02"))...)
	b = append(b, block(3, []byte("\x00\x00\x00\x06abcd"))...)
	all, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d frames, want 2", len(all))
	}
	at := time.Unix(1005, 500_000_000).UTC()
	first, second := all[0], all[1]
	if first.Number != 1 || string(first.Data) != "abc" || first.Length != 9 || !first.At.Equal(at) || first.Link != pcap.Raw ||
		!slices.Equal(first.Comments, []string{"hi"}) || first.Direction != pcap.Outbound || !first.BigEndian {
		t.Errorf("obsolete packet block: %+v", first)
	}
	if second.Number != 2 || string(second.Data) != "abcd" || second.Length != 6 || !second.At.Equal(at) {
		t.Errorf("simple packet block: %+v", second)
	}
}

// TestWhatIsWrittenIsRead reads back all that can be written.
func TestWhatIsWrittenIsRead(t *testing.T) {
	b := pcap.AppendSection(nil, "ip88rig", pcap.Interface{Name: "cable", Link: pcap.Ethernet}, pcap.Interface{Name: "notes", Link: pcap.User0})
	b = pcap.AppendTLSSecrets(b, []byte("CLIENT_RANDOM 00 00\n"))
	want := []pcap.Packet{
		{Number: 1, Link: pcap.Ethernet, At: time.Unix(1, 2).UTC(), Data: []byte("0123456789abc"), Length: 13},
		{Number: 2, Interface: 1, Link: pcap.User0, At: time.Unix(1_900_000_000, 999_999_999).UTC(), Length: 0, Data: []byte{}, Direction: pcap.Inbound, Comments: []string{"a comment", "größer"}},
		{Number: 3, Link: pcap.Ethernet, At: time.Unix(3, 0).UTC(), Data: []byte("ab"), Length: 1500, Direction: pcap.Outbound},
	}
	for _, p := range want {
		b = pcap.AppendPacket(b, p)
	}
	got, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	r, err := pcap.NewReader(bytes.NewReader(b))
	if err != nil || r.Application() != "ip88rig" {
		t.Errorf("application %q, error %v", r.Application(), err)
	}
	// However it is cut, nothing before the cut is lost and the cut is said.
	for n := 1; n < len(b); n++ {
		all, err := read(b[:n])
		for i, p := range all {
			if p.Number != want[i].Number || !bytes.Equal(p.Data, want[i].Data) {
				t.Fatalf("cut at %d: frame %d is %+v", n, i+1, p)
			}
		}
		if err != nil && !errors.Is(err, pcap.ErrTruncated) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	plain := file(t, "../testdata/field/base.pcap")
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want, err := read(plain)
	if err != nil {
		t.Fatal(err)
	}
	if listed(got) != listed(want) {
		t.Errorf("got\n%s, want\n%s", listed(got), listed(want))
	}
	if _, err := read(b.Bytes()[:b.Len()/2]); !errors.Is(err, pcap.ErrTruncated) {
		t.Errorf("a gzip file that is cut off: %v", err)
	}
}

// TestDamageIsNamed says what is wrong, and after which frame.
func TestDamageIsNamed(t *testing.T) {
	head := string(section()) + string(block(1, []byte("\x00\x01\x00\x00\x00\x00\x00\x00")))
	record := "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "cut off"},
		{"text", "%PDF-1.4", "no capture: it begins with 25 50 44 46"},
		{"snoop", "snoop\x00\x00\x00", "Sun snoop file; convert it: editcap -F pcapng"},
		{"Network Monitor", "GMBU....", "Network Monitor file; convert it: editcap -F pcapng"},
		{"zstd", "\x28\xb5\x2f\xfd....", "zstd -d"},
		{"a frame of 4 GiB", record + "\x01\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", "after frame 0: the next frame claims 4294967295 bytes"},
		{"another version of pcap", "\xd4\xc3\xb2\xa1\x03\x00" + record[6:], "pcap version 3.4"},
		{"an unknown interface", head + string(block(6, bytes.Repeat([]byte{0, 0, 0, 1}, 5))), "after frame 0: the next frame names interface 1, and the section describes 1"},
		{"a frame longer than its block", head + string(block(6, []byte(strings.Repeat("\x00", 15)+"\x05\x00\x00\x00\x05abcd"))), "claims 5 bytes"},
		{"a block of an odd length", head + "\x00\x00\x00\x06\x00\x00\x00\x0d", "the block at byte 48 claims a length of 13 bytes"},
		{"two lengths", head + "\x00\x00\x00\x09" + "\x00\x00\x00\x0c" + "\x00\x00\x00\x10", "has two lengths, 12 and 16"},
		{"no byte order", "\x0a\x0d\x0d\x0a\x00\x00\x00\x1c" + strings.Repeat("\x00", 20), "no byte order"},
		{"an option longer than its block", string(section()) + string(block(1, []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09\xff\x00"))), "option 9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := read([]byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	paths, err := filepath.Glob("../testdata/field/*.pcap*")
	if err != nil || len(paths) == 0 {
		f.Fatal("no captures", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(slices.Concat(section(), block(1, []byte("\x00\x65\x00\x00\x00\x00\x00\x04"+"\x00\x09\x00\x01\x8a\x00\x00\x00")), block(3, []byte("\x00\x00\x00\x06abcd"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _ := read(b)
		for i, p := range all {
			if p.Number != i+1 || len(p.Data) > p.Length {
				t.Errorf("frame %d: %+v", i+1, p)
			}
		}
	})
}
