package decode_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
)

// tshark runs it on a capture and returns its lines; it skips the test when it
// is not installed.
func tshark(t *testing.T, args ...string) []string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark %q: %v: %s", args, err, &stderr)
	}
	var lines []string
	for line := range strings.Lines(stdout.String()) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}

// family is one kind of thing that both decoders list, as "frame words".
type family struct {
	name string
	// fields are tshark's; frames without the first one are of other families.
	fields []string
	args   []string
	// theirs makes lines of tshark's fields; several values of one field stand
	// in one frame.
	theirs func(values [][]string) []string
	ours   func(e timeline.Event) string
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

func families() []family {
	return []family{
		{
			name:   "DHCP messages",
			fields: []string{"dhcp.option.dhcp", "dhcp.id"},
			theirs: func(v [][]string) []string { return []string{first(v[0]) + " " + first(v[1])} },
			ours: func(e timeline.Event) string {
				if e.Fields["dhcp.option.dhcp"] == "" {
					return ""
				}
				return e.Fields["dhcp.option.dhcp"] + " " + e.Fields["dhcp.id"]
			},
		},
		{
			name:   "TFTP",
			fields: []string{"tftp.opcode", "tftp.source_file", "tftp.destination_file", "tftp.block", "tftp.error.code"},
			theirs: func(v [][]string) []string {
				return []string{strings.Join([]string{
					first(v[0]), strings.TrimPrefix(first(v[1])+first(v[2]), "/"), first(v[3]), first(v[4]),
				}, " ")}
			},
			ours: func(e timeline.Event) string {
				var op int
				var block, code string
				switch e.Kind {
				case timeline.TFTPRead:
					op = 1
				case timeline.TFTPWrite:
					op = 2
				case timeline.TFTPData:
					op, block = 3, strconv.Itoa(e.Number)
				case timeline.TFTPAck:
					op, block = 4, strconv.Itoa(e.Number)
				case timeline.TFTPError:
					op, code = 5, strconv.Itoa(e.Status)
				case timeline.TFTPOAck:
					op = 6
				default:
					return ""
				}
				return fmt.Sprintf("%d %s %s %s", op, e.File, block, code)
			},
		},
		{
			name:   "TLS alerts",
			fields: []string{"tls.alert_message.desc"},
			theirs: func(v [][]string) []string { return v[0] },
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.TLSAlert {
					return ""
				}
				return strconv.Itoa(e.Status)
			},
		},
		{
			name:   "TLS handshakes",
			fields: []string{"tls.handshake.type", "tls.handshake.extensions_server_name"},
			theirs: func(v [][]string) []string {
				var lines []string
				for _, kind := range v[0] {
					switch kind {
					case "1":
						lines = append(lines, "1 "+first(v[1]))
					case "2", "11":
						lines = append(lines, kind)
					}
				}
				return lines
			},
			ours: func(e timeline.Event) string {
				switch e.Kind {
				case timeline.TLSClientHello:
					return "1 " + e.Fields["tls.handshake.extensions_server_name"]
				case timeline.TLSServerHello:
					return "2"
				case timeline.TLSCertificate:
					return "11"
				default:
					return ""
				}
			},
		},
		{
			// Without putting bodies together tshark shows a request where its
			// head ends, as ours.
			name: "HTTP requests", args: []string{"-o", "http.desegment_body:FALSE"},
			fields: []string{"http.request.method", "http.request.uri", "http.user_agent"},
			theirs: func(v [][]string) []string {
				return []string{first(v[0]) + " " + strings.TrimPrefix(first(v[1]), "/") + " " + first(v[2])}
			},
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.HTTPRequest {
					return ""
				}
				return e.Message + " " + e.File + " " + e.Fields["http.user_agent"]
			},
		},
		{
			name:   "HTTP responses",
			fields: []string{"http.response.code"},
			theirs: func(v [][]string) []string { return v[0] },
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.HTTPResponse {
					return ""
				}
				return strconv.Itoa(e.Status)
			},
		},
		{
			name:   "SIP",
			fields: []string{"sip.CSeq.method", "sip.Status-Code", "sip.Call-ID", "sip.from.user", "sip.auth.username", "sdp.media"},
			theirs: func(v [][]string) []string {
				return []string{strings.Join([]string{first(v[0]), first(v[1]), first(v[2]), first(v[3]), strings.Trim(first(v[4]), `"`), first(v[5])}, " ")}
			},
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.SIPRequest && e.Kind != timeline.SIPResponse {
					return ""
				}
				status := ""
				if e.Status != 0 {
					status = strconv.Itoa(e.Status)
				}
				return strings.Join([]string{
					e.Message, status, e.Fields["sip.Call-ID"], e.Fields["sip.From.user"], e.Fields["sip.auth.username"], e.Fields["sdp.media"],
				}, " ")
			},
		},
		{
			name:   "SNTP",
			fields: []string{"ntp.flags.mode", "ntp.stratum"},
			theirs: func(v [][]string) []string { return []string{first(v[0]) + " " + first(v[1])} },
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.SNTPRequest && e.Kind != timeline.SNTPResponse {
					return ""
				}
				return e.Fields["ntp.flags.mode"] + " " + e.Fields["ntp.stratum"]
			},
		},
		{
			name:   "DNS",
			fields: []string{"dns.id", "dns.qry.name", "dns.a"},
			theirs: func(v [][]string) []string { return []string{first(v[0]) + " " + first(v[1]) + " " + first(v[2])} },
			ours: func(e timeline.Event) string {
				if e.Kind != timeline.DNSQuery && e.Kind != timeline.DNSResponse {
					return ""
				}
				return e.Fields["dns.id"] + " " + e.Fields["dns.qry.name"] + " " + e.Fields["dns.a"]
			},
		},
		{
			name:   "ARP",
			fields: []string{"arp.src.proto_ipv4", "arp.dst.proto_ipv4"},
			theirs: func(v [][]string) []string { return []string{first(v[0]) + " " + first(v[1])} },
			ours: func(e timeline.Event) string {
				if e.Fields["arp.src.proto_ipv4"] == "" {
					return ""
				}
				return e.Fields["arp.src.proto_ipv4"] + " " + e.Fields["arp.dst.proto_ipv4"]
			},
		},
	}
}

