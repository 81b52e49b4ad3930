package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
	"ip88rig/rig/stranger"
)

// recording makes the folder of a recording with two DISCOVERs, of two hosts, and
// a note of a service.
func recording(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spec")
	r := capture.New(capture.Options{MACs: []string{"00:00:5e:00:53:30"}})
	if err := r.Open(dir); err != nil {
		t.Fatal(err)
	}
	discover, err := stranger.Discover(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, last := range []byte{0x30, 0x77} {
		mac := []byte{0, 0, 0x5e, 0, 0x53, last}
		copy(discover[6:], mac)
		copy(discover[14+20+8+28:], mac)
		discover[14+20+6], discover[14+20+7] = 0, 0 // no checksum
		r.Frame(capture.Cable, false, time.Now(), discover)
	}
	r.Record(timeline.Event{By: "dhcpd", Kind: timeline.Note, Reason: "a word of the service", Src: netip.MustParseAddrPort("192.0.2.1:67")})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTimelineShowsWhatACaptureTells(t *testing.T) {
	dir := recording(t)
	bare := t.TempDir() // the capture without its journal
	data, err := os.ReadFile(filepath.Join(dir, capture.CaptureFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		capture.CaptureFile: data, "cut.pcapng": data[:len(data)-20], "rubbish.pcapng": []byte("this is no capture at all"), "empty.pcapng": nil,
	} {
		if err := os.WriteFile(filepath.Join(bare, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		cmd   timelineCmd
		code  int
		says  []string
		not   string
		error string
	}{
		{name: "a capture", cmd: timelineCmd{File: filepath.Join(bare, capture.CaptureFile)}, says: []string{"handset: 00:00:5e:00:53:30, by DHCP\nhandset: 00:00:5e:00:53:77, by DHCP\n", "=== 00:00:5e:00:53:77", "1    0.000000  ->  DISCOVER"}, not: "a word"},
		{name: "a folder with a journal", cmd: timelineCmd{File: dir}, says: []string{"->  DISCOVER", "a word of the service"}, not: "by DHCP"},
		{name: "a folder without", cmd: timelineCmd{File: bare}, says: []string{"by DHCP", "->  DISCOVER"}},
		{name: "one host of it", cmd: timelineCmd{File: bare, MAC: []string{"00-00-5E-00-53-77"}}, says: []string{"          2 "}, not: "          1 "},
		{name: "in short", cmd: timelineCmd{File: bare, Short: true}, says: []string{"handset   ", "DISCOVER --"}, not: "from 20"},
		{name: "cut short", cmd: timelineCmd{File: filepath.Join(bare, "cut.pcapng")}, code: report.ExitInconclusive, says: []string{"DISCOVER"}, error: "cut.pcapng: cut off"},
		{name: "no capture", cmd: timelineCmd{File: filepath.Join(bare, "rubbish.pcapng")}, code: report.ExitUsage, error: "rubbish.pcapng: it is no capture"},
		{name: "an empty file", cmd: timelineCmd{File: filepath.Join(bare, "empty.pcapng")}, code: report.ExitInconclusive, error: "empty.pcapng"},
		{name: "no such file", cmd: timelineCmd{File: filepath.Join(bare, "none")}, code: report.ExitUsage, error: "none"},
		{name: "a folder with nothing in it", cmd: timelineCmd{File: t.TempDir()}, code: report.ExitUsage, error: "holds neither journal.jsonl nor capture.pcapng"},
		{name: "a wrong MAC", cmd: timelineCmd{File: bare, MAC: []string{"00:00"}}, code: report.ExitUsage, error: `"00:00" is neither a MAC address such as`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := tt.cmd.run(t.Context(), &out)
			if code(err) != tt.code || (tt.code != 0) != (err != nil) {
				t.Fatalf("got %v, code %d, want %d", err, code(err), tt.code)
			}
			if err != nil && !strings.Contains(err.Error(), tt.error) {
				t.Errorf("got %v, want %q", err, tt.error)
			}
			for _, want := range tt.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got\n%s\nwant %q", out.String(), want)
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("got\n%s\nwant no %q", out.String(), tt.not)
			}
		})
	}
}

func TestTimelineOfAKilledRecordingIsInconclusive(t *testing.T) {
	dir := recording(t)
	path := filepath.Join(dir, capture.CaptureFile)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-20); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = (&timelineCmd{File: dir}).run(t.Context(), &out)
	if code(err) != report.ExitInconclusive || !strings.Contains(out.String(), "DISCOVER") {
		t.Errorf("got %v and\n%s\nwant what is there, and code %d", err, out.String(), report.ExitInconclusive)
	}
}
