package capture_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
)

const (
	handset = "00:00:5e:00:53:10"
	server  = "00:00:5e:00:53:01"
	golden  = "decode/testdata/golden/"
)

func options() capture.Options {
	return capture.Options{MACs: []string{handset}, ServerMACs: []string{server}}
}

func open(t *testing.T, opts capture.Options) (r *capture.Recorder, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spec")
	r = capture.New(opts)
	if err := r.Open(dir); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

func closed(t *testing.T, r *capture.Recorder) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
}

type packet struct {
	at   time.Time
	data []byte
}

// frames reads a golden capture.
func frames(tb testing.TB, name string) []packet {
	tb.Helper()
	var all []packet
	err := capture.Read(golden+name, func(_, _ int, at time.Time, data []byte, _ []string) error {
		all = append(all, packet{at, slices.Clone(data)})
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(all) == 0 {
		tb.Fatalf("%s holds nothing", name)
	}
	return all
}

func fromHandset(p packet) bool { return p.data[11] == 0x10 }

func differ(t *testing.T, got, want []timeline.Event) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
			var a, b any = "nothing", "nothing"
			if i < len(got) {
				a = got[i]
			}
			if i < len(want) {
				b = want[i]
			}
			t.Fatalf("event %d of %d and %d:\ngot  %+v\nwant %+v", i+1, len(got), len(want), a, b)
		}
	}
}

// What is folded live and what the two files say is the same, however frames
// and entries interleave.
func TestLoadEqualsLive(t *testing.T) {
	var all []packet
	for _, name := range []string{"dhcp-udhcpc.pcapng", "tftp.pcapng", "http.pcapng", "tls.pcapng", "sip.pcapng"} {
		all = append(all, frames(t, name)...)
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			r, dir := open(t, options())
			for _, p := range all {
				for rnd.IntN(4) == 0 {
					r.Record(entry(rnd))
				}
				if rnd.IntN(20) == 0 {
					r.Frame(capture.Notes, true, p.at, nil, "link down")
				}
				if rnd.IntN(20) == 0 {
					r.Frame(capture.Host, false, p.at, p.data, "dropped")
				}
				r.Frame(capture.Cable, !fromHandset(p), p.at.In(time.FixedZone("here", 3600)), p.data)
			}
			if seed%2 == 0 {
				closed(t, r)
			}
			live := r.Timeline().Events()
			loaded, err := capture.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			differ(t, loaded.Events(), live)
			if len(live) < len(all)/2 {
				t.Errorf("%d events of %d frames prove little", len(live), len(all))
			}
			facts := 0
			for _, e := range live {
				if e.Kind == timeline.Fetched {
					facts++
				}
			}
			if facts == 0 {
				t.Error("nothing was derived")
			}
			if seed%2 != 0 {
				closed(t, r)
			}
		})
	}
}

// entry makes up something that a service might say, also what it should not.
func entry(rnd *rand.Rand) timeline.Event {
	e := timeline.Event{By: "tftpd", Kind: timeline.Served, File: "image", Bytes: int64(rnd.IntN(9)), Complete: rnd.IntN(2) == 0}
	switch rnd.IntN(9) {
	case 6:
		e = timeline.Event{By: "power", Kind: timeline.PowerOff}
	case 7:
		e = timeline.Event{Kind: timeline.Verb, Message: "a \xff\nverb", Number: rnd.IntN(9)}
	case 8:
		e = timeline.Event{By: "link", Kind: timeline.FaultFired, Reason: strings.Repeat("the cable is unplugged; ", 2000)}
	case 0:
		e.File, e.Reason = "bad \xff\xfe name", "<html> & \u2028 \x00"
		e.Fields = map[string]string{"a\xff": "1", "b": "\xf0"}
	case 1:
		e.Src, e.Dst = netip.MustParseAddrPort("192.0.2.10:68"), netip.AddrPortFrom(netip.Addr{}, 80)
	case 2:
		e.At = time.Date(2026, 3, 1, 12, 0, 0, 999, time.FixedZone("x", -7200))
		e.Fields = map[string]string{}
	case 3:
		e.At = time.Date(12026, 3, 1, 12, 0, 0, 0, time.UTC)
	case 4:
		e.Frame, e.After, e.Seq = 1<<30, 77, 5
	case 5:
		e.Src = netip.MustParseAddrPort("[fe80::1%eth0]:69")
	}
	return e
}

