package timeline

import (
	"slices"
	"strings"
)

// Fact is a predicate on one event that can be written as JSON. After and Await
// look for facts.
type Fact struct {
	// Name stands for the fact in messages: "registered".
	Name string `json:"name"`
	// Kinds are the kinds of event that are the fact.
	Kinds []Kind `json:"kinds"`
	// Files, if any, are the names one of which the event's File must be.
	Files []string `json:"files,omitempty"`
	// Message, if set, must be the event's Message.
	Message string `json:"message,omitempty"`
	// Reason, if set, must be contained in the event's Reason.
	Reason string `json:"reason,omitempty"`
	// Transport, if set, must be the event's Transport.
	Transport Transport `json:"transport,omitempty"`
	// Status, if not 0, must be the event's Status.
	Status int `json:"status,omitempty"`
	// Fields, if any, must each be the event's field of that name.
	Fields map[string]string `json:"fields,omitempty"`
}

// Is reports whether the event is the fact.
func (f Fact) Is(e *Event) bool {
	return slices.Contains(f.Kinds, e.Kind) &&
		(len(f.Files) == 0 || slices.Contains(f.Files, e.File)) &&
		(f.Message == "" || f.Message == e.Message) &&
		(f.Reason == "" || strings.Contains(e.Reason, f.Reason)) &&
		(f.Transport == "" || f.Transport == e.Transport) &&
		(f.Status == 0 || f.Status == e.Status) &&
		f.fieldsOf(e)
}

func (f Fact) fieldsOf(e *Event) bool {
	for name, want := range f.Fields {
		if e.Fields[name] != want {
			return false
		}
	}
	return true
}

// String returns the fact's name.
func (f Fact) String() string {
	if f.Name != "" {
		return f.Name
	}
	kinds := make([]string, len(f.Kinds))
	for i, k := range f.Kinds {
		kinds[i] = string(k)
	}
	return strings.Join(kinds, " or ")
}

// FactKind is any event of the kind.
func FactKind(k Kind) Fact { return Fact{Name: string(k), Kinds: []Kind{k}} }

// FactBooted is the first sign of life after a commanded power cycle.
func FactBooted() Fact { return FactKind(Booted) }

// FactRebooted is a reboot that nobody commanded.
func FactRebooted() Fact { return FactKind(Rebooted) }

// FactRegistered is a REGISTER that was accepted.
func FactRegistered() Fact { return FactKind(Registered) }

// FactRegisteredAs is a REGISTER of this user that was accepted.
func FactRegisteredAs(user string) Fact {
	return Fact{Name: "registered as " + user, Kinds: []Kind{Registered}, Fields: map[string]string{"sip.From.user": user}}
}

// FactRefused is a certificate that the handset did not accept.
func FactRefused() Fact { return FactKind(Refused) }

// FactAsked is a request for one of the files; none named: for any file.
func FactAsked(names ...string) Fact { return fileFact(Asked, names) }

// FactFetched is one of the files downloaded whole; none named: any file.
func FactFetched(names ...string) Fact { return fileFact(Fetched, names) }

func fileFact(k Kind, names []string) Fact {
	f := FactKind(k)
	if len(names) > 0 {
		f.Files = names
		f.Name += " " + strings.Join(names, " or ")
	}
	return f
}
