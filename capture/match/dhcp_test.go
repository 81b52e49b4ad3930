package match

import (
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

// dhcp is a message of the handset, or of the server to it, so many seconds behind
// the verb.
func dhcp(second float64, k timeline.Kind, dst string, fields ...string) timeline.Event {
	mac, src := phoneMAC, "192.0.2.10:68"
	if k == timeline.DHCPAck || k == timeline.DHCPNak {
		mac, src = rigMAC, "192.0.2.1:67"
	}
	e := wire(mac, k, src, dst)
	e.At = start().Add(time.Duration(second * float64(time.Second)))
	e.Fields = map[string]string{"dhcp.hw.mac_addr": phoneMAC}
	for i := 0; i < len(fields); i += 2 {
		e.Fields["dhcp."+fields[i]] = fields[i+1]
	}
	return e
}

const (
	toServer    = "192.0.2.1:67"
	toAnybody   = "255.255.255.255:67"
	toTheClient = "192.0.2.10:68"
)

func ack(second float64, more ...string) timeline.Event {
	return dhcp(second, timeline.DHCPAck, toTheClient, append([]string{
		"ip.your", "192.0.2.10", "option.dhcp_server_id", "192.0.2.1", "option.ip_address_lease_time", "16",
	}, more...)...)
}

func extends(second float64, dst string) timeline.Event {
	return dhcp(second, timeline.DHCPRequest, dst, "ip.client", "192.0.2.10")
}

func registeredFrom(second float64, src string) timeline.Event {
	e := registered("2001")
	e.At, e.Src = start().Add(time.Duration(second*float64(time.Second))), addr(src)
	return e
}

func TestWhatBecomesOfALease(t *testing.T) {
	discover := func(second float64) timeline.Event {
		return dhcp(second, timeline.DHCPDiscover, toAnybody, "ip.client", "0.0.0.0")
	}
	type events = []timeline.Event
	const good = ""
	for _, c := range []struct {
		name   string
		m      Matcher
		events events
		want   string
	}{
		{"renews at half of it", Renew(), events{ack(1), extends(9, toServer)}, good},
		{"renews a little early", Renew(), events{ack(1), extends(7.5, toServer)}, good},
		{"renews at T1 as it was told", Renew(), events{ack(1, "option.renewal_time_value", "4", "option.rebinding_time_value", "6"), extends(5, toServer)}, good},
		{"renews at T1 as it was not told", Renew(), events{ack(1, "option.renewal_time_value", "4", "option.rebinding_time_value", "6"), extends(9, toServer)}, "it asked only 8s into a lease of 16s"},
		{"times that make no sense count for nothing", Renew(), events{ack(1, "option.renewal_time_value", "12", "option.rebinding_time_value", "6"), extends(9, toServer)}, good},
		{"renews at once", Renew(), events{ack(1), extends(2, toServer)}, "it asked 1s into a lease of 16s, and T1 is 8s"},
		{"renews behind T2", Renew(), events{ack(1), extends(16, toServer)}, "it asked only 15s"},
		{"renews-by-broadcast", Renew(), events{ack(1), extends(9, toAnybody)}, "by broadcast"},
		{"renews at another server", Renew(), events{ack(1), extends(9, "192.0.2.2:67")}, "it asked 192.0.2.2, and 192.0.2.1 gave the lease"},
		{"renews for another address", Renew(), events{ack(1), dhcp(9, timeline.DHCPRequest, toServer, "ip.client", "192.0.2.11")}, "it gave 192.0.2.11"},
		{"asks as if it booted", Renew(), events{ack(1), dhcp(9, timeline.DHCPRequest, toAnybody, "ip.client", "0.0.0.0", "option.requested_ip_address", "192.0.2.10")}, "it gave 0.0.0.0"},
		{"renews what was taken from it", Renew(), events{ack(1), dhcp(2, timeline.DHCPNak, toTheClient), extends(9, toServer)}, "it held no lease"},
		{"begins anew in place of renewing", Renew(), events{ack(1), discover(9)}, "it began anew"},
		{"never-renews", Renew(), events{ack(1)}, "it did not"},
		{"another's lease is not its own", Renew(), events{ack(1), func() timeline.Event { e := ack(5); e.Fields["dhcp.hw.mac_addr"] = moduleMAC[:16] + "9"; return e }(), extends(9, toServer)}, good},

		{"rebinds at T2", Rebind(), events{ack(1), extends(9, toServer), extends(15, toAnybody)}, good},
		{"rebinds although it was renewed", Rebind(), events{ack(1), extends(9, toServer), ack(9.1), extends(15, toAnybody)}, "it asked 5.9s into a lease of 16s, and T2 is 14s"},
		{"rebinds behind the end", Rebind(), events{ack(1), extends(17.5, toAnybody)}, "it asked only 16.5s"},
		{"never-rebinds", Rebind(), events{ack(1), extends(9, toServer), extends(16, toServer), discover(17)}, "it began anew"},

		{"begins anew at the end", BeginAnew(), events{ack(1), extends(9, toServer), discover(17)}, good},
		{"begins anew a little early", BeginAnew(), events{ack(1), discover(16.2)}, good},
		{"begins anew at T2 in place of rebinding", BeginAnew(), events{ack(1), extends(9, toServer), discover(15.2)}, "it began anew 14.2s into a lease of 16s"},
		{"begins anew at T2 as it was told", BeginAnew(), events{ack(1, "option.renewal_time_value", "8", "option.rebinding_time_value", "15"), discover(16.2)}, "it began anew 15.2s into a lease of 16s"},
		{"begins anew a little early behind an early T2", BeginAnew(), events{ack(1, "option.renewal_time_value", "4", "option.rebinding_time_value", "6"), discover(15.2)}, good},
		{"begins anew in the middle", BeginAnew(), events{ack(1), discover(9)}, "it began anew 8s into a lease of 16s"},
		{"begins anew when the lease before has ended", BeginAnew(), events{ack(1), ack(15), discover(17)}, "it began anew 2s into a lease of 16s"},
		{"stays at the end", BeginAnew(), events{ack(1), extends(9, toServer)}, "it did not"},

		{"registers from there", RegisterFromLease(), events{ack(1), registeredFrom(2, "192.0.2.10:5060")}, good},
		{"registers from elsewhere", RegisterFromLease(), events{ack(1), registeredFrom(2, "192.0.2.11:5060")}, "it registered from 192.0.2.11, and was given 192.0.2.10"},
		{"registers from the address before", RegisterFromLease(), events{ack(1), ack(2, "ip.your", "192.0.2.12"), registeredFrom(3, "192.0.2.10:5060")}, "was given 192.0.2.12"},
		{"keeps-declined", RegisterFromLease(), events{ack(1), dhcp(2, timeline.DHCPDecline, toAnybody), registeredFrom(3, "192.0.2.10:5060")}, "which nobody gave it"},
		{"ignores-nak", RegisterFromLease(), events{ack(1), dhcp(2, timeline.DHCPNak, toAnybody), registeredFrom(3, "192.0.2.10:5060")}, "which nobody gave it"},
		{"wrong once, then right", RegisterFromLease(), events{ack(1), registeredFrom(2, "192.0.2.11:5060"), registeredFrom(3, "192.0.2.10:5060")}, "it registered from 192.0.2.11"},
		{"held since before the recording", RegisterFromLease(), events{registeredFrom(1, "192.0.2.10:5060"), ack(2), registeredFrom(3, "192.0.2.10:5060")}, good},
		{"never registers", RegisterFromLease(), events{ack(1)}, "it did not register"},
	} {
		tl := timeline.New(timeline.Config{HandsetMACs: []string{phoneMAC, moduleMAC}, ServerMACs: []string{rigMAC}})
		tl.Add(timeline.Event{At: start(), By: "scenario", Kind: timeline.Verb, Message: "PowerCycle"})
		w := tl.Mark().Within(time.Minute)
		for i, e := range c.events {
			e.Frame = i + 1
			tl.Add(e)
		}
		shut(tl)
		name, args := Encode(c.m)
		again, err := Decode(name, args)
		if err != nil || again.made() != c.m.made() {
			t.Errorf("%s: written as %s %s, and read as %v, %v", c.name, name, args, again, err)
			continue
		}
		vd := again.Judge(w.View())
		if vd.OK != (c.want == good) || !strings.Contains(vd.Problem, c.want) {
			t.Errorf("%s: %v %q, want %q", c.name, vd.OK, vd.Problem, c.want)
		}
	}
}
