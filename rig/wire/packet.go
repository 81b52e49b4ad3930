package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	"golang.org/x/net/bpf"
)

// PacketOptions says what a PacketPort hears.
type PacketOptions struct {
	// MACs are the addresses whose frames, from and to them, are received; ARP
	// and DHCP to a group address are received from anybody. Nil: every frame.
	// Empty but not nil: only ARP and DHCP to group addresses.
	MACs []net.HardwareAddr
}

// Numbers of the protocols the filter looks for.
const (
	typeIPv4     = 0x0800
	typeARP      = 0x0806
	typeProvider = 0x88a8 // outer tag of IEEE 802.1ad
	protoUDP     = 17
	portServer   = 67 // of DHCP
	portClient   = 68
	fragmentMask = 0x1fff
)

// filterAccept is what a filter returns for a frame that passes: at most so
// many bytes of it.
const filterAccept = 1 << 18

// filterMACs bounds PacketOptions.MACs, so that the program stays below the
// kernel's limit of 4096 instructions.
const filterMACs = 256

// check says which of the addresses is none.
func (o PacketOptions) check() error {
	if len(o.MACs) > filterMACs {
		return fmt.Errorf("%d addresses to filter for: at most %d", len(o.MACs), filterMACs)
	}
	for _, m := range o.MACs {
		if len(m) != addrLen {
			return fmt.Errorf("filter for address %q: not an Ethernet address", m)
		}
	}
	return nil
}

// program is the filter as the kernel runs it, without regard to direction.
func (o PacketOptions) program() []bpf.Instruction {
	if o.MACs == nil {
		return []bpf.Instruction{bpf.RetConstant{Val: filterAccept}}
	}
	var p []bpf.Instruction
	for _, m := range o.MACs {
		for _, at := range []uint32{0, addrLen} { // destination, source
			p = append(p,
				bpf.LoadAbsolute{Off: at + 2, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(m[2:]), SkipFalse: 3},
				bpf.LoadAbsolute{Off: at, Size: 2},
				bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(m)), SkipFalse: 1},
				bpf.RetConstant{Val: filterAccept},
			)
		}
	}
	plain, tagged := groupProgram(headerLen), groupProgram(headerLen+tagLen)
	p = append(p,
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 2 * addrLen, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: vlanType, SkipTrue: uint8(len(plain) + 1)}, //nolint:gosec // a dozen
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeProvider, SkipTrue: uint8(len(plain))}, //nolint:gosec // a dozen
	)
	return slices.Concat(p, plain, tagged)
}

// groupProgram accepts ARP and DHCP whose payload starts at base.
func groupProgram(base uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: base - 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeARP, SkipTrue: 13},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeIPv4, SkipFalse: 11},
		bpf.LoadAbsolute{Off: base + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoUDP, SkipFalse: 9},
		bpf.LoadAbsolute{Off: base + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: fragmentMask, SkipTrue: 7},
		bpf.LoadMemShift{Off: base},
		bpf.LoadIndirect{Off: base, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: portServer, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: portClient, SkipTrue: 4},
		bpf.LoadIndirect{Off: base + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: portServer, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: portClient, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: filterAccept},
	}
}

// Accepts tells whether a port with these options receives the frame data: the
// kernel's filter in Go, for ports that have no kernel.
func (o PacketOptions) Accepts(data []byte) bool {
	if o.MACs == nil {
		return true
	}
	if len(data) < headerLen {
		return false
	}
	for _, m := range o.MACs {
		if string(data[:addrLen]) == string(m) || string(data[addrLen:2*addrLen]) == string(m) {
			return true
		}
	}
	if !dstOf(data).group() {
		return false
	}
	kind, packet := binary.BigEndian.Uint16(data[2*addrLen:]), data[headerLen:]
	if kind == vlanType || kind == typeProvider {
		if len(packet) < tagLen {
			return false
		}
		kind, packet = binary.BigEndian.Uint16(packet[2:]), packet[tagLen:]
	}
	if kind == typeARP {
		return true
	}
	if kind != typeIPv4 || len(packet) < 10 || packet[9] != protoUDP ||
		binary.BigEndian.Uint16(packet[6:])&fragmentMask != 0 {
		return false
	}
	dhcp := func(at int) (found, there bool) {
		if len(packet) < at+2 {
			return false, false
		}
		port := binary.BigEndian.Uint16(packet[at:])
		return port == portServer || port == portClient, true
	}
	ports := 4 * int(packet[0]&0xf)
	found, there := dhcp(ports)
	if !found && there {
		found, _ = dhcp(ports + 2)
	}
	return found
}
