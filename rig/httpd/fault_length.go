package httpd

import (
	"fmt"
	"strconv"
)

// Length gives a wrong Content-Length.
type Length struct {
	// By is what is wrong about it, in bytes: above 0 it promises more than
	// there is, below 0 less.
	By int64
	// Hold keeps the connection open behind a body that is too short; without it
	// the rig closes, and the handset can tell.
	Hold bool
}

func (e Length) String() string {
	switch {
	case e.By < 0:
		return fmt.Sprintf("promises %d bytes fewer than it sends", -e.By)
	case e.Hold:
		return fmt.Sprintf("promises %d bytes more than it sends and keeps the connection open", e.By)
	default:
		return fmt.Sprintf("promises %d bytes more than it sends", e.By)
	}
}

func (e Length) check() error {
	if e.By == 0 || e.By < 0 && e.Hold {
		return fmt.Errorf("a Content-Length that is wrong by %d, the connection kept %t", e.By, e.Hold)
	}
	return nil
}

// A length below nothing would be another fault, that of LengthAs.
func (e Length) suits(x *exchange) bool { return int64(len(x.a.body))+e.By >= 0 }

func (e Length) alter(x *exchange) {
	x.a.lengths = []string{strconv.FormatInt(int64(len(x.a.body))+e.By, 10)}
	x.a.unfit = true
	if e.By > 0 {
		x.keep = e.Hold
	}
}

// LengthAs gives a Content-Length that is no number, or a silly one.
type LengthAs struct {
	// Text is its value: "-1", "abc", "99999999999999999999", "".
	Text string
}

func (e LengthAs) String() string { return fmt.Sprintf("gives a Content-Length of %q", e.Text) }

func (e LengthAs) check() error {
	if !isLine(e.Text) {
		return fmt.Errorf("content length %q holds a control byte", e.Text)
	}
	return nil
}

func (e LengthAs) alter(x *exchange) {
	x.a.lengths, x.a.unfit, x.keep = []string{e.Text}, true, false
}

// LengthTwice gives two lines of Content-Length that differ by By bytes, the
// right one first.
type LengthTwice struct {
	// By is the difference; not 0.
	By int64
}

func (e LengthTwice) String() string {
	return fmt.Sprintf("gives two lines of Content-Length that differ by %d", e.By)
}

func (e LengthTwice) check() error {
	if e.By == 0 {
		return fmt.Errorf("two lines of Content-Length that do not differ")
	}
	return nil
}

func (e LengthTwice) suits(x *exchange) bool { return int64(len(x.a.body))+e.By >= 0 }

func (e LengthTwice) alter(x *exchange) {
	n := int64(len(x.a.body))
	x.a.lengths = []string{strconv.FormatInt(n, 10), strconv.FormatInt(n+e.By, 10)}
	x.a.unfit, x.keep = true, false
}

// NoLength gives no Content-Length: the end of the connection is the end of the
// body.
type NoLength struct{}

func (NoLength) String() string { return "gives no Content-Length" }

func (NoLength) alter(x *exchange) { x.a.lengths, x.keep = []string{}, false }
