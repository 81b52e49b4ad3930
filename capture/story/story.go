// Package story reads a capture of any program and reports what happened to
// each handset in it. It reads the capture twice: first to find out who the
// handsets are and how the capture was taken (by a mirror port that copies frames,
// on a server whose network card fills in checksums, with a snap length, of one
// direction only), then for what happened. What it keeps in memory depends on the
// handsets and their stories, not on the number of frames.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"ip88rig/capture/decode"
	"ip88rig/capture/pcap"
	"ip88rig/capture/timeline"
)

// MaxHandsets is how many handsets of one capture get a story; of more, there is a
// list.
const MaxHandsets = 50

// Capture is what was found in a capture.
type Capture struct {
	// Handsets in the order of their first frames.
	Handsets []Handset
	// Notes say how the capture was taken, and what of it is not read.
	Notes []string
	// Truncated: the file ends within a frame.
	Truncated bool
}

// Handset is one handset of a capture.
type Handset struct {
	// Name is its MAC, or its IPv4 address where the capture does not have the MAC.
	Name string
	// How it is known, and through which relay it asked.
	How   string
	Addrs []string
	// Story is nil in a capture of more than MaxHandsets.
	Story *timeline.Story
	// Missing says which direction is not in the capture.
	Missing string
}

// application is what the rig names itself in its recordings.
const application = "ip88rig"

// Tell reads the capture at path. It ends early with ctx. The error names the file,
// the frame before the trouble, and what to do where that is known.
func Tell(ctx context.Context, path string, o Options) (*Capture, error) {
	s := newSurvey()
	c := &Capture{}
	err := read(ctx, path, s, func(p pcap.Packet, frame []byte, length int) { s.frame(p, frame, length) })
	switch {
	case errors.Is(err, pcap.ErrTruncated):
		c.Truncated = true
	case err != nil:
		return nil, err
	}
	s.settle(o)
	handsets := s.order
	if len(o.Hosts) > 0 {
		handsets = nil
		for _, text := range o.Hosts {
			h, err := s.named(text)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(handsets, h) {
				handsets = append(handsets, h)
			}
		}
	}
	t := &telling{survey: s, stories: map[string]*timeline.Story{}, all: len(handsets) <= 1 && len(o.Hosts) == 0, gaps: map[string]bool{}}
	for _, h := range handsets {
		found := Handset{Name: h.name(), How: h.how, Missing: s.missing(h)}
		if h.relay.IsValid() {
			found.How += ", through relay " + h.relay.String()
		}
		for _, a := range h.addrs {
			found.Addrs = append(found.Addrs, a.String())
		}
		if len(handsets) <= MaxHandsets {
			found.Story = timeline.NewStory(s.first, []string{h.mac.String()}, o.Brief)
			t.stories[h.mac.String()] = found.Story
			t.macs = append(t.macs, h.mac.String())
			t.gaps[h.mac.String()] = found.Missing != ""
		}
		c.Handsets = append(c.Handsets, found)
	}
	if len(handsets) == 0 {
		t.anybody = timeline.NewStory(s.first, nil, o.Brief)
		c.Handsets = append(c.Handsets, Handset{Story: t.anybody})
	}
	if len(handsets) <= MaxHandsets {
		if err := t.tell(ctx, path); err != nil && !errors.Is(err, pcap.ErrTruncated) {
			return nil, err
		}
	}
	c.Notes = t.notes()
	return c, nil
}

// read calls fn for each frame of a capture that can be read, in the form that it
// has on Ethernet.
func read(ctx context.Context, path string, s *survey, fn func(p pcap.Packet, frame []byte, length int)) (err error) {
	file, err := os.Open(path) //nolint:gosec // G304: to read the file that is named is what this is for
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := pcap.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var buffer []byte
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if p.Number%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.own = r.Application() == application
		if s.own && p.Interface != decode.Cable {
			continue
		}
		frame, length, ok := ethernet(p, buffer)
		if !ok {
			s.links[p.Link]++
			continue
		}
		if p.Link != pcap.Ethernet {
			buffer = frame
		}
		fn(p, frame, length)
	}
}

// telling is the second reading.
type telling struct {
	survey  *survey
	decoder *decode.Decoder
	macs    []string
	stories map[string]*timeline.Story
	anybody *timeline.Story // where no handset is known
	all     bool            // the only story holds what others say, too
	gaps    map[string]bool // of whom one direction is missing
	copies  int
}

