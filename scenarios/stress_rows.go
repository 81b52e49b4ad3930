package scenarios

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/pki"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
)

// NET: the transports under stress.

// loseAnswer loses the handset's answer to a block: in lock-step the next frame
// of TFTP that comes from it.
func loseAnswer(block fault.Rule, phase string) []fault.Rule {
	answer := fault.On(impair.FromHandset).In("wire").Of("TFTP").During(phase)
	return rules(block.Do(impair.Phase{Name: phase}).Once(), answer.Do(impair.Lose{}).Once())
}

// tftpFaults are what a bad network or server does to TFTP. What RFC 1350 wants
// a client to get over must end with the whole file.
func (p *Phone) tftpFaults() []stress {
	own := p.Own().Files[0]
	data, oack := fault.On("DATA").Of(own), fault.On("OACK").Of(own)
	second, seventh := data.During("block 2"), data.During("block 7")
	error5 := timeline.Fact{Name: "answered with ERROR 5", Kinds: []timeline.Kind{timeline.TFTPError}, Status: 5}
	cases := []stress{
		{name: "a block is lost", whole: true, rules: rules(second.Do(tftpd.Drop{}).Once())},
		{name: "the OACK is lost", whole: true, rules: rules(oack.Do(tftpd.Drop{}).Once())},
		{name: "the OACK comes twice", whole: true, rules: rules(oack.Do(tftpd.Duplicate{Copies: 1}).Once())},
		{name: "an ACK is lost", whole: true, rules: loseAnswer(second, "block 2 of its own file")},
		{name: "a block is late", whole: true, rules: rules(second.Do(tftpd.Delay{By: p.scaled(2 * time.Second)}).Once())},
		{name: "each block comes twice", whole: true, rules: rules(data.Do(tftpd.Duplicate{Copies: 1})), once: own},
		{name: "each block comes twice from a careless server", whole: true, rules: rules(fault.On(own).In("tftpd").Do(tftpd.Careless{}), fault.On(impair.ToHandset).In("wire").Of("TFTP").Do(impair.Duplicate{Copies: 1})), once: own},
		{name: "two blocks in the wrong order", whole: true, rules: rules(second.Do(tftpd.Swap{}).Once())},
		{name: "a block from another port besides", whole: true, rules: rules(second.Do(tftpd.FromOtherPort{Besides: true}).Once()), fact: &error5},
		{name: "a block from another address besides", whole: true, rules: rules(second.Do(tftpd.FromOtherAddress{Besides: true}).Once())},
		{name: "a block of the wrong number", rules: rules(second.Do(tftpd.BlockNumber{By: 7}).Once())},
		{name: "a damaged block", part: true, rules: rules(seventh.Do(tftpd.FlipBit{Byte: 20, Bit: 3}).Once())},
		{name: "a block cut short", part: true, rules: rules(seventh.Do(tftpd.Resize{To: 100}))},
		{name: "a damaged OACK", rules: rules(oack.Do(tftpd.FlipBit{Byte: 2, Bit: 3}).Once())},
		{name: "options refused", whole: true, rules: rules(fault.On(own).In("tftpd").Do(tftpd.RefuseOptions{}))},
		{name: "options ignored", whole: true, rules: rules(fault.On(own).In("tftpd").Do(tftpd.IgnoreOptions{}))},
		{name: "an option that nobody knows", rules: rules(oack.Do(tftpd.Offer{Options: "rig88=1"}).Once())},
		{name: "a block size that was not asked for", rules: rules(oack.Do(tftpd.Offer{Options: "blksize=65464"}))},
		{name: "a block size of zero", rules: rules(oack.Do(tftpd.Offer{Options: "blksize=0"}))},
		{name: "a size that is a lie", rules: rules(oack.Do(tftpd.LieAboutSize{By: -100}))},
		{name: "no last block", rules: rules(fault.On(own).In("tftpd").Do(tftpd.OmitLast{}))},
		{name: "a file without end", rules: rules(fault.On(own).In("tftpd").Do(tftpd.Endless{Bytes: 256 << 10}))},
		{name: "answered from another address", rules: rules(fault.On(own).In("tftpd").Do(tftpd.AnswerElsewhere{}))},
	}
	for code := range uint16(9) {
		cases = append(cases, stress{
			name:  fmt.Sprintf("ERROR %d in the middle", code),
			rules: rules(second.Do(tftpd.Fail{Code: code, Text: "on purpose"}).Once()),
		})
	}
	return cases
}

