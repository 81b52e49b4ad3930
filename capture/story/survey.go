package story

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ip88rig/capture/decode"
	"ip88rig/capture/pcap"
)

// survey is the first reading of a capture: whose it is, and what is peculiar to
// the way in which it was taken.
type survey struct {
	frames, cut int
	kept        int // the longest part of a frame that was cut
	links       map[pcap.LinkType]int
	first       time.Time
	own         bool // a recording of ip88rig

	hosts   map[mac]*host // by the MAC that is theirs, or stands for it
	order   []*host
	owners  map[netip.Addr]*host // of an address, until a DHCP ACK says otherwise
	senders map[sender]*traffic
	sums    map[mac]*sums
	seed    maphash.Seed
	seen    map[netip.Addr][2]int // unicast frames from and to an address
	asked   map[netip.Addr]*host  // those who may be a handset where nobody uses DHCP
	routed  map[mac]int           // addresses that frames of a MAC come from
}

// host is a handset, or may be one.
type host struct {
	mac   mac
	addrs []netip.Addr
	how   string // it is known
	rank  int    // the higher, the surer
	relay netip.Addr
	// dhcp counts the messages of DHCP that it sent, and that it was sent.
	dhcp [2]int
}

// name is the host's MAC, or its address where the capture does not have the MAC.
func (h *host) name() string {
	if h.mac.isMade() && len(h.addrs) > 0 {
		return h.addrs[0].String()
	}
	return h.mac.String()
}

func (m mac) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// made is a MAC that stands for a host of which only the IPv4 address is known.
func made(a netip.Addr) mac {
	b := a.As4()
	return mac{0x02, 0xff, b[0], b[1], b[2], b[3]}
}

func (m mac) isMade() bool { return m[0] == 0x02 && m[1] == 0xff }

// traffic is what one sender sent, as far as it matters to copies.
type traffic struct {
	recent [8]struct {
		sum   uint64
		at    int64
		frame int
	}
	next  int
	kinds map[uint32]*copies
}

type copies struct{ frames, doubled int }

// How much later the copy of a frame comes at most: any, and the one that is the
// very next frame of the capture.
const (
	copyWithin = 5 * time.Millisecond
	nextWithin = 20 * time.Millisecond
)

// copied says whether a frame is the copy of one just before, and remembers it. The
// copy of a copy is none: it belongs to a third one.
func (t *traffic) copied(sum uint64, frame int, at time.Time) bool {
	now := at.UnixNano()
	for i := range t.recent {
		r := &t.recent[i]
		within := copyWithin
		if frame == r.frame+1 {
			within = nextWithin
		}
		if r.sum == sum && r.at != 0 && now-r.at <= int64(within) && now >= r.at {
			r.at = 0
			return true
		}
	}
	r := &t.recent[t.next]
	r.sum, r.at, r.frame = sum, now, frame
	t.next = (t.next + 1) % len(t.recent)
	return false
}

// doubled says whether most frames of the sender are in the capture twice, of every
// kind of which there are some.
func (t *traffic) doubled() bool {
	frames, copied := 0, 0
	for _, c := range t.kinds {
		if c.frames >= 4 && c.doubled*5 < c.frames*2 {
			return false
		}
		frames += c.frames
		copied += c.doubled
	}
	return copied > 0 && copied*5 >= frames*2
}

// sums counts the frames of a sender whose checksums were wrong.
type sums struct{ frames, wrong int }

func newSurvey() *survey {
	return &survey{
		links: map[pcap.LinkType]int{}, hosts: map[mac]*host{}, owners: map[netip.Addr]*host{}, senders: map[sender]*traffic{},
		sums: map[mac]*sums{}, seed: maphash.MakeSeed(), seen: map[netip.Addr][2]int{}, asked: map[netip.Addr]*host{}, routed: map[mac]int{},
	}
}

// frame looks at the next one.
func (s *survey) frame(p pcap.Packet, frame []byte, length int) {
	if s.frames++; s.frames == 1 {
		s.first = p.At
	}
	if length > len(frame) {
		s.cut++
		s.kept = max(s.kept, len(p.Data))
	}
	v, ok := look(frame, length)
	if !ok {
		return
	}
	from := v.sender()
	t := s.senders[from]
	if t == nil {
		t = &traffic{kinds: map[uint32]*copies{}}
		s.senders[from] = t
	}
	c := t.kinds[v.kind()]
	if c == nil {
		c = &copies{}
		t.kinds[v.kind()] = c
	}
	c.frames++
	if t.copied(v.sum(s.seed), p.Number, p.At) {
		c.doubled++
	}
	if !v.ip {
		return
	}
	s.checksums(v)
	s.count(v)
	switch {
	case v.protocol == protocolUDP && (v.to.Port() == 67 || v.to.Port() == 68 && v.from.Port() == 67):
		s.dhcp(v)
	default:
		s.suspect(v)
	}
}

// checksums notes whether those of a frame are right.
func (s *survey) checksums(v view) {
	c := s.sums[v.src]
	if c == nil {
		c = &sums{}
		s.sums[v.src] = c
	}
	c.frames++
	if decode.Intact(v.header, v.transport, v.cut) {
		return
	}
	c.wrong++
}

