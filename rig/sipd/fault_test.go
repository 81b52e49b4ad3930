package sipd_test

import (
	"testing"
	"testing/synctest"

	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

// under runs a server with rules in force and lets a phone play.
func under(t *testing.T, name string, play func(b *bench, s *sipd.Server, p *phone), rules ...fault.Rule) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			s, _ := b.start(func(c *sipd.Config) {
				c.Password = func(name string) (string, bool) { return secret, name == "201" }
			})
			for _, r := range rules {
				if err := s.Can(r.Effect()); err != nil {
					t.Fatal(err)
				}
				b.faults.Add(r)
			}
			play(b, s, b.phone(handset))
			for _, c := range b.faults.Ledger() {
				if c.Fired == 0 {
					t.Errorf("%q never fired", c.Rule)
				}
			}
		})
	})
}

// said is what an effect says of itself, and what is wrong with it.
type said struct {
	effect      sipd.Effect
	text, wrong string
}

func says(t *testing.T, cases []said) {
	t.Helper()
	s, _ := newBench(t).start()
	for _, c := range cases {
		if got := c.effect.String(); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
		got := ""
		if err := s.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.wrong {
			t.Errorf("%s: got %q, want %q", c.text, got, c.wrong)
		}
	}
}