var _ = scenario("gets its files over a bad TFTP transfer, whole or not at all",
	covers("NET-01"), over(timeline.TFTP), takes(34),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 16<<10)
		phone.Survive(ctx, "NET-01", phone.tftpFaults())
	})

var _ = scenario("gets a file of more than 65,535 blocks over TFTP",
	covers("NET-01"), over(timeline.TFTP), takes(2), heavy(),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		user := phone.SetUser()
		phone.Pad(Own, 65_600*8)
		phone.Inject(fault.On("OACK").Of(phone.Own().Files[0]).Do(tftpd.Offer{Options: "blksize=8"}))

		boot := phone.PowerCycle(ctx)

		// 130,000 frames, one after another: a busy machine or a slow wire needs its
		// time for them, and who is still at it has done nothing wrong.
		boot = phone.settled(ctx, boot.Within(max(10*phone.Patience.Upgrade, 15*time.Minute)))
		Eventually(ctx, boot).Should(Show("NET-01", RegisterAs(user)))
		phone.Calm()
	})

// stage is a place in the cycle at which something may happen to the link.
type stage struct {
	name string
	at   fault.Rule
}

// stages are those of a cycle, in their order but for the last, the one that
// leaves a part of a file. Names are asked for over HTTP and HTTPS alone.
func (p *Phone) stages() []stage {
	global, own, version := p.Global().Files[0], p.Own().Files[0], p.Version().Files[0]
	list := []stage{
		{"while it asks for its address", fault.On("REQUEST").In("dhcpd")},
		{"while it asks for the time", fault.On("SNTP").In("sntpd")},
	}
	if p.over != timeline.TFTP {
		list = append(list, stage{"while it asks for its server's name", fault.On("A").In("dnsd")})
	}
	if p.over == timeline.HTTPS {
		list = append(list, stage{"in the handshake", fault.On("ServerHelloDone").In("httpd")})
	}
	return append(list,
		stage{"before the global file", fault.On(global)},
		stage{"before its own file", fault.On(own)},
		stage{"at the version file", fault.On(version)},
		stage{"behind the version file", fault.On("done").Of(version)},
		stage{"while it registers", fault.On("REGISTER").In("sipd")},
		stage{"in its own file", fault.On(own).Behind(16 << 10)},
	)
}

// tellingStages are the stages that a transport adds to those of TFTP, which is
// the most delicate, and the one that leaves a part of a file.
func (p *Phone) tellingStages() []stage {
	own := map[timeline.Transport]string{timeline.HTTP: "while it asks for its server's name", timeline.HTTPS: "in the handshake"}
	if p.over == timeline.TFTP {
		return p.stages()
	}
	return slices.DeleteFunc(p.stages(), func(s stage) bool { return s.name != own[p.over] && s.name != "in its own file" })
}

// linkDowns are how long the link is down at a stage: to leave a part of a file it
// must outlast who waits.
func (s stage) linkDowns() []time.Duration {
	if strings.HasPrefix(s.name, "in ") {
		return []time.Duration{5 * time.Minute}
	}
	return []time.Duration{time.Second, 5 * time.Minute}
}