func (t *telling) tell(ctx context.Context, path string) error {
	cfg := decode.Config{HandsetMACs: t.macs}
	mirrored := map[sender]*traffic{}
	if !t.survey.own {
		cfg.UnfilledChecksums = t.survey.unfilled()
		mirrored = t.survey.mirrored()
	}
	t.survey.links = map[pcap.LinkType]int{}
	// The MACs of those whose checksums are not verified may be put in their frames.
	for i, text := range cfg.UnfilledChecksums {
		m, err := parseMAC(text)
		if err != nil {
			return err
		}
		for a, h := range t.survey.owners {
			if h.mac != m && t.survey.asked[a] != nil && t.survey.asked[a].mac == m {
				cfg.UnfilledChecksums[i] = text
				cfg.UnfilledChecksums = append(cfg.UnfilledChecksums, h.mac.String())
			}
		}
	}
	t.decoder = decode.New(cfg)
	var buffer []byte
	return read(ctx, path, t.survey, func(p pcap.Packet, frame []byte, length int) {
		if v, ok := look(frame, length); ok {
			if recent := mirrored[v.sender()]; recent != nil && recent.copied(v.sum(t.survey.seed), p.Number, p.At) {
				t.copies++
				return
			}
			changed := t.survey.canon(v, frame, buffer)
			if len(changed) > 0 && len(frame) > 0 && &changed[0] != &frame[0] {
				buffer = changed
			}
			frame = changed
		}
		for _, e := range t.decoder.Packet(p.Number, p.At, frame, length) {
			t.event(e)
		}
	})
}

func (t *telling) event(e timeline.Event) {
	if t.anybody != nil {
		t.anybody.Add(e)
		return
	}
	from, to := t.stories[e.SrcMAC], t.stories[e.DstMAC]
	if e.Kind == timeline.TCPGap && (t.gaps[e.SrcMAC] || t.gaps[e.DstMAC]) {
		return // the handset's note says it
	}
	switch {
	case from != nil:
		from.Add(e)
		if to != nil && to != from {
			to.Add(e)
		}
	case to != nil:
		to.Add(e)
	case t.all:
		for _, s := range t.stories {
			s.Add(e)
		}
	}
}

// notes say how the capture was taken.
func (t *telling) notes() []string {
	s := t.survey
	var notes []string
	say := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if s.cut > 0 {
		say("the capture keeps %d bytes of each frame (snap length): %s cut by the capture, which is nobody's fault", s.kept, count(s.cut, "frame"))
	}
	if !s.own {
		if macs := s.unfilled(); len(macs) > 0 {
			say("the checksums of %s were not filled in yet when its frames were captured (the network card does that): they are not verified", strings.Join(macs, ", "))
		}
	}
	if t.copies > 0 {
		say("each frame is twice in the capture (mirror port): %s left out", count(t.copies, "copy"))
	}
	links := make([]string, 0, len(s.links))
	for link, n := range s.links {
		links = append(links, unread(n, "link type "+link.String()))
	}
	if t.decoder != nil {
		for what, n := range t.decoder.Unread() {
			links = append(links, unread(n, what))
		}
	}
	slices.Sort(links)
	return append(notes, links...)
}

// unread says how many frames are of something that is not read.
func unread(n int, of string) string {
	if n == 1 {
		return "1 frame of " + of + " is not read"
	}
	return fmt.Sprintf("%d frames of %s are not read", n, of)
}

// count is "1 frame is", "2 frames are".
func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what + " is"
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies are", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// Write writes the whole of it: the handsets, the notes, and each story.
func (c *Capture) Write(to io.Writer) error {
	var b strings.Builder
	known := 0
	for _, h := range c.Handsets {
		if h.Name != "" {
			known++
		}
	}
	switch {
	case known == 0:
		b.WriteString("no handset is known in the capture: any host may be it (--mac names it, by MAC or IPv4 address)\n")
	case known > MaxHandsets:
		fmt.Fprintf(&b, "%d handsets: --mac names those whose stories are told; the first %d are\n", known, MaxHandsets)
	}
	for i, h := range c.Handsets {
		if h.Name == "" || i >= MaxHandsets {
			continue
		}
		fmt.Fprintf(&b, "handset: %s, %s", h.Name, h.How)
		if len(h.Addrs) > 0 && h.Addrs[0] != h.Name {
			fmt.Fprintf(&b, ", at %s", strings.Join(h.Addrs, ", "))
		}
		b.WriteByte('\n')
	}
	for _, note := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if _, err := io.WriteString(to, b.String()); err != nil {
		return err
	}
	for _, h := range c.Handsets {
		if h.Story == nil {
			continue
		}
		if err := h.write(to, known > 1); err != nil {
			return err
		}
	}
	return nil
}

func (h Handset) write(to io.Writer, headed bool) error {
	head := ""
	if headed {
		head = "\n=== " + h.Name + "\n"
	}
	if h.Missing != "" {
		head += "note: " + h.Missing + "\n"
	}
	if h.Story.Empty() {
		head += "nothing that this program knows is in the capture\n"
	}
	if _, err := io.WriteString(to, head); err != nil || h.Story.Empty() {
		return err
	}
	return h.Story.Write(to)
}
