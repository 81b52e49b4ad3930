//go:build linux && interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/pki"
	"ip88rig/rig/publish"
	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// witness is a fault and who sees it: a program that nobody here wrote, tshark
// in the recording, or both.
type witness struct {
	name  string
	rules []fault.Rule
	// given prepares the lane, at happens while the program runs; both may be nil.
	given func(l *rig.Lane) error
	at    func(ctx context.Context, f *faultLab) error
	// run is a line for bash in the namespace of the programs. $SERVER, $SECOND,
	// $HANDSET and $NAME are the lane's addresses and name, $CA is a file with its
	// authority, $FIXTURES the folder of interop fixtures; it runs in a folder of
	// its own that holds the published files, each with ".orig" behind its name.
	run string
	// code is what it ends with, says what its output matches.
	code int
	says string
	// shows are frames of the recording, by tshark's display filter, and cable those
	// of a recording of interface 0 alone, where the wire is what is at fault.
	shows, cable []shown
	// fired is how often each rule did; nil: each of them once.
	fired []bounds
	// malformed is how many frames are meant to be so, by tshark's judgement.
	malformed bounds
}

// shown is how many frames match a display filter, in which no comma may stand.
type shown struct {
	filter string
	bounds
}

// bounds are bounds, both included.
type bounds struct{ from, to int }

func exactly(n int) bounds { return bounds{n, n} }
func atLeast(n int) bounds { return bounds{n, 1 << 30} }

func (c bounds) holds(n int) bool { return c.from <= n && n <= c.to }

func (c bounds) String() string {
	if c.from == c.to {
		return strconv.Itoa(c.from)
	}
	return fmt.Sprintf("%d to %d", c.from, c.to)
}

// faultLab is a lane of the rig in this process, and a namespace for programs on
// the other end of its cable.
type faultLab struct {
	cable  *netns.Cable
	lane   *rig.Lane
	dir    string
	env    []string
	serial int
}

// The files that are published. All of plainFile is one letter, so that what a
// fault does to it shows.
const (
	plainFile = "plain.bin"
	otherFile = "other.bin"
	bigFile   = "big.bin"
)

func publishedFiles() []publish.File {
	return []publish.File{
		{Name: plainFile, Content: bytes.Repeat([]byte("a"), 3000)},
		{Name: otherFile, Content: bytes.Repeat([]byte("b"), 2000)},
		{Name: bigFile, Content: bytes.Repeat([]byte("big"), 50_000)},
	}
}

