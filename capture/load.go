package capture

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

// Recording is a recording that was read.
type Recording struct {
	Timeline *timeline.Timeline
	// Frames is the number of its last frame.
	Frames int
	// About is what was said of it when it was opened: see Recorder.Describe.
	About map[string]string
	// Closed is set when it was ended in order.
	Closed bool
}

// Log returns all its events; none where it could not be read.
func (r Recording) Log() timeline.Log {
	if r.Timeline == nil {
		return timeline.Log{}
	}
	return r.Timeline.Log()
}

// Load is LoadRecording for its timeline alone.
func Load(dir string) (*timeline.Timeline, error) {
	r, err := LoadRecording(dir)
	return r.Timeline, err
}

// LoadRecording rebuilds the timeline of a recording from its capture and journal:
// the events, their order and their numbers are those of the live one. The
// watermark is at the last event. A file that ends within a block or line, as after
// kill -9, adds a FramesLost event at the end.
func LoadRecording(dir string) (Recording, error) {
	var r Recording
	var last time.Time
	begin := func(cfg config) {
		r.Timeline = timeline.New(timeline.Config{HandsetMACs: cfg.HandsetMACs, ServerMACs: cfg.ServerMACs})
		r.About = cfg.About
	}
	var err error
	r.Frames, err = merge(dir, begin, func(e timeline.Event) error {
		r.Timeline.Add(e)
		if e.At.After(last) {
			last = e.At
		}
		r.Closed = e.Fields[closedField] == "true"
		return nil
	})
	if err != nil {
		return Recording{}, err
	}
	r.Timeline.Advance(last)
	return r, nil
}

// LoadEvents calls fn for every event of a recording, in the order of the live
// fold: what the frames show, and the journal's entries, each after the frame that
// was the last one when it was written. Nothing is derived.
func LoadEvents(dir string, fn func(timeline.Event) error) error {
	_, err := merge(dir, func(config) {}, fn)
	return err
}

// merge passes on all events of a recording, after the configuration that its
// first entry holds; it is empty when the recorder was killed before that entry.
func merge(dir string, begin func(config), fn func(timeline.Event) error) (frames int, err error) {
	file, err := os.Open(filepath.Join(dir, JournalFile)) //nolint:gosec // G304: to read the folder that is named is what this is for
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	m := merger{journal: journalReader{r: bufio.NewReader(file)}, fn: fn}
	if err := m.pull(); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	var cfg config
	if text := m.next.Fields[configField]; text != "" {
		if err := json.Unmarshal([]byte(text), &cfg); err != nil {
			return 0, fmt.Errorf("%s: journal: line 1: %s: %w", dir, configField, err)
		}
	}
	begin(cfg)
	if err := m.entries(0); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	dec := decode.New(cfg.Config)
	readErr := Read(filepath.Join(dir, CaptureFile), func(iface, number int, at time.Time, data []byte, _ []string) error {
		frames = number
		for _, e := range dec.Frame(iface, number, at, data) {
			if err := m.pass(e); err != nil {
				return err
			}
		}
		return m.entries(number)
	})
	if readErr != nil && !errors.Is(readErr, ErrTruncated) {
		return frames, readErr
	}
	// Entries after frames that are not there: the capture is cut.
	if m.ok && readErr == nil {
		readErr = fmt.Errorf("%s: %w: the journal names frame %d, the capture ends with %d", dir, ErrTruncated, m.next.After, frames)
	}
	if err := m.entries(int(^uint(0) >> 1)); err != nil {
		return frames, fmt.Errorf("%s: %w", dir, err)
	}
	for _, cut := range []error{readErr, m.cut} {
		if cut == nil {
			continue
		}
		if err := fn(timeline.Event{At: m.last, After: frames, By: by, Kind: timeline.FramesLost, Reason: cut.Error()}); err != nil {
			return frames, err
		}
	}
	return frames, nil
}

// merger puts journal entries after their frames.
type merger struct {
	journal journalReader
	fn      func(timeline.Event) error
	next    timeline.Event
	ok      bool
	cut     error // the journal ends within a line
	last    time.Time
}

func (m *merger) pull() error {
	e, err := m.journal.next()
	m.next, m.ok = e, err == nil
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, ErrTruncated):
		m.cut = err
		return nil
	}
	return err
}

// entries passes on the entries that were written before frame n+1.
func (m *merger) entries(n int) error {
	for m.ok && m.next.After <= n {
		if err := m.pass(m.next); err != nil {
			return err
		}
		if err := m.pull(); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) pass(e timeline.Event) error {
	m.last = e.At
	return m.fn(e)
}
