//go:build linux && interop

package interop

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// life is the handset among the servers, step by step.
type life struct {
	*servers
	// chapters are what the wire must hold of each step, in order.
	chapters []chapter
}

type chapter struct {
	name  string
	began time.Time
	// words are the beginnings of what tcpdump must have heard, all of it.
	words []string
}

// TestForeignServers leads one simulated handset through its life among servers
// that nobody here wrote, all of them up at once. The servers' logs are the
// judges, and a capture of tcpdump for the order on the wire.
func TestForeignServers(t *testing.T) { //nolint:tparallel // beside other tests; each step rests on the one before
	t.Parallel()
	need(t, "dnsmasq", "nginx", "lighttpd", "chronyd", "chronyc", "kamailio", "sipsak", "tcpdump", "tshark", "openssl", "curl")
	l := &life{servers: newServers(t)}
	l.certificates(t)
	l.files(t)
	heard := l.tcpdump(t)
	l.nginx(t)
	l.lighttpd(t)
	l.kamailio(t)
	l.chronyd(t)
	l.dnsmasq(t)
	l.begin(t)
	l.until(t, mark{}, "dnsmasq", "DHCP, IP range")
	l.until(t, mark{}, "chronyd", "Running with root")
	for _, step := range []struct {
		name string
		// short says that the step is in the short part, too.
		short bool
		do    func(*testing.T)
	}{
		{"upgrades over TFTP from option 150, which wins over 66, with one reboot", true, l.tftp150},
		{"provisions over TFTP from the name in option 66", false, l.tftp66},
		{"answers the Basic challenge of nginx, without an RRQ", true, l.basic},
		{"answers the Digest challenge of lighttpd with qop", false, l.digest},
		{"does not loop on a wrong password", false, l.wrongPassword},
		{"upgrades over HTTPS with a certificate of openssl", true, l.https},
		{"refuses a certificate of an unknown authority", true, func(t *testing.T) { t.Helper(); l.refuses(t, "authority", "48") }},
		{"refuses a certificate for another name", false, func(t *testing.T) { t.Helper(); l.refuses(t, "name", "42") }},
		{"refuses an expired certificate by the time of chronyd", false, func(t *testing.T) { t.Helper(); l.refuses(t, "expired", "45") }},
		{"cannot tell that one has expired without a time server", false, l.noTime},
		{"accepts an unknown authority when that check is off", false, func(t *testing.T) { t.Helper(); l.accepts(t, "authority", "6", "421") }},
		{"accepts another name when that check is off", false, func(t *testing.T) { t.Helper(); l.accepts(t, "name", "5", "422") }},
		{"accepts an expired certificate when that check is off", false, func(t *testing.T) { t.Helper(); l.accepts(t, "expired", "3", "423") }},
		{"runs a new cycle on a check-sync of sipsak", true, l.notify},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			if !step.short {
				inWhole(t)
			}
			step.do(t)
		})
		if !ok {
			t.Fatal("what follows rests on this step")
		}
	}
	t.Run("tcpdump heard all of it in order", func(t *testing.T) { l.order(t, heard(t)) })
}

const (
	withTime = "option:ntp-server," + serverAddr // every step but one has the time
	first    = "1.0"                             // the version from the factory
	second   = "2.0"                             // installed over TFTP
	third    = "3.0"                             // installed over HTTPS
)

// files lays out what the servers serve, each folder with a user of its own, so
// that a REGISTER tells which one was applied.
func (l *life) files(t *testing.T) {
	t.Helper()
	l.line(t, "tftp", "201", "https_id phone", "https_password open")
	l.firmware(t, "tftp", second)
	l.global(t, "tftp")
	for folder, user := range map[string]string{"basic": "211", "digest": "221"} {
		l.line(t, folder, user)
		l.global(t, folder)
		l.firmware(t, folder, second)
	}
	for folder, user := range map[string]string{"good": "301", "authority": "421", "name": "422", "expired": "423"} {
		l.line(t, folder, user)
		l.global(t, folder)
		l.firmware(t, folder, third)
	}
}

