package story_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/capture/story"
)

// told is what a capture tells, its columns one blank apart.
func told(t *testing.T, path string, o story.Options) string {
	t.Helper()
	c, err := story.Tell(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(out.String()) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

// The story that most of the captures of ../testdata/field share.
const (
	bound   = "4 0.030000 * bound to 192.0.2.50\n"
	fetched = "fetched sysconf_8830_sip.cfg over tftp, 100 bytes"
)

// TestFieldCaptures reads captures as they come from the field: each was once
// misread, and says what is right.
func TestFieldCaptures(t *testing.T) {
	const phone = "handset: 02:00:00:00:88:30, by DHCP"
	for _, tc := range []struct {
		file string
		says []string
		not  []string
	}{
		{
			file: "base.pcap", // what was asked for, and what was given
			says: []string{
				phone, "-> DISCOVER, class LGE, asks for 1,3,6,42,66,150,160\n", "<- OFFER 192.0.2.50 from server 192.0.2.1 for 3600 s, 66 192.0.2.1, 160 http://192.0.2.1/\n",
				"-> REQUEST 192.0.2.50 of server 192.0.2.1\n", "<- DHCP ACK 192.0.2.50 from server 192.0.2.1 for 3600 s, 66 192.0.2.1, 160 http://192.0.2.1/\n", bound, fetched,
				"-> REGISTER 101 at 192.0.2.1:5060, expires 600\n",
			},
			not: []string{"note:", "malformed"},
		},
		{
			file: "dns-answers.pcap",
			says: []string{"<- DNS response prov.example.com: NXDOMAIN\n", "SRV: pbx.example.com:5070\n", "<- DNS response prov.example.com: 192.0.2.1\n"},
		},
		{
			file: "eap.pcap", // IEEE 802.1X-2020, RFC 3748 section 4
			says: []string{"EAPOL start\n", "EAP request identity\n", "EAP response identity\n", "EAP failure\n"},
		},
		{file: "forcerenew.pcap", says: []string{"<- FORCERENEW\n"}, not: []string{"malformed", "note:"}},
		{file: "http-401.pcap", says: []string{"<- 401 for /sysconf_8830_sip.cfg, 0 bytes, Digest SHA-256, qop auth, realm prov\n"}},
		{
			file: "https-to-http.pcap",
			says: []string{"-> ClientHello prov.example.com, TLS 1.2\n", "<- HTTP 400 in clear, in answer to a ClientHello\n"}, not: []string{"malformed"},
		},
		{file: "icmp-port-unreachable.pcap", says: []string{"<- ICMP port unreachable, for RRQ sysconf_8830_sip.cfg\n"}},
		{
			file: "inform.pcap", // RFC 2131, section 3.4
			says: []string{phone, "-> INFORM by 192.0.2.50", "<- DHCP ACK, options only", "66 192.0.2.1", "asked for sysconf_8830_sip.cfg", fetched},
			not:  []string{"0.0.0.0"},
		},
		{
			file: "ipsum-zero.pcap",
			says: []string{bound, fetched, "fetched sysconf_8830_sip.cfg over http, 5 bytes", "note: the checksums of 02:00:00:00:00:01 were not filled in"},
			not:  []string{"malformed", "gap"},
		},
		{file: "ipv6.pcap", says: []string{"note: 14 frames of IPv6 are not read\n"}},
		{
			file: "mirror-double.pcap",
			says: []string{"note: each frame is twice in the capture (mirror port)", "1 DATA (block 1, 100 bytes), 1 ACK (block 1)"},
			not:  []string{"repeated", "2 times"},
		},
		{file: "ng-loopback-beside.pcapng", says: []string{bound, fetched}},
		{file: "ng-second-iface.pcapng", says: []string{phone, bound, fetched}},
		{file: "ng.pcapng.gz", says: []string{phone, bound, fetched}},
		{
			file: "one-way-server.pcap",
			says: []string{phone, "<- 200, 5 bytes", "note: the other direction is not in the capture: nothing that the handset sent"}, not: []string{"gap"},
		},
		{file: "qinq9100.pcap", says: []string{"VLAN 10,20\n", bound, fetched}},
		{
			file: "relay.pcap",
			says: []string{phone + ", through relay 198.51.100.1, at 198.51.100.50", "<- DHCP ACK 198.51.100.50", "* bound to 198.51.100.50\n"},
			not:  []string{"00:fe"},
		},
		{
			file: "server-dns.pcap", // a DNS query makes nobody a handset
			says: []string{"2 0.010000 <- OFFER", "4 0.030000 <- DHCP ACK", "8 0.070000 DNS query pool.ntp.org\n", "10 0.090000 <- 200 X to REGISTER\n"},
		},
		{file: "sip-keepalive.pcap", says: []string{"registered as 101"}, not: []string{"malformed"}},
		{
			file: "sip-tcp.pcap", // RFC 3261, section 18
			says: []string{"-> REGISTER 101 at 192.0.2.1:5060, expires 600\n", "<- 200 X to REGISTER\n", "registered as 101"}, not: []string{"malformed"},
		},
		{file: "sll.pcap", says: []string{phone, "<- OFFER", bound, fetched}},
		{
			file: "snap96.pcap",
			says: []string{
				"handset: 02:00:00:00:88:30", "note: the capture keeps 96 bytes of each frame (snap length)", "-> DHCP, cut by the capture at 96 bytes\n",
				"<- DHCP, cut by the capture at 96 bytes\n", "-> HTTP GET /sysconf_8830_sip.cfg", "-> REGISTER",
			},
			not: []string{"malformed", "gap", "no handset"},
		},
		{file: "tcp-no-answer.pcap", says: []string{"-> TCP try to 192.0.2.1:80, 3 times, not answered\n"}},
		{file: "tcp-refused.pcap", says: []string{"<- TCP refused (RST)\n"}, not: []string{"not answered"}},
		{file: "tcpsum-garbage.pcap", says: []string{"TCP open", "-> GET", "fetched sysconf_8830_sip.cfg over http, 5 bytes", "note: the checksums"}, not: []string{"malformed", "gap"}},
		{file: "tcpsum-zero.pcap", says: []string{"TCP open", "-> GET", "fetched sysconf_8830_sip.cfg over http, 5 bytes", "note: the checksums"}, not: []string{"malformed", "gap"}},
		{file: "tftp-other-address.pcap", says: []string{"from 192.0.2.2, not from 192.0.2.1 that was asked"}},
		{file: "tftp-slash.pcap", says: []string{"RRQ /sysconf_8830_sip.cfg\n", "RRQ //x\n", "RRQ /Missing.cfg\n", "error 1 File not found for /Missing.cfg\n"}},
		{file: "voice-vlan.pcap", says: []string{"5 0.040000 -> RELEASE 192.0.2.50\n", "6 0.050000 -> DISCOVER, class LGE, asks for 1,3,6,42,66,150,160, VLAN 100\n"}},
		{
			file: "web-to-phone.pcap",
			says: []string{"2 0.010000 <- OFFER", "9 0.080000 <- TCP open\n", "11 0.100000 <- GET /index.html\n", "12 0.110000 -> 200 for /index.html", "<- NOTIFY check-sync to 101"},
		},
	} {
		t.Run(tc.file, func(t *testing.T) {
			path := filepath.Join("../testdata/field", tc.file)
			texts := map[string]string{"": told(t, path, story.Options{})}
			if strings.Contains(texts[""], phone) {
				texts[" with --mac"] = told(t, path, story.Options{Hosts: []string{"02:00:00:00:88:30"}})
			}
			for how, text := range texts {
				for _, want := range tc.says {
					if how != "" && strings.Contains(want, "DNS query") {
						continue // somebody else's
					}
					if !strings.Contains(text, want) {
						t.Errorf("%q is missing%s in\n%s", want, how, text)
					}
				}
				for _, not := range tc.not {
					if strings.Contains(text, not) {
						t.Errorf("%q%s in\n%s", not, how, text)
					}
				}
			}
		})
	}
}

func TestFormatsThatAreNotRead(t *testing.T) {
	_, err := story.Tell(t.Context(), "../testdata/field/snoop.pcap", story.Options{})
	if err == nil || !strings.Contains(err.Error(), "Sun snoop") || !strings.Contains(err.Error(), "editcap -F pcapng") {
		t.Errorf("got %v", err)
	}
}

func TestAnInterruptEndsIt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := story.Tell(ctx, many(t, 5000), story.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestManyHandsets has a capture of more handsets than have their stories told.
func TestManyHandsets(t *testing.T) {
	path := many(t, 30_000)
	text := told(t, path, story.Options{})
	if !strings.HasPrefix(text, "30000 handsets: --mac names those") {
		t.Errorf("it begins with %.200s", text)
	}
	if n := strings.Count(text, "\n"); n > story.MaxHandsets+5 {
		t.Errorf("%d lines", n)
	}
	one := told(t, path, story.Options{Hosts: []string{"02:00:00:00:01:02"}})
	if strings.Count(one, "DISCOVER") != 1 || !strings.Contains(one, "handset: 02:00:00:00:01:02, by DHCP") {
		t.Errorf("one of them:\n%s", one)
	}
}

// many writes a capture of n clients, each with a DISCOVER.
func many(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "many.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeClients(file, n); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func ExampleCapture_Write() {
	c, err := story.Tell(context.Background(), "../testdata/field/tcp-refused.pcap", story.Options{Brief: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Handsets[0].Name, c.Handsets[0].How)
	// Output: 02:00:00:00:88:30 by DHCP
}
