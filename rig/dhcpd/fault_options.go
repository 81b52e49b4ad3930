package dhcpd

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

// WithoutOption leaves one option out of the answer, even one that RFC 2131
// demands. Of all effects on options it alone touches option 82 of a relay. Where
// the others make the answer longer, it may be longer than the client takes.
type WithoutOption struct{ Code uint8 }

func (e WithoutOption) String() string { return fmt.Sprintf("leaves out option %d", e.Code) }

func (e WithoutOption) check() error { return isOption(e.Code) }

func (e WithoutOption) fits(o *outgoing) bool {
	return e.Code == optRelayAgent && o.relay != nil || o.find(e.Code) >= 0
}

func (e WithoutOption) act(o *outgoing) bool {
	if e.Code == optRelayAgent {
		o.relay = nil
	}
	o.options = slices.DeleteFunc(o.options, func(p option) bool { return p.code == e.Code })
	o.note("without option %d", e.Code)
	return true
}

// SetOption gives an option these bytes instead of its own, or adds it, unasked
// too. A Value over 255 bytes travels in pieces (RFC 3396); empty is an option
// of length 0.
type SetOption struct {
	Code  uint8
	Value string
}

func (e SetOption) String() string { return fmt.Sprintf("sets option %d to %s", e.Code, show(e.Value)) }

func (e SetOption) check() error { return isOption(e.Code, len(e.Value)) }

func (e SetOption) act(o *outgoing) bool {
	o.grow()
	o.set(option{code: e.Code, value: []byte(e.Value)})
	o.note("with option %d of %d bytes", e.Code, len(e.Value))
	return true
}

// DoubleOption sends an option twice. The second time stands after all other
// options, with the value Second, or the same where that is empty. RFC 3396 has
// a client join the two; old ones take the first or the last.
type DoubleOption struct {
	Code   uint8
	Second string
}

func (e DoubleOption) String() string {
	if e.Second == "" {
		return fmt.Sprintf("sends option %d twice", e.Code)
	}
	return fmt.Sprintf("sends option %d twice, then as %s", e.Code, show(e.Second))
}

func (e DoubleOption) check() error { return isOption(e.Code, len(e.Second)) }

func (e DoubleOption) fits(o *outgoing) bool { return o.find(e.Code) >= 0 }

func (e DoubleOption) act(o *outgoing) bool {
	again := o.options[o.find(e.Code)]
	if e.Second != "" {
		again = option{code: e.Code, value: []byte(e.Second)}
	}
	o.grow()
	o.options = append(o.options, again)
	o.note("with option %d twice", e.Code)
	return true
}

// SplitOption sends an option in two pieces although it need not be, the first
// of At bytes (RFC 3396 section 4 allows it).
type SplitOption struct {
	Code uint8
	At   int
	// Apart puts the second piece after all other options.
	Apart bool
	// Swapped sends the second piece first, so that what a client joins is not
	// the value.
	Swapped bool
}

func (e SplitOption) String() string {
	how := ""
	if e.Apart {
		how += ", apart"
	}
	if e.Swapped {
		how += ", in the wrong order"
	}
	return fmt.Sprintf("splits option %d at byte %d%s", e.Code, e.At, how)
}

func (e SplitOption) check() error {
	if e.At < 0 || e.At > maxValue {
		return fmt.Errorf("byte %d is not within 0 and %d", e.At, maxValue)
	}
	return isOption(e.Code)
}

func (e SplitOption) fits(o *outgoing) bool {
	i := o.find(e.Code)
	return i >= 0 && o.options[i].raw == nil && len(o.options[i].value) >= e.At
}

func (e SplitOption) act(o *outgoing) bool {
	i := o.find(e.Code)
	value := o.options[i].value
	first, second := option{code: e.Code, value: value[:e.At]}, option{code: e.Code, value: value[e.At:]}
	if e.Swapped {
		first, second = second, first
	}
	o.grow()
	o.options[i] = first
	if e.Apart {
		i = len(o.options) - 1
	}
	o.options = slices.Insert(o.options, i+1, second)
	o.note("with option %d in two pieces", e.Code)
	return true
}

// WrongLength writes Len where the length of an option stands, whatever the
// length of the value after it: that which is due, or Value if it is not
// empty.
type WrongLength struct {
	Code, Len uint8
	Value     string
}

func (e WrongLength) String() string {
	value := ""
	if e.Value != "" {
		value = " to " + show(e.Value) + " and"
	}
	return fmt.Sprintf("sets option %d%s with a length byte of %d", e.Code, value, e.Len)
}

func (e WrongLength) check() error { return isOption(e.Code, len(e.Value)) }

func (e WrongLength) fits(o *outgoing) bool { return len(e.of(o)) != int(e.Len) }

// of is the value that is sent.
func (e WrongLength) of(o *outgoing) []byte {
	if i := o.find(e.Code); i >= 0 && e.Value == "" {
		return o.options[i].value
	}
	return []byte(e.Value)
}

