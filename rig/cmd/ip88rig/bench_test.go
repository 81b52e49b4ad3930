package main

import (
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/rig/bench"
	"ip88rig/rig/report"
)

// measured makes the run that "make run" makes, and returns what it left.
func measured(b *testing.B, args ...string) (dir string, run report.Run) {
	b.Helper()
	dir = b.TempDir()
	exe := filepath.Join(dir, "ip88rig")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(b.Context(), exe, append([]string{"run", "--quiet", "--seed", "1", "--out", dir}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("ip88rig run: %v\n%s", err, out)
	}
	run, err := report.Read(filepath.Join(dir, "latest", "run.json"))
	if err != nil {
		b.Fatal(err)
	}
	return dir, run
}

// BenchmarkRun measures "make run": how long it takes, how much memory its lanes
// take together at most, and what is judged in that time. It is one run, however
// long the benchmark is told to be.
func BenchmarkRun(b *testing.B) {
	_, run := measured(b)
	specs, judgements := run.Counts()
	n, m := 0, 0
	for _, c := range specs {
		n += c
	}
	for _, c := range judgements {
		m += c
	}
	var memory int64
	var cpu time.Duration
	for _, h := range run.Handsets {
		memory += h.MaxRSS
		cpu += h.CPU
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(run.Took.Seconds(), "s")
	b.ReportMetric(cpu.Seconds(), "cpu-s")
	b.ReportMetric(float64(memory)/1e6, "MB")
	b.ReportMetric(float64(len(run.Handsets)), "handsets")
	b.ReportMetric(float64(n), "specs")
	b.ReportMetric(float64(m), "judgements")
}

// BenchmarkTimelineAgainstTshark reads one capture of a run's frames twice, as
// often as it takes to be long: into a timeline, and with tshark into fields that
// tell as much. Both read the same file, one after the other.
func BenchmarkTimelineAgainstTshark(b *testing.B) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		b.Skip("needs tshark")
	}
	dir, frames := long(b)
	// A recording has a journal; it is as good as empty here.
	file := filepath.Join(dir, capture.CaptureFile)
	args := []string{"-r", file, "-n", "-T", "fields"}
	for _, f := range []string{
		"frame.number", "frame.time_epoch", "eth.src", "eth.dst", "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport",
		"dhcp.option.dhcp", "dhcp.ip.your", "tftp.opcode", "tftp.source_file", "tftp.block", "http.request.method", "http.request.uri",
		"http.response.code", "tls.handshake.type", "tls.handshake.extensions_server_name", "tls.alert_message.desc", "ntp.flags.mode",
		"dns.qry.name", "sip.Method", "sip.Status-Code", "sip.from.user", "sip.Call-ID",
	} {
		args = append(args, "-e", f)
	}
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		n++
		from := time.Now()
		tl, err := capture.Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(from)
		if tl.Len() < frames/100 {
			b.Fatalf("%d frames, %d events", frames, tl.Len())
		}
		from = time.Now()
		cmd := exec.CommandContext(b.Context(), tshark, args...)
		cmd.Stdout = io.Discard
		if err := cmd.Run(); err != nil {
			b.Fatalf("tshark: %v", err)
		}
		theirs += time.Since(from)
	}
	rate := func(d time.Duration) float64 { return float64(n*frames) / d.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(frames), "frames")
	b.ReportMetric(rate(ours), "frames/s")
	b.ReportMetric(rate(theirs), "tshark-frames/s")
	b.ReportMetric(rate(ours)/rate(theirs), "times-tshark")
}

// long writes one recording of 100,000 frames or more: those of one handset's
// run, one spec after the other, and again.
func long(b *testing.B) (dir string, frames int) {
	b.Helper()
	out, _ := measured(b, "--handset", "ip8830")
	embedded, err := bench.Embedded()
	if err != nil {
		b.Fatal(err)
	}
	h, _ := embedded.Handset("ip8830")
	var files []string
	err = filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == capture.CaptureFile {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		b.Fatalf("no captures: %v", err)
	}
	type frame struct {
		outbound bool
		at       time.Time
		data     []byte
	}
	var all []frame
	mac := string(h.Active())
	for _, f := range files {
		err := capture.Read(f, func(iface, _ int, at time.Time, data []byte, _ []string) error {
			if iface == capture.Cable && len(data) >= 14 {
				all = append(all, frame{string(data[6:12]) != mac, at, slices.Clone(data)})
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	slices.SortStableFunc(all, func(x, y frame) int { return x.at.Compare(y.at) })
	r := capture.New(capture.Options{MACs: []string{h.Active().String()}, ServerMACs: []string{embedded.Addresses(h).ServerMAC.String()}})
	dir = filepath.Join(b.TempDir(), "long")
	if err := r.Open(dir); err != nil {
		b.Fatal(err)
	}
	whole := all[len(all)-1].at.Sub(all[0].at) + time.Second
	for shift := time.Duration(0); frames < 100_000; shift += whole {
		for _, f := range all {
			frames++
			r.Frame(capture.Cable, f.outbound, f.at.Add(shift), f.data)
		}
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	return dir, frames
}