func (s *survey) count(v view) {
	if v.to.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || v.to.Addr().IsMulticast() || v.dst.isGroup() {
		return
	}
	for i, a := range []netip.Addr{v.from.Addr(), v.to.Addr()} {
		n := s.seen[a]
		if n == [2]int{} && i == 0 {
			s.routed[v.src]++
		}
		n[i]++
		s.seen[a] = n
	}
}

// dhcp notes the client of a DHCP or BOOTP message: whose hardware address stands
// in it, whichever host sent the frame (RFC 2131, section 2).
func (s *survey) dhcp(v view) {
	b := v.payload
	if len(b) < 44 || b[2] != 6 || b[0] != 1 && b[0] != 2 {
		return
	}
	client := mac(b[28:34])
	if client == (mac{}) {
		return
	}
	h := s.hosts[client]
	if h == nil {
		h = &host{mac: client, how: "by DHCP", rank: rankDHCP}
		s.hosts[client] = h
		s.order = append(s.order, h)
	}
	h.dhcp[b[0]-1]++
	if relay := netip.AddrFrom4([4]byte(b[24:28])); !relay.IsUnspecified() {
		h.relay = relay
	}
	for _, field := range [][]byte{b[12:16], b[16:20]} { // ciaddr, yiaddr
		a := netip.AddrFrom4([4]byte(field))
		if a.IsUnspecified() || &field[0] == &b[16] && !isAck(b) {
			continue
		}
		s.owns(h, a)
	}
}

func (s *survey) owns(h *host, a netip.Addr) {
	if !slices.Contains(h.addrs, a) {
		h.addrs = append(h.addrs, a)
	}
	if s.owners[a] == nil {
		s.owners[a] = h
	}
}

// isAck says whether a DHCP message is an ACK, or a reply of BOOTP.
func isAck(b []byte) bool {
	kind, found := messageType(b)
	return b[0] == 2 && (!found || kind == 5)
}

// messageType finds option 53 (RFC 2132, section 9.6).
func messageType(b []byte) (byte, bool) {
	if len(b) < 240 {
		return 0, false
	}
	for o := b[240:]; len(o) >= 2 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		n := int(o[1])
		if len(o) < 2+n {
			break
		}
		if o[0] == 53 && n == 1 {
			return o[2], true
		}
		o = o[2+n:]
	}
	return 0, false
}

// How sure it is that a host is a handset.
const (
	rankAnswered = iota + 1
	rankWeb
	rankFile
	rankRegister
	rankMaker
	rankDHCP
)

// suspect notes who behaves like a handset. It matters where nobody uses DHCP.
func (s *survey) suspect(v view) {
	const syn, ack = 2, 16
	switch to, from := v.to.Port(), v.from.Port(); {
	case v.protocol == protocolUDP && to == 69 && len(v.payload) > 4 && v.payload[0] == 0 && v.payload[1] == 1:
		name, _, _ := bytes.Cut(v.payload[2:], []byte{0})
		s.may(v.from.Addr(), v.src, rankFile, fmt.Sprintf("by the file that it asks for, %q", string(name)))
	case bytes.HasPrefix(v.payload, []byte("REGISTER sip")):
		how := "by its REGISTER"
		if agent := headerOf(v.payload, "User-Agent"); agent != "" {
			how = fmt.Sprintf("by its User-Agent, %q", agent)
		}
		s.may(v.from.Addr(), v.src, rankRegister, how)
	case v.protocol == protocolTCP && bytes.HasPrefix(v.payload, []byte("GET /")):
		how := "by its GET"
		if agent := headerOf(v.payload, "User-Agent"); agent != "" {
			how = fmt.Sprintf("by its User-Agent, %q", agent)
		}
		s.may(v.from.Addr(), v.src, rankWeb, how)
	case v.protocol == protocolTCP && v.flags&(syn|ack) == syn && (to == 80 || to == 443 || to == 8080 || to == 8443):
		s.may(v.from.Addr(), v.src, rankWeb, "by its connection to a web server")
	case (from == 80 || from == 443 || from == 69 || from == 5060) && len(v.payload) > 0:
		s.may(v.to.Addr(), v.dst, rankAnswered, "by the answers that it is sent")
	}
}

// headerOf finds a header field of a text message.
func headerOf(b []byte, name string) string {
	for line := range bytes.Lines(b) {
		key, value, found := bytes.Cut(line, []byte(":"))
		if found && strings.EqualFold(string(key), name) {
			return strings.ToValidUTF8(string(bytes.TrimSpace(value)), "\uFFFD")
		}
	}
	return ""
}

func (s *survey) may(a netip.Addr, m mac, rank int, how string) {
	h := s.asked[a]
	if h == nil {
		h = &host{mac: m, addrs: []netip.Addr{a}}
		s.asked[a] = h
	}
	if rank > h.rank {
		h.rank, h.how = rank, how
	}
}