func (e WrongLength) act(o *outgoing) bool {
	value := e.of(o)
	o.setRaw(e.Code, e.Len, value)
	o.note("with option %d of %d bytes and a length of %d", e.Code, len(value), e.Len)
	return true
}

// UnsplitOption writes an option over 255 bytes in one piece, as a server does
// that does not know RFC 3396: the length says only the low eight bits.
type UnsplitOption struct {
	Code  uint8
	Value string
}

func (e UnsplitOption) String() string {
	return fmt.Sprintf("sets option %d to %s in one piece", e.Code, show(e.Value))
}

func (e UnsplitOption) check() error {
	if len(e.Value) <= 255 {
		return fmt.Errorf("a value of %d bytes needs no splitting", len(e.Value))
	}
	return isOption(e.Code, len(e.Value))
}

func (e UnsplitOption) act(o *outgoing) bool {
	o.setRaw(e.Code, byte(len(e.Value)&0xff), []byte(e.Value))
	o.note("with option %d of %d bytes in one piece", e.Code, len(e.Value))
	return true
}

// UnknownOptions adds all options for private use (224 to 254, RFC 3942), each
// of Len bytes that say nothing.
type UnknownOptions struct{ Len int }

func (e UnknownOptions) String() string {
	return fmt.Sprintf("adds the options %d to %d of %d bytes each", firstPrivate, optEnd-1, e.Len)
}

func (e UnknownOptions) check() error {
	if e.Len < 0 || e.Len > maxUnknown {
		return fmt.Errorf("%d bytes are not within 0 and %d", e.Len, maxUnknown)
	}
	return nil
}

func (e UnknownOptions) act(o *outgoing) bool {
	o.grow()
	for code := firstPrivate; code < optEnd; code++ {
		o.options = append(o.options, option{code: byte(code), value: slices.Repeat([]byte{byte(code)}, e.Len)})
	}
	o.note("with unknown options")
	return true
}

// Garbage puts Len random bytes among the options.
type Garbage struct {
	Len  int
	Seed uint64
	// First puts them before all options, not after them.
	First bool
}

func (e Garbage) String() string {
	where := "behind"
	if e.First {
		where = "before"
	}
	return fmt.Sprintf("puts %d bytes of garbage (seed %d) %s the options", e.Len, e.Seed, where)
}

func (e Garbage) check() error {
	if e.Len < 1 || e.Len > maxGarbage {
		return fmt.Errorf("%d bytes are not within 1 and %d", e.Len, maxGarbage)
	}
	return nil
}

func (e Garbage) act(o *outgoing) bool {
	r := rand.New(rand.NewPCG(e.Seed, 0)) //nolint:gosec // the same garbage in every run
	b := make([]byte, e.Len)
	for i := range b {
		b[i] = byte(r.Uint32() & 0xff)
	}
	o.grow()
	if e.First {
		o.front = b
	} else {
		o.back = b
	}
	o.note("with %d bytes of garbage", e.Len)
	return true
}

// NoEnd leaves out the end option (255). Where the message is shorter than 300
// bytes it is filled with zeros, which are pad options.
type NoEnd struct{}

func (NoEnd) String() string { return "leaves out the end option" }

func (NoEnd) act(o *outgoing) bool {
	o.noEnd = true
	o.note("without an end option")
	return true
}

// Overload moves options into the fields file and sname, and says so in option
// 52 (RFC 2131 section 4.1), although they have room.
type Overload struct{ File, Sname bool }

func (e Overload) String() string {
	switch {
	case e.File && e.Sname:
		return "puts options into file and sname"
	case e.File:
		return "puts options into file"
	default:
		return "puts options into sname"
	}
}

func (e Overload) check() error {
	if !e.File && !e.Sname {
		return fmt.Errorf("neither file nor sname")
	}
	return nil
}

func (e Overload) act(o *outgoing) bool {
	if e.File {
		o.overload |= inFile
	}
	if e.Sname {
		o.overload |= inSname
	}
	o.grow()
	o.note("with option 52 of %d", o.overload)
	return true
}

const (
	firstPrivate = 224
	maxUnknown   = 30
	maxGarbage   = 500
)

// isOption says what is wrong with the number of an option, or with the length
// of a value.
func isOption(code uint8, lengths ...int) error {
	if code == optPad || code == optEnd {
		return fmt.Errorf("%d is not an option", code)
	}
	for _, n := range lengths {
		if n > maxValue {
			return fmt.Errorf("a value of %d bytes is over %d", n, maxValue)
		}
	}
	return nil
}

// show prints a value for a sentence: short text as it is, all else by its
// length and first bytes.
func show(value string) string {
	text := true
	for _, c := range []byte(value) {
		text = text && c >= ' ' && c <= '~'
	}
	switch {
	case value == "":
		return "nothing"
	case text && len(value) <= 64:
		return fmt.Sprintf("%q", value)
	case len(value) <= 32:
		return "0x" + hex.EncodeToString([]byte(value))
	default:
		return fmt.Sprintf("%d bytes from 0x%s on", len(value), hex.EncodeToString([]byte(value[:8])))
	}
}
