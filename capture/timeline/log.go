package timeline

import (
	"iter"
	"math"
	"slices"
	"time"
)

// Log is a stretch of events in their order. It is a value that never changes, and
// copies share what is in it. The blocks of transfers that are on their way (DATA,
// and ACK that completes nothing), of which one recording may have 130,000 that
// hardly differ, take up a tenth of an Event each.
type Log struct { //nolint:recvcheck // only its maker has a pointer to it
	// index has for each event its place: in whole or, as ^place, in blocks.
	index  []int32
	whole  []Event
	blocks []block
	like   []Event
}

// block is an Event that differs from another one in these fields only.
type block struct {
	at                               int64 // Unix time, in nanoseconds
	seq, frame, number, bytes, likes int32
}

// LogOf returns a log of these events.
func LogOf(events ...Event) Log {
	var l Log
	for i := range events {
		l.add(&events[i])
	}
	return l
}

// add appends a copy of an event. Only the maker of the log calls it.
func (l *Log) add(e *Event) {
	if b, ok := l.block(e); ok {
		l.index = append(roomy(l.index), ^int32(len(l.blocks))) //nolint:gosec // far more than memory holds
		l.blocks = append(roomy(l.blocks), b)
		return
	}
	l.index = append(roomy(l.index), int32(len(l.whole))) //nolint:gosec // far more than memory holds
	l.whole = append(roomy(l.whole), *e)
}

// roomy doubles a full slice: append alone copies a long one more often.
func roomy[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, max(64, len(s)))
}

// onItsWay recognises a block of a transfer that completes nothing.
func onItsWay(e *Event) bool { return e.Kind == TFTPData || e.Kind == TFTPAck && !e.Complete }

func (l *Log) block(e *Event) (block, bool) {
	const most = math.MaxInt32
	at := e.At.UnixNano()
	if !onItsWay(e) || e.Fields != nil || e.At != time.Unix(0, at).UTC() ||
		uint64(e.Seq) > most || uint64(e.Frame) > most || uint64(e.Number) > most || uint64(e.Bytes) > most { //nolint:gosec // negative ones are large
		return block{}, false
	}
	b := block{at: at, seq: int32(e.Seq), frame: int32(e.Frame), number: int32(e.Number), bytes: int32(e.Bytes), likes: -1} //nolint:gosec // as compared above
	// Two transfers side by side have four kinds of blocks.
	for i := len(l.like) - 1; i >= max(0, len(l.like)-4); i-- {
		if alike(&l.like[i], e) {
			b.likes = int32(i) //nolint:gosec // no more than there are blocks
			return b, true
		}
	}
	b.likes = int32(len(l.like)) //nolint:gosec // no more than there are blocks
	l.like = append(l.like, *e)
	return b, true
}

// alike reports whether two events without fields differ in nothing but what a block
// keeps.
func alike(a, b *Event) bool {
	return a.Kind == b.Kind && a.Src == b.Src && a.Dst == b.Dst && a.SrcMAC == b.SrcMAC && a.DstMAC == b.DstMAC && a.File == b.File &&
		a.By == b.By && a.Transport == b.Transport && a.After == b.After && a.Message == b.Message && a.Status == b.Status &&
		a.SHA256 == b.SHA256 && a.Complete == b.Complete && a.Reason == b.Reason
}

// Len is the number of events.
func (l Log) Len() int { return len(l.index) }

// At returns the i-th event, from 0. It must not be changed.
func (l Log) At(i int) *Event {
	if l.index[i] >= 0 {
		return &l.whole[l.index[i]]
	}
	return l.read(i, new(Event))
}

// read is At that may use scratch for what it returns.
func (l Log) read(i int, scratch *Event) *Event {
	n := l.index[i]
	if n >= 0 {
		return &l.whole[n]
	}
	b := &l.blocks[^n]
	*scratch = l.like[b.likes]
	scratch.At, scratch.Seq, scratch.Frame = time.Unix(0, b.at).UTC(), int(b.seq), int(b.frame)
	scratch.Number, scratch.Bytes = int(b.number), int64(b.bytes)
	return scratch
}

// All goes through the events in order. They must not be changed, and blocks of
// transfers are good until the next one only.
func (l Log) All() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		var scratch Event
		for i := range l.index {
			if !yield(l.read(i, &scratch)) {
				return
			}
		}
	}
}

// Backward is All from the last to the first.
func (l Log) Backward() iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		var scratch Event
		for i := range slices.Backward(l.index) {
			if !yield(l.read(i, &scratch)) {
				return
			}
		}
	}
}

// From returns the events from the i-th on.
func (l Log) From(i int) Log { return l.only(l.index[i:]) }

// only returns the events at these places.
func (l Log) only(index []int32) Log {
	l.index = slices.Clip(index)
	return l
}

// List returns a copy of the events.
func (l Log) List() []Event {
	out := make([]Event, 0, len(l.index))
	for e := range l.All() {
		out = append(out, *e)
	}
	return out
}
