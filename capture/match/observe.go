package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
)

// Observation measures what no requirement promises: it never judges. Like a Matcher it
// is a plain value that the journal can hold, and a pure function of a view, so
// that what was measured can be measured again offline. A new observation is a
// type, its constructor, and its name in the registry of its file.
type Observation interface {
	// Measure is a pure function of the view. The names of its values do not
	// depend on what was seen.
	Measure(v timeline.View) []Value
}

func observed() registry[Observation] {
	return registry[Observation]{
		"Asks": asks{}, "Requests": requests{}, "Reboots": reboots{}, "Trusts": trusts{}, "Hello": hello{}, "Registers": registers{}, "DHCPAsks": dhcpAsks{},
		"AsksTime": asksTime{}, "Connects": connects{}, "Took": took{}, "Authenticates": authenticates{}, "Happens": happens{}, "Does": does{}, "SendsFrom": sendsFrom{},
	}
}

// Value is one thing measured. Of values only times, whose Unit is "ms", may
// vary between runs of the same handset.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Unit  string `json:"unit,omitempty"`
}

// String is the value with its name.
func (v Value) String() string { return strings.TrimSpace(v.Name + " = " + v.Value + " " + v.Unit) }

// none stands for what was not seen at all.
const none = "none"

// Aliases give names that hold on every handset ("version file", "second
// server") to what differs from one to the other: file names, addresses, users.
type Aliases map[string]string

// AliasSteps names each look-up of a step after the step.
func AliasSteps(steps ...Step) Aliases {
	l := Aliases{}
	for _, s := range steps {
		if len(s.Files) == 0 {
			l[s.Name] = s.Name
		}
		for _, f := range s.Files {
			l[f] = s.Name
		}
	}
	return l
}

func (l Aliases) of(name string) string {
	if label, ok := l[name]; ok {
		return label
	}
	// Paths contain such names too.
	keys := make([]string, 0, len(l))
	for k := range l {
		if k != "" {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	for _, k := range keys {
		name = strings.ReplaceAll(name, k, "<"+l[k]+">")
	}
	return name
}

type asks struct {
	Files Aliases `json:"files,omitempty"`
	Hosts Aliases `json:"hosts,omitempty"`
}

// Asks measures what is asked for, of whom and over what, in order; the same
// request twice in a row is one.
func Asks(files, hosts Aliases) Observation { return asks{Files: files, Hosts: hosts} }

func (m asks) Measure(v timeline.View) []Value {
	var out []string
	for _, e := range all(v, timeline.Asked) {
		text := m.Files.of(e.File)
		if m.Hosts != nil {
			text += " of " + m.Hosts.of(e.Dst.Addr().String())
		}
		text += " over " + string(e.Transport)
		if len(out) == 0 || out[len(out)-1] != text {
			out = append(out, text)
		}
	}
	return []Value{{Name: "asked for", Value: list(out)}}
}

// list joins what was seen, in order.
func list(items []string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, ", ")
}

type requests struct {
	Step Step `json:"step"`
}

// Requests measures how often and how far apart one step is asked for on the
// wire, counting repetitions: RRQ, and requests of HTTP, also those of which
// only the connection is seen.
func Requests(s Step) Observation { return requests{Step: s} }

func (m requests) Measure(v timeline.View) []Value {
	var at []time.Time
	for e := range v.Brief.All() {
		if requested(e) && m.Step.has(e.File) {
			at = append(at, e.At)
		}
	}
	out := []Value{{Name: "requests", Value: strconv.Itoa(len(at))}}
	gap := Value{Name: "longest time between two", Value: none}
	var longest time.Duration
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	if len(at) > 1 {
		gap = milliseconds(gap.Name, longest)
	}
	return append(out, gap)
}

func milliseconds(name string, d time.Duration) Value {
	return Value{Name: name, Value: strconv.FormatInt(max(d.Milliseconds(), 1), 10), Unit: "ms"}
}

type reboots struct{}

// Reboots measures how often it reboots by itself.
func Reboots() Observation { return reboots{} }

func (m reboots) Measure(v timeline.View) []Value {
	return []Value{{Name: "reboots", Value: strconv.Itoa(len(all(v, timeline.Rebooted)))}}
}

type trusts struct{}

// Trusts measures whether the first certificate shown is accepted, and with
// which alert it is refused.
func Trusts() Observation { return trusts{} }

func (m trusts) Measure(v timeline.View) []Value {
	verdict, alert := none, none
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.Refused:
			verdict, alert = "refused", e.Reason
		case e.Kind == timeline.Handshake && e.Complete:
			verdict = "accepted"
		default:
			continue
		}
		break
	}
	return []Value{{Name: "certificate", Value: verdict}, {Name: "alert", Value: alert}}
}

