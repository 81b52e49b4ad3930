package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/model"
)

// CFG: what it does with configuration data. A setting cannot be read out of a
// handset: the period of registration is the witness of the global file, the
// line's name that of the phone-specific one.

var _ = scenario("applies unencrypted files although a key is stored",
	covers("CFG-01"), anyTransport(), takes(1), first(6), standsOn("ORD-02"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimAsItIs(ctx)
		phone.HoldKey(ctx)
		phone.ChallengeSIP()
		expires := phone.SetExpires()
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-01", RegisterWith{User: user, Expires: expires}))
	})

var _ = scenario("lets the phone-specific file overwrite the global one",
	covers("CFG-02"), anyTransport(), takes(1),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		loser := phone.FreshUser()
		phone.Set(Global, voip("line1_name"), loser)
		winner := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		phone.Finish(ctx, boot)
		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-02", RegisterAs(winner)))
		Consistently(ctx, phone.Quiet(boot)).ShouldNot(Show("CFG-02", RegisterAs(loser)))
	})

var _ = scenario("decrypts the global file with the stored key and applies it",
	covers("CFG-03"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		expires := phone.SetExpires()
		phone.Encrypt(Global)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-03", RegisterWith{Expires: expires}))
	})

var _ = scenario("decrypts the phone-specific file with the stored key and applies it",
	covers("CFG-03"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()
		phone.Encrypt(Own)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-03", RegisterAs(user)))
	})

var _ = scenario("holds the global file's changes although its own file is missing",
	covers("CFG-09"), anyTransport(), takes(1), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		expires := phone.SetExpires()
		phone.Withhold(Own)

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-09", RegisterWith{Expires: expires}))
	})

var _ = scenario("still holds what a file set after a power cycle with no file served",
	covers("CFG-11"), anyTransport(), takes(2), first(4),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		user := phone.SetUser()
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), phone.RegisteredAs(user), "CFG-01")
		phone.Withhold(Global)
		phone.Withhold(Own)
		phone.WithholdVersion()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-11", RegisterAs(user)))
	})

var _ = scenario("applies nothing of a file that it cannot decrypt, and loses nothing",
	covers("CFG-04"), anyTransport(), takes(5), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		held := phone.held()
		for _, c := range []Config{Global, Own} {
			user := phone.SetUser()
			phone.EncryptWith(c, phone.secret("another key", 32))
			boot := phone.PowerCycle(ctx)
			name := c.String() + " encrypted with another key"
			want := held
			if c == Global {
				want = RegisterWith{User: user, Expires: held.Expires} // its own file is good
			}
			quiet := phone.settled(ctx, boot.Within(phone.Patience.Boot))
			Eventually(ctx, quiet).Should(ShowCase("CFG-04", name, RegisterAsOneOf(want)))
			Eventually(ctx, quiet).Should(ShowCase("CFG-04", name+": the cycle goes on", AskInOrder(phone.Own(), phone.Version())))
			Consistently(ctx, quiet).ShouldNot(ShowCase("CFG-04", name, Reboot()))
			held = phone.held()
			phone.ServeGolden()
		}
		if phone.over == timeline.TFTP { // how a file came makes no difference to a key
			phone.withoutKey(ctx)
		}
		user := phone.SetUser()
		next := phone.PowerCycle(ctx)
		Eventually(ctx, next.Within(phone.Patience.Boot)).Should(ShowCase("CFG-04", "the next good cycle", RegisterAs(user)))
	})

// withoutKey judges CFG-04 of a handset that holds a blank key. The file is
// encrypted with a key of zeros, which a handset may well take a blank one for.
func (p *Phone) withoutKey(ctx context.Context) {
	GinkgoHelper()
	p.Store(ctx, map[model.Field]string{provision("decrypt_key"): ""})
	held := p.held()
	p.SetUser()
	p.EncryptWith(Own, strings.Repeat("0", 32))
	boot := p.PowerCycle(ctx)
	const name = "phone-specific file encrypted, and a blank key stored"
	Eventually(ctx, boot.Within(p.Patience.Boot)).Should(ShowCase("CFG-04", name, RegisterAsOneOf(held)))
	Eventually(ctx, boot.Within(p.Patience.Boot)).Should(ShowCase("CFG-04", name+": the cycle goes on", AskInOrder(p.Own(), p.Version())))
	Consistently(ctx, p.Quiet(boot)).ShouldNot(ShowCase("CFG-04", name, Reboot()))
	p.ServeGolden()
}

