package impair_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"ip88rig/rig/impair"
)

func TestKindsAreKnownByTheirPorts(t *testing.T) {
	udp := func(src, dst, payload string) []byte { return packet(17, handset+":"+src, rig+":"+dst, payload) }
	tcp := func(port string) []byte { return packet(6, rig+":"+port, handset+":2001", "") }
	piece := udp("2001", "69", "x")
	binary.BigEndian.PutUint16(piece[20:], 185)
	for name, tt := range map[string]struct {
		frame []byte
		want  string
	}{
		"ARP":                    {slices.Concat(make([]byte, 12), []byte{8, 6}, make([]byte, 28)), "ARP"},
		"DISCOVER":               {packet(17, "0.0.0.0:68", "255.255.255.255:67", "x"), "DHCP"},
		"RRQ":                    {udp("2001", "69", "x"), "TFTP"},
		"DATA":                   {data("x"), "TFTP"},
		"ACK":                    {udp("2001", "40000", "\x00\x04\x00\x01"), "TFTP"},
		"voice":                  {udp("2001", "40000", "\x80\x00\x00\x01"), "UDP"},
		"name":                   {udp("2001", "53", "x"), "DNS"},
		"time":                   {udp("123", "123", "x"), "SNTP"},
		"REGISTER":               {udp("5060", "5060", "x"), "SIP"},
		"log":                    {udp("2001", "514", "x"), "syslog"},
		"GET":                    {tcp("80"), "HTTP"},
		"ClientHello":            {tcp("443"), "HTTPS"},
		"telnet":                 {tcp("23"), "TCP"},
		"ping":                   {packet(1, rig+":2048", handset+":1", ""), "ICMP"},
		"a later piece":          {piece, "IPv4"},
		"another protocol":       {packet(2, rig+":1", handset+":1", ""), "IPv4"},
		"IPv6":                   {slices.Concat(make([]byte, 12), []byte{0x86, 0xdd}, make([]byte, 40)), "other"},
		"a header that lies":     {udp("2001", "69", "x")[:40], "other"},
		"nothing":                {nil, "other"},
		"an Ethernet head alone": {make([]byte, 14), "other"},
	} {
		if got := impair.Kind(tt.frame); got != tt.want {
			t.Errorf("%s is %q, want %q", name, got, tt.want)
		}
	}
}