type hello struct{}

// Hello measures the fingerprint of the first ClientHello.
func Hello() Observation { return hello{} }

func (m hello) Measure(v timeline.View) []Value {
	fields := map[string]string{}
	for _, e := range all(v, timeline.TLSClientHello) {
		if e.By == timeline.Wire {
			fields = e.Fields
			break
		}
	}
	name := none
	if fields["tls.handshake.extensions_server_name"] != "" {
		name = "yes"
	} else if len(fields) > 0 {
		name = "no"
	}
	out := []Value{{Name: "server_name", Value: name}}
	for _, key := range []string{
		"tls.handshake.version", "tls.handshake.ciphersuite", "tls.handshake.extension.type",
		"tls.handshake.extensions_supported_group", "tls.handshake.extensions_ec_point_format",
		"tls.handshake.sig_hash_alg", "tls.handshake.extensions.supported_version",
	} {
		out = append(out, field(strings.TrimPrefix(key, "tls.handshake."), fields, key))
	}
	return out
}

func field(name string, fields map[string]string, key string) Value {
	value, ok := fields[key]
	if !ok {
		value = none
	}
	return Value{Name: name, Value: value}
}

type registers struct {
	Users   Aliases `json:"users,omitempty"`
	Expires Aliases `json:"expires,omitempty"`
}

// Registers measures how the handset registers last: the labels of the user and of
// the period that it asks for.
func Registers(users, expires Aliases) Observation {
	return registers{Users: users, Expires: expires}
}

func (m registers) Measure(v timeline.View) []Value {
	user, expires := none, none
	for _, e := range all(v, timeline.Registered) {
		user, expires = label(m.Users, e.Fields["sip.From.user"]), label(m.Expires, e.Fields["sip.Expires"])
	}
	var out []Value
	if m.Users != nil {
		out = append(out, Value{Name: "line", Value: user})
	}
	if m.Expires != nil {
		out = append(out, Value{Name: "registration period", Value: expires})
	}
	return out
}

// label is the label of a value that must have one: a value without a label differs
// from run to run.
func label(l Aliases, value string) string {
	if name, ok := l[value]; ok {
		return name
	}
	return "another"
}

type dhcpAsks struct {
	MAC string `json:"mac"`
}

// DHCPAsks measures what the handset says of itself in its first DISCOVER or
// REQUEST; mac is replaced in texts.
func DHCPAsks(mac string) Observation { return dhcpAsks{MAC: mac} }

func (m dhcpAsks) Measure(v timeline.View) []Value {
	fields := map[string]string{}
	for _, e := range all(v, timeline.DHCPDiscover, timeline.DHCPRequest) {
		fields = e.Fields
		break
	}
	out := []Value{
		field("parameter request list", fields, "dhcp.option.request_list"),
		field("vendor class", fields, "dhcp.option.vendor_class_id"),
		field("host name", fields, "dhcp.option.hostname"),
		field("client id", fields, "dhcp.client_id"),
		field("options", fields, "dhcp.option.type"),
	}
	plain := strings.ReplaceAll(m.MAC, ":", "")
	for i := range out {
		for _, s := range []string{m.MAC, plain, strings.ToUpper(plain), strings.ToUpper(m.MAC)} {
			out[i].Value = strings.ReplaceAll(out[i].Value, s, "$MAC")
		}
	}
	return out
}

type asksTime struct {
	Hosts Aliases `json:"hosts,omitempty"`
}

// AsksTime measures whether the time is asked for, of whom in order, and whether
// that comes before the first handshake and the first request.
func AsksTime(hosts Aliases) Observation { return asksTime{Hosts: hosts} }

func (m asksTime) Measure(v timeline.View) []Value {
	asked, before, first := "no", none, none
	var whom []string
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.SNTPRequest && e.By == timeline.Wire:
			asked = "yes"
			if host := m.Hosts.of(e.Dst.Addr().String()); !slices.Contains(whom, host) {
				whom = append(whom, host)
			}
		case e.Kind == timeline.TLSClientHello && before == none:
			before = asked
		case e.Kind == timeline.Asked && first == none:
			first = asked
		}
	}
	return []Value{
		{Name: "asked", Value: asked},
		{Name: "of whom", Value: list(whom)},
		{Name: "before the first handshake", Value: before},
		{Name: "before the first request", Value: first},
	}
}

type connects struct {
	Hosts Aliases `json:"hosts,omitempty"`
}

// Connects measures where it tries to open a TCP connection, in the order of the
// first try, answered or not, and whether it does so again. A SYN sent again is no
// other try. How often it tries in all is left out: that depends on how many files
// it asks for.
func Connects(hosts Aliases) Observation { return connects{Hosts: hosts} }