// wirePoints are the values of NET-03's range that this depth tries. The wire is
// the same over HTTP and HTTPS, but TCP has its own ways to get over it.
func (p *Phone) wirePoints() []point {
	var out []point
	both := fault.On("*").In("wire")
	// A hundred answers, one after another, each 4 s later.
	slow := p.scaled(7 * time.Minute)
	bad := func(name string, e fault.Effect, also ...timeline.Transport) {
		if p.over == timeline.TFTP || slices.Contains(also, p.over) {
			out = append(out, point{name, both.Do(e), slow})
		}
	}
	seed := uint64(p.run.Seed) //nolint:gosec // any number will do
	// Counted, so that it comes to pass in a short cycle too.
	bad("loss 1 %", impair.Lose{Pattern: lossy(1)}, timeline.HTTP, timeline.HTTPS)
	bad("loss 5 %", impair.Lose{Pattern: lossy(5)})
	bad("loss 15 %", impair.Lose{Pattern: lossy(15)})
	bad("loss 30 % by chance", impair.Lose{Percent: 30, Seed: seed}, timeline.HTTP)
	bad("delay 100ms", impair.Delay{D: p.scaled(100 * time.Millisecond)})
	bad("delay 2s", impair.Delay{D: p.scaled(2 * time.Second)}, timeline.HTTP, timeline.HTTPS)
	bad("jitter 200ms", impair.Delay{D: p.scaled(200 * time.Millisecond), Jitter: p.scaled(200 * time.Millisecond), Seed: seed})
	bad("bursts", impair.Burst{Enter: 20, Leave: 40, Bad: 80, Seed: seed}, timeline.HTTP)
	bad("every frame twice", impair.Duplicate{Copies: 1}, timeline.HTTPS)
	if p.over != timeline.TFTP { // in lock-step nothing comes behind a frame that could overtake it
		out = append(out, point{"each 5th frame overtaken", both.Do(impair.Reorder{Every: 5, By: p.scaled(300 * time.Millisecond)}), slow})
	}
	bad("5 % damaged", impair.Corrupt{Pattern: lossy(5), Seed: seed}, timeline.HTTP)
	bad("64 kB/s", impair.Limit{BytesPerSecond: 64_000})
	return out
}

// linkPoints are the outages of NET-03's range.
func (p *Phone) linkPoints() []point {
	var out []point
	for _, s := range p.tellingStages() {
		for _, d := range s.linkDowns() {
			out = append(out, point{"link down for " + d.String() + " " + s.name, s.at.Do(impair.LinkDown{For: p.scaled(d)}).Once(), p.scaled(d)})
		}
	}
	return out
}

var _ = scenario("comes through a bad wire with each file whole or not at all",
	covers("NET-03"), anyTransport(), takes(18),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 32<<10)
		phone.Sweep(ctx, "NET-03", phone.wirePoints())
	})

var _ = scenario("gets over a link that goes down in any stage of the cycle",
	covers("NET-03"), anyTransport(), takes(30),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 32<<10)
		phone.Sweep(ctx, "NET-03", phone.linkPoints())
	})

var _ = scenario("takes software over a bad wire whole or not at all",
	covers("NET-03"), over(timeline.TFTP), takes(10), needsFirmware(), riskBrick(), standsOn("FWU-01", "ORD-05", "RBT-04"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		golden, next := phone.Firmware("golden"), phone.Firmware("next")
		image := next.Files[0].Name
		phone.Publish(next)
		// With its checksum put right on the way, as a bad bridge does.
		phone.Inject(fault.On("DATA").Of(image).During("block 20").Do(tftpd.FlipBit{Byte: 400, Bit: 3}))
		phone.upgradeStopped(ctx, "NET-03", image+" damaged on the way", phone.PowerCycle(ctx), golden, next)
		both, seed := fault.On("*").In("wire"), uint64(phone.run.Seed)
		phone.SweepUpgrade(ctx, "NET-03", []point{
			{"loss 15 %", both.Do(impair.Lose{Pattern: lossy(15)}), 0},
			{"5 % damaged", both.Do(impair.Corrupt{Pattern: lossy(5), Seed: seed}), 0},
		}, golden, next)
	})

// lossy is a pattern of 100 frames that loses so many of them, from the eighth on.
func lossy(percent int) string {
	pattern := []byte(strings.Repeat(".", 100))
	for i := range percent {
		pattern[(7+i*100/percent)%100] = 'x'
	}
	return string(pattern)
}

func every[T any](list []T, n int) []T {
	var out []T
	for i := 0; i < len(list); i += n {
		out = append(out, list[i])
	}
	return out
}

// steadyPoints are the wire's points that do as much in one cycle as in the next.
// Where chance decides which frames are lost, it decides how long a cycle takes.
func (p *Phone) steadyPoints() []point {
	return slices.DeleteFunc(p.wirePoints(), func(pt point) bool {
		switch e := pt.rule.Effect().(type) {
		case impair.Burst:
			return true
		case impair.Lose:
			return e.Percent > 0
		}
		return false
	})
}

