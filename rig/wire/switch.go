package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// tableLimit is how many addresses a Switch learns; frames to further ones are
// flooded, as with a real switch whose table is full.
const tableLimit = 8192

// Switch is an Ethernet switch in memory. It learns addresses per VLAN, floods
// what it does not know, and adds and removes 802.1Q tags at its ports. It is
// safe for concurrent use. It forwards the reserved group addresses
// (01:80:C2:00:00:0x) too, unlike a bridge after 802.1D, because here the rig
// behind one of its ports may want to see LLDP.
type Switch struct {
	mu    sync.RWMutex
	ports []*SwitchPort
	table map[station]*SwitchPort
	// timed: frames take the time of a cable.
	timed bool
}

// station is what a switch learns: an address within a VLAN.
type station struct {
	addr mac
	vlan uint16
}

// NewSwitch returns a switch without ports.
func NewSwitch() *Switch {
	return &Switch{table: make(map[station]*SwitchPort)}
}

// NewTimedSwitch returns a switch on whose cables a frame takes the time that it
// has on 100BASE-TX: it is for virtual time, in which timers keep their order. No
// two frames of its first 64 ports arrive at one instant.
func NewTimedSwitch() *Switch {
	s := NewSwitch()
	s.timed = true
	return s
}

// Access adds a port for a device that knows of no VLANs. Its untagged frames
// belong to vlan, and what it receives is untagged. Priority-tagged frames and
// frames tagged with vlan are taken in too; frames of other VLANs are dropped.
// vlan 0 means VLAN 1, the default VLAN. It panics on a vlan beyond 4094.
func (s *Switch) Access(name string, vlan uint16) *SwitchPort {
	if vlan == 0 {
		vlan = 1
	}
	return s.add(name, vlan, []uint16{vlan})
}

// Trunk adds a port for a device that tags. Frames of native go untagged in
// both directions, those of vlans tagged; a tag's priority is kept from trunk
// to trunk. Without vlans the trunk carries all of them. With native 0 untagged
// frames are dropped. It panics on a VLAN beyond 4094.
func (s *Switch) Trunk(name string, native uint16, vlans ...uint16) *SwitchPort {
	var member []uint16
	if len(vlans) > 0 {
		member = slices.Clone(vlans)
		if native != 0 {
			member = append(member, native)
		}
	}
	return s.add(name, native, member)
}

func (s *Switch) add(name string, native uint16, member []uint16) *SwitchPort {
	for _, v := range append(member, native) {
		if v > maxVLAN {
			panic(fmt.Sprintf("wire: switch port %s: vlan %d is beyond %d", name, v, maxVLAN))
		}
	}
	p := &SwitchPort{
		net: s, name: name, native: native, member: member,
		queue: NewQueue(), link: true, power: true, watch: make(chan struct{}),
	}
	p.up.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timed {
		p.cable = &cable{slot: len(s.ports) % slots}
	}
	// A new slice each time: forwarding iterates over it without the lock.
	s.ports = append(slices.Clip(s.ports), p)
	return p
}

// remove takes p and all that was learned from it off the switch.
func (s *Switch) remove(p *SwitchPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = slices.DeleteFunc(slices.Clone(s.ports), func(o *SwitchPort) bool { return o == p })
	s.forgetLocked(p)
}

// forget drops what was learned from p, as a switch does when a link goes down.
func (s *Switch) forget(p *SwitchPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(p)
}

func (s *Switch) forgetLocked(p *SwitchPort) {
	for k, o := range s.table {
		if o == p {
			delete(s.table, k)
		}
	}
}

// Dropped returns how many frames were lost because a receiver's queue was
// full, over all ports that are on the switch now.
func (s *Switch) Dropped() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var n uint64
	for _, p := range s.ports {
		n += p.Dropped()
	}
	return n
}

// forward takes the frame data, which came in at from, to where it belongs.
func (s *Switch) forward(from *SwitchPort, data []byte) {
	tci, tagged := tagOf(data)
	vlan := tci & vlanMask
	if vlan == 0 { // untagged or priority-tagged
		vlan = from.native
	}
	if !from.carries(vlan) {
		from.filtered.Add(1)
		return
	}
	dst, src := dstOf(data), srcOf(data)

	s.mu.RLock()
	ports := s.ports
	to := s.table[station{dst, vlan}]
	known := src.group() || s.table[station{src, vlan}] == from
	s.mu.RUnlock()
	if !known {
		s.learn(station{src, vlan}, from)
	}

	prio := tci &^ vlanMask
	if to != nil && !dst.group() {
		if to != from {
			to.deliver(data, tagged, vlan, prio)
		}
		return
	}
	for _, p := range ports {
		if p != from && p.carries(vlan) {
			p.deliver(data, tagged, vlan, prio)
		}
	}
}

func (s *Switch) learn(k station, p *SwitchPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A port that was closed or lost its link meanwhile is not learned: its
	// stations would not be forgotten again.
	if _, there := s.table[k]; !there && len(s.table) >= tableLimit || !p.up.Load() {
		return
	}
	s.table[k] = p
}

