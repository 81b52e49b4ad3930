package pipe_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/control"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
)

func TestAQuestionGoesUpAndItsAnswerComesDown(t *testing.T) {
	upR, upW := io.Pipe()
	downR, downW := io.Pipe()
	lane := pipe.NewLane(upW, downR)
	done := make(chan error, 1)
	go func() {
		lane.Send(pipe.Up{Done: &report.Spec{Name: "a spec"}})
		err := lane.Do(t.Context(), control.Request{Verb: control.Answer, Text: "answer the call"})
		lane.Send(pipe.Up{Waiting: "nothing"})
		done <- err
		if err := upW.Close(); err != nil {
			t.Error(err)
		}
	}()
	var seen []string
	err := pipe.Read(upR, func(u pipe.Up) error {
		switch {
		case u.Done != nil:
			seen = append(seen, u.Done.Name)
		case u.Ask != nil:
			seen = append(seen, u.Ask.Text)
			return json.NewEncoder(downW).Encode(pipe.Down{Number: u.Ask.Number, Error: "nobody is there"})
		case u.Waiting != "":
			seen = append(seen, u.Waiting)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(seen, ", "); got != "a spec, answer the call, nothing" {
		t.Errorf("saw %s", got)
	}
	if err := <-done; err == nil || err.Error() != "nobody is there" {
		t.Errorf("the question gave %v", err)
	}
	if err := downW.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lane.Gone():
	case <-time.After(10 * time.Second):
		t.Error("the lane did not notice that its parent is gone")
	}
	if err := lane.Do(t.Context(), control.Request{}); err == nil {
		t.Error("a question to nobody was answered")
	}
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	downR, downW := io.Pipe()
	defer func() { _ = downW.Close() }()
	lane := pipe.NewLane(io.Discard, downR)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lane.Do(ctx, control.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestGarbageOfALaneIsAnError(t *testing.T) {
	if err := pipe.Read(strings.NewReader("{\n"), func(pipe.Up) error { return nil }); err == nil {
		t.Error("garbage was taken")
	}
}

func TestTheAnswerToAWithdrawnQuestionIsNotTheNextOnes(t *testing.T) {
	upR, upW := io.Pipe()
	downR, downW := io.Pipe()
	lane := pipe.NewLane(upW, downR)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	// Ends with its second question.
	go func() {
		done <- lane.Do(ctx, control.Request{Text: "first"})
		done <- lane.Do(context.WithoutCancel(ctx), control.Request{Text: "second"})
		_ = upW.Close()
	}()
	withdrawn := 0
	answers := json.NewEncoder(downW)
	err := pipe.Read(upR, func(u pipe.Up) error {
		switch {
		case u.Withdrawn != 0:
			withdrawn = u.Withdrawn
		case u.Ask != nil && u.Ask.Text == "first":
			cancel()
		case u.Ask != nil:
			return errors.Join(answers.Encode(pipe.Down{Number: withdrawn, Error: "too late"}), answers.Encode(pipe.Down{Number: u.Ask.Number}))
		}
		return nil
	})
	if err != nil || withdrawn != 1 {
		t.Errorf("withdrawn %d, %v", withdrawn, err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the first question gave %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the second question gave %v", err)
	}
	_ = downW.Close()
}