func TestRecordFindsTheFrame(t *testing.T) {
	r, _ := open(t, options())
	defer closed(t, r)
	all := frames(t, "tftp.pcapng")
	var rrq int
	for _, p := range all[:20] {
		n := r.Frame(capture.Cable, !fromHandset(p), p.at, p.data)
		if n == 3 {
			rrq = n
		}
	}
	phone := r.Timeline().Events()
	var asked timeline.Event
	for _, e := range phone {
		if e.Kind == timeline.TFTPRead {
			asked = e
		}
	}
	for _, test := range []struct {
		name string
		dst  netip.AddrPort
		want int
	}{
		{"both ends known", asked.Dst, rrq},
		{"a service bound to any address", netip.AddrPortFrom(netip.IPv4Unspecified(), 69), rrq},
		{"an IPv4-mapped address", netip.AddrPortFrom(netip.AddrFrom16(asked.Dst.Addr().As16()), 69), rrq},
		{"no such flow", netip.AddrPortFrom(asked.Dst.Addr(), 70), 0},
		{"the last of all its flows", netip.AddrPort{}, 19},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.Record(timeline.Event{By: "tftpd", Kind: timeline.Note, Src: asked.Src, Dst: test.dst})
			events := r.Timeline().Events()
			e := events[len(events)-1]
			if e.Frame != test.want || e.After != 20 || e.At.IsZero() {
				t.Errorf("frame %d after %d at %v, want frame %d after 20", e.Frame, e.After, e.At, test.want)
			}
		})
	}
}

