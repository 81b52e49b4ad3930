package wire

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

var (
	phone  = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}
	server = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 2}
	other  = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 3}
	all    = net.HardwareAddr{255, 255, 255, 255, 255, 255}
)

// ether is a frame with what is behind its addresses.
func ether(dst, src net.HardwareAddr, rest ...byte) []byte {
	return append(append(bytes.Clone(dst), src...), rest...)
}

// datagram is an IPv4 packet of a protocol with two ports, behind its type.
func datagram(proto, fragment, source, dest byte) []byte {
	b := []byte{
		8, 0,
		0x45, 0, 0, 28, 0, 0, 0, fragment, 64, proto, 0, 0,
		192, 0, 2, 1, 192, 0, 2, 2,
		0, source, 0, dest, 0, 8, 0, 0,
	}
	return b
}

// filterCases are frames with whether a port that filters for phone and server
// receives them.
var filterCases = []struct {
	name  string
	frame []byte
	want  bool
}{
	{"from the phone", ether(other, phone, 0x88, 0xb5), true},
	{"to the server", ether(server, other, 0x88, 0xb5), true},
	{"broadcast of the phone", ether(all, phone, 0x88, 0xb5), true},
	{"between others", ether(other, other, 0x88, 0xb5), false},
	{"broadcast of others", ether(all, other, 0x88, 0xb5), false},
	{"ARP broadcast of others", ether(all, other, 8, 6, 0), true},
	{"ARP between others", ether(other, other, 8, 6, 0), false},
	{"ARP broadcast in a VLAN", ether(all, other, 0x81, 0, 0, 88, 8, 6), true},
	{"ARP broadcast in a provider's VLAN", ether(all, other, 0x88, 0xa8, 0, 88, 8, 6), true},
	{"DHCP to a server", ether(all, other, datagram(17, 0, 68, 67)...), true},
	{"DHCP to a client", ether(all, other, datagram(17, 0, 67, 68)...), true},
	{"DHCP of a relay", ether(all, other, datagram(17, 0, 9, 67)...), true},
	{"DHCP in a VLAN", ether(all, other, append([]byte{0x81, 0, 0, 88}, datagram(17, 0, 68, 67)...)...), true},
	{"DHCP between others", ether(other, other, datagram(17, 0, 68, 67)...), false},
	{"other datagrams", ether(all, other, datagram(17, 0, 69, 69)...), false},
	{"TCP with such ports", ether(all, other, datagram(6, 0, 68, 67)...), false},
	{"a later fragment", ether(all, other, datagram(17, 5, 68, 67)...), false},
	{"a packet cut off before its ports", ether(all, other, datagram(17, 0, 68, 67)[:22]...), false},
	{"a packet cut off between its ports", ether(all, other, datagram(17, 0, 68, 67)[:24]...), true},
	{"a packet cut off before its protocol", ether(all, other, 8, 0, 0x45), false},
	{"a tag with nothing behind it", ether(all, other, 0x81, 0), false},
}

func TestPacketFilter(t *testing.T) {
	o := PacketOptions{MACs: []net.HardwareAddr{phone, server}}
	vm, err := bpf.NewVM(o.program())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range filterCases {
		t.Run(tt.name, func(t *testing.T) {
			if got := o.Accepts(tt.frame); got != tt.want {
				t.Errorf("Accepts: got %v, want %v", got, tt.want)
			}
			n, err := vm.Run(tt.frame)
			if err != nil || n > 0 != tt.want {
				t.Errorf("the kernel's program: got %v, %v, want %v", n > 0, err, tt.want)
			}
			if !(PacketOptions{}).Accepts(tt.frame) {
				t.Error("Accepts without addresses: got false, want true")
			}
		})
	}
	strangers := PacketOptions{MACs: []net.HardwareAddr{}}
	if strangers.Accepts(filterCases[0].frame) || !strangers.Accepts(filterCases[9].frame) {
		t.Error("with an empty list only ARP and DHCP to group addresses are to be received")
	}
}

func TestPacketOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts PacketOptions
		want string
	}{
		{"too many addresses", PacketOptions{MACs: make([]net.HardwareAddr, filterMACs+1)}, "257 addresses"},
		{"an address that is none", PacketOptions{MACs: []net.HardwareAddr{{1, 2}}}, "not an Ethernet address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.opts.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	full := PacketOptions{}
	for range filterMACs {
		full.MACs = append(full.MACs, phone)
	}
	if err := full.check(); err != nil {
		t.Error(err)
	}
	if p, err := bpf.Assemble(full.program()); err != nil || len(p) > 4096-3 {
		t.Errorf("the longest program: %d instructions, %v, want at most 4093", len(p), err)
	}
}

func FuzzPacketFilter(f *testing.F) {
	for _, tt := range filterCases {
		f.Add(tt.frame)
	}
	o := PacketOptions{MACs: []net.HardwareAddr{phone, server}}
	vm, err := bpf.NewVM(o.program())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := o.Accepts(data)
		if len(data) < headerLen {
			return // the kernel has none
		}
		n, err := vm.Run(data)
		if err != nil || n > 0 != got {
			t.Errorf("the kernel's program says %v, %v, Accepts %v", n > 0, err, got)
		}
	})
}