// settle decides who the handsets are: the clients of DHCP, or those of a known
// maker; where there are none, the surest of those who behave like one. The
// addresses that the user names come before all.
func (s *survey) settle(o Options) {
	makers := func(m mac) bool {
		return slices.ContainsFunc(o.Makers, func(p string) bool { return strings.HasPrefix(m.String(), strings.ToLower(p)) })
	}
	best := 0
	for a, h := range s.asked {
		switch {
		case h.mac == (mac{}) || s.routed[h.mac] > 1 && h.rank == rankAnswered:
			h.mac = made(a)
		case makers(h.mac):
			h.rank, h.how = rankMaker, "by the maker's prefix of its MAC"
		}
		best = max(best, h.rank)
	}
	if len(s.order) == 0 {
		for _, h := range s.asked {
			if h.rank == best {
				s.adopt(h)
			}
		}
		slices.SortFunc(s.order, func(a, b *host) int { return cmp.Compare(a.name(), b.name()) })
	}
}

// adopt takes a host for a handset. Behind a router several have one MAC.
func (s *survey) adopt(h *host) {
	if s.hosts[h.mac] != nil {
		h.mac = made(h.addrs[0])
	}
	s.hosts[h.mac] = h
	s.order = append(s.order, h)
	s.owns(h, h.addrs[0])
}

// named returns the handset with a MAC or an address that the user gave.
func (s *survey) named(text string) (*host, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		if h := s.owners[a]; h != nil {
			return h, nil
		}
		if h := s.asked[a]; h != nil && h.mac != (mac{}) && s.hosts[h.mac] == nil {
			s.adopt(h)
			return h, nil
		}
		h := &host{mac: made(a), addrs: []netip.Addr{a}, how: "as named"}
		s.adopt(h)
		return h, nil
	}
	m, err := parseMAC(text)
	if err != nil {
		return nil, err
	}
	if h := s.hosts[m]; h != nil {
		return h, nil
	}
	h := &host{mac: m, how: "as named"}
	for a, other := range s.asked {
		if other.mac == m {
			h.addrs = append(h.addrs, a)
		}
	}
	s.hosts[m] = h
	s.order = append(s.order, h)
	return h, nil
}

// unfilled are the senders most of whose frames have wrong checksums: the capture
// was taken before their card filled them in.
func (s *survey) unfilled() []string {
	var macs []string
	for m, c := range s.sums {
		if c.wrong > 1 && c.wrong*2 > c.frames {
			macs = append(macs, m.String())
		}
	}
	slices.Sort(macs)
	return macs
}

// mirrored are the senders whose frames are in the capture twice.
func (s *survey) mirrored() map[sender]*traffic {
	out := map[sender]*traffic{}
	for who, t := range s.senders {
		if t.doubled() {
			out[who] = &traffic{}
		}
	}
	return out
}

// missing says which direction of a handset's traffic is not in the capture.
func (s *survey) missing(h *host) string {
	from, to := h.dhcp[0], h.dhcp[1]
	for _, a := range h.addrs {
		from += s.seen[a][0]
		to += s.seen[a][1]
	}
	switch {
	case from == 0 && to > 0:
		return "the other direction is not in the capture: nothing that the handset sent"
	case to == 0 && from > 3:
		return "the other direction is not in the capture: nothing that was sent to the handset"
	}
	return ""
}

// canon puts the handsets' own MACs into a frame where a router's, a relay's or none
// stands, so that all that follows knows them by these. It returns the frame, in
// buffer if it had to be changed.
func (s *survey) canon(v view, frame, buffer []byte) []byte {
	src, dst := v.src, v.dst
	if v.ip && v.protocol == protocolUDP && (v.to.Port() == 67 || v.to.Port() == 68 && v.from.Port() == 67) && len(v.payload) >= 44 {
		client := mac(v.payload[28:34])
		switch h := s.hosts[client]; {
		case h == nil:
		case v.payload[0] == 1:
			src = client
		default:
			dst = client
			if a := netip.AddrFrom4([4]byte(v.payload[16:20])); isAck(v.payload) && !a.IsUnspecified() {
				s.owners[a] = h
			}
		}
	} else if v.ip {
		if h := s.owners[v.from.Addr()]; h != nil && s.hosts[src] == nil {
			src = h.mac
		}
		if h := s.owners[v.to.Addr()]; h != nil && s.hosts[dst] == nil && !dst.isGroup() {
			dst = h.mac
		}
	}
	if src == v.src && dst == v.dst {
		return frame
	}
	out := append(buffer[:0], frame...)
	copy(out, dst[:])
	copy(out[6:], src[:])
	return out
}

func parseMAC(text string) (mac, error) {
	b := []byte(nil)
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ':' || r == '-' }) {
		var n uint8
		if _, err := fmt.Sscanf(part, "%02x", &n); err != nil || len(part) != 2 {
			b = nil
			break
		}
		b = append(b, n)
	}
	if len(b) != 6 {
		return mac{}, fmt.Errorf("%q is neither a MAC address such as b4:0e:dc:00:11:22 nor an IPv4 address", text)
	}
	return mac(b), nil
}