// What each golden capture must hold at least: a comparison of nothing with
// nothing proves nothing.
func holds(name string) []string {
	return map[string][]string{
		"dhcp-dhclient.pcapng": {"DHCP messages", "ARP"},
		"dhcp-udhcpc.pcapng":   {"DHCP messages", "ARP"},
		"http.pcapng":          {"HTTP requests", "HTTP responses"},
		"ntp-dns.pcapng":       {"SNTP", "DNS"},
		"sip.pcapng":           {"SIP"},
		"tftp.pcapng":          {"TFTP", "ARP"},
		"tftp-window.pcapng":   {"TFTP"},
		"tls.pcapng":           {"TLS alerts", "TLS handshakes"},
	}[name]
}

// Our list and tshark's are the same, with frame numbers.
func TestGoldenAgainstTshark(t *testing.T) {
	for _, path := range goldenCaptures(t) {
		events := decodeAll(packets(t, path))
		needed := map[string]bool{}
		for _, name := range holds(filepath.Base(path)) {
			needed[name] = true
		}
		if len(needed) == 0 {
			t.Errorf("%s: nothing says what it holds", path)
		}
		all := families()
		if !needed["HTTP requests"] {
			for i := range all {
				all[i].args = nil // one run will do
			}
		}
		lists := map[string][][]string{}
		for _, f := range all {
			args := strings.Join(f.args, " ")
			if lists[args] != nil {
				continue
			}
			// What ICMP quotes is no message of its own.
			command := append([]string{"-n", "-r", path, "-Y", "!icmp", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|", "-e", "frame.number"}, f.args...)
			for _, g := range all {
				for _, name := range g.fields {
					command = append(command, "-e", name)
				}
			}
			for _, line := range tshark(t, command...) {
				lists[args] = append(lists[args], strings.Split(line, "\t"))
			}
		}
		column := 1
		for _, f := range all {
			from := column
			column += len(f.fields)
			t.Run(filepath.Base(path)+" "+f.name, func(t *testing.T) {
				var theirs, ours []string
				for _, columns := range lists[strings.Join(f.args, " ")] {
					if columns[from] == "" {
						continue
					}
					values := make([][]string, len(f.fields))
					for i := range values {
						if c := columns[from+i]; c != "" {
							values[i] = strings.Split(c, "|")
						}
					}
					for _, words := range f.theirs(values) {
						theirs = append(theirs, columns[0]+" "+words)
					}
				}
				for _, e := range events {
					if words := f.ours(e); words != "" {
						ours = append(ours, fmt.Sprint(e.Frame)+" "+words)
					}
				}
				if needed[f.name] && (len(theirs) == 0 || len(ours) == 0) {
					t.Errorf("tshark lists %d, we list %d; neither may be empty", len(theirs), len(ours))
				}
				if a, b := strings.Join(theirs, "\n"), strings.Join(ours, "\n"); a != b {
					t.Errorf("tshark lists %d, we list %d; %s", len(theirs), len(ours), diff(a, b))
				}
			})
		}
	}
}