// SwitchPort is one port of a Switch, seen from the device that is plugged into
// it: what the device sends goes to Send, what is for it comes out of Receive.
type SwitchPort struct {
	net      *Switch
	name     string
	native   uint16   // 0: untagged frames are dropped
	member   []uint16 // nil: every VLAN
	queue    *Queue
	filtered atomic.Uint64
	up       atomic.Bool // link, power and not closed
	outages  atomic.Uint64
	cable    *cable        // nil: frames take no time
	downs    atomic.Uint64 // how often the link was lost, with all that was on its way

	mu          sync.Mutex
	link, power bool
	closed      bool
	watch       chan struct{}
}

var _ Port = (*SwitchPort)(nil)

// Name returns the name the port was added with.
func (p *SwitchPort) Name() string { return p.name }

// Receive implements Port. Frames carry the time at which the switch handed
// them over.
func (p *SwitchPort) Receive(ctx context.Context) (Frame, error) {
	return p.queue.Receive(ctx)
}

// Send implements Port. It refuses frames that are shorter than an Ethernet
// header or longer than MaxFrame.
func (p *SwitchPort) Send(f Frame) error {
	if len(f.Data) < headerLen || len(f.Data) > MaxFrame {
		return sizeError(len(f.Data))
	}
	switch {
	case !p.up.Load():
	case p.cable == nil:
		p.net.forward(p, f.Data)
	default:
		p.cable.send(slices.Clone(f.Data), p.downs.Load(), p.arrive)
	}
	return nil
}

// arrive takes a frame off the cable that was sent when the link had been lost so
// many times.
func (p *SwitchPort) arrive(data []byte, downs uint64) {
	if p.up.Load() && p.downs.Load() == downs {
		p.net.forward(p, data)
	}
}

func sizeError(n int) error {
	return fmt.Errorf("wire: frame of %d bytes: must be %d to %d", n, headerLen, MaxFrame)
}

// carries tells whether the port is a member of vlan.
func (p *SwitchPort) carries(vlan uint16) bool {
	if vlan == 0 || vlan > maxVLAN {
		return false
	}
	return p.member == nil || slices.Contains(p.member, vlan)
}

// deliver queues a copy of data, of vlan, as this port has it on the cable.
func (p *SwitchPort) deliver(data []byte, tagged bool, vlan, prio uint16) {
	if !p.up.Load() {
		return // the queue would refuse it; save the copy
	}
	var own []byte
	switch {
	case vlan == p.native && tagged:
		own = appendUntagged(make([]byte, 0, len(data)-tagLen), data)
	case vlan == p.native:
		own = append(make([]byte, 0, len(data)), data...)
	case tagged:
		own = append(make([]byte, 0, len(data)), data...)
		binary.BigEndian.PutUint16(own[2*addrLen+2:], prio|vlan)
	default:
		own = appendTagged(make([]byte, 0, len(data)+tagLen), data, vlan)
	}
	if len(own) < headerLen {
		return // nothing but a tag
	}
	p.queue.put(Frame{Data: own}, true)
}

// Close takes the port off the switch.
func (p *SwitchPort) Close() error {
	p.mu.Lock()
	p.closed = true
	p.up.Store(false)
	p.mu.Unlock()
	p.net.remove(p)
	return p.queue.Close()
}

// SetLink plugs the cable in or pulls it. Frames on their way to the device are
// lost with the link.
func (p *SwitchPort) SetLink(up bool) { p.set(&p.link, up) }

// SetPower switches the port's power over Ethernet. Without power there is no
// link either, though Link keeps telling whether the cable is plugged in.
func (p *SwitchPort) SetPower(on bool) {
	if !on {
		p.outages.Add(1)
	}
	p.set(&p.power, on)
}

func (p *SwitchPort) set(what *bool, to bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *what == to {
		return
	}
	*what = to
	up := p.link && p.power && !p.closed
	p.up.Store(up)
	p.queue.turn(up)
	if !up {
		p.downs.Add(1)
		p.net.forget(p)
	}
	close(p.watch)
	p.watch = make(chan struct{})
}

// Link tells whether the cable is plugged in.
func (p *SwitchPort) Link() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link
}

// Power tells whether the port feeds the device.
func (p *SwitchPort) Power() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.power
}

// Outages tells how often the power has gone so far, so that a cut that was
// over before the device looked is not missed.
func (p *SwitchPort) Outages() uint64 { return p.outages.Load() }

// Watch returns a channel that is closed at the next change of link or power.
// Take it before asking for the state, then no change is missed.
func (p *SwitchPort) Watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watch
}

// Dropped returns how many frames for the device were lost because it did not
// read them.
func (p *SwitchPort) Dropped() uint64 { return p.queue.Dropped() }

// Filtered returns how many frames of the device the port refused because of
// their VLAN.
func (p *SwitchPort) Filtered() uint64 { return p.filtered.Load() }
