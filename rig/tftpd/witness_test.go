package tftpd_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

// witness sees the frames of a network in memory, as a recording does.
type witness struct {
	tb testing.TB

	mu      sync.Mutex
	decoder *decode.Decoder
	frames  int
	events  []timeline.Event
}

func newWitness(tb testing.TB) *witness {
	tb.Helper()
	return &witness{tb: tb, decoder: decode.New(decode.Config{})}
}

// through is for memnet.Network.Through.
func (w *witness) through(from, to netip.AddrPort, pkt []byte) [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	mac := func(a netip.AddrPort) net.HardwareAddr {
		return net.HardwareAddr{0, 0, 0x5e, 0, 0x53, a.Addr().As4()[3]}
	}
	eth := layers.Ethernet{SrcMAC: mac(from), DstMAC: mac(to), EthernetType: layers.EthernetTypeIPv4}
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	udp := layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	buf := gopacket.NewSerializeBuffer()
	if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
		w.tb.Error(err)
	}
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, &eth, &ip, &udp, gopacket.Payload(pkt)); err != nil {
		w.tb.Error(err)
	}
	w.frames++
	w.events = append(w.events, w.decoder.Frame(decode.Cable, w.frames, time.Now(), buf.Bytes())...)
	return [][]byte{pkt}
}

// agrees holds a journal against the frames.
func (w *witness) agrees(journal []timeline.Event) {
	w.tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append([]timeline.Event(nil), w.events...)
	sums := map[string]string{}
	for _, e := range w.events {
		if e.Kind == timeline.TFTPAck && e.Complete {
			sums[e.Src.String()] = e.SHA256
		}
	}
	for _, e := range journal {
		e.Frame = w.frames // the recorder finds the one that caused it
		all = append(all, e)
		if sum := sums[e.Src.String()]; e.Kind == timeline.Served && e.Complete && e.SHA256 != sum {
			w.tb.Errorf("the journal has %d bytes with hash %s, the wire %s", e.Bytes, e.SHA256, sum)
		}
	}
	for _, d := range timeline.Disagreements(timeline.LogOf(all...)) {
		w.tb.Error(d)
	}
}
