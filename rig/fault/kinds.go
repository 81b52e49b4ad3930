package fault

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds are the effects of one service by name, so that a file can name them. The
// text of an effect is the name of its type and, for each parameter that is not
// zero, the parameter's name with its value:
//
//	Drop
//	Delay d=2s
//	Redirect code=302 to="/b/a"
//
// Names are read in any case. A value with blanks or quotes is quoted as in Go; a
// duration is written as in Go.
type Kinds struct {
	service string
	types   []reflect.Type
}

// NewKinds returns the kinds of these effects, whose parameters do not matter.
func NewKinds(service string, effects ...Effect) Kinds {
	k := Kinds{service: service}
	for _, e := range effects {
		k.types = append(k.types, reflect.TypeOf(e))
	}
	return k
}

// Service is the name of the service.
func (k Kinds) Service() string { return k.service }

// Zero returns an effect of each kind without parameters, in their order.
func (k Kinds) Zero() []Effect {
	var out []Effect
	for _, t := range k.types {
		if e, ok := reflect.TypeAssert[Effect](reflect.Zero(t)); ok {
			out = append(out, e)
		}
	}
	return out
}

// Usage describes each kind in a line, with the types of its parameters: "Redirect
// code=int to=string".
func (k Kinds) Usage() []string {
	var out []string
	for _, t := range k.types {
		words := []string{t.Name()}
		for f := range t.Fields() {
			of := f.Type.Name()
			if f.Type.Kind() == reflect.String {
				of = "string" // also where the type has a name of its own
			}
			words = append(words, strings.ToLower(f.Name+"="+of))
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// Has reports whether an effect is one of these kinds.
func (k Kinds) Has(e Effect) bool {
	return slices.Contains(k.types, reflect.TypeOf(e))
}

// Text writes an effect as Parse reads it.
func (k Kinds) Text(e Effect) (string, error) {
	if !k.Has(e) {
		return "", fmt.Errorf("%s has no effect %T", k.service, e)
	}
	v := reflect.ValueOf(e)
	var b strings.Builder
	b.WriteString(v.Type().Name())
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		if field.IsZero() {
			continue
		}
		value, err := write(field)
		if err != nil {
			return "", fmt.Errorf("%s.%s: %s: %w", k.service, v.Type().Name(), name, err)
		}
		fmt.Fprintf(&b, " %s=%s", strings.ToLower(name), value)
	}
	return b.String(), nil
}

// Parse reads an effect. An error names the service, the effect and the parameter.
// Parse does not check whether the values make sense: the service's Can does.
func (k Kinds) Parse(text string) (Effect, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	i := slices.IndexFunc(k.types, func(t reflect.Type) bool { return strings.EqualFold(t.Name(), name) })
	if i < 0 {
		return nil, fmt.Errorf("%s has no effect %q: want one of %s", k.service, name, strings.Join(k.names(), ", "))
	}
	v := reflect.New(k.types[i]).Elem()
	seen := map[string]bool{}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("%s.%s: %q: want name=value", k.service, v.Type().Name(), rest)
		}
		value, left, err := firstValue(after)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %s: %w", k.service, v.Type().Name(), key, err)
		}
		rest = left
		field := v.FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, key) })
		switch {
		case !field.IsValid() || !field.CanSet():
			return nil, fmt.Errorf("%s.%s has no parameter %q: want one of %s", k.service, v.Type().Name(), key, strings.Join(parameters(v.Type()), ", "))
		case seen[strings.ToLower(key)]:
			return nil, fmt.Errorf("%s.%s: %s is there twice", k.service, v.Type().Name(), key)
		}
		seen[strings.ToLower(key)] = true
		if err := read(field, value); err != nil {
			return nil, fmt.Errorf("%s.%s: %s: %w", k.service, v.Type().Name(), key, err)
		}
	}
	e, ok := reflect.TypeAssert[Effect](v)
	if !ok {
		return nil, fmt.Errorf("%s.%s is no effect", k.service, v.Type().Name())
	}
	return e, nil
}

func (k Kinds) names() []string {
	var out []string
	for _, t := range k.types {
		out = append(out, t.Name())
	}
	return out
}

func parameters(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		out = append(out, strings.ToLower(f.Name))
	}
	if len(out) == 0 {
		out = []string{"none"}
	}
	return out
}

// firstValue cuts a value, quoted or up to the next blank, off a text.
func firstValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, nil
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return "", "", fmt.Errorf("%q: a quote is not closed", text)
	}
	rest = text[len(quoted):]
	if rest != "" && rest[0] != ' ' {
		return "", "", fmt.Errorf("%q follows a quoted value without a blank", rest)
	}
	value, err = strconv.Unquote(quoted)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", quoted, err)
	}
	return value, rest, nil
}

// plainText reports whether a text can stand without quotes.
func plainText(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' })
}

func write(v reflect.Value) (string, error) {
	var text string
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String(), nil
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			return "", err
		}
		text = string(b)
	default:
		switch v.Kind() {
		case reflect.Bool:
			return strconv.FormatBool(v.Bool()), nil
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			return strconv.FormatInt(v.Int(), 10), nil
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			return strconv.FormatUint(v.Uint(), 10), nil
		case reflect.Float64:
			return strconv.FormatFloat(v.Float(), 'g', -1, 64), nil
		case reflect.String:
			text = v.String()
		default:
			return "", fmt.Errorf("a %s has no text", v.Type())
		}
	}
	if !plainText(text) {
		text = strconv.Quote(text)
	}
	return text, nil
}

func read(v reflect.Value, text string) error {
	if _, ok := reflect.TypeAssert[time.Duration](v); ok {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: want one as 1m30s", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q: want true or false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is no number of %d bits", text, v.Type().Bits())
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is no number from 0 on of %d bits", text, v.Type().Bits())
		}
		v.SetUint(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		v.SetFloat(f)
	case reflect.String:
		v.SetString(text)
	default:
		return fmt.Errorf("a %s cannot be read from text", v.Type())
	}
	return nil
}
