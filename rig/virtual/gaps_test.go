package virtual

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/wire"
)

// jumbled has every third full segment to the handset overtaken by the frame
// behind it.
type jumbled struct {
	wire.Port
	full int
	held *wire.Frame
}

func (j *jumbled) Receive(ctx context.Context) (wire.Frame, error) {
	if f := j.held; f != nil {
		j.held = nil
		return *f, nil
	}
	f, err := j.Port.Receive(ctx)
	if err != nil || len(f.Data) < 1200 {
		return f, err
	}
	if j.full++; j.full%3 != 0 {
		return f, nil
	}
	next, err := j.Port.Receive(ctx)
	j.held = &f
	return next, err
}

func TestGapsEndFile(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "A")
	leaf := a.leaf(t, nil)
	file := serve(own, "[VOIP]\nline1_name 201\n"+strings.Repeat("; "+strings.Repeat("-", 61)+"\n", 500)+"line1_name 202\n")
	over := map[string]func(*lab, *Config){"http": populate("http://192.0.2.1"), "https": serving(leaf)}
	jumble := func(_ *lab, c *Config) { c.Port = &jumbled{Port: c.Port} }
	for _, tc := range []struct {
		name  string
		given []func(*lab, *Config)
		want  string // name of line 1
	}{
		{"healthy", given(jumble), "R202"},
		{"defect, in order", given(sick(defect.GapsEndFile)), "R202"},
		{"defect", given(jumble, sick(defect.GapsEndFile)), "R201"},
	} {
		for transport, url := range over {
			t.Run(tc.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				if _, got := newLab(t).given(append(given(trusting(a), url, file), tc.given...)...); got != "B hG hO hF hV "+tc.want {
					t.Errorf("got %s, want %s at its end", got, tc.want)
				}
			})
		}
	}
}

// segment is one of TCP from a server's port 80 to port 2001 of the handset.
func segment(t *testing.T, seq uint32, syn bool, payload string) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(labServer), DstIP: net.ParseIP(labPhone)}
	tcp := &layers.TCP{SrcPort: 80, DstPort: 2001, Seq: seq, SYN: syn, ACK: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: moduleMAC, DstMAC: phoneMAC, EthernetType: layers.EthernetTypeIPv4}, ip, tcp, gopacket.Payload(payload))
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestWhatIsAGap(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		// come are the tenths of the stream that come, in order; "syn" is the answer
		// to SYN, once more or of a "new" connection, "sent" something that the
		// handset sends, and "!" a damaged tenth.
		come string
		want int // tenths that are taken, of 10
	}{
		"in order":                 {"0 1 2 3", 10},
		"some come again":          {"0 0 1 2 0 1 3", 10},
		"one is late":              {"0 2 3 1 4", 10},
		"one is lost":              {"0 2 3 4 1 5", 10},
		"two are late":             {"0 2 1 4 3 5", 3},
		"two that are lost":        {"0 2 4 1 3", 3},
		"two in a row":             {"0 3 4 1 2 5", 10},
		"the first":                {"1 0 3 2", 2},
		"a third changes nothing":  {"0 2 4 6 8", 3},
		"one in each answer":       {"0 2 1 sent 4 3 sent 6 5", 10},
		"two in the second":        {"0 2 1 sent 4 3 6 5", 5},
		"sent when all was over":   {"0 2 4 sent 3 5", 3},
		"damage is thrown away":    {"0 !3 !5 1 2 3", 10},
		"damage makes its own gap": {"0 !1 2 1 !3 4 3", 3},
		"the SYN is answered anew": {"0 2 syn 4", 3},
		"a new connection":         {"0 2 4 new 0 1 2", 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gaps{streams: map[uint16]*stream{}}
			first := uint32(0xffff_ffe0) // a tenth before the numbers begin anew
			const tenth = "0123456789abcdef"
			g.see(segment(t, first, false, tenth)) // of nobody
			g.see(segment(t, first-1, true, ""))
			for what := range strings.FieldsSeq(tc.come) {
				switch what {
				case "sent":
					g.sent(2001)
				case "new":
					first += 1000
					g.see(segment(t, first-1, true, ""))
				case "syn":
					g.see(segment(t, first-1, true, ""))
				default:
					number, damaged := strings.CutPrefix(what, "!")
					f := segment(t, first+uint32(number[0]-'0')*uint32(len(tenth)), false, tenth)
					if damaged {
						f[len(f)-1] ^= 1
					}
					for n := range f { // what is cut off is no segment
						g.see(f[:n])
					}
					g.see(f)
				}
			}
			if got := g.left(2001, 0, 10*len(tenth)); got != tc.want*len(tenth) {
				t.Errorf("%d bytes are taken, want %d", got, tc.want*len(tenth))
			}
			g.forget(2001)
			if got := g.left(2001, 0, 7); got != 7 {
				t.Errorf("%d bytes are taken of a connection that is forgotten, want all 7", got)
			}
		})
	}
}

func TestGapsAreOfTCPOnly(t *testing.T) {
	t.Parallel()
	g := &gaps{streams: map[uint16]*stream{}}
	f := segment(t, 1, true, "")
	f[23] = 17
	g.see(f)
	g.see(udpTo(phoneMAC, []byte("x")))
	if len(g.streams) > 0 {
		t.Errorf("saw %d streams", len(g.streams))
	}
}
