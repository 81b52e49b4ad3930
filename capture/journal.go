package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"ip88rig/capture/timeline"
)

// maxLine is the longest journal line that is read, in bytes.
const maxLine = 4 << 20

// marshal writes an event as one journal line, and returns it as it will be
// read again, so that what is folded live is what a reader of the files folds.
func marshal(e timeline.Event) (line []byte, again timeline.Event, err error) {
	e.At = stamp(e.At)
	e.Seq = 0
	e.Src, e.Dst = writable(e.Src), writable(e.Dst)
	// The encoder writes an invalid byte as U+FFFD: say the same at once.
	for _, s := range []*string{
		&e.By, &e.SrcMAC, &e.DstMAC, &e.File, &e.Message, &e.SHA256, &e.Reason,
		(*string)(&e.Kind), (*string)(&e.Transport),
	} {
		*s = clean(*s)
	}
	if len(e.Fields) == 0 {
		e.Fields = nil
	} else {
		fields := make(map[string]string, len(e.Fields))
		for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
			fields[clean(k)] = clean(e.Fields[k])
		}
		e.Fields = fields
	}
	line, err = json.Marshal(e)
	if err != nil {
		return nil, e, fmt.Errorf("journal: %s of %s: %w", e.Kind, e.By, err)
	}
	return append(line, '\n'), e, nil
}

// writable leaves of an end what its text form can hold.
func writable(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// unmarshal reads one journal line.
func unmarshal(line []byte) (timeline.Event, error) {
	var e timeline.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return timeline.Event{}, err
	}
	if e.Kind == "" || e.By == "" {
		return timeline.Event{}, errors.New("an entry needs kind and by")
	}
	if e.After < 0 || e.Frame < 0 || e.Frame > e.After {
		return timeline.Event{}, fmt.Errorf("entry of frame %d after frame %d", e.Frame, e.After)
	}
	if len(e.Fields) == 0 {
		e.Fields = nil
	}
	e.At = stamp(e.At)
	return e, nil
}

// ReadJournal calls fn for every entry of a journal, in order. A last line that
// was not finished is ErrTruncated, everything else that is no entry an error
// with its line number.
func ReadJournal(r io.Reader, fn func(timeline.Event) error) error {
	j := journalReader{r: bufio.NewReader(r)}
	for {
		e, err := j.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}

type journalReader struct {
	r    *bufio.Reader
	line int
	last int // After of the entry before
}

func (j *journalReader) next() (timeline.Event, error) {
	line, err := j.readLine()
	if err != nil {
		return timeline.Event{}, err
	}
	j.line++
	e, err := unmarshal(line)
	if err == nil && e.After < j.last {
		err = fmt.Errorf("an entry after frame %d follows one after frame %d", e.After, j.last)
	}
	if err != nil {
		return timeline.Event{}, fmt.Errorf("journal: line %d: %w", j.line, err)
	}
	j.last = e.After
	return e, nil
}

func (j *journalReader) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := j.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > maxLine {
				return nil, fmt.Errorf("journal: line %d: longer than %d bytes", j.line+1, maxLine)
			}
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, fmt.Errorf("journal: line %d: %w", j.line+1, ErrTruncated)
		default:
			return nil, err
		}
	}
}

// stamp is when something was, without what a file cannot hold.
func stamp(t time.Time) time.Time { return t.Round(0).UTC() }