var _ = scenario("takes its time from power to registered",
	covers("NET-04"), anyTransport(), takes(10),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		registers := Took("power to registered", timeline.Fact{}, timeline.FactRegistered())
		phone.Observe(ctx, "NET-04", "in quiet", phone.PowerCycle(ctx).Within(phone.Patience.Boot), registers)
		for _, pt := range tried(phone.steadyPoints(), phone.run.points()) {
			phone.Inject(pt.rule)
			phone.Observe(ctx, "NET-04", pt.name, phone.PowerCycle(ctx).Within(phone.Patience.Boot+pt.lasts), registers)
			phone.Calm()
		}
	})

// silences are the points of the scenario below. They lie so far apart that a
// busy machine does not move the change from one to the next, and off the times
// that implementations like to wait.
func (p *Phone) silences() []point {
	var out []point
	on := fault.On(p.Own().Files[0]).In("httpd")
	for _, d := range []time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second, 25 * time.Second, 3 * time.Minute} {
		out = append(out, point{fmt.Sprintf("a silence of %v s", d.Seconds()), on.Do(httpd.Delay{For: p.scaled(d), AfterBytes: 6 << 10}), p.scaled(d)})
	}
	return out
}

// silentEnd is the silence at one end of the change and what it is to tell. Where
// not even the shortest changes nothing, that one tells it: "none".
func silentEnd(silences []point, at int) (tells string, silence point) {
	const after = "registers as the file says after "
	if at < 0 {
		return "none: " + after + silences[0].name, silences[0]
	}
	return after + silences[at].name, silences[at]
}

var _ = scenario("gets over a silence of its server in the middle of a file, as long as it waits",
	covers("NET-02", "NET-04"), over(timeline.HTTP, timeline.HTTPS), takes(10),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 12<<10)
		silences := phone.silences()
		change := phone.Bisect(ctx, "NET-02", silences)
		if change.Wide {
			phone.Elsewhere("NET-04")
			return
		}
		longest, shortest := change.Harmless()
		for _, end := range []struct {
			name string
			at   int
		}{
			{"the longest silence that changes nothing", longest},
			{"the shortest silence that is too long", shortest},
		} {
			if end.at < 0 && change.From == Unharmed {
				continue // none of those tried was too long
			}
			// What it says is in the name: how long it was.
			what, silence := silentEnd(silences, end.at)
			tells := Happens(what, phone.RegisteredAs(phone.SetLine().User))
			phone.Inject(silence.rule)
			phone.Observe(ctx, "NET-04", end.name, phone.PowerCycle(ctx).Within(phone.Patience.Boot+silence.lasts), tells)
			phone.Calm()
		}
	})

// length is how many bytes of a configuration file are served, unless it is
// encrypted or raw.
func (p *Phone) length(c Config) int64 {
	return int64(len(padded(p.served.files[c].Bytes(), p.served.padding[c])))
}

// unaskedGzip compresses a file for a handset that did not ask for it. For one
// that does there is no such thing: it is told so of a file that is not.
func unaskedGzip(on fault.Rule) stress {
	return stress{name: "gzip, unasked", rules: rules(on.Do(httpd.Compressed{})), asked: func(s stress, before timeline.Log) stress {
		if takesGzip(before) {
			s.name, s.rules = "said to be gzip, and is not", rules(on.Do(httpd.Compressed{HeaderOnly: true}))
		}
		return s
	}}
}

// takesGzip tells whether the handset has asked a web server for gzip.
func takesGzip(events timeline.Log) bool {
	for e := range events.All() {
		if e.By == "httpd" && e.Kind == timeline.HTTPRequest && httpd.Takes([]string{e.Fields["http.accept_encoding"]}, "gzip") {
			return true
		}
	}
	return false
}

