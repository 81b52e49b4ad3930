package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
)

func matchers() registry[params] {
	return joined(askMatchers(), authMatchers(), dhcpMatchers(), downloadMatchers(), netMatchers(), rebootMatchers(), registerMatchers(), stressMatchers(), tlsMatchers())
}

func observations() registry[Observation] {
	return joined(observed(), observedSpelling(), observedTransfers())
}

func joined[T any](parts ...registry[T]) registry[T] {
	all := registry[T]{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

// Encode writes a matcher for the journal: its name, and as JSON what it was
// made with.
func Encode(m Matcher) (name string, args json.RawMessage) { return matchers().encode(m.made()) }

// Decode reads what Encode wrote. A field that the matcher does not have is an
// error: the recording is then of another version of the rig.
func Decode(name string, args json.RawMessage) (Matcher, error) {
	p, err := matchers().decode("matcher", name, args)
	if err != nil {
		return nil, err
	}
	return claims(p), nil
}

// EncodeObservation writes an observation for the journal, as Encode does.
func EncodeObservation(o Observation) (name string, args json.RawMessage) {
	return observations().encode(o)
}

// DecodeObservation reads what EncodeObservation wrote.
func DecodeObservation(name string, args json.RawMessage) (Observation, error) {
	return observations().decode("observation", name, args)
}

func (r registry[T]) encode(of T) (name string, args json.RawMessage) {
	for name, zero := range r {
		if reflect.TypeOf(zero) != reflect.TypeOf(of) {
			continue
		}
		if args, err := json.Marshal(of); err == nil {
			return name, args
		}
	}
	return "", json.RawMessage("null") // cannot happen: all are registered, and hold strings and numbers only
}

func (r registry[T]) decode(what, name string, args json.RawMessage) (of T, err error) {
	zero, ok := r[name]
	if !ok {
		return of, fmt.Errorf("unknown %s %q", what, name)
	}
	into := reflect.New(reflect.TypeOf(zero))
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(into.Interface()); err != nil {
		return of, fmt.Errorf("arguments of %s: %v", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return of, fmt.Errorf("arguments of %s: more than one value", name)
	}
	return into.Elem().Interface().(T), nil //nolint:forcetypeassert // it is of the type of zero, which is a T
}
