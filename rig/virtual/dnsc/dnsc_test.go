package dnsc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"ip88rig/rig/virtual/internal/packetpipe"
)

var (
	first  = netip.MustParseAddr("192.0.2.1")
	second = netip.MustParseAddr("192.0.2.2")
	client = netip.MustParseAddr("192.0.2.100")
)

func record(t *testing.T, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestLookup(t *testing.T) {
	zone := func(records ...string) func(t *testing.T, q *dns.Msg) *dns.Msg {
		return func(t *testing.T, q *dns.Msg) *dns.Msg {
			t.Helper()
			m := new(dns.Msg).SetReply(q)
			for _, r := range records {
				m.Answer = append(m.Answer, record(t, r))
			}
			return m
		}
	}
	code := func(rcode int) func(*testing.T, *dns.Msg) *dns.Msg {
		return func(_ *testing.T, q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, rcode) }
	}
	type server func(t *testing.T, q *dns.Msg) *dns.Msg
	for _, test := range []struct {
		name          string
		first, second server
		ask           string
		want          string
		err           error
		took          time.Duration
	}{
		{name: "takes an address", first: zone("rig.example. A 192.0.2.7"), want: "192.0.2.7"},
		{name: "takes an address in any case", first: zone("RIG.example. A 192.0.2.7"), want: "192.0.2.7"},
		{name: "follows aliases in an answer", first: zone("b.example. A 192.0.2.7", "rig.example. CNAME a.example.", "a.example. CNAME b.example."), want: "192.0.2.7"},
		{name: "asks for an alias without an address", first: func(t *testing.T, q *dns.Msg) *dns.Msg {
			t.Helper()
			if q.Question[0].Name == "rig.example." {
				return zone("rig.example. CNAME a.example.")(t, q)
			}
			return zone("a.example. A 192.0.2.7")(t, q)
		}, want: "192.0.2.7"},
		{name: "ends a circle of aliases", first: zone("rig.example. CNAME a.example.", "a.example. CNAME rig.example."), err: ErrNotFound},
		{name: "leaves a stranger's address in an answer alone", first: zone("other.example. A 192.0.2.66"), err: ErrNotFound},
		{name: "knows a name that does not exist", first: code(dns.RcodeNameError), second: zone("rig.example. A 192.0.2.7"), err: ErrNotFound},
		{name: "goes to the next server after a failure", first: code(dns.RcodeServerFailure), second: zone("rig.example. A 192.0.2.7"), want: "192.0.2.7"},
		{name: "goes to the next server after silence", second: zone("rig.example. A 192.0.2.7"), want: "192.0.2.7", took: 3 * time.Second},
		{name: "gives up on silence", err: ErrTimeout, took: 12 * time.Second},
		{name: "passes over an answer to another question", first: func(_ *testing.T, q *dns.Msg) *dns.Msg {
			m := new(dns.Msg).SetReply(q)
			m.Id++
			return m
		}, err: ErrTimeout, took: 12 * time.Second},
		{name: "goes to the next server after an answer that was cut off", first: func(_ *testing.T, q *dns.Msg) *dns.Msg {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			return m
		}, second: zone("rig.example. A 192.0.2.7"), want: "192.0.2.7"},
		{name: "takes the address of an answer that was cut off behind it", first: func(t *testing.T, q *dns.Msg) *dns.Msg {
			t.Helper()
			m := zone("rig.example. A 192.0.2.7")(t, q)
			m.Truncated = true
			return m
		}, want: "192.0.2.7"},
		{name: "does not ask for an address", ask: "192.0.2.7", want: "192.0.2.7"},
		{name: "does not ask for nonsense", ask: "a..b", err: ErrNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := packetpipe.New()
				for addr, serve := range map[netip.Addr]server{first: test.first, second: test.second} {
					sock, err := network.Listen(netip.AddrPortFrom(addr, port))
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan struct{})
					go func() { // ends when the socket is closed
						defer close(done)
						buf := make([]byte, 512)
						for {
							n, from, err := sock.ReadFrom(buf)
							if err != nil {
								return
							}
							q := new(dns.Msg)
							if q.Unpack(buf[:n]) != nil || serve == nil {
								continue
							}
							wire, err := serve(t, q).Pack()
							if err != nil {
								panic(err)
							}
							_, _ = sock.WriteTo(wire, from)
						}
					}()
					defer func() { _ = sock.Close(); <-done }()
				}
				start := time.Now()
				name := test.ask
				if name == "" {
					name = "rig.example"
				}
				got, err := Lookup(t.Context(), Config{
					Listen: func(context.Context) (net.PacketConn, error) {
						return network.Listen(netip.AddrPortFrom(client, 0))
					},
					Servers: []netip.Addr{first, second}, Timeout: 3 * time.Second, Tries: 2,
				}, name)
				if !errors.Is(err, test.err) || err == nil && got.String() != test.want {
					t.Errorf("got %v %v, want %s %v", got, err, test.want, test.err)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

func FuzzPick(f *testing.F) {
	m := new(dns.Msg).SetQuestion("rig.example.", dns.TypeA)
	m.Response = true
	if rr, err := dns.NewRR("rig.example. CNAME a.example."); err == nil {
		m.Answer = append(m.Answer, rr)
	}
	if wire, err := m.Pack(); err == nil {
		f.Add(wire)
	}
	f.Fuzz(func(_ *testing.T, p []byte) {
		if reply := parse(p); reply != nil && belongs(reply, m) {
			_, _, _ = pick(reply, "rig.example.")
		}
	})
}