// httpFaults are what a bad server does to HTTP.
func (p *Phone) httpFaults() []stress {
	own := p.Own().Files[0]
	on := fault.On(own).In("httpd")
	half, end := int64(6<<10), p.length(Own)-10
	cases := []stress{
		{name: "reset in the middle", rules: rules(on.Do(httpd.Reset{AfterBytes: half}))},
		{name: "promises 100 bytes more", rules: rules(on.Do(httpd.Length{By: 100}))},
		{name: "closed in the middle", rules: rules(on.Do(httpd.Close{AfterBytes: half}))},
		{name: "the file under 404", never: true, rules: rules(on.Do(httpd.FileUnder{Code: 404}))},
		{name: "the file under 500", never: true, rules: rules(on.Do(httpd.FileUnder{Code: 500}))},
		{name: "a loop of redirections", never: true, rules: rules(on.Do(httpd.Redirect{Code: 302}))},
		{name: "silence in the middle", rules: rules(on.Do(httpd.FallSilent{AfterBytes: half}))},
		{name: "reset at once", never: true, rules: rules(on.Do(httpd.Reset{}))},
		{name: "silence in the head", never: true, rules: rules(on.Do(httpd.FallSilent{HeadBytes: 20}))},
		{name: "closed at once", never: true, rules: rules(on.Do(httpd.Close{}))},
		{name: "reset in the head", never: true, rules: rules(on.Do(httpd.Reset{HeadBytes: 20}))},
		{name: "reset after the first byte", rules: rules(on.Do(httpd.Reset{AfterBytes: 1}))},
		{name: "reset near the end", rules: rules(on.Do(httpd.Reset{AfterBytes: end}))},
		{name: "closed in the head", never: true, rules: rules(on.Do(httpd.Close{HeadBytes: 20}))},
		{name: "closed near the end", rules: rules(on.Do(httpd.Close{AfterBytes: end}))},
		{name: "silence near the end", rules: rules(on.Do(httpd.FallSilent{AfterBytes: end}))},
		{name: "a kept connection that is closed as the next request comes", rules: rules(on.Do(httpd.Close{}).Once())},
		{name: "promises 100 bytes more and waits", rules: rules(on.Do(httpd.Length{By: 100, Hold: true}))},
		{name: "promises 100 bytes fewer", part: true, rules: rules(on.Do(httpd.Length{By: -100}))},
		{name: "a length that is no number", rules: rules(on.Do(httpd.LengthAs{Text: "abc"}))},
		{name: "no length", whole: true, rules: rules(on.Do(httpd.NoLength{}))},
		{name: "in chunks", whole: true, rules: rules(on.Do(httpd.Chunked{Size: 1000}))},
		{name: "in chunks without the last", rules: rules(on.Do(httpd.Chunked{Size: 1000, Flaw: httpd.ChunkNoLast}))},
		{name: "in chunks, one shorter than it says", rules: rules(on.Do(httpd.Chunked{Size: 1000, Flaw: httpd.ChunkTooShort}))},
		{name: "two lengths", rules: rules(on.Do(httpd.LengthTwice{By: -100}))},
		{name: "a byte that is damaged", part: true, rules: rules(on.Do(httpd.Corrupt{Offset: half}))},
		{name: "another file's content", part: true, rules: rules(on.Do(httpd.WrongFile{Name: p.Global().Files[0]}))},
		{name: "in chunks with a bad size", rules: rules(on.Do(httpd.Chunked{Size: 1000, Flaw: httpd.ChunkBadSize}))},
		{name: "HTTP/1.0", whole: true, rules: rules(on.Do(httpd.Version{Name: "HTTP/1.0"}))},
		{name: "a connection that closes", whole: true, rules: rules(on.Do(httpd.Persistence{Say: "close", Close: true}))},
		unaskedGzip(on),
		{name: "one byte a second", rules: rules(on.Do(httpd.Trickle{Bytes: 1, Every: p.scaled(time.Second)}))},
		{name: "a redirection", rules: rules(on.Do(httpd.Redirect{Code: 302, To: "/" + own + "?again"}).Once())},
		{name: "garbage", never: true, rules: rules(on.Do(httpd.Garbage{Bytes: 300, Seed: 9}))},
	}
	for _, code := range []int{301, 307} {
		cases = append(cases, stress{name: fmt.Sprintf("%d", code), rules: rules(on.Do(httpd.Redirect{Code: code, To: "/" + own + "?moved"}).Once())})
	}
	for _, code := range []int{401, 403, 404, 408, 429, 500, 503} {
		header := ""
		if code == 429 || code == 503 {
			header = "Retry-After: 1"
		}
		cases = append(cases, stress{name: fmt.Sprintf("%d", code), never: true, rules: rules(on.Do(httpd.Status{Code: code, Header: header}))})
	}
	return cases
}