// What the rig did to the handset stands between the frames too, as comments.
func TestControlActionsStandInTheCapture(t *testing.T) {
	end := netip.MustParseAddrPort("192.0.2.10:2001")
	for _, test := range []struct {
		name  string
		entry timeline.Event
		note  string // blank: none
	}{
		{"power off", timeline.Event{By: "power", Kind: timeline.PowerOff}, "power: power off"},
		{"power on", timeline.Event{By: "power", Kind: timeline.PowerOn}, "power: power on"},
		{"link down", timeline.Event{By: "wire", Kind: timeline.LinkDown, Reason: "by fault"}, "wire: link down by fault"},
		{"link up", timeline.Event{By: "link", Kind: timeline.LinkUp}, "link: link up"},
		{"a question", timeline.Event{By: "operator", Kind: timeline.OperatorAsked, Message: "menu"}, "operator: operator asked menu"},
		{"its answer", timeline.Event{By: "operator", Kind: timeline.OperatorDone, Message: "menu"}, "operator: operator done menu"},
		{"a verb", timeline.Event{By: "scenario", Kind: timeline.Verb, Message: "power cycle", Number: 2}, "scenario: verb power cycle"},
		{"a fault that no frame shows", timeline.Event{By: "link", Kind: timeline.FaultFired, Reason: "the cable is cut"}, "link: fault the cable is cut"},
		{"a fault of a frame", timeline.Event{By: "dhcpd", Kind: timeline.FaultFired, Frame: 1, Reason: "no OFFER"}, "dhcpd: fault no OFFER (after frame 1)"},
		{"a fault of a flow", timeline.Event{By: "tftpd", Kind: timeline.FaultFired, Src: end, Reason: "silent"}, "tftpd: fault silent"},
		{"a fault of the wire on a frame, whose comment it is", timeline.Event{By: timeline.Impair, Kind: timeline.FaultFired, Frame: 1, Src: end, Reason: "loses it"}, ""},
		{"a fault of the wire without a frame", timeline.Event{By: timeline.Impair, Kind: timeline.FaultFired, Reason: "link down"}, timeline.Impair + ": fault link down"},
		{"a file served", timeline.Event{By: "tftpd", Kind: timeline.Served, File: "a", Src: end}, ""},
		{"free text", timeline.Event{By: "rig", Kind: timeline.Note, Reason: "x"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, dir := open(t, options())
			p := frames(t, "tftp.pcapng")[2]
			r.Frame(capture.Cable, false, p.at, p.data)
			test.entry.At = p.at.Add(time.Second)
			r.Record(test.entry)
			r.Frame(capture.Cable, false, p.at.Add(2*time.Second), p.data)
			closed(t, r)
			var got []string
			err := capture.Read(filepath.Join(dir, capture.CaptureFile), func(iface, n int, at time.Time, data []byte, comments []string) error {
				if iface == capture.Notes {
					if n != 2 || !at.Equal(test.entry.At) || len(data) > 0 {
						t.Errorf("note %d at %v holds %d bytes", n, at, len(data))
					}
					got = append(got, comments...)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want, frame, after := []string(nil), test.entry.Frame, 1
			if test.note != "" {
				want, after = []string{test.note}, 2
				if frame == 0 {
					frame = 2
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("notes %q, want %q", got, want)
			}
			loaded, err := capture.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			differ(t, loaded.Events(), r.Timeline().Events())
			told := 0
			for _, e := range loaded.Events() {
				if e.Kind == test.entry.Kind && e.By == test.entry.By {
					told++
					if e.Frame != frame || e.After != after {
						t.Errorf("the entry is of frame %d after %d, want %d after %d", e.Frame, e.After, frame, after)
					}
				}
			}
			if told != 1 {
				t.Errorf("told %d times, want once", told)
			}
		})
	}
}

// From one folder to the next nothing is lost, and each stands for itself.
func TestRotation(t *testing.T) {
	root := t.TempDir()
	r := capture.New(options())
	if err := r.Open(filepath.Join(root, "0")); err != nil {
		t.Fatal(err)
	}
	var all []packet
	for _, name := range []string{"dhcp-udhcpc.pcapng", "http.pcapng", "tftp.pcapng"} {
		all = append(all, frames(t, name)...)
	}
	var sent sync.WaitGroup
	count, enough := 0, make(chan struct{})
	sent.Go(func() { // ends when enough is closed
		for ; ; count++ {
			select {
			case <-enough:
				return
			default:
			}
			p := all[count%len(all)]
			if r.Frame(capture.Cable, !fromHandset(p), p.at, p.data) == 0 {
				t.Error("a frame was not recorded")
			}
		}
	})
	lives := []*timeline.Timeline{r.Timeline()}
	for i := 1; i < 5; i++ {
		for r.Frames() < 50 {
			r.Tick(time.Now())
		}
		if err := r.Open(filepath.Join(root, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		lives = append(lives, r.Timeline())
	}
	close(enough)
	sent.Wait()
	closed(t, r)
	var again [][]byte
	for i, live := range lives {
		dir := filepath.Join(root, fmt.Sprint(i))
		err := capture.Read(filepath.Join(dir, capture.CaptureFile), func(_, _ int, _ time.Time, data []byte, _ []string) error {
			again = append(again, slices.Clone(data))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := capture.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		differ(t, loaded.Events(), live.Events())
		events := live.Events()
		if events[0].Kind != timeline.CarriedState || events[0].After != 0 || events[0].Seq != 1 {
			t.Errorf("recording %d begins with %+v", i, events[0])
		}
		if last := events[len(events)-1]; last.Kind != timeline.Note || !live.Watermark().IsZero() && last.At.IsZero() {
			t.Errorf("recording %d ends with %+v", i, last)
		}
	}
	if len(again) != count {
		t.Fatalf("%d frames in the files, %d were handed over", len(again), count)
	}
	for i := range again {
		if !slices.Equal(again[i], all[i%len(all)].data) {
			t.Fatalf("frame %d differs", i+1)
		}
	}
}

func TestLeaseIsCarriedOver(t *testing.T) {
	root := t.TempDir()
	r := capture.New(options())
	if err := r.Open(filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	all := frames(t, "dhcp-udhcpc.pcapng")
	for _, p := range all[:4] {
		r.Frame(capture.Cable, !fromHandset(p), p.at, p.data)
	}
	if err := r.Open(filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	// The DISCOVER of a later exchange, while the lease is held.
	r.Frame(capture.Cable, false, all[9].at, all[9].data)
	closed(t, r)
	loaded, err := capture.Load(filepath.Join(root, "b"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []timeline.Kind
	for _, e := range loaded.Events() {
		kinds = append(kinds, e.Kind)
	}
	if want := []timeline.Kind{timeline.CarriedState, timeline.DHCPDiscover, timeline.Rebooted, timeline.Note}; !slices.Equal(kinds, want) {
		t.Errorf("got %q, want %q", kinds, want)
	}
}

func TestNilRecorder(t *testing.T) {
	var r *capture.Recorder
	if n := r.Frame(0, false, time.Now(), []byte("x")); n != 0 {
		t.Errorf("frame %d, want 0", n)
	}
	r.Record(timeline.Event{})
	r.Tick(time.Now())
	if _, err := r.KeyLog().Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(r.Open("nowhere"), r.Close(), r.Err()); err != nil || r.Frames() != 0 || r.Timeline() != nil {
		t.Errorf("%v, %d frames", err, r.Frames())
	}
}

func TestNothingIsRecordedBeforeOpenAndAfterClose(t *testing.T) {
	r := capture.New(options())
	p := frames(t, "tftp.pcapng")[2]
	if n := r.Frame(0, false, p.at, p.data); n != 0 {
		t.Errorf("frame %d before Open", n)
	}
	r.Record(timeline.Event{By: "x", Kind: timeline.Note})
	dir := filepath.Join(t.TempDir(), "a")
	if err := r.Open(dir); err != nil {
		t.Fatal(err)
	}
	closed(t, r)
	closed(t, r)
	if n := r.Frame(0, false, p.at, p.data); n != 0 {
		t.Errorf("frame %d after Close", n)
	}
	if err := capture.New(options()).Open(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("a recording written over: %v", err)
	}
	for _, name := range []string{capture.CaptureFile, capture.JournalFile, capture.KeysFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want it readable by its owner only", name, info.Mode(), err)
		}
	}
}

// A process that is killed leaves whole blocks and lines, but for the last.
func TestCutAnywhere(t *testing.T) {
	r, dir := open(t, options())
	all := frames(t, "dhcp-udhcpc.pcapng")[:5]
	ends := []int{}
	path := filepath.Join(dir, capture.CaptureFile)
	size := func() int {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	ends = append(ends, size())
	for _, p := range all {
		r.Frame(capture.Cable, true, p.at, p.data, "a comment")
		ends = append(ends, size()) // handed to the operating system at once
	}
	closed(t, r)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(filepath.Join(dir, capture.JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) != ends[len(ends)-1] {
		t.Fatalf("the capture grew from %d to %d bytes without a frame", ends[len(ends)-1], len(whole))
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.Mkdir(cut, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(cut, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n := range len(whole) + 1 {
		write(capture.CaptureFile, whole[:n])
		want := 0
		for _, end := range ends[1:] {
			if n >= end {
				want++
			}
		}
		got := 0
		err := capture.Read(filepath.Join(cut, capture.CaptureFile), func(_, number int, _ time.Time, data []byte, comments []string) error {
			if number != got+1 || !slices.Equal(data, all[got].data) || !slices.Equal(comments, []string{"a comment"}) {
				t.Errorf("cut at %d: frame %d differs", n, number)
			}
			got++
			return nil
		})
		// A frame whose closing length is missing may be read.
		if unclosed := got == want+1 && n+4 >= ends[got]; got != want && !unclosed {
			t.Errorf("cut at %d of %d: %d frames read, want %d", n, len(whole), got, want)
		}
		if clean := slices.Contains(ends, n); err != nil && !errors.Is(err, capture.ErrTruncated) || clean && err != nil {
			t.Errorf("cut at %d: %v (between blocks: %v)", n, err, clean)
		}
	}
	write(capture.CaptureFile, whole)
	for n := range len(journal) + 1 {
		write(capture.JournalFile, journal[:n])
		tl, err := capture.Load(cut)
		if err != nil {
			t.Fatalf("journal cut at %d: %v", n, err)
		}
		events := tl.Events()
		clean := n == 0 || journal[n-1] == '\n'
		if lost := events[len(events)-1].Kind == timeline.FramesLost; lost == clean {
			t.Errorf("journal cut at %d: ends with %s", n, events[len(events)-1].Kind)
		}
	}
	// A capture that is shorter than the journal says.
	write(capture.JournalFile, journal)
	write(capture.CaptureFile, whole[:ends[3]])
	tl, err := capture.Load(cut)
	if err != nil {
		t.Fatal(err)
	}
	events := tl.Events()
	if e := events[len(events)-1]; e.Kind != timeline.FramesLost || !strings.Contains(e.Reason, "the journal names frame 5, the capture ends with 3") {
		t.Errorf("got %+v", e)
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ name, data, want string }{
		{"text", "hello, this is no capture at all", "text"},
		{"empty", "", "cut off within a block"},
	} {
		path := filepath.Join(dir, test.name)
		if err := os.WriteFile(path, []byte(test.data), 0o600); err != nil {
			t.Fatal(err)
		}
		err := capture.Read(path, func(int, int, time.Time, []byte, []string) error { return nil })
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file and %q", test.name, err, test.want)
		}
	}
	stop := errors.New("enough")
	if err := capture.Read(golden+"tftp.pcapng", func(int, int, time.Time, []byte, []string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the callback's error", err)
	}
}

// The old format is read too.
func TestReadPcap(t *testing.T) {
	data := frames(t, "tftp.pcapng")[2].data
	b := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, 1000)
	b = binary.LittleEndian.AppendUint32(b, 5)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	path := filepath.Join(t.TempDir(), "old.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := capture.Read(path, func(iface, number int, at time.Time, got []byte, _ []string) error {
		n++
		if iface != 0 || number != 1 || !at.Equal(time.Unix(1000, 5000)) || !slices.Equal(got, data) {
			t.Errorf("interface %d frame %d at %v", iface, number, at)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d frames, %v", n, err)
	}
}

// A disk that is full: the first error stays, frames are no longer recorded,
// and the timeline says so.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	p := frames(t, "tftp.pcapng")[2]
	for _, name := range []string{capture.CaptureFile, capture.JournalFile, capture.KeysFile} {
		t.Run(name, func(t *testing.T) {
			r, dir := open(t, options())
			if n := r.Frame(capture.Cable, false, p.at, p.data); n != 1 {
				t.Fatalf("frame %d, want 1", n)
			}
			capture.Fill(r, name)
			switch name {
			case capture.CaptureFile:
				if n := r.Frame(capture.Cable, false, p.at, p.data); n != 0 {
					t.Errorf("frame %d, want 0", n)
				}
			case capture.JournalFile:
				r.Record(timeline.Event{By: "x", Kind: timeline.Note})
			case capture.KeysFile:
				if _, err := io.WriteString(r.KeyLog(), "CLIENT_RANDOM"); err != nil {
					t.Errorf("the handshake is told: %v", err)
				}
			}
			first := r.Err()
			if first == nil || !strings.Contains(first.Error(), "no space left") {
				t.Fatalf("Err is %v", first)
			}
			if n := r.Frame(capture.Cable, false, p.at, p.data); n != 0 || r.Frames() != 1 {
				t.Errorf("frame %d after the error, %d in all", n, r.Frames())
			}
			lost := 0
			for _, e := range r.Timeline().Events() {
				if e.Kind == timeline.FramesLost {
					lost++
				}
			}
			if lost != 1 {
				t.Errorf("%d FramesLost, want 1", lost)
			}
			if err := r.Close(); err == nil || r.Err() == nil || r.Err().Error() != first.Error() {
				t.Errorf("Close: %v; Err: %v, want %v", err, r.Err(), first)
			}
			if name == capture.JournalFile {
				return
			}
			tl, err := capture.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			events := tl.Events()
			if e := events[len(events)-1]; e.Kind != timeline.FramesLost || e.Number == 0 && name == capture.CaptureFile {
				t.Errorf("the recording ends with %+v", e)
			}
		})
	}
}

func TestTick(t *testing.T) {
	var mu sync.Mutex
	wall, elapsed := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), time.Duration(0)
	opts := options()
	opts.Settle = 10 * time.Millisecond
	opts.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return wall }
	opts.Elapsed = func() time.Duration { mu.Lock(); defer mu.Unlock(); return elapsed }
	r, dir := open(t, opts)
	for _, step := range []struct {
		wall, elapsed time.Duration
		stepped       int
	}{
		{100 * time.Millisecond, 100 * time.Millisecond, 0},
		{100 * time.Millisecond, 100*time.Millisecond + 900*time.Microsecond, 0},
		{100 * time.Millisecond, 100*time.Millisecond + 200*time.Microsecond, 1}, // adds up
		{time.Hour, 100 * time.Millisecond, 2},
		{100 * time.Millisecond, 100 * time.Millisecond, 2},
		{-time.Second, 100 * time.Millisecond, 3},
		{100 * time.Millisecond, 100 * time.Millisecond, 3},
	} {
		mu.Lock()
		wall, elapsed = wall.Add(step.wall), elapsed+step.elapsed
		now := wall
		mu.Unlock()
		before := r.Timeline().Watermark()
		r.Tick(now)
		got := 0
		for _, e := range r.Timeline().Events() {
			if e.Kind == timeline.ClockStepped {
				got++
			}
		}
		if got != step.stepped {
			t.Errorf("at %v: %d steps told, want %d", now, got, step.stepped)
		}
		want := now.Add(-opts.Settle)
		if want.Before(before) {
			want = before
		}
		if w := r.Timeline().Watermark(); !w.Equal(want) {
			t.Errorf("watermark %v, want %v", w, want)
		}
	}
	closed(t, r)
	tl, err := capture.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	differ(t, tl.Events(), r.Timeline().Events())
}

// The usual clock is steady enough not to be called a step.
func TestTickOfTheRealClock(t *testing.T) {
	r, _ := open(t, options())
	defer closed(t, r)
	for range 20_000 {
		r.Tick(time.Now())
	}
	for _, e := range r.Timeline().Events() {
		if e.Kind == timeline.ClockStepped {
			t.Errorf("%s", e.Reason)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	all := frames(b, "tftp.pcapng")
	r := capture.New(options())
	if err := r.Open(filepath.Join(b.TempDir(), "x")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		p := all[n%len(all)]
		r.Frame(capture.Cable, !fromHandset(p), p.at, p.data)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "frames/s")
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}

func TestTimeInWhichNobodyRanIsNoQuiet(t *testing.T) {
	now := time.Now()
	r := capture.New(capture.Options{Now: func() time.Time { return now }, Settle: 20 * time.Millisecond, Pace: 20 * time.Millisecond})
	if err := r.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	r.Tick(now)
	began := r.Timeline().Watermark()
	now = now.Add(time.Second)
	for i, want := range []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond} {
		r.Tick(now)
		if got := r.Timeline().Watermark().Sub(began); got != want {
			t.Errorf("after %d ticks behind a second's stall the watermark has moved by %v, want %v", i+1, got, want)
		}
	}
	for range 60 {
		r.Tick(now)
	}
	if got := r.Timeline().Watermark().Sub(began); got != time.Second {
		t.Errorf("it ends at %v, want 1s", got)
	}
}

// In virtual time what comes together is written at each step of a scenario.
func TestGathered(t *testing.T) {
	p := frames(t, "tftp.pcapng")[2]
	opts := options()
	opts.Instant = true
	r, dir := open(t, opts)
	r.Frame(capture.Cable, false, p.at, p.data)
	written := func() int {
		tl, err := capture.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(slices.Clone(tl.Events()), func(e timeline.Event) bool { return e.By != timeline.Wire }))
	}
	r.Record(timeline.Event{By: "scenario", Kind: timeline.Verb, Message: "one"})
	if n := written(); n != 1 {
		t.Errorf("%d events of the wire are written at a verb, want 1", n)
	}
	r.Frame(capture.Cable, false, p.at, p.data)
	r.Record(timeline.Event{By: "scenario", Kind: timeline.Judgement})
	if n := written(); n != 2 {
		t.Errorf("%d events of the wire are written at a judgement, want 2", n)
	}
	for range 1000 {
		r.Frame(capture.Cable, false, p.at, p.data)
	}
	if n := written(); n < 500 || n == 1002 {
		t.Errorf("%d of 1002 events of the wire are written meanwhile", n)
	}
	closed(t, r)
	if n := written(); n != 1002 {
		t.Errorf("%d events of the wire are written in the end, want 1002", n)
	}
}

func TestDiskFullWhileGathering(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	p := frames(t, "tftp.pcapng")[2]
	opts := options()
	opts.Instant = true
	r, dir := open(t, opts)
	capture.Fill(r, capture.CaptureFile)
	r.Frame(capture.Cable, false, p.at, p.data)
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Err is %v", err)
	}
	if err := r.Close(); err == nil {
		t.Error("Close knows of no error")
	}
	tl, err := capture.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	events := tl.Events()
	if e := events[len(events)-1]; e.Kind != timeline.FramesLost {
		t.Errorf("the recording ends with %+v", e)
	}
}
