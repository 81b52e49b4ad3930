package timeline

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// Story makes the text of one handset's events as they come, and keeps its lines
// alone: a capture may have millions of frames. It derives what a Timeline derives.
type Story struct {
	derive *deriver
	teller *teller
	start  time.Time
	keep   func(*Event) bool
	facts  map[Kind]int
}

// NewStory begins the story of a handset. Seconds count from start; brief leaves
// out what only explains itself, as in a Ladder.
func NewStory(start time.Time, handset []string, brief bool) *Story {
	own := map[string]bool{}
	for _, mac := range handset {
		own[strings.ToLower(mac)] = true
	}
	s := &Story{derive: newDeriver(handset), start: start, facts: map[Kind]int{}}
	as := long
	if brief {
		as, s.keep = short, inLadder
	}
	s.teller = newTeller(start, own, as)
	return s
}

// Add takes the next event.
func (s *Story) Add(e Event) {
	s.tell(&e)
	if e.By == Derived {
		return
	}
	for _, fact := range s.derive.fold(&e) {
		fact.By = Derived
		fact.At, fact.Frame, fact.After = e.At, e.Frame, e.After
		s.tell(&fact)
	}
}

func (s *Story) tell(e *Event) {
	s.facts[e.Kind]++
	if s.keep == nil || s.keep(e) {
		s.teller.add(e)
	}
}

// Count is how many events of a kind there were, derived ones among them.
func (s *Story) Count(k Kind) int { return s.facts[k] }

// Empty says whether there is nothing to write.
func (s *Story) Empty() bool { return len(s.teller.rows) == 0 }

// Write ends the story and writes it, as Text or, where it is brief, as Ladder.
func (s *Story) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	rows := s.teller.finish()
	if s.keep != nil {
		writeLadder(w, rows)
	} else {
		_, _ = fmt.Fprintf(w, "from %s\n", s.start.UTC().Format("2006-01-02 15:04:05.000000 MST"))
		writeText(w, rows)
	}
	return w.Flush()
}