func (m connects) Measure(v timeline.View) []Value {
	var ends []string
	tries := map[string]int{}
	for _, e := range all(v, timeline.TCPTry) {
		end := fmt.Sprintf("%s at port %d", m.Hosts.of(e.Dst.Addr().String()), e.Dst.Port())
		if tries[end]++; tries[end] == 1 {
			ends = append(ends, end)
		}
	}
	for i, end := range ends {
		if ends[i] = end + " once"; tries[end] > 1 {
			ends[i] = end + " more than once"
		}
	}
	return []Value{{Name: "tries to connect", Value: list(ends)}}
}

type took struct {
	From timeline.Fact `json:"from"`
	To   timeline.Fact `json:"to"`
	What string        `json:"what"`
}

// Took measures the time from one fact to the next one after it; a from
// without kinds is the window's anchor.
func Took(what string, from, to timeline.Fact) Observation {
	return took{From: from, To: to, What: what}
}

func (m took) Measure(v timeline.View) []Value {
	from, begun := v.Anchor, len(m.From.Kinds) == 0
	for e := range v.Events.All() {
		switch {
		case !begun && m.From.Is(e):
			from, begun = e.At, true
		case begun && m.To.Is(e):
			return []Value{milliseconds(m.What, e.At.Sub(from))}
		}
	}
	return []Value{{Name: m.What, Value: none}}
}

type authenticates struct{}

// Authenticates measures how challenges are answered: the statuses that follow
// one another, and the scheme of the last answer.
func Authenticates() Observation { return authenticates{} }

func (m authenticates) Measure(v timeline.View) []Value {
	challenged, granted, scheme := 0, 0, none
	for e := range v.Brief.All() {
		// Over HTTPS only the journal sees them, over HTTP both do.
		if e.By != timeline.Wire && e.Transport != timeline.HTTPS {
			continue
		}
		switch {
		case e.Kind == timeline.HTTPRequest && e.Fields["http.authorization.scheme"] != "":
			scheme = e.Fields["http.authorization.scheme"]
		case e.Kind == timeline.HTTPRequest && e.Fields["auth.scheme"] != "":
			scheme = e.Fields["auth.scheme"]
		case e.Kind == timeline.HTTPResponse && e.File == "":
			// It answers a request from before the boot, and is sent again.
		case e.Kind == timeline.HTTPResponse && e.Status == 401:
			challenged++
		case e.Kind == timeline.HTTPResponse && e.Status == 200:
			granted++
		}
	}
	return []Value{{Name: "answers 401", Value: strconv.Itoa(challenged)}, {Name: "files granted", Value: strconv.Itoa(granted)}, {Name: "scheme", Value: scheme}}
}

type happens struct {
	What string        `json:"what"`
	Fact timeline.Fact `json:"fact"`
}

// Happens measures how often a fact is seen.
func Happens(what string, f timeline.Fact) Observation { return happens{What: what, Fact: f} }

func (m happens) Measure(v timeline.View) []Value {
	n := 0
	for e := range v.Events.All() {
		if m.Fact.Is(e) {
			n++
		}
	}
	return []Value{{Name: m.What, Value: strconv.Itoa(n)}}
}

type does struct {
	What string        `json:"what"`
	Fact timeline.Fact `json:"fact"`
}

// Does measures whether a fact is seen at all.
func Does(what string, f timeline.Fact) Observation { return does{What: what, Fact: f} }

func (m does) Measure(v timeline.View) []Value {
	for e := range v.Events.All() {
		if m.Fact.Is(e) {
			return []Value{{Name: m.What, Value: "yes"}}
		}
	}
	return []Value{{Name: m.What, Value: "no"}}
}

type sendsFrom struct {
	Module string `json:"module"`
	Phone  string `json:"phone"`
}

// SendsFrom measures which of its two addresses the frames of a handset with a
// WiFi module come from: as SendOnlyFrom does, of all that is decoded.
func SendsFrom(module, phone string) Observation {
	return sendsFrom{Module: strings.ToLower(module), Phone: strings.ToLower(phone)}
}

func (m sendsFrom) Measure(v timeline.View) []Value {
	module, phone := false, false
	for e := range v.Events.All() {
		if fromHandset(v, e) {
			module = module || strings.EqualFold(e.SrcMAC, m.Module)
			phone = phone || strings.EqualFold(e.SrcMAC, m.Phone)
		}
	}
	from := none
	switch {
	case module && phone:
		from = "both"
	case module:
		from = "the module alone"
	case phone:
		from = "the phone alone"
	}
	return []Value{{Name: "frames come from", Value: from}}
}
