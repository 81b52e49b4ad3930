package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
)

// terminal is one screen for many lanes: one question at a time.
type terminal struct {
	mu  sync.Mutex
	out io.Writer
	// in is where answers are typed; nil: nobody is there.
	in    io.Reader
	ask   sync.Mutex
	once  sync.Once
	lines chan string
}

func (t *terminal) print(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.out, s)
}

// errNobody says that no question will ever be answered.
var errNobody = errors.New("nobody answers at the terminal")

// errInterrupted says that the person wants to end it rather than to answer.
var errInterrupted = errors.New("interrupted")

// question asks the operator and waits for Enter, or for ctx.
func (t *terminal) question(ctx context.Context, text string) error {
	t.ask.Lock()
	defer t.ask.Unlock()
	if ctx.Err() != nil {
		return errInterrupted
	}
	t.print("\n>>> " + text + "\n>>> press Enter when it is done, or type what went wrong: ")
	if t.in == nil {
		return errNobody
	}
	t.once.Do(func() {
		t.lines = make(chan string)
		// Ends with the input; a read from a terminal cannot be broken off, so it
		// may well end with the process.
		go t.read()
	})
	select {
	case line, ok := <-t.lines:
		if line = strings.TrimSpace(line); line != "" {
			return errors.New(line)
		}
		if !ok {
			return errNobody
		}
		return nil
	case <-ctx.Done():
		t.print("(no longer asked)\n")
		return errInterrupted
	}
}

func (t *terminal) read() {
	defer close(t.lines)
	in := bufio.NewReader(t.in)
	for {
		line, err := in.ReadString('\n')
		if err == nil || line != "" {
			t.lines <- line
		}
		if err != nil {
			return
		}
	}
}
