package decode_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

var update = flag.Bool("update", false, "write what is expected of the golden captures anew")

// handset is the client's address in all golden captures.
const handset = "00:00:5e:00:53:10"

type packet struct {
	number int
	at     time.Time
	data   []byte
}

func packets(tb testing.TB, path string) []packet {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(raw), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		tb.Fatal(err)
	}
	var all []packet
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		if ci.AncillaryData[0] != layers.LinkTypeEthernet {
			tb.Fatalf("%s is not Ethernet", path)
		}
		all = append(all, packet{len(all) + 1, ci.Timestamp.UTC(), data})
	}
}

func decodeAll(frames []packet) []timeline.Event {
	d := decode.New(decode.Config{HandsetMACs: []string{handset}})
	var all []timeline.Event
	for _, p := range frames {
		all = append(all, d.Frame(decode.Cable, p.number, p.at, p.data)...)
	}
	return all
}

func goldenCaptures(tb testing.TB) []string {
	tb.Helper()
	files, err := filepath.Glob("testdata/golden/*.pcapng")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no golden captures: %v", err)
	}
	return files
}

func text(events []timeline.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%d %s", e.Frame, e.Kind)
		side := "?"
		switch handset {
		case e.SrcMAC:
			side = ">"
		case e.DstMAC:
			side = "<"
		}
		fmt.Fprintf(&b, " %s %v %v", side, e.Src, e.Dst)
		for _, part := range []struct {
			name  string
			value any
			unset bool
		}{
			{"transport", e.Transport, e.Transport == ""},
			{"file", e.File, e.File == ""},
			{"message", e.Message, e.Message == ""},
			{"number", e.Number, e.Number == 0},
			{"status", e.Status, e.Status == 0},
			{"bytes", e.Bytes, e.Bytes == 0},
			{"sha256", e.SHA256, e.SHA256 == ""},
			{"complete", e.Complete, !e.Complete},
			{"reason", e.Reason, e.Reason == ""},
		} {
			if !part.unset {
				fmt.Fprintf(&b, " %s=%v", part.name, part.value)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
			fmt.Fprintf(&b, " %s=%q", k, e.Fields[k])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, path := range goldenCaptures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := text(decodeAll(packets(t, path)))
			golden := strings.TrimSuffix(path, ".pcapng") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("events differ from %s:\n%s", golden, diff(string(want), got))
			}
			if _, err := os.Stat(strings.TrimSuffix(path, ".pcapng") + ".txt"); err != nil {
				t.Errorf("nothing says how this capture was made: %v", err)
			}
		})
	}
}

// diff shows the first lines that differ.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a, b)
		}
	}
	return ""
}

// With tags in place the same is seen.
func TestGoldenTagged(t *testing.T) {
	tags := map[string]struct {
		tag []byte
		ids string
	}{
		"one tag":                        {[]byte{0x81, 0x00, 0x20, 0x2a}, "42"},
		"priority tag only":              {[]byte{0x81, 0x00, 0xe0, 0x00}, "0"},
		"two tags":                       {[]byte{0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0x2a}, "100,42"},
		"an outer tag of before 802.1ad": {[]byte{0x91, 0x00, 0x00, 0x64, 0x81, 0x00, 0x00, 0x2a}, "100,42"},
	}
	for _, path := range goldenCaptures(t) {
		plain := packets(t, path)
		want := text(decodeAll(plain))
		for name, tc := range tags {
			t.Run(filepath.Base(path)+" with "+name, func(t *testing.T) {
				tagged := make([]packet, len(plain))
				for i, p := range plain {
					tagged[i] = packet{p.number, p.at, slices.Insert(slices.Clone(p.data), 12, tc.tag...)}
				}
				events := decodeAll(tagged)
				for i, e := range events {
					if _, isDHCP := e.Fields["dhcp.id"]; !isDHCP {
						continue
					}
					if got := e.Fields["vlan.id"]; got != tc.ids {
						t.Errorf("frame %d: vlan.id %q, want %q", e.Frame, got, tc.ids)
					}
					events[i].Fields = maps.Clone(e.Fields)
					delete(events[i].Fields, "vlan.id")
				}
				if got := text(events); got != want {
					t.Error(diff(want, got))
				}
			})
		}
	}
}
