package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	slash "path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The fields of a Given entry by which it can be compared with the recording.
// None holds a secret.
const (
	// GivenServers are the rig's own addresses, comma-separated.
	GivenServers = "given.servers"
	// GivenOption with a number after it is what that DHCP option reads as when
	// it is decoded; empty: it is sent, whatever it holds; GivenMaybe: it may be.
	GivenOption = "given.option."
	GivenMaybe  = "?"
	// GivenForced are options that are sent unasked, comma-separated.
	GivenForced = "given.forced"
	// GivenCertificate is the label of the certificate that is shown, and
	// GivenCertificateSHA256 the digest of its DER form.
	GivenCertificate       = "given.certificate"
	GivenCertificateSHA256 = "given.certificate.sha256"
	// GivenChallenged are the addresses of the servers that ask for HTTP
	// authentication, comma-separated.
	GivenChallenged = "given.challenged"
	// GivenRegistrar is "challenge" where the registrar asks for authentication.
	GivenRegistrar = "given.registrar"
	// GivenSkew is how far the time that is served is from the lane's, as a
	// time.Duration prints.
	GivenSkew = "given.skew"
	// GivenName with a name after it is the address that DNS has for it.
	GivenName = "given.name."
)

// GivenTree is the Message of the Given that follows the Published entries of
// everything that is served as a recording begins: what has none is not there.
const GivenTree = "tree"

// Lapse is a given that the rig did not bring about where the handset came to
// need it.
type Lapse struct {
	// Given is what was given: "offer", "publish", "present", "clock",
	// "challenge", "registrar", "names", "notify".
	Given string
	// Seq and Frame are those of the event that shows it.
	Seq, Frame int
	Reason     string
}

// String is the lapse as a reason.
func (l Lapse) String() string {
	if l.Frame > 0 {
		return fmt.Sprintf("%s (frame %d)", l.Reason, l.Frame)
	}
	return l.Reason
}

const (
	// lapseAfter is how long the rig may take to answer: many times what it does
	// take, and far less than any time that is waited for.
	lapseAfter = 200 * time.Millisecond
	// clockSlack is by how much a time that is served may be off.
	clockSlack = time.Second
)

// Lapses compares the Given entries of a recording with what the handset met:
// the offered options in the answers of DHCP, the published content of each file
// it took, the certificate of each handshake, the time, the challenge of each
// request, an answer to everything it asked for. What the handset did not need is
// no lapse. Neither is what a declared fault did, if the fault is of the same
// service or of the wire, and fired since the power was last cut. The result is
// sorted by Seq, and is a pure function of the events and of the watermark.
func Lapses(events Log, watermark time.Time) []Lapse {
	return fold(events).lapses(watermark)
}

// Lapsing is Lapses for a recording that grows: it reads each event once. The zero
// value has read none.
type Lapsing struct {
	givens *givens
	read   int // events
}

// Lapses is what the function Lapses returns. Events that it was given before are
// not read again; where there are fewer now, all are.
func (l *Lapsing) Lapses(events Log, watermark time.Time) []Lapse {
	if events.Len() < l.read {
		return Lapses(events, watermark)
	}
	if l.givens == nil {
		l.givens = newGivens()
	}
	l.givens.foldAll(events.From(l.read))
	l.read = events.Len()
	return l.givens.lapses(watermark)
}

func fold(events Log) *givens {
	g := newGivens()
	g.foldAll(events)
	return g
}

func newGivens() *givens {
	return &givens{
		files: map[string]file{}, options: map[int]string{}, names: map[string]string{}, challenged: map[netip.Addr]bool{},
		servers: map[netip.Addr]bool{}, changed: map[string]int{}, asked: map[string]inquiry{}, faults: map[string]bool{}, hello: map[netip.AddrPort]int{}, began: map[netip.AddrPort]int{},
	}
}

func (g *givens) foldAll(events Log) {
	for e := range events.All() {
		g.fold(e)
	}
}