var _ = scenario("gets its files from a bad HTTP server, whole or not at all",
	covers("NET-02"), over(timeline.HTTP, timeline.HTTPS), takes(46),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Pad(Own, 12<<10)
		phone.SetLine() // as long as the ones to come
		cases := phone.httpFaults()
		if phone.over == timeline.HTTPS {
			cases = every(cases, 3) // the same server, in a tunnel
		}
		phone.Survive(ctx, "NET-02", cases)
	})

var _ = scenario("comes through a handshake that goes wrong, and provisions at the next good cycle",
	covers("TLS-12"), over(timeline.HTTPS), takes(17),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		hello := fault.On("ClientHello").In("httpd")
		at := func(message string) fault.Rule { return fault.On(message).In("httpd") }
		phone.Survive(ctx, "TLS-12", []stress{
			{name: "silence after the ClientHello", never: true, rules: rules(hello.Do(httpd.FallSilent{}))},
			{name: "reset after the ClientHello", never: true, rules: rules(hello.Do(httpd.Reset{}))},
			{name: "reset at the ServerHello", never: true, rules: rules(at("ServerHello").Do(httpd.Reset{}))},
			{name: "reset after the rig's flight", never: true, rules: rules(at("ServerHelloDone").Do(httpd.Reset{}))},
			{name: "reset after the handset's Finished", never: true, rules: rules(at("Finished").Do(httpd.Reset{}))},
			{name: "garbage", never: true, rules: rules(hello.Do(httpd.Garbage{Bytes: 200, Seed: 3}))},
			{name: "alert handshake_failure", never: true, rules: rules(hello.Do(httpd.Alert{Description: 40}))},
			{name: "close_notify", never: true, rules: rules(hello.Do(httpd.Alert{Level: 1}))},
			{name: "alert internal_error", never: true, rules: rules(at("ServerHello").Do(httpd.Alert{Description: 80}))},
			{name: "alert in the place of the last flight", never: true, rules: rules(at("Finished").Do(httpd.Alert{Description: 80}))},
			{name: "a warning, and on", rules: rules(hello.Do(httpd.Alert{Level: 1, Description: 112, Proceed: true}))},
			{name: "slow bytes", rules: rules(hello.Do(httpd.Trickle{Bytes: 40, Every: phone.scaled(time.Second)}))},
			{name: "another certificate on the second connection", never: true, rules: rules(hello.From(2).Do(httpd.Present{Label: pki.WrongName.String()}), fault.On(phone.Global().Files[0]).In("httpd").Do(httpd.Persistence{Say: "close", Close: true}))},
			{name: "3DES alone", rules: rules(hello.Do(httpd.Suites{Names: "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}))},
			{name: "TLS 1.0 alone", rules: rules(hello.Do(httpd.Versions{Min: tls.VersionTLS10, Max: tls.VersionTLS10}))},
		})
	})

var _ = scenario("is not locked out by a wrong clock",
	covers("TLS-13"), over(timeline.HTTPS), takes(6), first(-6),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		set := func(year int) fault.Effect {
			return sntpd.SetTo{At: time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)}
		}
		for _, year := range []int{2040, 1970, 2035} {
			name := fmt.Sprintf("the year %d", year)
			phone.Inject(fault.On("SNTP").In("sntpd").Do(set(year)))
			boot := phone.PowerCycle(ctx)
			Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(ShowCase("TLS-13", name+": it comes up", Register()))
			phone.Calm()
			phone.Good(ctx, "TLS-13", name+", then the right time")
		}
	})

var _ = scenario("provisions once its link is back, without being powered",
	covers("NET-03"), anyTransport(), takes(1), standsOn("RSY-01"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		phone.Finish(ctx, phone.PowerCycle(ctx))
		phone.Inject(fault.On("NOTIFY").In("sipd").Do(impair.LinkDown{For: phone.scaled(20 * time.Second)}).Once())

		cycle := phone.CheckSync(ctx)

		Eventually(ctx, cycle.Within(phone.Patience.Cycle)).Should(Show("NET-03", Ask(phone.Global())))
		phone.quiesce(ctx, cycle.Within(phone.Patience.Cycle), false)
		phone.Calm()
	})