// boot offers options, cuts the power and gives it back. Then tcpdump must hear
// the words, up to the next step.
func (l *life) boot(t *testing.T, options []string, words ...string) mark {
	t.Helper()
	l.options(t, options...)
	l.supply.set(false)
	from := l.mark(t)
	l.chapters = append(l.chapters, chapter{t.Name(), time.Now(), words})
	l.supply.set(true)
	return from
}

// registered waits until kamailio has granted a REGISTER: the cycle is over.
func (l *life) registered(t *testing.T, from mark, user, version string) {
	t.Helper()
	text := l.until(t, from, "kamailio", fmt.Sprintf("REGISTER granted user=%s as=%s from=%s:5070 agent=LG-Ericsson IP8830 v%s ", user, user, phoneAddr, version))
	if !strings.Contains(text, "REGISTER challenged user="+user) {
		t.Errorf("kamailio did not challenge %s:\n%s", user, text)
	}
}

// boots checks by dnsmasq's log how often the handset came for its address; what
// it sends again has the same transaction number.
func (l *life) boots(t *testing.T, from mark, want int) {
	t.Helper()
	text := l.since(t, from, "dnsmasq")
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if before, _, ok := strings.Cut(line, " DHCPACK("); ok {
			seen[before] = true
		}
	}
	if len(seen) != want {
		t.Errorf("%d transactions with a DHCPACK, want %d:\n%s", len(seen), want, text)
	}
}

