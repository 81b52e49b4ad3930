package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

type timelineCmd struct {
	File  string   `arg:"" help:"A capture (pcapng or pcap), or the folder of a recording." type:"path"`
	MAC   []string `name:"mac" help:"The handset's MACs; without it the DHCP clients of the capture." sep:","`
	Short bool     `help:"Only what tells the story, cut in the middle when it is long."`
}

// Help is what "ip88rig timeline --help" shows beside the flags.
func (*timelineCmd) Help() string {
	return `Prints what a capture tells, one line each: frame number, seconds, direction
("->" from the handset), and the words of the field. It takes captures of any
program. A folder with a journal tells what the rig's services did, too.

Examples:
  ip88rig timeline customer.pcapng
  ip88rig timeline customer.pcapng --mac b4:0e:dc:00:11:22
  ip88rig timeline out/latest/ip8830/some-spec --short

Exit codes: 0, 2 the file cannot be read, 3 the capture ends in the middle.`
}

// Run prints the ladder.
func (c *timelineCmd) Run() error { return c.run(os.Stdout) }

func (c *timelineCmd) run(out io.Writer) error {
	var macs []string
	for _, s := range c.MAC {
		mac, err := net.ParseMAC(s)
		if err != nil || len(mac) != 6 {
			return usage("--mac %q is not a MAC address such as b4:0e:dc:00:11:22", s)
		}
		macs = append(macs, mac.String())
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	path := c.File
	if info.IsDir() {
		path = filepath.Join(c.File, capture.CaptureFile)
		_, err := os.Stat(filepath.Join(c.File, capture.JournalFile))
		if err == nil {
			return c.recording(out, macs)
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return usage("timeline: %s holds neither %s nor %s: name the folder of one spec, or a capture", c.File, capture.JournalFile, capture.CaptureFile)
		}
	}
	return c.capture(out, path, macs)
}

// recording shows a folder with a journal.
func (c *timelineCmd) recording(out io.Writer, macs []string) error {
	tl, err := capture.Load(c.File)
	if err != nil {
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	if err := c.print(out, tl.Events(), macs); err != nil {
		return err
	}
	if events := tl.Events(); len(events) > 0 && events[len(events)-1].Kind == timeline.FramesLost {
		return exitError{report.ExitInconclusive, fmt.Errorf("timeline: %s: %s", c.File, events[len(events)-1].Reason)}
	}
	return nil
}

// capture shows a capture alone.
func (c *timelineCmd) capture(out io.Writer, path string, macs []string) error {
	whose := macs
	if len(whose) == 0 {
		found, err := clients(path)
		if err != nil && !errors.Is(err, capture.ErrTruncated) {
			return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
		}
		whose = found
		switch len(found) {
		case 0:
			_, _ = fmt.Fprintln(out, "no DHCP client is in the capture: any host may be the handset (--mac names it)")
		default:
			_, _ = fmt.Fprintf(out, "handset: %s, by DHCP\n", strings.Join(found, ", "))
		}
	}
	tl := timeline.New(timeline.Config{HandsetMACs: whose})
	dec := decode.New(decode.Config{HandsetMACs: whose})
	err := capture.Read(path, func(iface, number int, at time.Time, data []byte, _ []string) error {
		for _, e := range dec.Frame(iface, number, at, data) {
			tl.Add(e)
		}
		return nil
	})
	if err != nil && !errors.Is(err, capture.ErrTruncated) {
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	if printed := c.print(out, tl.Events(), macs); printed != nil {
		return printed
	}
	if err != nil {
		return exitError{report.ExitInconclusive, fmt.Errorf("timeline: %w: what came after that is not known", err)}
	}
	return nil
}

// clients are the MACs that ask for addresses, in the order of their first word.
func clients(path string) ([]string, error) {
	var macs []string
	dec := decode.New(decode.Config{})
	err := capture.Read(path, func(iface, number int, at time.Time, data []byte, _ []string) error {
		for _, e := range dec.Frame(iface, number, at, data) {
			if (e.Kind == timeline.DHCPDiscover || e.Kind == timeline.DHCPRequest) && !slices.Contains(macs, e.SrcMAC) {
				macs = append(macs, e.SrcMAC)
			}
		}
		return nil
	})
	return macs, err
}

func (c *timelineCmd) print(out io.Writer, events []timeline.Event, macs []string) error {
	if len(macs) > 0 {
		events = slices.DeleteFunc(slices.Clone(events), func(e timeline.Event) bool {
			return e.By == timeline.Wire && !slices.Contains(macs, e.SrcMAC) && !slices.Contains(macs, e.DstMAC)
		})
	}
	log := timeline.LogOf(events...)
	text := timeline.Text(log)
	if c.Short {
		text = timeline.Ladder(log)
	}
	if text == "" {
		text = "nothing that this program knows is in the capture\n"
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}