// Undecided reports whether something was asked that may yet be answered in time:
// whether Lapses may have more to say although nothing else happens.
func Undecided(events Log, watermark time.Time) bool {
	g := fold(events)
	for _, x := range g.asked {
		waited := watermark.Sub(x.e.At)
		if waited <= lapseAfter && waited >= 0 && !g.faults[x.service] && !g.faults[Impair] {
			return true
		}
	}
	return false
}

// file is what is published under a name, "" for nothing, and since when.
type file struct {
	sha256 string
	since  int
}

// inquiry is something that was asked for and is not answered yet.
type inquiry struct {
	e *Event
	// service is the one that answers, given the Given that the answer depends on.
	service, given, what string
}

type suspect struct {
	service string
	Lapse
}

type givens struct {
	// What is given, and since which event it is.
	tree       bool
	files      map[string]file
	options    map[int]string
	forced     []int
	names      map[string]string
	cert, sum  string
	challenged map[netip.Addr]bool
	registrar  bool
	skew       time.Duration
	servers    map[netip.Addr]bool
	changed    map[string]int

	asked map[string]inquiry
	// hello and began are the ClientHello and the last request of each end.
	hello, began map[netip.AddrPort]int
	// registered: since the power was last cut.
	registered bool
	// faults are the services of which a fault fired since the power was last cut,
	// and suspects the lapses since then.
	faults   map[string]bool
	suspects []suspect
	out      []Lapse
}

func (g *givens) fold(e *Event) {
	switch e.By {
	case Wire:
		g.wire(e)
		return
	case "httpd":
		g.web(e)
	case "tftpd":
		if e.Kind == Served {
			g.served(e, e.Status == 1, "TFTP error 1")
		}
	case "dhcpd":
		// It says why it sends nothing.
		if e.Kind != DHCPOffer && e.Kind != DHCPAck {
			g.answered("DHCP " + e.Fields["dhcp.id"])
		}
	}
	switch e.Kind {
	case Given:
		g.given(e)
	case Published:
		f := file{e.SHA256, e.Seq}
		g.files[fileKey(e.File)] = f
	case FaultFired:
		g.faults[e.By] = true
	case PowerOff:
		g.close(e.At)
		g.registered = false
	case LinkDown, LinkLost:
		clear(g.asked)
	case Registered:
		g.registered = true
	case Verb:
		if x, ok := g.asked["NOTIFY"]; ok {
			g.suspects = append(g.suspects, x.suspect())
			delete(g.asked, "NOTIFY")
		}
		if strings.HasPrefix(e.Message, "NOTIFY ") && g.registered {
			g.ask("NOTIFY", e, "sipd", "notify", e.Message+" was never sent")
		}
	default:
	}
}

// close ends what began when the power came: what is not answered by now will not
// be, and what a fault has done is no lapse.
func (g *givens) close(now time.Time) {
	g.out = g.closed(now)
	clear(g.asked)
	g.suspects = nil
	clear(g.faults)
}

// closed is what close leaves in out.
func (g *givens) closed(now time.Time) []Lapse {
	suspects := slices.Clip(g.suspects)
	for _, key := range slices.Sorted(maps.Keys(g.asked)) {
		if x := g.asked[key]; x.overdue(now) {
			suspects = append(suspects, x.suspect())
		}
	}
	out := slices.Clip(g.out)
	for _, s := range suspects {
		if !g.faults[s.service] && !g.faults[Impair] {
			out = append(out, s.Lapse)
		}
	}
	return out
}

// lapses are those up to now, by Seq.
func (g *givens) lapses(now time.Time) []Lapse {
	out := slices.Clone(g.closed(now))
	slices.SortStableFunc(out, func(a, b Lapse) int { return cmp.Compare(a.Seq, b.Seq) })
	return out
}

func (x inquiry) overdue(now time.Time) bool { return now.Sub(x.e.At) > lapseAfter }

func (x inquiry) suspect() suspect { return suspected(x.service, x.given, x.e, x.what) }

