package decode

import (
	"strings"
)

// maxHead bounds what is held of a head, in bytes.
const maxHead = 64 << 10

// head is the first line and the header fields of an HTTP or SIP message; one
// reader serves both, because the library has none for HTTP and its SIP layer
// does not unfold lines.
type head struct {
	first  string
	fields []field
}

type field struct{ name, value string } // the name in lower case

// parseHead reads everything before the empty line. Folded lines are joined
// (RFC 3261, section 7.3.1). A line without a colon makes it not ok.
func parseHead(b []byte) (h head, ok bool) {
	lines := strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	h.first = lines[0]
	for _, line := range lines[1:] {
		switch {
		case line == "":
			continue
		case line[0] == ' ' || line[0] == '\t':
			if len(h.fields) == 0 {
				return h, false
			}
			last := &h.fields[len(h.fields)-1]
			last.value += " " + strings.TrimSpace(line)
		default:
			name, value, found := strings.Cut(line, ":")
			if !found || strings.TrimSpace(name) == "" {
				return h, false
			}
			h.fields = append(h.fields, field{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
		}
	}
	return h, true
}

func (h head) get(name string) string {
	for _, f := range h.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

func (h head) all(name string) []string {
	var values []string
	for _, f := range h.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

// set copies a header field under its Wireshark name.
func (h head) set(f map[string]string, name, header string) {
	if v := h.get(header); v != "" {
		f[name] = clip(v)
	}
}

// parameter finds name=value in a challenge, credentials or a header with
// parameters; quotes are taken off.
func parameter(s, name string) (string, bool) {
	for len(s) > 0 {
		i := strings.IndexAny(s, "=,; \t")
		if i < 0 {
			return "", false
		}
		key, mark := s[:i], s[i]
		s = s[i+1:]
		if mark != '=' {
			continue
		}
		var value string
		s = strings.TrimLeft(s, " \t")
		if strings.HasPrefix(s, `"`) {
			var b strings.Builder
			j := 1
			for ; j < len(s) && s[j] != '"'; j++ {
				if s[j] == '\\' && j+1 < len(s) {
					j++
				}
				b.WriteByte(s[j])
			}
			value, s = b.String(), s[min(j+1, len(s)):]
		} else {
			j := strings.IndexAny(s, ",; \t")
			if j < 0 {
				j = len(s)
			}
			value, s = s[:j], s[j:]
		}
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

func scheme(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return clip(word)
}

// challenge says what a server wants in words: scheme, algorithm and qop where it
// names them, and realm.
func challenge(s string) string {
	text := scheme(s)
	_, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	if algorithm, found := parameter(rest, "algorithm"); found {
		text += " " + algorithm
	}
	if strings.EqualFold(scheme(s), "digest") {
		if qop, found := parameter(rest, "qop"); found {
			text += ", qop " + qop
		} else {
			text += " without qop"
		}
	}
	if realm, found := parameter(rest, "realm"); found {
		text += ", realm " + realm
	}
	return clip(text)
}