var _ = scenario("keeps settings that no file mentions",
	covers("CFG-05"), anyTransport(), takes(2), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		expires := phone.SetExpires()
		phone.Reach(ctx, phone.PowerCycle(ctx).Within(phone.Patience.Boot), timeline.FactRegistered(), "")
		phone.Omit(voip("timer_register_expires"))
		user := phone.SetUser()

		boot := phone.PowerCycle(ctx)

		Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("CFG-05", RegisterWith{User: user, Expires: expires}))
	})

// damagedTexts are ways in which a configuration file is no longer one; good is
// its text with the line name NAME.
func damagedTexts(good string) []struct{ name, text string } {
	middle := strings.Index(good, "line1_name") + 7
	return []struct{ name, text string }{
		{"cut in the middle of a line", good[:middle]},
		{"empty", ""},
		{"1 MiB of comments", strings.Repeat("; "+strings.Repeat("x", 61)+"\n", 1<<14) + good},
		{"NULs in it", good[:middle] + "\x00\x00\x00" + good[middle:]},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n")},
		{"a byte order mark", "\ufeff" + good},
		{"no section", strings.ReplaceAll(strings.ReplaceAll(good, "[", ";["), "]", "];")},
		{"a section doubled", good + "\n" + good},
		{"an unknown section", "[NONSENSE]\nfoo bar\n" + good},
		{"an unknown name", strings.Replace(good, "[VOIP]\n", "[VOIP]\nline1_nonsense 1\n", 1)},
		{"a name twice, last another", good + "\n[VOIP]\nline1_name 39999\n"},
		{"unquoted blanks", strings.Replace(good, "line1_displayname ", "line1_displayname a b c ", 1)},
		{"a value of 4096 characters", strings.Replace(good, "[VOIP]\n", "[VOIP]\nline1_displayname "+strings.Repeat("y", 4096)+"\n", 1)},
		{"a value out of range", strings.Replace(good, "[VOIP]\n", "[VOIP]\nline1_proxy_port 99999999\n", 1)},
	}
}

var _ = scenario("survives damaged text, and the next good cycle restores every setting",
	covers("CFG-06"), anyTransport(), takes(28), standsOn("CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		for i := range damagedTexts("line1_name") {
			if phone.over != timeline.TFTP && i%5 != 0 {
				continue // how a text came makes no difference to most of them
			}
			held, user := phone.held().User, phone.SetUser()
			c := damagedTexts(phone.Text(Own))[i]
			phone.ServeRaw(Own, []byte(c.text))
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			Eventually(ctx, boot).Should(ShowCase("CFG-06", c.name+": it survives", Ask(phone.Version())))
			phone.Observe(ctx, "CFG-06", c.name, boot, Registers(Aliases{held: "as before", user: "the new one", "39999": "the last of two"}, nil))
			phone.ServeGolden()
			again := phone.SetUser()
			expires := phone.SetExpires()
			next := phone.PowerCycle(ctx)
			Eventually(ctx, next.Within(phone.Patience.Boot)).Should(ShowCase("CFG-06", c.name+": the next good cycle", RegisterWith{User: again, Expires: expires}))
		}
	})

var _ = scenario("reads quotes and comments behind values",
	covers("CFG-07"), over(timeline.TFTP), takes(4),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		for _, c := range []struct{ name, format string }{
			{"a comment behind a blank", "%s ;comment"},
			{"a comment without blank", "%s;comment"},
			{"quotes", "\"%s\""},
			{"quotes and a comment", "\"%s\" ;comment"},
			{"two values", "%s 39998"},
		} {
			held, user := phone.held().User, phone.SetUser()
			line := fmt.Sprintf(c.format, user)
			phone.ServeRaw(Own, []byte(strings.Replace(phone.Text(Own), "line1_name "+user, "line1_name "+line, 1)))
			labels := Aliases{held: "as before", user: "the value", line: "the whole line", user + ";comment": "with the comment", user + " ;comment": "with the comment"}
			phone.Observe(ctx, "CFG-07", c.name, phone.PowerCycle(ctx).Within(phone.Patience.Boot), Registers(labels, nil))
			phone.ServeGolden()
		}
		phone.Set(Own, voip("line1_displayname"), "two words")
		names := Aliases{"Rig " + phone.lane.Handset.Name: "as before", "two words": "the whole value", "two": "the first word", `"two`: "the first word, with its quote", `"two words"`: "with its quotes", "": "none at all"}
		phone.Observe(ctx, "CFG-07", "a quoted value with a blank", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Displays(names))
		phone.ServeGolden()
		phone.Finish(ctx, phone.PowerCycle(ctx))
	})