// sent lists what dnsmasq sent or could not over TFTP, sorted and once: it looks
// at new requests before it looks at a last ACK, and at those that were sent
// again. Order and number are tcpdump's to tell.
func (l *life) sent(t *testing.T, from mark) (list []string) {
	t.Helper()
	for line := range strings.Lines(l.since(t, from, "dnsmasq")) {
		line = strings.ReplaceAll(line, l.path("tftp")+"/", "")
		if _, rest, ok := strings.Cut(line, ": sent "); ok {
			list = append(list, strings.Fields(rest)[0])
		} else if _, rest, ok := strings.Cut(line, ": cannot read "); ok {
			// The folder of the handset has the name of its file.
			list = append(list, "no "+strings.TrimSuffix(strings.Fields(rest)[0], ":"))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// gave fails unless that is what dnsmasq sent.
func (l *life) gave(t *testing.T, from mark, want ...string) {
	t.Helper()
	slices.Sort(want)
	want = slices.Compact(want)
	until(func() bool { return slices.Equal(l.sent(t, from), want) })
	if got := l.sent(t, from); !slices.Equal(got, want) {
		t.Errorf("dnsmasq sent %q, want %q", got, want)
	}
}

// routine is the guide's order of files, with a verb before each name.
func routine(verb string, more ...string) []string {
	list := []string{globalFile, ownFile, ownFile + "/" + verFile, verFile}
	list = append(list, more...)
	for i := range list {
		list[i] = verb + list[i]
	}
	return list
}

// found is what becomes of the routine where nothing is to be installed.
func found() []string { return []string{globalFile, ownFile, "no " + ownFile + "/" + verFile, verFile} }

// listed are the files of a firmware.
func listed() []string { return []string{"ip8830_sip.img", "ip8830_font.bin", "ip8830_sip.xml"} }

func (l *life) tftp150(t *testing.T) {
	t.Helper()
	boot := []string{"REQUEST", "SNTP"}
	words := slices.Concat([]string{"DISCOVER"}, boot, routine("RRQ ", listed()...), boot, routine("RRQ "), []string{"REGISTER "})
	asked := l.asked(t)
	from := l.boot(t, []string{withTime, "150," + serverAddr, "66,nowhere.example"}, words...)
	l.registered(t, from, "201", second)
	l.boots(t, from, 2)
	l.gave(t, from, slices.Concat(found(), listed())...)
	if text := l.since(t, from, "dnsmasq"); strings.Contains(text, "nowhere.example from") {
		t.Error("it looked for the server of option 66")
	}
	if n := l.asked(t) - asked; n < 2 {
		t.Errorf("chronyd was asked %d times in 2 boots", n)
	}
	l.ran(t, first, second)
}

// ran checks which versions the boot loader started, in the handset's own words:
// what kamailio saw is the proof, this says only that it began where it should.
func (l *life) ran(t *testing.T, before, after string) {
	t.Helper()
	if text := l.read(t, "handset"); !strings.Contains(text, "msg=boot version="+before+" ") || l.handset.Version() != after {
		t.Errorf("runs %s, want %s after %s", l.handset.Version(), after, before)
	}
}

func (l *life) tftp66(t *testing.T) {
	t.Helper()
	from := l.boot(t, []string{withTime, "66," + provName}, slices.Concat([]string{"REQUEST", "SNTP"}, routine("RRQ "), []string{"REGISTER "})...)
	l.registered(t, from, "201", second)
	l.boots(t, from, 1)
	l.gave(t, from, found()...)
	if text := l.since(t, from, "dnsmasq"); count(text, "query[A] "+provName, phoneAddr) == 0 {
		t.Error("dnsmasq was not asked for the name of option 66")
	}
}

// web are the options of an URL, with those of TFTP beside it.
func web(url string) []string {
	return []string{withTime, "150," + serverAddr, "66," + provName, "160," + url}
}

func (l *life) basic(t *testing.T) {
	t.Helper()
	from := l.boot(t, web("http://"+provName+"/"), slices.Concat([]string{"REQUEST", "SNTP"}, routine("GET "), []string{"REGISTER "})...)
	l.registered(t, from, "211", second)
	l.boots(t, from, 1)
	var got []string
	for line := range strings.Lines(l.lines(t, from, "basic", 1+len(found()))) {
		f := strings.Fields(line) // 192.0.2.50 "GET /f HTTP/1.1" 401 …
		got = append(got, strings.TrimPrefix(f[2], "/")+" "+f[4]+" "+f[6])
	}
	want := []string{globalFile + " 401 user=-"}
	for _, name := range routine("") {
		status := " 200"
		if strings.Contains(name, "/") {
			status = " 404"
		}
		want = append(want, name+status+" user=phone")
	}
	if !slices.Equal(got, want) {
		t.Errorf("nginx logged %q, want %q", got, want)
	}
	l.gave(t, from) // nothing, as option 160 is populated
}

// digestLog has lighttpd write its log out, and returns what it holds since.
func (l *life) digestLog(t *testing.T, from mark) string {
	t.Helper()
	hup := l.mark(t)
	if err := l.pids["lighttpd"].Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.until(t, hup, "lighttpd", "logfiles cycled") // written behind it
	return strings.ReplaceAll(l.since(t, from, "digest"), `\"`, `"`)
}

func (l *life) digest(t *testing.T) {
	t.Helper()
	from := l.boot(t, web("http://"+serverAddr+":8081"), slices.Concat([]string{"REQUEST", "SNTP"}, routine("GET "), []string{"REGISTER "})...)
	l.registered(t, from, "221", second)
	text := l.digestLog(t, from)
	challenged := 0
	counts := map[string]string{} // nonce counts by name
	for line := range strings.Lines(text) {
		f := strings.Fields(line) // 8081 401 "GET /f HTTP/1.1" Digest …
		name := strings.TrimPrefix(f[3], "/")
		switch {
		case f[1] == "401":
			challenged++
		case !strings.Contains(line, `uri="/`+name+`"`), !strings.Contains(line, "qop=auth"), !strings.Contains(line, `realm="phones"`):
			t.Errorf("digest of %s: %s", name, line)
		default:
			_, rest, _ := strings.Cut(line, "nc=")
			counts[name] = rest[:8]
		}
	}
	if challenged != 1 {
		t.Errorf("%d times 401, want 1:\n%s", challenged, text)
	}
	for i, name := range routine("") {
		if want := fmt.Sprintf("%08x", i+1); counts[name] != want {
			t.Errorf("%s with nc=%s, want %s", name, counts[name], want)
		}
	}
}

func (l *life) wrongPassword(t *testing.T) {
	t.Helper()
	from := l.boot(t, web("http://"+serverAddr+":8082"), slices.Concat([]string{"REQUEST", "SNTP"}, routine("GET "), []string{"REGISTER "})...)
	l.registered(t, from, "221", second) // still the user of the step before
	before := l.digestLog(t, from)
	rest(time.Second)
	after := l.digestLog(t, from)
	const most = 3 // for each file: without credentials, with, and once more
	if n := count(after, "8082 401"); n < 2 || n > most*len(routine("")) || count(after, "8082 200") > 0 || before != after {
		t.Errorf("%d times 401:\n%s", n, after)
	}
	l.boots(t, from, 1)
}

func (l *life) https(t *testing.T) {
	t.Helper()
	// The authority comes to the handset as a person would bring it.
	if got := l.run(t, "curl", "-sS", "-w", "%{http_code}", "--data-binary", "@"+l.path("tls/lab.pem"), "http://"+phoneAddr+"/authority"); got != "204" {
		t.Fatalf("upload of the authority: %q", got)
	}
	boot := []string{"REQUEST", "SNTP", "ClientHello " + provName}
	from := l.boot(t, web("https://"+provName+"/"), slices.Concat(boot, boot, []string{"REGISTER "})...)
	l.registered(t, from, "301", third)
	l.boots(t, from, 2)
	var got []string
	for line := range strings.Lines(l.lines(t, from, "good", 2*len(found())+len(listed()))) {
		f := strings.Fields(line)
		name := strings.TrimPrefix(f[2], "/")
		got = append(got, name+" "+f[4])
		if info, err := os.Stat(l.path("good/" + name)); err == nil && f[5] != fmt.Sprint(info.Size()) {
			t.Errorf("%s: nginx sent %s bytes of %d", name, f[5], info.Size())
		}
	}
	want := []string{globalFile + " 200", ownFile + " 200", ownFile + "/" + verFile + " 404", verFile + " 200"}
	once := slices.Clone(want)
	for _, f := range listed() {
		want = append(want, f+" 200")
	}
	if want = append(want, once...); !slices.Equal(got, want) {
		t.Errorf("nginx logged %q, want %q", got, want)
	}
	l.ran(t, second, third)
	l.firmware(t, "tftp", third) // from now on there is nothing to install
}

// flawed is the URL of the server with one flaw in its certificate.
func flawed(name string) string {
	return "https://" + net.JoinHostPort(provName, strconv.Itoa(ports()[name])) + "/"
}

// refuses boots under mask 7: nginx must log the alert, and no request.
func (l *life) refuses(t *testing.T, flaw, alert string) {
	t.Helper()
	asked := l.asked(t)
	from := l.boot(t, web(flawed(flaw)), "REQUEST", "SNTP", "ClientHello "+provName, "alert "+alert, "REGISTER ")
	l.registered(t, from, "301", third)
	l.boots(t, from, 1)
	text := l.until(t, from, "nginx-error", "SSL alert number ")
	if n := count(text, "SSL alert number "+alert, "client: "+phoneAddr, fmt.Sprintf(":%d", ports()[flaw])); n != 1 {
		t.Errorf("nginx logged %d alerts %s, want 1:\n%s", n, alert, text)
	}
	if text := l.since(t, from, flaw); text != "" {
		t.Errorf("nginx logged requests after a refusal:\n%s", text)
	}
	if l.asked(t) == asked {
		t.Error("chronyd was not asked the time")
	}
}

// noTime withholds option 42: mask 7 is as before, and only chronyd's answer
// could tell that the certificate has expired.
func (l *life) noTime(t *testing.T) {
	t.Helper()
	asked := l.asked(t)
	options := web(flawed("expired"))[1:]
	from := l.boot(t, options, "REQUEST", "ClientHello "+provName, "REGISTER ")
	l.registered(t, from, "423", third)
	if n := l.asked(t); n != asked {
		t.Errorf("chronyd was asked %d times without option 42", n-asked)
	}
	if text := l.lines(t, from, "expired", len(found())); count(text, `" 200 `) != 3 {
		t.Errorf("nginx logged\n%s", text)
	}
}

// accepts stores a mask over TFTP, and boots with the flawed certificate.
func (l *life) accepts(t *testing.T, flaw, mask, user string) {
	t.Helper()
	stored := "43" + mask
	l.line(t, "tftp", stored, "https_id phone", "https_password open", "verifying_cert "+mask)
	tftp := slices.Concat([]string{"REQUEST", "SNTP"}, routine("RRQ "), []string{"REGISTER "})
	from := l.boot(t, []string{withTime, "150," + serverAddr}, tftp...)
	l.registered(t, from, stored, third)
	from = l.boot(t, web(flawed(flaw)), "REQUEST", "SNTP", "ClientHello "+provName, "REGISTER ")
	l.registered(t, from, user, third)
	l.boots(t, from, 1)
	if text := l.lines(t, from, flaw, len(found())); count(text, `" 200 `) != 3 || count(text, `" 404 `) != 1 {
		t.Errorf("nginx logged\n%s", text)
	}
	if text := l.since(t, from, "nginx-error"); strings.Contains(text, "SSL alert number") {
		t.Errorf("nginx logged an alert:\n%s", text)
	}
	l.gave(t, from) // nothing, as option 160 is populated
}

// notify sends a check-sync: a cycle without a boot, and the new user.
func (l *life) notify(t *testing.T) {
	t.Helper()
	l.line(t, "tftp", "441")
	cycle := slices.Concat(routine("RRQ "), []string{"REGISTER "})
	from := l.boot(t, []string{withTime, "150," + serverAddr}, slices.Concat([]string{"REQUEST", "SNTP"}, cycle, []string{"NOTIFY check-sync", "SNTP"}, cycle)...)
	l.registered(t, from, "441", third)
	l.line(t, "tftp", "442")
	from = l.mark(t)
	message := l.write(t, "notify", strings.ReplaceAll(`NOTIFY sip:441@`+phoneAddr+`:5070 SIP/2.0
From: <sip:rig@`+serverAddr+`>;tag=1
To: <sip:441@`+serverAddr+`>
Call-ID: check-sync@`+serverAddr+`
CSeq: 1 NOTIFY
Contact: <sip:rig@`+serverAddr+`>
Max-Forwards: 70
Event: check-sync
Subscription-State: active
Content-Length: 0

`, "\n", "\r\n"))
	said := l.run(t, "sipsak", "-vv", "-H", serverAddr, "-f", message, "-s", "sip:441@"+phoneAddr+":5070")
	if !strings.Contains(said, "200 OK") {
		t.Errorf("sipsak says %s", said)
	}
	l.registered(t, from, "442", third)
	l.boots(t, from, 0)
	l.gave(t, from, found()...)
}

// order compares each step with what tcpdump heard in its time.
func (l *life) order(t *testing.T, all []heard) {
	t.Helper()
	if len(all) == 0 || len(l.chapters) == 0 {
		t.Fatalf("%d messages, %d steps", len(all), len(l.chapters))
	}
	for i, c := range l.chapters {
		var got []string
		for _, h := range all {
			if !h.at.Before(c.began) && (i+1 == len(l.chapters) || h.at.Before(l.chapters[i+1].began)) {
				got = append(got, h.words)
			}
		}
		if !slices.EqualFunc(got, c.words, strings.HasPrefix) {
			t.Errorf("%s: tcpdump heard\n  %s\nwant\n  %s", c.name, strings.Join(got, "\n  "), strings.Join(c.words, "\n  "))
		}
	}
	t.Logf("%d messages in %d boots", len(all), len(l.chapters))
}
