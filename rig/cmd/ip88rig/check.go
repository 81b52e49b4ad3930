package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/preflight"
	"ip88rig/rig/report"
	"ip88rig/rig/stranger"
	"ip88rig/rig/wire"
	"ip88rig/scenarios"
)

type checkCmd struct {
	Bench     string        `help:"Bench file; without it the embedded bench of six simulated handsets." type:"path"`
	Handset   []string      `help:"Only these handsets (names of the bench file)." sep:","`
	Listen    time.Duration `help:"Give each real handset an address and nothing else, and say what it asks for, for as long as this (60s)."`
	Facts     bool          `help:"List every fact of each handset with its value, source and meaning."`
	AllowRisk []string      `help:"As of run: what would be skipped without it." enum:"lockout,brick" sep:","`
	Out       string        `help:"Folder for runs, whose disk is looked at." default:"out" type:"path"`

	probe time.Duration // how long foreign DHCP servers are waited for; 0: as long as they may take
}

// Help is what "ip88rig check --help" shows beside the flags.
func (*checkCmd) Help() string {
	return `Looks at what a run needs, and says what it would skip and why. On an interface
it sends a DISCOVER of its own, to make foreign DHCP servers show themselves.

Examples:
  ip88rig check                                 what the embedded bench needs: nothing
  ip88rig check --bench lab.yaml                before the first run
  ip88rig check --bench lab.yaml --listen 60s   power-cycle the phones now: what do they ask for?
  ip88rig check --bench lab.yaml --facts        what is assumed, what was measured

Exit codes: 0 a run may start, 2 something would stop it.`
}

// Run prints every finding.
func (c *checkCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout, preflight.Local()) }

func (c *checkCmd) run(ctx context.Context, out io.Writer, system preflight.System) error {
	b, err := loadBench(c.Bench)
	if err != nil {
		return err
	}
	handsets, err := chosen(b, c.Handset)
	if err != nil {
		return err
	}
	deviations, err := loadDeviations(b)
	if err != nil {
		return err
	}
	for _, h := range handsets {
		if _, err := loadRecord(b, h); err != nil {
			return err
		}
	}
	t := &terminal{out: out}
	t.print(fmt.Sprintf("bench %s, %d of %d handsets\n\n", b.Name, len(handsets), len(b.Handsets)))
	findings := preflight.Check(ctx, preflight.Config{Bench: b, Handsets: handsets, Out: c.Out, Probe: c.probe, System: system})
	for _, f := range findings {
		t.print(f.String() + "\n")
	}
	if ctx.Err() != nil {
		return exitError{code: report.ExitInterrupted}
	}
	t.print("\n" + c.skips(b, handsets))
	t.print(expired(b, deviations, time.Now()))
	if c.Facts {
		t.print("\n" + facts(handsets))
	}
	if preflight.Failed(findings) {
		return exitError{report.ExitUsage, errors.New("a run would not start: see the lines marked FAIL")}
	}
	if c.Listen > 0 {
		return c.listen(ctx, t, system, b, handsets)
	}
	return nil
}

// skips says what would be skipped, and why.
func (c *checkCmd) skips(b bench.Bench, handsets []bench.Handset) string {
	var out strings.Builder
	for _, h := range handsets {
		o := scenarios.Options{Lane: rig.Unopened(b, h)}
		for _, risk := range c.AllowRisk {
			o.AllowLockout = o.AllowLockout || risk == "lockout"
			o.AllowBrick = o.AllowBrick || risk == "brick"
		}
		specs, skipped := 0, 0
		var reasons []string
		rows := map[string][]string{}
		for _, d := range scenarios.Declarations(o) {
			specs++
			if d.Skip == "" {
				continue
			}
			skipped++
			if rows[d.Skip] == nil {
				reasons = append(reasons, d.Skip)
			}
			for _, r := range d.Rows {
				if !strings.Contains(strings.Join(rows[d.Skip], " "), r) {
					rows[d.Skip] = append(rows[d.Skip], r)
				}
			}
		}
		fmt.Fprintf(&out, "%s: %d specs, %d would be skipped\n", h.Name, specs, skipped)
		for _, r := range reasons {
			fmt.Fprintf(&out, "      %s: %s\n", strings.Join(rows[r], " "), r)
		}
	}
	return out.String()
}

// facts lists what is held to be true, with its source.
func facts(handsets []bench.Handset) string {
	var out strings.Builder
	for _, h := range handsets {
		fmt.Fprintf(&out, "facts of %s:\n", h.Name)
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for _, f := range h.Facts.All() {
			source := string(f.Source)
			if f.Date != "" {
				source += " " + f.Date + ", " + f.Grounds
			}
			_, _ = fmt.Fprintf(w, "  %s\t%q\t[%s]\t%s\n", f.Name, f.Value, source, f.Doc)
		}
		_ = w.Flush() // into a Builder
	}
	return out.String()
}