func suspected(service, given string, e *Event, reason string) suspect {
	return suspect{service, Lapse{Given: given, Seq: e.Seq, Frame: e.Frame, Reason: given + ": " + reason}}
}

func (g *givens) ask(key string, e *Event, service, given, what string) {
	if _, again := g.asked[key]; !again {
		g.asked[key] = inquiry{e, service, given, what}
	}
}

// answered removes the question and returns it; nil: it was not asked here.
func (g *givens) answered(key string) *Event {
	x, ok := g.asked[key]
	if !ok {
		return nil
	}
	delete(g.asked, key)
	return x.e
}

func (g *givens) lapse(service, given string, e *Event, format string, args ...any) {
	g.suspects = append(g.suspects, suspected(service, given, e, fmt.Sprintf(format, args...)))
}

// stands reports whether a given is what it was when an exchange began.
func (g *givens) stands(given string, since int) bool {
	at, ok := g.changed[given]
	return ok && at < since
}

func (g *givens) given(e *Event) {
	if e.Message == GivenTree {
		g.tree = true
		return
	}
	offer := false
	for name, value := range e.Fields {
		switch {
		case name == GivenServers:
			for _, a := range addresses(value) {
				g.servers[a] = true
			}
		case name == GivenCertificate:
			g.cert, g.sum = value, e.Fields[GivenCertificateSHA256]
			g.changed["present"] = e.Seq
		case name == GivenChallenged:
			clear(g.challenged)
			for _, a := range addresses(value) {
				g.challenged[a] = true
			}
			g.changed["challenge"] = e.Seq
		case name == GivenRegistrar:
			g.registrar = value == "challenge"
			g.changed["registrar"] = e.Seq
		case name == GivenSkew:
			d, err := time.ParseDuration(value)
			if err == nil {
				g.skew = d
				g.changed["clock"] = e.Seq
			}
		case strings.HasPrefix(name, GivenName):
			g.names[strings.ToLower(strings.TrimPrefix(name, GivenName))] = value
			g.changed["names"] = e.Seq
		case strings.HasPrefix(name, GivenOption):
			offer = true
		}
	}
	if e.Message != "offer" && !offer {
		return
	}
	g.changed["offer"] = e.Seq
	clear(g.options)
	for name, value := range e.Fields {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, GivenOption)); err == nil {
			g.options[n] = value
		}
	}
	g.forced = numbers(e.Fields[GivenForced])
}

