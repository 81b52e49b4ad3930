package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ip88rig/capture"
	"ip88rig/capture/story"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

type timelineCmd struct {
	File  string   `arg:"" help:"A capture (pcapng or pcap, also compressed with gzip), or the folder of a recording." type:"path"`
	MAC   []string `name:"mac" help:"The handsets, by MAC or IPv4 address; without it the DHCP clients of the capture." sep:","`
	Short bool     `help:"Only what tells the story, cut in the middle when it is long."`
}

// Help is what "ip88rig timeline --help" shows beside the flags.
func (*timelineCmd) Help() string {
	return `Prints what a capture tells, one line each: frame number, seconds since the
first frame, direction ("->" from the handset), and the words of the field. It
takes captures of any program: of a mirror port, of "tcpdump -i any" on a server,
of one direction, with a snap length. Each handset has a story of its own. A
folder with a journal tells what the rig's services did, too.

Examples:
  ip88rig timeline customer.pcapng
  ip88rig timeline customer.pcapng --mac b4:0e:dc:00:11:22
  ip88rig timeline customer.pcapng --mac 192.0.2.50
  ip88rig timeline out/latest/ip8830/some-spec --short

Exit codes: 0, 2 the file cannot be read, 3 the capture ends in the middle, 130
interrupted.`
}

// Run prints the ladder.
func (c *timelineCmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout) }

func (c *timelineCmd) run(ctx context.Context, out io.Writer) error {
	info, err := os.Stat(c.File)
	if err != nil {
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	path := c.File
	if info.IsDir() {
		path = filepath.Join(c.File, capture.CaptureFile)
		_, err := os.Stat(filepath.Join(c.File, capture.JournalFile))
		if err == nil {
			return c.recording(out)
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return usage("timeline: %s holds neither %s nor %s: name the folder of one spec, or a capture", c.File, capture.JournalFile, capture.CaptureFile)
		}
	}
	return c.capture(ctx, out, path)
}

// recording shows a folder with a journal.
func (c *timelineCmd) recording(out io.Writer) error {
	tl, err := capture.Load(c.File)
	if err != nil {
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	events := tl.Events()
	lost := ""
	if n := len(events); n > 0 && events[n-1].Kind == timeline.FramesLost {
		lost = events[n-1].Reason
	}
	if len(c.MAC) > 0 {
		events = slices.DeleteFunc(events, func(e timeline.Event) bool { return e.By == timeline.Wire && !c.names(e) })
	}
	log := timeline.LogOf(events...)
	text := timeline.Text(log)
	if c.Short {
		text = timeline.Ladder(log)
	}
	if text == "" {
		text = "nothing that this program knows is in the recording\n"
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	if lost != "" {
		return exitError{report.ExitInconclusive, fmt.Errorf("timeline: %s: %s", c.File, lost)}
	}
	return nil
}

// names says whether --mac names an end of an event.
func (c *timelineCmd) names(e timeline.Event) bool {
	for _, end := range []string{e.SrcMAC, e.DstMAC, e.Src.Addr().String(), e.Dst.Addr().String()} {
		if slices.Contains(c.MAC, end) {
			return true
		}
	}
	return false
}

// capture shows a capture alone.
func (c *timelineCmd) capture(ctx context.Context, out io.Writer, path string) error {
	told, err := story.Tell(ctx, path, story.Options{Hosts: c.MAC, Brief: c.Short})
	switch {
	case errors.Is(err, context.Canceled):
		return exitError{report.ExitInterrupted, errors.New("timeline: interrupted")}
	case err != nil:
		return exitError{report.ExitUsage, fmt.Errorf("timeline: %w", err)}
	}
	if err := told.Write(out); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	if told.Truncated {
		return exitError{report.ExitInconclusive, fmt.Errorf("timeline: %s: %w: what came after that is not known", path, capture.ErrTruncated)}
	}
	return nil
}
