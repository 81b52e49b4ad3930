package capture

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

func FuzzRead(f *testing.F) {
	small, err := os.ReadFile("decode/testdata/golden/ntp-dns.pcapng")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	r := New(Options{})
	dir := filepath.Join(f.TempDir(), "x")
	if err := r.Open(dir); err != nil {
		f.Fatal(err)
	}
	r.Frame(Cable, true, time.Unix(1, 2), []byte("0123456789abcd"), "a comment", "another")
	r.Frame(Notes, true, time.Unix(1, 3), nil, "power off")
	if _, err := r.KeyLog().Write([]byte("CLIENT_RANDOM 00 00\n")); err != nil {
		f.Fatal(err)
	}
	if err := r.Close(); err != nil {
		f.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(dir, CaptureFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add(own[:len(own)-5])
	f.Add([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00ab"))
	f.Fuzz(func(t *testing.T, data []byte) {
		calls := 0
		err := readFrom(bytes.NewReader(data), func(_, n int, _ time.Time, frame []byte, comments []string) error {
			calls++
			if n != calls {
				t.Errorf("frame %d is called %d", calls, n)
			}
			if len(frame) > len(data) && !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
				t.Errorf("a frame of %d bytes in a file of %d", len(frame), len(data))
			}
			_ = comments
			return nil
		})
		if err == nil && len(data) == 0 {
			t.Error("an empty file is a capture")
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add(`{"at":"2026-03-01T12:00:00.000000001Z","after":3,"frame":2,"by":"tftpd","kind":"served","src":"192.0.2.10:4001","file":"a\u2028","fields":{"x":"y"}}` + "\n")
	f.Add(`{"by":"x","kind":"note"}` + "\n" + `{"by":"x","kind":"note","after":1}`)
	f.Add("{}\n")
	f.Add(`{"by":"x","kind":"note","after":1,"frame":2}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		var events []timeline.Event
		err := ReadJournal(strings.NewReader(text), func(e timeline.Event) error {
			events = append(events, e)
			return nil
		})
		if err == nil && text != "" && !strings.HasSuffix(text, "\n") {
			t.Error("an unfinished line was passed over")
		}
		after := 0
		for _, e := range events {
			if e.After < after || e.Frame > e.After {
				t.Errorf("entry of frame %d after %d behind %d", e.Frame, e.After, after)
			}
			after = e.After
			// What was read can be written, and is read again as it is.
			if e.At.Year() < 1 || e.At.Year() > 9999 {
				continue
			}
			line, again, err := marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			twice, err := unmarshal(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if !reflect.DeepEqual(again, twice) {
				t.Errorf("written %+v\nread    %+v", again, twice)
			}
		}
	})
}

func TestReadJournal(t *testing.T) {
	const good = `{"at":"2026-03-01T12:00:00Z","after":1,"by":"x","kind":"note"}` + "\n"
	for _, test := range []struct {
		name, text string
		entries    int
		want       string
	}{
		{"entries", good + good, 2, ""},
		{"nothing", "", 0, ""},
		{"an unfinished line", good + good[:20], 1, "line 2: cut off within"},
		{"no JSON", good + "hello\n", 1, "line 2: invalid character"},
		{"no kind", `{"by":"x"}` + "\n", 0, "line 1: an entry needs kind and by"},
		{"an entry before its frame", `{"by":"x","kind":"note","after":1,"frame":2}` + "\n", 0, "line 1: entry of frame 2 after frame 1"},
		{"out of order", good + `{"by":"x","kind":"note","after":0}` + "\n", 1, "line 2: an entry after frame 0 follows one after frame 1"},
		{"a line without end", strings.Repeat("x", maxLine+8192), 0, "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			err := ReadJournal(strings.NewReader(test.text), func(timeline.Event) error { n++; return nil })
			if n != test.entries || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d entries, %v; want %d, %q", n, err, test.entries, test.want)
			}
			if unfinished := strings.HasPrefix(test.name, "an unfinished"); errors.Is(err, ErrTruncated) != unfinished {
				t.Errorf("%v is ErrTruncated: %v", err, !unfinished)
			}
		})
	}
}
