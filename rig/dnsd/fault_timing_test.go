package dnsd

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

func TestALateAnswerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		phone := n.MustListen(t, handset.String())
		s, j := faulty(t, socket(t, n), fault.On("A").Do(Delay{By: 10 * time.Second}).Once(), fault.On("AAAA").Do(Delay{By: time.Hour}))
		serve(t, s)
		began := time.Now()
		for _, q := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			if _, err := phone.Send(pack(t, query("prov.example.", q)), own); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, c := range []struct {
			qtype uint16
			after time.Duration
		}{{dns.TypeSRV, 0}, {dns.TypeA, 10 * time.Second}} { // that of AAAA is still out when the server ends
			d, err := phone.Receive()
			if err != nil {
				t.Fatal(err)
			}
			var m dns.Msg
			if err := m.Unpack(d.Data); err != nil || m.Question[0].Qtype != c.qtype || time.Since(began) != c.after {
				t.Errorf("%v after %v, %v; want that of type %d after %v", m.Question, time.Since(began), err, c.qtype, c.after)
			}
		}
		if e := j.last(); e.Kind != timeline.DNSResponse || e.Fields["dns.qry.type"] != "A" {
			t.Errorf("journal ends with %+v", e)
		}
	})
}