// newFaultLab opens a lane on a cable. addressed gives the programs' end the
// handset's address, which otherwise DHCP must bring.
func newFaultLab(t *testing.T, addressed bool) *faultLab {
	t.Helper()
	dir := folder(t)
	fixtures, err := filepath.Abs("../../fixtures/interop")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(fixtures, "faults.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f := &faultLab{cable: netns.New(t), dir: dir}
	b, err := bench.Parse("faults.yaml", bytes.ReplaceAll(text, []byte("@PEER@"), []byte(f.cable.PeerName())), dir)
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := rig.LoadAuthorities(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	h := b.Handsets[0]
	a := b.Addresses(h)
	f.ip(t, "link", "set", netns.PeerEnd, "address", h.MAC.String())
	if addressed {
		f.cable.Address(t, a.Prefix.String())
	}
	f.lane, err = rig.Open(t.Context(), rig.Config{
		Bench: b, Handset: h, Seed: 1, Authorities: authorities,
		Port: f.cable.Open(t, wire.PacketOptions{MACs: []net.HardwareAddr{h.MAC, a.ServerMAC}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.lane.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := f.lane.Tree.Replace(publishedFiles()); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "authority.pem")
	if err := os.WriteFile(ca, f.lane.AuthorityPEM(pki.A), 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = append(os.Environ(), "SERVER="+a.Server.String(), "SECOND="+a.Second.String(), "HANDSET="+a.Handset.String(), "NAME="+a.Name,
		"CA="+ca, "FIXTURES="+fixtures, "IFACE="+netns.PeerEnd)
	return f
}

func (f *faultLab) ip(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"-n", f.cable.PeerName()}, args...)
	if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// try has the programs meet a witness's faults, in a recording of their own, and
// holds against it what they said and what tshark shows.
func (f *faultLab) try(t *testing.T, w witness) {
	t.Helper()
	f.serial++
	dir := filepath.Join(f.dir, fmt.Sprintf("%03d", f.serial))
	work := filepath.Join(dir, "work")
	if err := f.lane.OpenRecording(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range publishedFiles() {
		if err := os.WriteFile(filepath.Join(work, file.Name+".orig"), file.Content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.lane.Reset()
	if w.given != nil {
		if err := w.given(f.lane); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.rules {
		if err := f.lane.Inject(r); err != nil {
			t.Fatal(err)
		}
	}
	said, code := f.run(t, work, w)
	f.lane.Settle(t.Context())
	ledger := f.lane.Calm()
	f.lane.Settle(t.Context())
	troubles := f.lane.Troubles()
	if err := f.lane.CloseRecording(filepath.Join(f.dir, "between")); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("evidence: %s; the programs said, exit code %d:\n%s\ntimeline:\n%s", dir, code, tail(said, 30), tail(f.lane.LastText(), 40))
		}
	}()

	if code != w.code {
		t.Errorf("exit code %d, want %d", code, w.code)
	}
	if !regexp.MustCompile(w.says).MatchString(said) {
		t.Errorf("the programs do not say %q", w.says)
	}
	for _, trouble := range troubles {
		t.Errorf("trouble of the rig: %s", trouble)
	}
	if len(ledger) != len(w.rules) {
		t.Errorf("%d lines in the ledger, want %d", len(ledger), len(w.rules))
	}
	for i, line := range ledger {
		want := exactly(1)
		if i < len(w.fired) {
			want = w.fired[i]
		}
		if !want.holds(line.Fired) || line.Fired == 0 {
			t.Errorf("%q fired %d times, want %s", line.Rule, line.Fired, want)
		}
	}
	f.shows(t, dir, w, ledger)
	f.tells(t, dir, ledger)
}

// run runs a witness's program to its end.
func (f *faultLab) run(t *testing.T, work string, w witness) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := f.cable.Peer(ctx, "bash", "-c", w.run)
	var out bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = work, f.env, &out, &out
	// A group of its own, so that nothing it started outlives it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acted error
	if w.at != nil {
		acted = w.at(ctx, f)
	}
	err := cmd.Wait()
	_ = kill() // what is left of the group, mostly nothing
	if acted != nil {
		t.Error(acted)
	}
	if ctx.Err() != nil {
		t.Errorf("the programs did not end: %v", ctx.Err())
		return out.String(), -1
	}
	return out.String(), exitCode(t, err)
}

// shows holds the recording against tshark, and the sentences of the faults, which
// stand in it as comments: those of the wire at frames, those of services as notes.
func (f *faultLab) shows(t *testing.T, dir string, w witness, ledger []fault.Count) {
	t.Helper()
	whole := filepath.Join(dir, capture.CaptureFile)
	// What TCP sends again and overlaps is sound.
	malformed := shown{"_ws.malformed && !_ws.malformed.reassembly", w.malformed}
	var told []shown
	for i, r := range w.rules {
		if impair.Kinds().Has(r.Effect()) {
			// A comma ends a filter where tshark counts.
			sentence, _, _ := strings.Cut(r.Effect().String(), ",")
			told = append(told, shown{fmt.Sprintf("frame.interface_id > 0 && frame.comment contains %q", sentence), atLeast(1)})
			continue
		}
		sentence, _, _ := strings.Cut(ledger[i].Rule.String(), ",")
		w.shows = append(w.shows, shown{fmt.Sprintf("frame.interface_id == 2 && frame.comment contains %q", sentence), atLeast(1)})
	}
	if told == nil {
		holds(t, whole, append(w.shows, malformed))
		return
	}
	holds(t, whole, append(w.shows, told...))
	// What the host sent and what the handset was handed are two witnesses of one
	// connection, and tshark would take them for one.
	cable := filepath.Join(dir, "cable.pcapng")
	if _, err := tshark(t.Context(), "-n", "-r", whole, "-Y", "frame.interface_id == 0", "-w", cable); err != nil {
		t.Fatal(err)
	}
	holds(t, cable, append(w.cable, malformed))
}

// holds has tshark count the frames that match each filter, in one go.
func holds(t *testing.T, path string, shows []shown) {
	t.Helper()
	read := []string{"-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}
	stat := "io,stat,0"
	for _, s := range shows {
		stat += "," + s.filter
	}
	out, err := tshark(t.Context(), append(read, "-q", "-z", stat)...)
	if err != nil {
		t.Errorf("%s: %v", stat, err)
		return
	}
	// The row of the only interval: its bounds, frames and bytes of each filter, and
	// blanks where a filter is wider than all of these. A single frame has none.
	_, row, counted := strings.Cut(out, " <> ")
	row, _, _ = strings.Cut(row, "\n")
	columns := strings.Split(row, "|")
	if counted && len(columns) < 2*len(shows)+2 {
		t.Errorf("tshark counts %d filters in %d columns:\n%s", len(shows), len(columns), out)
		return
	}
	for i, s := range shows {
		if counted {
			n, err := strconv.Atoi(strings.TrimSpace(columns[1+2*i]))
			if err != nil {
				t.Error(err)
			}
			if s.holds(n) {
				continue
			}
		}
		list, err := tshark(t.Context(), append(read, "-Y", s.filter)...)
		if n := strings.Count(list, "\n"); err != nil || counted || !s.holds(n) {
			t.Errorf("tshark shows %d frames of %q, want %s: %v\n%s", n, s.filter, s.bounds, err, list)
		}
	}
}

// tells looks for the sentence of each rule that fired in the journal.
func (f *faultLab) tells(t *testing.T, dir string, ledger []fault.Count) {
	t.Helper()
	journal, err := os.ReadFile(filepath.Join(dir, capture.JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range ledger {
		if !bytes.Contains(journal, jsonText(line.Rule.String())) {
			t.Errorf("the journal does not say %q", line.Rule)
		}
	}
}

// jsonText is text as it stands within a JSON string.
func jsonText(text string) []byte {
	return []byte(strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`))
}

// listening waits until a program beside the handset listens at a UDP port.
func (f *faultLab) listening(ctx context.Context, port int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := f.cable.Peer(ctx, "cat", "/proc/net/udp").Output()
		if err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
		if bytes.Contains(out, fmt.Appendf(nil, ":%04X 00000000:0000", port)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("nobody listens at port %d: %w", port, ctx.Err())
		}
	}
}
