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
	// shows are frames of the recording, by tshark's display filter.
	shows []shown
	// fired is how often each rule did; nil: each of them once.
	fired []bounds
	// malformed is how many frames are meant to be so, by tshark's judgement.
	malformed bounds
}

// shown is how many frames match a display filter.
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
	dir, err := os.MkdirTemp("", "ip88-faults-") //nolint:usetesting // the evidence of a failure stays
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("evidence: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
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
	f.shows(t, filepath.Join(dir, capture.CaptureFile), w)
	f.tells(t, dir, w)
}

// run runs a witness's program to its end.
func (f *faultLab) run(t *testing.T, work string, w witness) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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

// shows holds the recording against tshark.
func (f *faultLab) shows(t *testing.T, path string, w witness) {
	t.Helper()
	matches := func(filter string) []string {
		out, err := tshark(t.Context(), "-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
			"-Y", filter, "-T", "fields", "-e", "frame.number", "-e", "_ws.col.Info")
		if err != nil {
			t.Errorf("%s: %v", filter, err)
		}
		return strings.Split(strings.TrimRight(out, "\n"), "\n")[:strings.Count(out, "\n")]
	}
	for _, s := range w.shows {
		if got := matches(s.filter); !s.holds(len(got)) {
			t.Errorf("tshark shows %d frames of %q, want %s: %s", len(got), s.filter, s.bounds, strings.Join(got, "; "))
		}
	}
	if got := matches("_ws.malformed"); !w.malformed.holds(len(got)) {
		t.Errorf("tshark takes %d frames for malformed, want %s: %s", len(got), w.malformed, strings.Join(got, "; "))
	}
}

// tells looks for the sentence of each rule: of the wire's in the capture, as
// tshark shows it, of the services' in the journal.
func (f *faultLab) tells(t *testing.T, dir string, w witness) {
	t.Helper()
	journal, err := os.ReadFile(filepath.Join(dir, capture.JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	comments, err := tshark(t.Context(), "-n", "-r", filepath.Join(dir, capture.CaptureFile), "-Y", "frame.comment && frame.interface_id > 0",
		"-T", "fields", "-e", "frame.interface_id", "-e", "frame.comment")
	if err != nil {
		t.Error(err)
	}
	for _, r := range w.rules {
		sentence := r.Effect().String()
		switch {
		case strings.Contains(comments, sentence):
		case !strings.HasPrefix(fmt.Sprintf("%T", r.Effect()), "impair.") && bytes.Contains(journal, jsonText(sentence)):
		default:
			t.Errorf("neither the capture nor the journal says %q; comments:\n%s", sentence, comments)
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