// listen makes first contact with the real handsets, all at once.
func (c *checkCmd) listen(ctx context.Context, t *terminal, system preflight.System, b bench.Bench, handsets []bench.Handset) error {
	var phones []bench.Handset
	for _, h := range handsets {
		if !h.Simulated {
			phones = append(phones, h)
		}
	}
	if len(phones) == 0 {
		t.print("\nnothing to listen for: every handset is simulated\n")
		return nil
	}
	t.print(fmt.Sprintf("\nlistening for %s at most: power-cycle the phones now\n", c.Listen))
	ctx, cancel := context.WithTimeout(ctx, c.Listen)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(phones))
	for i, h := range phones {
		// Ends with ctx, or when it is known what the handset wants.
		wg.Go(func() {
			port, err := openWire(system, b, h.Active(), b.Addresses(h).ServerMAC)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", h.Name, err)
				return
			}
			contact, err := preflight.FirstContact(ctx, port, b, h)
			t.print(contact.Finding().String() + "\n")
			if err != nil {
				err = fmt.Errorf("%s: %w", h.Name, err)
			}
			errs[i] = errors.Join(err, port.Close())
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openWire opens the bench's interface for frames of some stations, and for DHCP
// and ARP to everybody.
func openWire(system preflight.System, b bench.Bench, macs ...net.HardwareAddr) (wire.Port, error) {
	port, err := system.Open(b.Wire.Interface, wire.PacketOptions{MACs: append([]net.HardwareAddr{}, macs...)})
	if err != nil {
		return nil, err
	}
	if b.Wire.VLAN > 0 {
		port = wire.Tagged(port, b.Wire.VLAN, b.Wire.Priority)
	}
	return port, nil
}

// preflight looks before the first lane starts, and asks what must be asked.
func (c *runCmd) preflight(ctx context.Context, t *terminal, b bench.Bench, handsets []bench.Handset) error {
	if err := look(ctx, t, b, handsets, c.Out, c.Quiet); err != nil {
		return err
	}
	return c.askBeforeInstall(ctx, t, handsets)
}

// look prints what is not as it should be; the error says that nothing may start.
func look(ctx context.Context, t *terminal, b bench.Bench, handsets []bench.Handset, out string, quiet bool) error {
	findings := preflight.Check(ctx, preflight.Config{Bench: b, Handsets: handsets, Out: out, System: preflight.Local()})
	for _, f := range findings {
		if f.State == preflight.Fail || f.State == preflight.Warn && !quiet {
			if f.State == preflight.Warn {
				f.Text, _, _ = strings.Cut(f.Text, "\n") // check shows it all
			}
			t.print(f.String() + "\n")
		}
	}
	if ctx.Err() != nil {
		return exitError{code: report.ExitInterrupted}
	}
	if preflight.Failed(findings) {
		return exitError{report.ExitUsage, errors.New("it does not start: see the lines marked FAIL; \"ip88rig check\" shows them all")}
	}
	return nil
}

// askBeforeInstall asks before golden installs another version than the one that
// is known to run.
func (c *runCmd) askBeforeInstall(ctx context.Context, t *terminal, handsets []bench.Handset) error {
	if c.Yes {
		return nil
	}
	for _, h := range handsets {
		why, installs := preflight.Installs(h)
		if !installs {
			continue
		}
		if err := t.question(ctx, fmt.Sprintf("%s: %s. Going on installs golden on it.", h.Name, why)); errors.Is(err, errInterrupted) {
			return exitError{code: report.ExitInterrupted}
		} else if err != nil {
			return usage("%s: not installed: %v (--yes does not ask; running: in the bench entry says what runs)", h.Name, err)
		}
	}
	return nil
}

// strangers shows hosts that are not in the bench file, until ctx ends. A wire
// in memory has none.
func strangers(ctx context.Context, t *terminal, system preflight.System, b bench.Bench) error {
	if b.Wire.Memory {
		return nil
	}
	port, err := openWire(system, b)
	if err != nil {
		return fmt.Errorf("strangers: %w", err)
	}
	err = stranger.Watch(ctx, stranger.Config{
		Port: port, Known: append(stranger.Known(b), b.Wire.ExpectDHCP...), Heard: func(h stranger.Host) { t.print(strangerText(h)) },
	})
	return errors.Join(err, port.Close())
}

// hearStrangers shows strangers until the returned function is called.
func hearStrangers(ctx context.Context, t *terminal, b bench.Bench) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	// Ends by stop.
	go func() {
		defer close(done)
		if err := strangers(ctx, t, preflight.Local(), b); err != nil {
			t.print(err.Error() + "\n")
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// strangerText shows a host with the lines to paste.
func strangerText(h stranger.Host) string {
	s := "stranger  " + h.String() + "\n"
	if !h.Server {
		s += "to enter it, below \"handsets:\" of the bench file:\n" + h.Lines()
	}
	return s
}
