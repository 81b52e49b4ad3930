package dnsd

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// WrongAddress answers a question about addresses of its family with Addr and
// no other, whether the name is known or not.
type WrongAddress struct{ Addr netip.Addr }

func (e WrongAddress) String() string { return fmt.Sprintf("answers with the address %v", e.Addr) }

func (e WrongAddress) check() error {
	if !e.Addr.IsValid() || e.Addr.Zone() != "" || e.Addr.Is4In6() {
		return fmt.Errorf("dnsd cannot answer with the address %v", e.Addr)
	}
	return nil
}

func (e WrongAddress) fits(a *answer) bool {
	return a.q.Qtype == e.kind()
}

func (e WrongAddress) kind() uint16 {
	if e.Addr.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func (e WrongAddress) act(a *answer) {
	hdr := dns.RR_Header{Name: a.q.Name, Rrtype: e.kind(), Class: dns.ClassINET, Ttl: a.ttl}
	var rr dns.RR = &dns.A{Hdr: hdr, A: e.Addr.AsSlice()}
	if e.Addr.Is6() {
		rr = &dns.AAAA{Hdr: hdr, AAAA: e.Addr.AsSlice()}
	}
	a.msg.Rcode, a.msg.Answer = dns.RcodeSuccess, []dns.RR{rr}
}

// Empty answers NOERROR without records, as for a name that has none of the
// type asked for.
type Empty struct{}

func (Empty) String() string { return "answers without records" }

func (Empty) act(a *answer) { a.msg.Rcode, a.msg.Answer = dns.RcodeSuccess, nil }

// Chain answers a question about addresses with so many CNAME records on the
// way to them: the name is an alias of "c1." and the name, that one of "c2.",
// and so on. What is longer than the client takes is truncated.
type Chain struct{ Length int }

func (e Chain) String() string { return fmt.Sprintf("answers with a chain of %d aliases", e.Length) }

func (e Chain) check() error {
	if e.Length < 1 || e.Length > maxChain {
		return fmt.Errorf("dnsd: a chain of %d aliases is not within 1 to %d", e.Length, maxChain)
	}
	return nil
}

func (Chain) fits(a *answer) bool { return a.addresses() }

func (e Chain) act(a *answer) {
	var out []dns.RR
	alias := a.q.Name
	for i := range e.Length {
		next := a.alias(i + 1)
		out = append(out, a.cname(alias, next))
		alias = next
	}
	for _, rr := range a.msg.Answer {
		rr.Header().Name = alias
		out = append(out, rr)
	}
	a.msg.Answer = out
}

// Loop answers a question about addresses with two CNAME records that lead to
// each other.
type Loop struct{}

func (Loop) String() string { return "answers with aliases that lead in a circle" }

func (Loop) fits(a *answer) bool { return a.addresses() }

func (Loop) act(a *answer) {
	other := a.alias(1)
	a.msg.Rcode = dns.RcodeSuccess
	a.msg.Answer = []dns.RR{a.cname(a.q.Name, other), a.cname(other, a.q.Name)}
}

// maxChain bounds Chain: what goes into 1232 bytes is far less.
const maxChain = 100

// addresses tells a question about addresses, with a name that has room for a
// label more.
func (a *answer) addresses() bool {
	return (a.q.Qtype == dns.TypeA || a.q.Qtype == dns.TypeAAAA) && len(a.q.Name) < 240
}

func (a *answer) alias(n int) string {
	if a.q.Name == "." {
		return fmt.Sprintf("c%d.", n)
	}
	return fmt.Sprintf("c%d.%s", n, a.q.Name)
}

func (a *answer) cname(alias, target string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: alias, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: a.ttl}, Target: target}
}
