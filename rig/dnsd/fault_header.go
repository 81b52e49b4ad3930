package dnsd

import "fmt"

// Rcode answers with response code N and no records.
type Rcode struct {
	// N is a response code of RFC 1035 section 4.1.1, 0 to 15: 2 is SERVFAIL, 3
	// NXDOMAIN, 5 REFUSED.
	N int
}

func (e Rcode) String() string { return "answers " + rcodeName(e.N) }

func (e Rcode) check() error {
	if e.N < 0 || e.N > 15 {
		return fmt.Errorf("dnsd: response code %d is not within 0 to 15", e.N)
	}
	return nil
}

func (e Rcode) act(a *answer) { a.msg.Rcode, a.msg.Answer = e.N, nil }

// Truncated answers without records and with the TC bit, which sends a client
// to TCP (RFC 1035 section 4.2.1): nobody listens there. With Keep the records
// stay.
type Truncated struct{ Keep bool }

func (e Truncated) String() string {
	if e.Keep {
		return "says that the answer is truncated, and it is whole"
	}
	return "truncates the answer to nothing"
}

func (e Truncated) act(a *answer) {
	a.truncated = true
	if !e.Keep {
		a.msg.Answer = nil
	}
}

// WrongID answers with another id than the query's: with one bit turned over.
type WrongID struct{}

func (WrongID) String() string { return "answers with a wrong id" }

func (WrongID) act(a *answer) { a.msg.Id ^= 1 << 8 }
