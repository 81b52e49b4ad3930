package sipd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Garbage sends random bytes in place of a message; the same Seed gives the
// same bytes.
type Garbage struct {
	Bytes int
	Seed  uint64
}

func (e Garbage) String() string {
	return fmt.Sprintf("sends %d bytes of garbage, seed %d", e.Bytes, e.Seed)
}

func (e Garbage) check() error {
	if e.Bytes < 1 || e.Bytes > maxPacket {
		return fmt.Errorf("sipd cannot send %d bytes of garbage: 1 to %d", e.Bytes, maxPacket)
	}
	return nil
}

func (Garbage) fits(string) bool { return true }

func (e Garbage) edit([]byte) []byte {
	r := rand.New(rand.NewPCG(e.Seed, 0)) //nolint:gosec // to be repeated, not to be secret
	b := make([]byte, e.Bytes)
	for i := range b {
		b[i] = byte(r.Uint32()) //nolint:gosec // its lowest byte
	}
	return b
}

// Cut sends only so many bytes of a message.
type Cut struct{ To int }

func (e Cut) String() string { return fmt.Sprintf("cuts it to %d bytes", e.To) }

func (e Cut) check() error {
	if e.To < 0 || e.To > maxPacket {
		return fmt.Errorf("sipd cannot cut a message to %d bytes: 0 to %d", e.To, maxPacket)
	}
	return nil
}

func (Cut) fits(string) bool { return true }

func (e Cut) edit(pkt []byte) []byte { return pkt[:min(e.To, len(pkt))] }

// SetHeader sends a message with another value of a header, or without it if
// Value is empty. Name is the long one ("Call-ID"); of several headers it is the
// first. What the message does not have is put after its last header.
type SetHeader struct{ Name, Value string }

func (e SetHeader) String() string {
	if e.Value == "" {
		return "sends it without " + e.Name
	}
	return fmt.Sprintf("sends it with %s: %s", e.Name, e.Value)
}

func (e SetHeader) check() error {
	if e.Name == "" || strings.ContainsAny(e.Name, ": \r\n") || strings.ContainsAny(e.Value, "\r\n") {
		return fmt.Errorf("sipd cannot send a header %q: %q", e.Name, e.Value)
	}
	return nil
}

func (SetHeader) fits(string) bool { return true }

func (e SetHeader) edit(pkt []byte) []byte {
	head, body, _ := bytes.Cut(pkt, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	out := lines[:1:1]
	done := false
	for _, line := range lines[1:] {
		if name, _, _ := strings.Cut(line, ":"); !done && strings.EqualFold(strings.TrimSpace(name), e.Name) {
			done = true
			if e.Value == "" {
				continue
			}
			line = e.Name + ": " + e.Value
		}
		out = append(out, line)
	}
	if !done && e.Value != "" {
		out = append(out, e.Name+": "+e.Value)
	}
	return append([]byte(strings.Join(out, "\r\n")+"\r\n\r\n"), body...)
}

// maxPacket is the longest message sent by Garbage and Cut, in bytes.
const maxPacket = 65000