func addresses(list string) []netip.Addr {
	var out []netip.Addr
	for s := range strings.SplitSeq(list, ",") {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func numbers(list string) []int {
	var out []int
	for s := range strings.SplitSeq(list, ",") {
		if n, err := strconv.Atoi(s); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func fileKey(name string) string {
	return strings.ToLower(strings.TrimPrefix(slash.Clean("/"+name), "/"))
}

// wire folds what the frames of the cable show.
func (g *givens) wire(e *Event) {
	own := g.servers[e.Dst.Addr().Unmap()]
	switch e.Kind {
	case DHCPDiscover, DHCPRequest:
		id := e.Fields["dhcp.option.dhcp_server_id"]
		a, err := netip.ParseAddr(id)
		if id != "" && (err != nil || !g.servers[a]) || len(g.servers) == 0 {
			return // of another server
		}
		delete(g.asked, "DHCP "+e.Fields["dhcp.id"]) // a REQUEST comes after its OFFER
		g.ask("DHCP "+e.Fields["dhcp.id"], e, "dhcpd", "offer", string(e.Kind)+" was never answered")
	case DHCPOffer, DHCPAck, DHCPNak:
		if q := g.answered("DHCP " + e.Fields["dhcp.id"]); q != nil && e.Kind != DHCPNak {
			g.offered(q, e)
		}
	case TFTPRead:
		g.began[e.Src] = e.Seq
		if own {
			g.ask("TFTP "+e.Src.String(), e, "tftpd", "publish", fmt.Sprintf("the request for %s was never answered", e.File))
		}
	case TFTPData, TFTPOAck, TFTPError:
		if len(g.asked) > 0 { // most blocks answer nothing
			g.answered("TFTP " + e.Dst.String())
		}
	case HTTPRequest:
		if own {
			g.ask("HTTP "+e.Src.String(), e, "httpd", "publish", fmt.Sprintf("the request for %s was never answered", e.File))
		}
	case HTTPResponse:
		g.answered("HTTP " + e.Dst.String())
	case TLSClientHello:
		if own {
			g.ask("TLS "+e.Src.String(), e, "httpd", "present", "ClientHello was never answered")
			g.hello[e.Src] = e.Seq
		}
	case TLSServerHello, TLSAlert:
		g.answered("TLS " + e.Dst.String())
		g.answered("TLS " + e.Src.String()) // it was the handset that gave up
	case TLSCertificate:
		if g.sum != "" && e.SHA256 != "" && e.SHA256 != g.sum && g.stands("present", g.hello[e.Dst]) {
			g.lapse("httpd", "present", e, "the certificate on the wire is not the one called %q", g.cert)
		}
	case SNTPRequest:
		if own {
			g.ask("SNTP "+e.Src.String(), e, "sntpd", "clock", "the request for the time was never answered")
		}
	case SNTPResponse:
		if q := g.answered("SNTP " + e.Dst.String()); q != nil && g.stands("clock", q.Seq) {
			g.servedTime(e)
		}
	case DNSQuery:
		if own {
			g.ask("DNS "+e.Src.String()+" "+e.Fields["dns.id"], e, "dnsd", "names", fmt.Sprintf("the query for %s was never answered", e.Message))
		}
	case DNSResponse:
		q := g.answered("DNS " + e.Dst.String() + " " + e.Fields["dns.id"])
		want, ok := g.names[strings.ToLower(e.Message)]
		if q != nil && ok && g.stands("names", q.Seq) && q.Fields["dns.qry.type"] == "A" && e.Fields["dns.a"] != want {
			g.lapse("dnsd", "names", e, "%s was answered with %s, not with %s", e.Message, cmp.Or(e.Fields["dns.a"], "no address"), want)
		}
	case SIPRequest:
		switch {
		case e.Message == "REGISTER" && own:
			g.ask(call(e), e, "sipd", "registrar", "REGISTER was never answered")
		case e.Message == "NOTIFY":
			g.answered("NOTIFY")
		}
	case SIPResponse:
		q := g.answered(call(e))
		if q == nil || !g.stands("registrar", q.Seq) {
			return
		}
		switch {
		case g.registrar && e.Status == 200 && q.Fields["sip.auth.scheme"] == "":
			g.lapse("sipd", "registrar", e, "it took a REGISTER without a challenge")
		case !g.registrar && (e.Status == 401 || e.Status == 407):
			g.lapse("sipd", "registrar", e, "it challenged a REGISTER")
		}
	default:
	}
}

func call(e *Event) string { return "SIP " + e.Fields["sip.Call-ID"] + " " + e.Fields["sip.CSeq"] }

// offered compares the answer of DHCP to q with what is offered: the options that
// the handset asks for, and those that are sent unasked.
func (g *givens) offered(q, e *Event) {
	if !g.stands("offer", q.Seq) {
		return
	}
	wanted := slices.Concat(numbers(q.Fields["dhcp.option.request_list"]), g.forced)
	sent := numbers(e.Fields["dhcp.option.type"])
	for _, n := range slices.Sorted(maps.Keys(g.options)) {
		if !slices.Contains(wanted, n) && n != 51 {
			continue
		}
		want, got := g.options[n], e.Fields[optionField(n)]
		switch {
		case want == GivenMaybe:
		case !slices.Contains(sent, n):
			g.lapse("dhcpd", "offer", e, "%s lacks option %d", e.Kind, n)
		case want != "" && got != want:
			g.lapse("dhcpd", "offer", e, "%s says %q in option %d, not %q", e.Kind, got, n, want)
		}
	}
	if len(g.options) == 0 {
		return
	}
	for _, n := range []int{42, 66, 150, 160} {
		if _, given := g.options[n]; !given && slices.Contains(sent, n) {
			g.lapse("dhcpd", "offer", e, "%s has option %d, which is not offered", e.Kind, n)
		}
	}
}

// optionField is the field that a decoded DHCP option is in.
func optionField(n int) string {
	switch n {
	case 42:
		return "dhcp.option.ntp_server"
	case 51:
		return "dhcp.option.ip_address_lease_time"
	case 66:
		return "dhcp.option.tftp_server_name"
	case 150:
		return "dhcp.option.tftp_server_address"
	case 160:
		return "dhcp.option.160"
	}
	return "dhcp.option.value." + strconv.Itoa(n)
}

// servedTime compares the time that was served with the one that is given.
func (g *givens) servedTime(e *Event) {
	var stamp uint64
	if _, err := fmt.Sscanf(e.Fields["ntp.xmt"], "0x%x", &stamp); err != nil {
		return
	}
	// RFC 4330: seconds since 1900, or since 2036 where the first bit is 0.
	era := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	if stamp>>63 == 0 {
		era = time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	}
	seconds, fraction := stamp>>32, stamp&0xffffffff
	at := time.Unix(era.Unix()+int64(seconds), int64(fraction*1_000_000_000>>32))
	if off := at.Sub(e.At.Add(g.skew)); off > clockSlack || off < -clockSlack {
		g.lapse("sntpd", "clock", e, "the time that was served is off by %v", off.Round(time.Second))
	}
}

// web folds the entries of the web servers.
func (g *givens) web(e *Event) {
	switch e.Kind {
	case HTTPRequest:
		g.began[e.Src] = e.Seq
		delete(g.asked, "said "+e.Src.String())
		g.ask("said "+e.Src.String(), e, "httpd", "publish", fmt.Sprintf("the request for %s was never answered", e.File))
	case HTTPResponse:
		q := g.answered("said " + e.Src.String())
		if q == nil {
			return
		}
		g.served(e, e.Status == 404, "404")
		if !g.stands("challenge", q.Seq) {
			return
		}
		switch challenged := g.challenged[e.Dst.Addr().Unmap()]; {
		case challenged && q.Fields["auth.scheme"] == "" && (e.Status == 200 || e.Status == 404):
			g.lapse("httpd", "challenge", e, "%s was answered %d without a challenge", e.File, e.Status)
		case !challenged && e.Status == 401:
			g.lapse("httpd", "challenge", e, "%s was challenged", e.File)
		}
	case Served:
		g.answered("said " + e.Src.String())
		g.served(e, false, "")
	case ConnClosed:
		g.answered("said " + e.Src.String())
		g.answered("TLS " + e.Src.String())
		g.answered("HTTP " + e.Src.String())
	case Handshake:
		g.answered("TLS " + e.Src.String())
		label := e.Fields["tls.cert"]
		if label != "" && label != g.cert && g.stands("present", g.hello[e.Src]) {
			g.lapse("httpd", "present", e, "the certificate that was shown is %q, not %q", label, g.cert)
		}
	default:
	}
}

// served compares what was handed over with what is published.
func (g *givens) served(e *Event, missing bool, answer string) {
	name := e.File
	if e.Transport != TFTP { // which knows no queries
		name, _, _ = strings.Cut(name, "?")
	}
	f, known := g.files[fileKey(name)]
	if !known && !g.tree || g.began[e.Src] < f.since {
		return // what is served was published when the request came
	}
	switch {
	case missing && f.sha256 != "":
		g.lapse(e.By, "publish", e, "%s is published and was answered %s", e.File, answer)
	case e.Kind == Served && e.Complete && e.Status < 400 && f.sha256 == "":
		g.lapse(e.By, "publish", e, "%s is not published and was served", e.File)
	case e.Kind == Served && e.Complete && e.Status < 400 && e.SHA256 != "" && e.SHA256 != f.sha256:
		g.lapse(e.By, "publish", e, "%s was served with other content than is published", e.File)
	}
}
