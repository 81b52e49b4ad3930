package match

import (
	"net/netip"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

// fromHandset tells whether the handset sent the frame of the event.
func fromHandset(v timeline.View, e *timeline.Event) bool {
	return e.By == timeline.Wire && slices.Contains(v.HandsetMACs, strings.ToLower(e.SrcMAC))
}

// first claims one event of the window.
func first(v timeline.View, expected, problem string, is func(e *timeline.Event) bool) Verdict {
	vd := Verdict{Expected: []string{expected}, Line: 1, Problem: problem, presence: true}
	for e := range v.Brief.All() {
		if is(e) {
			vd.OK, vd.Final, vd.Seen = true, true, []string{line(e)}
			return vd
		}
	}
	return vd
}

type sendOnlyFrom struct {
	MAC string `json:"mac"`
}

// SendOnlyFrom claims that the handset sends, and every frame of its own from
// this MAC. It holds once the cycle is known to be over.
func SendOnlyFrom(mac string) Matcher { return sendOnlyFrom{MAC: strings.ToLower(mac)} }

// Name implements Matcher.
func (m sendOnlyFrom) Name() string { return "SendOnlyFrom" }

// Claim implements Matcher.
func (m sendOnlyFrom) Claim() string { return "send every frame from " + m.MAC }

// Judge implements Matcher.
func (m sendOnlyFrom) Judge(v timeline.View) Verdict { return conclude(v, m.judge) }
func (m sendOnlyFrom) sealed()                       {}

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
func ContactHost(addr string) Matcher { return contactHost{Addr: addr} }

// Name implements Matcher.
func (m contactHost) Name() string { return "ContactHost" }

// Claim implements Matcher.
func (m contactHost) Claim() string { return "contact " + m.Addr }

// Judge implements Matcher.
func (m contactHost) Judge(v timeline.View) Verdict { return conclude(v, m.judge) }
func (m contactHost) sealed()                       {}

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
func AskTime(server ...string) Matcher { return askTime{Server: strings.Join(server, "")} }

// Name implements Matcher.
func (m askTime) Name() string { return "AskTime" }

// Claim implements Matcher.
func (m askTime) Claim() string {
	if m.Server == "" {
		return "ask for the time and get an answer"
	}
	return "ask " + m.Server + " for the time and get an answer"
}

// Judge implements Matcher.
func (m askTime) Judge(v timeline.View) Verdict { return conclude(v, m.judge) }
func (m askTime) sealed()                       {}

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
func Fire(f timeline.Fact) Matcher { return fire{Fact: f} }

// Name implements Matcher.
func (m fire) Name() string { return "Fire" }

// Claim implements Matcher.
func (m fire) Claim() string { return "bring about: " + m.Fact.String() }

// Judge implements Matcher.
func (m fire) Judge(v timeline.View) Verdict { return conclude(v, m.judge) }
func (m fire) sealed()                       {}

func (m fire) judge(v timeline.View) Verdict {
	return first(v, m.Fact.String(), "it was not seen", m.Fact.Is)
}
