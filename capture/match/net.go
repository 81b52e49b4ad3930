package match

import (
	"net/netip"
	"strings"

	"ip88rig/capture/timeline"
)

func netMatchers() registry[params] {
	return registry[params]{"SendOnlyFrom": sendOnlyFrom{}, "ContactHost": contactHost{}, "AskTime": askTime{}, "Fire": fire{}}
}

type sendOnlyFrom struct {
	MAC string `json:"mac"`
}

// SendOnlyFrom claims that the handset sends, and every frame of its own from
// this MAC. It holds once the cycle is known to be over.
func SendOnlyFrom(mac string) Matcher { return claims(sendOnlyFrom{MAC: strings.ToLower(mac)}) }

func (m sendOnlyFrom) says() string { return "send every frame from " + m.MAC }

func (m sendOnlyFrom) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"from " + m.MAC}, Line: 1, Problem: "it sent nothing from there"}
	sent, last := false, v.From
	for e := range v.Events.All() {
		switch {
		case e.Kind == timeline.Asked:
			last = e.Seq
		case !fromHandset(v, e):
		case strings.EqualFold(e.SrcMAC, m.MAC):
			if !sent {
				vd.Seen = append(vd.Seen, "from "+m.MAC+": "+line(e))
			}
			sent = true
		default:
			vd.Seen = append(vd.Seen, "from "+e.SrcMAC+": "+line(e))
			vd.Final, vd.Line, vd.Problem = true, len(vd.Seen), "a frame came from "+e.SrcMAC
			return vd
		}
	}
	if sent {
		vd.Line, vd.OK = 0, over(v, last)
		vd.Problem = "it is not yet known whether all frames do"
	}
	return vd
}

type contactHost struct {
	Addr string `json:"addr"`
}

// ContactHost claims that the handset sends something other than ARP and DHCP
// to this host: an address, or an address with a port.
func ContactHost(addr string) Matcher { return claims(contactHost{Addr: addr}) }

func (m contactHost) says() string { return "contact " + m.Addr }

func (m contactHost) judge(v timeline.View) Verdict {
	return first(v, "a packet to "+m.Addr, "it did not", func(e *timeline.Event) bool {
		switch e.Kind {
		case timeline.ARPRequest, timeline.ARPReply, timeline.ARPProbe, timeline.ARPAnnouncement,
			timeline.DHCPDiscover, timeline.DHCPRequest, timeline.DHCPDecline, timeline.DHCPRelease, timeline.DHCPInform,
			timeline.TCPClosed: // the end of a contact is none
			return false
		default: // any other kind is contact
		}
		return fromHandset(v, e) && at(m.Addr, e.Dst)
	})
}

type askTime struct {
	Server string `json:"server,omitempty"`
}

// AskTime claims that the handset asks for the time and is answered; a server
// may be named by its address.
func AskTime(server ...string) Matcher { return claims(askTime{Server: strings.Join(server, "")}) }

func (m askTime) says() string {
	if m.Server == "" {
		return "ask for the time and get an answer"
	}
	return "ask " + m.Server + " for the time and get an answer"
}

func (m askTime) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{"SNTP request", "SNTP response"}, Line: 1, Problem: "it did not ask", presence: true}
	asked := map[netip.AddrPort]bool{}
	for e := range v.Brief.All() {
		switch {
		case e.Kind == timeline.SNTPRequest && fromHandset(v, e) && (m.Server == "" || at(m.Server, e.Dst)):
			if len(asked) == 0 {
				vd.Seen, vd.Line, vd.Problem = []string{line(e)}, 2, "it was not answered"
			}
			asked[e.Dst] = true
		case e.Kind == timeline.SNTPResponse && asked[e.Src] && !fromHandset(v, e):
			vd.Seen = append(vd.Seen[:1], line(e))
			vd.OK, vd.Final = true, true
			return vd
		}
	}
	return vd
}

type fire struct {
	Fact timeline.Fact `json:"fact"`
}

// Fire claims that the fact is seen in the window.
func Fire(f timeline.Fact) Matcher { return claims(fire{Fact: f}) }

func (m fire) says() string { return "bring about: " + m.Fact.String() }

func (m fire) judge(v timeline.View) Verdict {
	return first(v, m.Fact.String(), "it was not seen", m.Fact.Is)
}