var _ = scenario("reads lists of values",
	covers("CFG-07"), over(timeline.TFTP), takes(2), byHand("answer", "answer"),
	func(ctx SpecContext, phone *Phone) {
		phone.Claim(ctx)
		for _, list := range []string{"g729 pcma pcmu", "pcma pcmu"} {
			phone.Store(ctx, map[model.Field]string{voip("preferred_codec"): list})
			call, hangUp := phone.Call(ctx)
			phone.ObserveUntil(ctx, "CFG-07", "preferred_codec "+list, call.Within(phone.Patience.Operator+phone.Patience.Settle), answered(), AnswersWith())
			hangUp(ctx)
		}
	})

// answered is a 200 to an INVITE.
func answered() timeline.Fact {
	return timeline.Fact{Name: "answered", Kinds: []timeline.Kind{timeline.SIPResponse}, Message: "INVITE", Status: 200}
}

var _ = scenario("survives a damaged encrypted file, and the next good cycle restores every setting",
	covers("CFG-08"), anyTransport(), takes(10), standsOn("CFG-03", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		for i, c := range []struct {
			name   string
			damage func([]byte) []byte
		}{
			{"cut in the middle of a block", func(b []byte) []byte { return b[:len(b)-3] }},
			{"cut to half", func(b []byte) []byte { return b[:len(b)/16*8] }},
			{"a bit flipped in the first block", flipped(1)},
			{"a bit flipped in the last block", flipped(-2)},
			{"bytes too many at the end", func(b []byte) []byte { return append(slices.Clip(b), 1, 2, 3) }},
		} {
			if phone.over != timeline.TFTP && i > 0 {
				continue // how a file came makes no difference to most of them
			}
			held, user := phone.held().User, phone.SetUser()
			phone.ServeRaw(Own, c.damage(phone.Sealed(Own)))
			boot := phone.PowerCycle(ctx).Within(phone.Patience.Boot)
			Eventually(ctx, boot).Should(ShowCase("CFG-08", c.name+": it survives", Ask(phone.Version())))
			phone.Observe(ctx, "CFG-08", c.name, boot, Registers(Aliases{held: "as before", user: "the new one"}, nil))
			phone.ServeGolden()
			again := phone.SetUser()
			phone.Encrypt(Own)
			next := phone.PowerCycle(ctx)
			Eventually(ctx, next.Within(phone.Patience.Boot)).Should(ShowCase("CFG-08", c.name+": the next good cycle", RegisterAs(again)))
		}
	})

func flipped(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = slices.Clone(b)
		b[(at+len(b))%len(b)] ^= 0x10
		return b
	}
}

var _ = scenario("uses what the global file sets for the phone-specific file of the same cycle",
	covers("CFG-10"), anyTransport(), takes(4), riskLockout(), standsOn("CFG-03", "CFG-11"),
	func(ctx SpecContext, phone *Phone) {
		phone.ClaimExactly(ctx)
		key := phone.secret("a new key", 32)
		held, user := phone.held().User, phone.SetUser()
		phone.Set(Global, provision("decrypt_key"), key)
		phone.EncryptWith(Own, key)
		phone.Observe(ctx, "CFG-10", "a decrypt_key", phone.PowerCycle(ctx).Within(phone.Patience.Boot), Registers(Aliases{held: "as before", user: "the new one"}, nil))
		phone.ServeGolden()
		if credentials := phone.lane.Handset.Facts.Fields(model.CredentialFields); phone.over != timeline.TFTP && len(credentials) > 0 {
			phone.Challenge(rig.Basic)
			phone.Set(Global, credentials[0], "another")
			users := Aliases{phone.httpsID(): "as before", "another": "the new one"}
			phone.Observe(ctx, "CFG-10", "a credential", phone.PowerCycle(ctx).Within(phone.Patience.Boot), AnswersAs(phone.Own(), users))
			phone.ServeGolden()
		}
		if phone.over == timeline.TFTP {
			phone.Offer(rig.Offer{SNTP: true})
			phone.Set(Global, model.Field{Section: "LAN", Name: "tftp_server_address"}, phone.lane.Addrs.Second.String())
			phone.Observe(ctx, "CFG-10", "the server's address", phone.PowerCycle(ctx).Within(phone.Patience.Boot), AsksOf(phone.Own(), phone.hosts()))
			phone.ServeGolden()
			phone.OfferOver(phone.over)
		}
		phone.Finish(ctx, phone.PowerCycle(ctx))
	})
