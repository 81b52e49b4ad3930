//go:build linux && interop

package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
)

// TestFaultsAreSeenByForeignEyes has programs that nobody here wrote meet the
// rig's faults, at least one of each family: they say what befell them, and
// tshark shows it in the recording. Every fault fired as often as it should, its
// sentence stands in the evidence, the rig's own witnesses agree, and no frame is
// malformed but those that are meant to be.
func TestFaultsAreSeenByForeignEyes(t *testing.T) {
	t.Parallel()
	need(t, "bash", "ip", "busybox", "dhclient", "tftp", "atftp", "curl", "openssl", "ntpdig", "chronyd", "dig", "sipp", "sipsak", "tshark")
	for _, family := range []struct {
		name      string
		addressed bool
		witnesses []witness
	}{
		{"DHCP", false, dhcpWitnesses()},
		{"TFTP", true, tftpWitnesses()},
		{"TFTP errors", true, tftpErrors()},
		{"HTTP", true, httpWitnesses()},
		{"TLS", true, tlsWitnesses()},
		{"SNTP", true, sntpWitnesses()},
		{"DNS", true, dnsWitnesses()},
		{"SIP", true, sipWitnesses()},
		{"wire", true, wireWitnesses()},
	} {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			f := newFaultLab(t, family.addressed)
			for i, w := range family.witnesses {
				t.Run(w.name, func(t *testing.T) {
					if i > 0 {
						inWhole(t)
					}
					f.try(t, w)
				})
			}
		})
	}
}

func udhcpc(more string) string {
	return "busybox udhcpc -i $IFACE -f -q -n -t 4 -T 3 -A 1 -O tftp -O 160 -O 150 -s $FIXTURES/lease.sh " + more
}

func withURL(l *rig.Lane) error {
	return l.Offer(rig.Offer{TFTP: true, SNTP: true, URL: "http://" + l.Addrs.Server.String() + "/"})
}

// dhcpWitnesses are udhcpc's and dhclient's. Messages are numbered as in RFC 2132
// section 9.6: 1 DISCOVER, 2 OFFER, 3 REQUEST, 4 DECLINE, 5 ACK, 6 NAK.
func dhcpWitnesses() []witness {
	const bound = `bound ip=198\.18\.0\.12 server=198\.18\.0\.9 `
	longURL := "http://198.18.0.9/" + strings.Repeat("long", 70)
	return []witness{
		{
			name: "answers: a DISCOVER without an OFFER is sent again", rules: []fault.Rule{fault.On("DISCOVER").Do(dhcpd.Drop{}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 1", exactly(2)}, {"dhcp.option.dhcp == 2", exactly(1)}, {"dhcp.option.dhcp == 5", exactly(1)}},
		},
		{
			name: "answers: a server that is silent is given up", rules: []fault.Rule{fault.On("DISCOVER").Do(dhcpd.Silence{For: time.Minute}).Once()},
			run: udhcpc("-t 2"), code: 1, says: `no lease, failing`,
			shows: []shown{{"dhcp.option.dhcp == 1", exactly(2)}, {"dhcp.type == 2", exactly(0)}},
		},
		{
			name: "answers: a late OFFER", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.Delay{D: 4500 * time.Millisecond}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 1", exactly(2)}, {"dhcp.option.dhcp == 5", exactly(1)}},
		},
		{
			name: "answers: OFFERs that come three times", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.Duplicate{Copies: 2}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 2", exactly(3)}, {"dhcp.option.dhcp == 5", exactly(1)}},
		},
		{
			name: "answers: a NAK sends back to the beginning", rules: []fault.Rule{fault.On("ACK").During("selecting").Do(dhcpd.Nak{}).Once()},
			run: udhcpc(""), says: `(?s)nak .*message=refused by fault.*` + bound,
			shows: []shown{{"dhcp.option.dhcp == 6", exactly(1)}, {"dhcp.option.dhcp == 1", exactly(2)}},
		},
		{
			name: "options: the TFTP server's name is left out", rules: []fault.Rule{fault.On("*").Do(dhcpd.WithoutOption{Code: 66})},
			run: udhcpc(""), says: bound + `.* tftp= `, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.type == 2 && !(dhcp.option.type == 66)", exactly(2)}},
		},
		{
			name: "options: an option that is empty", rules: []fault.Rule{fault.On("*").Do(dhcpd.SetOption{Code: 66})},
			run: udhcpc(""), says: bound + `.* tftp= `, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.type == 2 && dhcp.option.type == 66 && dhcp.option.length == 0", exactly(2)}},
		},
		{
			name: "options: an option that comes twice", rules: []fault.Rule{fault.On("*").Do(dhcpd.DoubleOption{Code: 66, Second: "second"})},
			run: udhcpc(""), says: bound, fired: []bounds{exactly(2)},
			shows: []shown{{`dhcp.option.tftp_server_name == "198.18.0.9" && dhcp.option.tftp_server_name == "second"`, exactly(2)}},
		},
		{
			name: "options: an option that is split is joined", given: withURL, rules: []fault.Rule{fault.On("*").Do(dhcpd.SplitOption{Code: 160, At: 5})},
			run: dhclient, says: `http://198\.18\.0\.9/\n`, fired: []bounds{exactly(2)},
			shows: []shown{{"count(dhcp.option.type) > 3 && dhcp.option.type == 160 && dhcp.option.length == 5", exactly(2)}},
		},
		{
			name: "options: over 255 bytes, in pieces", rules: []fault.Rule{fault.On("*").Do(dhcpd.SetOption{Code: 160, Value: longURL})},
			run: dhclient, says: longURL + `\n`, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.option.type == 160 && dhcp.option.length == 255", exactly(2)}},
		},
		{
			name: "options: over 255 bytes, not split", rules: []fault.Rule{fault.On("*").Do(dhcpd.UnsplitOption{Code: 160, Value: longURL})},
			run: udhcpc(""), says: bound, fired: []bounds{exactly(2)},
			malformed: exactly(2),
			shows:     []shown{{"dhcp.option.type == 160 && dhcp.option.length == 42", exactly(2)}},
		},
		{
			name: "options: a length that is not that of the value", rules: []fault.Rule{fault.On("*").Do(dhcpd.WrongLength{Code: 66, Len: 200})},
			run: udhcpc(""), says: bound, fired: []bounds{exactly(2)},
			malformed: exactly(2),
			shows:     []shown{{"dhcp.option.type == 66 && dhcp.option.length == 200", exactly(2)}},
		},
		{
			name: "options: in file and sname", given: withURL, rules: []fault.Rule{fault.On("*").Do(dhcpd.Overload{File: true, Sname: true})},
			run: udhcpc(""), says: bound + `.* opt160=687474703a2f2f3139382e31382e302e392f `, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.option.option_overload == 3", exactly(2)}},
		},
		{
			name: "options: unknown ones", rules: []fault.Rule{fault.On("*").Do(dhcpd.UnknownOptions{Len: 4})},
			run: udhcpc(""), says: bound, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.option.type == 224 && dhcp.option.type == 253", exactly(2)}},
		},
		{
			name: "options: garbage", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.Garbage{Len: 60, Seed: 3, First: true}).Once()},
			run: udhcpc(""), says: bound,
			malformed: exactly(1),
			shows:     []shown{{"dhcp.option.dhcp == 1", exactly(2)}},
		},
		{
			name: "options: no end", rules: []fault.Rule{fault.On("*").Do(dhcpd.NoEnd{})},
			run: udhcpc(""), says: bound, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.type == 2 && !dhcp.option.end", exactly(2)}},
		},
		{
			name: "lease: T1 and T2 past its end", rules: []fault.Rule{fault.On("*").Do(dhcpd.LeaseTimes{Lease: 61, T1: 70, T2: 80})},
			run: udhcpc(""), says: bound + `lease=61 `, fired: []bounds{exactly(2)},
			shows: []shown{{"dhcp.option.ip_address_lease_time == 61 && dhcp.option.renewal_time_value == 70 && dhcp.option.rebinding_time_value == 80", exactly(2)}},
		},
		{
			name: "lease: an address outside of the subnet", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.WrongAddr{Addr: netip.MustParseAddr("203.0.113.9")}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 2 && dhcp.ip.your == 203.0.113.9", exactly(1)}, {"dhcp.option.dhcp == 3 && dhcp.option.requested_ip_address == 203.0.113.9", exactly(1)}, {"dhcp.option.dhcp == 6", exactly(1)}},
		},
		{
			name: "header: another transaction", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.WrongXID{}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 1", exactly(2)}, {"dhcp.option.dhcp == 2", exactly(2)}},
		},
		{
			name: "header: another client", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.WrongChaddr{MAC: "02:00:5e:00:53:99"}).Once()},
			run: udhcpc(""), says: bound,
			shows: []shown{{"dhcp.option.dhcp == 2 && dhcp.hw.mac_addr == 02:00:5e:00:53:99", exactly(1)}, {"dhcp.option.dhcp == 1", exactly(2)}},
		},
		{
			name: "header: a wrong cookie", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.WrongCookie{Cookie: 0x01020304}).Once()},
			run: udhcpc(""), says: bound,
			malformed: exactly(1),
			shows:     []shown{{"dhcp.type == 2 && frame contains 01:02:03:04", exactly(1)}, {"dhcp.option.dhcp == 1", exactly(2)}},
		},
		{
			name: "header: cut short", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.Truncate{Len: 200}).Once()},
			run: udhcpc(""), says: bound, malformed: exactly(1),
			shows: []shown{{"udp.srcport == 67 && udp.length == 208", exactly(1)}},
		},
		{
			name: "second server: an OFFER in another's name", rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.WrongServerID{ID: netip.MustParseAddr("198.18.0.10")}).Once()},
			run: udhcpc(""), code: 1, says: `no lease, failing`,
			shows: []shown{{"dhcp.option.dhcp == 3 && dhcp.option.dhcp_server_id == 198.18.0.10", atLeast(1)}, {"dhcp.option.dhcp == 5", exactly(0)}},
		},
		{
			name:  "second server: the first OFFER is taken, and kept to",
			rules: []fault.Rule{fault.On("OFFER").Do(dhcpd.SecondServer{ID: netip.MustParseAddr("198.18.0.10"), Addr: netip.MustParseAddr("198.18.0.13"), First: true}).Once()},
			run:   udhcpc(""), says: `bound ip=198\.18\.0\.13 server=198\.18\.0\.10 `,
			shows: []shown{{"dhcp.option.dhcp == 2", exactly(2)}, {"eth.src == " + dhcpd.SecondServerMAC, exactly(2)}, {"dhcp.option.dhcp == 5 && dhcp.option.dhcp_server_id == 198.18.0.10", exactly(1)}},
		},
		{
			name: "ARP conflict: an address in use is declined", rules: []fault.Rule{fault.On("ARP probe").Do(dhcpd.InUse{}).Once()},
			run: udhcpc("-a2000"), says: bound,
			shows: []shown{{"arp.opcode == 2 && arp.src.hw_mac == " + dhcpd.ConflictMAC + " && arp.src.proto_ipv4 == 198.18.0.12", exactly(1)}, {"dhcp.option.dhcp == 4", exactly(1)}},
		},
	}
}

const dhclient = `printf 'option url160 code 160 = text;\nrequest url160, subnet-mask, routers;\ninitial-interval 3;\ntimeout 60;\n' >conf
printf '#!/bin/sh\n[ -z "$new_url160" ] || { echo "$new_url160"; touch '$PWD/told'; }\n' >hook; chmod +x hook; touch leases
dhclient -4 -d -1 -cf conf -lf leases -pf pid -sf $PWD/hook $IFACE & pid=$!
until [ -e told ]; do kill -0 $pid || exit 9; sleep 0.05; done
kill $pid; wait $pid; true`

// tftpWitnesses are those of four clients. Opcodes are those of RFC 1350 section
// 5 and RFC 2347: 1 RRQ, 3 DATA, 4 ACK, 5 ERROR, 6 OACK.
func tftpWitnesses() []witness {
	const curl = "curl -sS -m 60 -o got tftp://$SERVER/" + plainFile
	const same = " && cmp got " + plainFile + ".orig && echo same"
	const hpa = "tftp -m binary $SERVER -c get " + plainFile + " got"
	const atftp = "atftp --get --option 'blksize 1000' -r " + plainFile + " -l got $SERVER 69"
	const busybox = "busybox tftp -b 1000 -g -r " + plainFile + " -l got $SERVER"
	on := func(phase string) fault.Rule { return fault.On(plainFile).During(phase) }
	return []witness{
		{
			name: "errors: a disk that is full in the middle", rules: []fault.Rule{on("block 3").Do(tftpd.Fail{Code: tftpd.DiskFull, Text: "no space"})},
			run: hpa, says: `Error code 3: no space`, code: 0,
			shows: []shown{{"tftp.error.code == 3", exactly(1)}, {"tftp.opcode == 3 && tftp.block > 2", exactly(0)}},
		},
		{
			name: "timing: a lost block is sent again", rules: []fault.Rule{on("block 2").Do(tftpd.Drop{}).Once()},
			run: busybox + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3", atLeast(4)}, {"tftp.opcode == 4 && tftp.block == 1", atLeast(2)}},
		},
		{
			name: "timing: an ACK that never came", rules: []fault.Rule{fault.On("ACK").Of(plainFile).During("block 2").Do(tftpd.Drop{}).Once()},
			run: atftp + same, says: `same`,
			shows: []shown{{"tftp.opcode == 4 && tftp.block == 2", atLeast(1)}, {"tftp.opcode == 3 && tftp.block == 2", atLeast(2)}},
		},
		{
			name: "timing: a late block", rules: []fault.Rule{on("block 2").Do(tftpd.Delay{By: 800 * time.Millisecond}).Once()},
			run: hpa + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 2 && frame.time_relative > 0.7", atLeast(1)}, {"tftp.opcode == 3", atLeast(6)}},
		},
		{
			name: "timing: a block that comes three times", rules: []fault.Rule{on("block 2").Do(tftpd.Duplicate{Copies: 2}).Once()},
			run: atftp + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 2", atLeast(3)}},
		},
		{
			name: "timing: blocks that change places", rules: []fault.Rule{on("block 2").Do(tftpd.Swap{}).Once()},
			run: busybox + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 2", atLeast(2)}},
		},
		{
			name: "timing: silence", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.FallSilent{AfterBytes: 1000}).Once()},
			run: curl + " -m 5; e=$?; wc -c <got; exit $e", code: 28, says: `(?m)^512$`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block > 1", exactly(0)}},
		},
		{
			name: "damage: a bit of a block", rules: []fault.Rule{on("block 2").Do(tftpd.FlipBit{Byte: 5, Bit: 3}).Once()},
			run: busybox + "; cmp got " + plainFile + ".orig", code: 1, says: `differ: byte 1006`,
			shows: []shown{{`tftp.opcode == 3 && tftp.block == 2 && frame contains "aaaaaiaaaa"`, exactly(1)}},
		},
		{
			name: "damage: a block that is too short ends the file", rules: []fault.Rule{on("block 2").Do(tftpd.Resize{To: 10}).Once()},
			run: curl + " && wc -c <got", says: `(?m)^522$`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 2 && udp.length == 22", exactly(1)}, {"tftp.opcode == 3 && tftp.block > 2", exactly(0)}},
		},
		{
			name: "origin: a block from another port", rules: []fault.Rule{on("block 2").Do(tftpd.FromOtherPort{Besides: true}).Once()},
			run: atftp + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 2 && !icmp", atLeast(2)}, {"icmp.code == 3 && ip.src == 198.18.0.12", exactly(1)}},
		},
		{
			name: "origin: the answer from another address", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.AnswerElsewhere{}).Once()},
			run: busybox + same, says: `same`,
			shows: []shown{{"udp.dstport != 69 && ip.src == 198.18.0.10 && udp.payload[0:2] == 00:06", exactly(1)}},
		},
		{
			name: "options: refused", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.RefuseOptions{}).Once()},
			run: busybox, code: 1, says: `option`,
			shows: []shown{{"tftp.error.code == 8", exactly(1)}},
		},
		{
			name: "options: ignored", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.IgnoreOptions{}).Once()},
			run: atftp + same, says: `same`,
			shows: []shown{{"tftp.opcode == 6", exactly(0)}, {"tftp.opcode == 3 && tftp.block == 6", atLeast(1)}},
		},
		{
			name: "options: a larger block than was asked for", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.Offer{Options: "blksize=2000"}).Once()},
			run: curl + " --tftp-blksize 1000", code: 71,
			shows: []shown{{`tftp.opcode == 6 && tftp.option.name == "blksize" && tftp.option.value == "2000"`, exactly(1)}, {"tftp.opcode == 3", exactly(0)}},
		},
		{
			name: "options: a lie about the size", rules: []fault.Rule{fault.On(plainFile).Do(tftpd.LieAboutSize{By: 1000}).Once()},
			run: curl + " -v" + same, says: `same`,
			shows: []shown{{`tftp.opcode == 6 && tftp.option.name == "tsize" && tftp.option.value == "4000"`, exactly(1)}},
		},
		{
			name: "blocks: a wrong number", rules: []fault.Rule{on("block 2").Do(tftpd.BlockNumber{By: 5}).Once()},
			run: busybox + same, says: `same`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 7", exactly(1)}, {"tftp.opcode == 3 && tftp.block == 2", atLeast(1)}},
		},
		{
			name: "blocks: the last one never comes", rules: []fault.Rule{fault.On("DATA").Of(plainFile).Do(tftpd.OmitLast{}).Once()},
			run: curl + " -m 5; e=$?; wc -c <got; exit $e", code: 28, says: `(?m)^2560$`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block > 5", exactly(0)}},
		},
		{
			name: "blocks: a file without an end", rules: []fault.Rule{fault.On("DATA").Of(plainFile).Do(tftpd.Endless{Bytes: 5000}).Once()},
			run: curl + " -m 5; e=$?; wc -c <got; exit $e", code: 28, says: `(?m)^8192$`,
			shows: []shown{{"tftp.opcode == 3 && tftp.block == 16", atLeast(1)}},
		},
	}
}

// tftpErrors are the codes of RFC 1350 section 5 and RFC 2347, one by one.
func tftpErrors() []witness {
	var list []witness
	for code := range uint16(9) {
		list = append(list, witness{
			name:  fmt.Sprintf("errors: %d at once", code),
			rules: []fault.Rule{fault.On("RRQ").Of(plainFile).Do(tftpd.Fail{Code: code, Text: "as told"}).Once()},
			run:   "tftp -m binary $SERVER -c get " + plainFile + " got", says: fmt.Sprintf("Error code %d: as told", code),
			shows: []shown{{fmt.Sprintf(`tftp.error.message == "as told" && tftp.error.code == %d`, code), exactly(1)}},
		})
	}
	return list
}

// fetch is curl's download of plainFile, or with more words of what they say.
func fetch(more string) string {
	return "curl -sS -m 60 -o got -w 'code %{http_code} size %{size_download} redirects %{num_redirects} time %{time_total}\\n' " + more + " "
}

// httpWitnesses are curl's; its exit codes stand in its manual.
func httpWitnesses() []witness {
	const url = "http://$SERVER/" + plainFile
	const same = " && cmp got " + plainFile + ".orig && echo same"
	one := func(e fault.Effect) []fault.Rule { return []fault.Rule{fault.On(plainFile).Do(e).Once()} }
	digest := func(l *rig.Lane) error { l.Challenge(rig.DigestQOP, "user", "secret"); return nil }
	login := "--anyauth -u user:secret "
	return []witness{
		{
			name: "status: 503 with Retry-After", rules: one(httpd.Status{Code: 503, Header: "Retry-After: 5"}),
			run: fetch("-f") + url, code: 22, says: `error: 503`,
			shows: []shown{{`http.response.code == 503 && http.response.line contains "Retry-After: 5"`, exactly(1)}},
		},
		{
			name: "redirect: a loop", rules: []fault.Rule{fault.On(plainFile).Do(httpd.Redirect{Code: 302})},
			run: fetch("-L --max-redirs 4") + url, code: 47, says: `Maximum \(4\) redirects`, fired: []bounds{exactly(5)},
			shows: []shown{{"http.response.code == 302", exactly(5)}, {`http.location contains "plain.bin"`, exactly(5)}},
		},
		{
			name: "redirect: to another file", rules: one(httpd.Redirect{Code: 301, To: "/" + otherFile}),
			run: fetch("-L") + url, says: `code 200 size 2000 redirects 1`,
			shows: []shown{{`http.location == "/other.bin"`, exactly(1)}},
		},
		{
			name: "head: a status line that is none", rules: one(httpd.StatusLine{Line: "plainly not"}),
			run: fetch("") + url, code: 1, says: `HTTP/0\.9`,
			shows: []shown{{`tcp contains "plainly not\r\n"`, exactly(1)}},
		},
		{
			name: "head: a line of 200 000 bytes", rules: one(httpd.LongHeader{Bytes: 200_000}),
			run: fetch("") + url, code: 27,
			shows: []shown{{"tcp.srcport == 80", atLeast(50)}},
		},
		{
			name: "head: a NUL", rules: one(httpd.NULHeader{}),
			run: fetch("") + url, code: 8,
			shows: []shown{{`http.response && tcp contains 00`, exactly(1)}},
		},
		{
			name: "length: too much is promised", rules: one(httpd.Length{By: 100}),
			run: fetch("") + url, code: 18, says: `100 bytes remaining`,
			shows: []shown{{"tcp contains \"Content-Length: 3100\"", exactly(1)}},
		},
		{
			name: "length: too little is promised", rules: one(httpd.Length{By: -100}),
			run: fetch("") + url, says: `code 200 size 2900`,
			shows: []shown{{"http.content_length == 2900", exactly(1)}},
		},
		{
			name: "length: no number", rules: one(httpd.LengthAs{Text: "abc"}),
			run: fetch("") + url, code: 8,
			shows: []shown{{`http.content_length_header == "abc"`, exactly(1)}},
		},
		{
			name: "length: none", rules: one(httpd.NoLength{}),
			run: fetch("") + url + same, says: `same`,
			shows: []shown{{"http.response.code == 200 && !http.content_length_header", exactly(1)}},
		},
		{
			name: "chunks: a size that is no number", rules: one(httpd.Chunked{Size: 1000, Flaw: httpd.ChunkBadSize}),
			run: fetch("") + url, code: 56, says: `chunked-encoding`,
			shows: []shown{{`tcp contains "xyz\r\n"`, exactly(1)}},
		},
		{
			name: "chunks: the last one is missing", rules: one(httpd.Chunked{Size: 1000, Flaw: httpd.ChunkNoLast}),
			run: fetch("") + url, code: 18,
			shows: []shown{{`tcp contains "Transfer-Encoding: chunked"`, exactly(1)}, {`tcp contains "\r\n0\r\n\r\n"`, exactly(0)}},
		},
		{
			name: "content: compressed, and not said", rules: one(httpd.Compressed{BodyOnly: true}),
			run: fetch("--compressed") + url + "; gzip -d <got | cmp - " + plainFile + ".orig && echo same", says: `same`,
			shows: []shown{{"http.response.code == 200 && frame contains 1f:8b:08", exactly(1)}},
		},
		{
			name: "content: said to be compressed, and not", rules: one(httpd.Compressed{HeaderOnly: true}),
			run: fetch("--compressed") + url, code: 61,
			shows: []shown{{`http.content_encoding == "gzip"`, exactly(1)}},
		},
		{
			name: "content: a bit of the file", rules: one(httpd.Corrupt{Offset: 1000, Mask: 8}),
			run: fetch("") + url + "; cmp got " + plainFile + ".orig", code: 1, says: `differ: byte 1001`,
			shows: []shown{{`tcp contains "aaaaiaaaa"`, exactly(1)}},
		},
		{
			name: "content: another file", rules: one(httpd.WrongFile{Name: otherFile}),
			run: fetch("") + url + " && cmp got " + otherFile + ".orig && echo other", says: `other`,
			shows: []shown{{`http.content_length == 2000`, exactly(1)}},
		},
		{
			name: "content: garbage", rules: one(httpd.Garbage{Bytes: 500, Seed: 4}),
			run: fetch("") + url, code: 1,
			shows: []shown{{"tcp.srcport == 80 && tcp.len == 500", exactly(1)}},
		},
		{
			name: "cut: reset in the body", rules: one(httpd.Reset{AfterBytes: 1500}),
			run: fetch("") + url, code: 56, says: `size 1500`,
			shows: []shown{{"tcp.flags.reset == 1 && tcp.srcport == 80", exactly(1)}},
		},
		{
			name: "cut: closed in the head", rules: one(httpd.Close{HeadBytes: 30}),
			run: fetch("") + url, says: `size 0`,
			shows: []shown{{"tcp.srcport == 80 && tcp.len == 30", exactly(1)}},
		},
		{
			name: "cut: closed before anything", rules: one(httpd.Close{}),
			run: fetch("") + url, code: 52, says: `Empty reply`,
			shows: []shown{{"tcp.srcport == 80 && tcp.len > 0", exactly(0)}, {"tcp.srcport == 80 && tcp.flags.fin == 1", exactly(1)}},
		},
		{
			name: "cut: silent in the body", rules: one(httpd.FallSilent{AfterBytes: 1500}),
			run: fetch("-m 5") + url, code: 28, says: `1500 out of 3000`,
			shows: []shown{{"tcp.srcport == 80 && tcp.flags.fin == 1 && frame.time_relative < 4.9", exactly(0)}},
		},
		{
			name: "trickle: a byte at a time", rules: one(httpd.Trickle{Bytes: 1, Every: 20 * time.Millisecond}),
			run: fetch("-m 5") + url, code: 28, says: `of 3000`,
			shows: []shown{{"tcp.srcport == 80 && tcp.len == 1", atLeast(40)}},
		},
		{
			name: "auth: a nonce that is stale", given: digest, rules: one(httpd.Stale{}),
			run: fetch(login) + url + same, says: `same`,
			shows: []shown{{"http.response.code == 401", exactly(2)}, {`http.www_authenticate contains "stale=true"`, exactly(1)}},
		},
		{
			name: "auth: right credentials are refused", given: digest, rules: []fault.Rule{fault.On(plainFile).Do(httpd.AskAgain{})},
			run: fetch("-f "+login) + url, code: 22, says: `error: 401`, fired: []bounds{atLeast(1)},
			shows: []shown{{"http.response.code == 401", atLeast(2)}, {"http.response.code == 200", exactly(0)}},
		},
		{
			name: "auth: SHA-256 before Basic", given: digest, rules: []fault.Rule{fault.On("401").Do(httpd.Offer{Schemes: "Digest SHA-256 auth; Basic"})},
			run: fetch(login) + url + same, says: `same`, fired: []bounds{atLeast(1)},
			shows: []shown{{`http.authorization contains "algorithm=SHA-256"`, exactly(1)}},
		},
	}
}

// tlsWitnesses are curl's and openssl's. Handshake messages and alerts are
// numbered as in RFC 8446, 4 and 6.
func tlsWitnesses() []witness {
	const url = "--cacert $CA --resolve $NAME:443:$SERVER https://$NAME/" + plainFile
	const same = " && cmp got " + plainFile + ".orig && echo same"
	const client = "openssl s_client -connect $SERVER:443 -servername $NAME -CAfile $CA "
	hello := func(e fault.Effect) []fault.Rule { return []fault.Rule{fault.On("ClientHello").Do(e).Once()} }
	return []witness{
		{
			name: "silence after the ClientHello", rules: hello(httpd.FallSilent{}),
			run: fetch("-m 5") + url, code: 28,
			shows: []shown{{"tls.handshake.type == 1", exactly(1)}, {"tls.handshake.type == 2", exactly(0)}},
		},
		{
			name: "reset at the ClientHello", rules: hello(httpd.Reset{}),
			run: fetch("") + url, code: 35, says: `reset by peer`,
			shows: []shown{{"tcp.flags.reset == 1 && tcp.srcport == 443", exactly(1)}, {"tls.handshake.type == 2", exactly(0)}},
		},
		{
			name: "reset in the middle of the server's flight", rules: []fault.Rule{fault.On("ServerHello").Do(httpd.Reset{AfterBytes: 100}).Once()},
			run: fetch("") + url, code: 35, says: `reset by peer`,
			shows: []shown{{"tcp.flags.reset == 1 && tcp.srcport == 443", exactly(1)}, {"tcp.srcport == 443 && tcp.len == 100", exactly(1)}},
		},
		{
			name: "closed after the client's Finished", rules: []fault.Rule{fault.On("Finished").Do(httpd.Close{}).Once()},
			run: fetch("--tls-max 1.2") + url, code: 35,
			shows: []shown{{"tls.handshake.type == 16", exactly(1)}, {"tls.change_cipher_spec && tcp.srcport == 443", exactly(0)}},
		},
		{
			name: "garbage", rules: hello(httpd.Garbage{Bytes: 200, Seed: 5}),
			run: fetch("") + url, code: 35,
			shows: []shown{{"tcp.srcport == 443 && tcp.len == 200", exactly(1)}},
		},
		{
			name: "alert handshake_failure", rules: hello(httpd.Alert{Description: 40}),
			run: fetch("") + url, code: 35, says: `handshake failure`,
			shows: []shown{{"tls.alert_message.desc == 40", exactly(1)}},
		},
		{
			name: "versions: too old for the client", rules: hello(httpd.Versions{Max: tls.VersionTLS11}),
			run: fetch("--tlsv1.2") + url, code: 35, says: `protocol version`,
			shows: []shown{{"tls.alert_message.desc == 70", exactly(1)}},
		},
		{
			name: "versions: 1.2 at most", rules: hello(httpd.Versions{Max: tls.VersionTLS12}),
			run: client + "</dev/null", says: `New, TLSv1\.2, `,
			shows: []shown{{"tls.handshake.type == 2 && tls.handshake.version == 0x0303 && !tls.handshake.extensions.supported_version", exactly(1)}},
		},
		{
			name: "suites: one only", rules: hello(httpd.Suites{Names: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}),
			run: client + "</dev/null", says: `Cipher is ECDHE-RSA-AES128-GCM-SHA256`,
			shows: []shown{{"tls.handshake.type == 2 && tls.handshake.ciphersuite == 0xc02f", exactly(1)}},
		},
		{
			name: "slow bytes", rules: []fault.Rule{fault.On("ServerHello").Do(httpd.Trickle{Bytes: 100, Every: 50 * time.Millisecond}).Once()},
			run: fetch("") + url + same, says: `same`,
			shows: []shown{{"tcp.srcport == 443 && tcp.len == 100", atLeast(8)}},
		},
		{
			name: "a bit of the server's flight", rules: []fault.Rule{fault.On("ServerHello").Do(httpd.Corrupt{Offset: 400}).Once()},
			run: fetch("--tls-max 1.2") + url, code: 35,
			shows: []shown{{"tls.handshake.type == 2", exactly(1)}},
		},
		{
			name: "a certificate that changed between two connections", rules: []fault.Rule{fault.On("ClientHello").Do(httpd.Present{Label: "expired"}).From(2).Once()},
			run: fetch("") + url + same + "; " + fetch("") + url, code: 60, says: `(?s)same.*certificate has expired`,
			shows: []shown{{"tls.handshake.type == 1", exactly(2)}, {"tls.alert_message.desc == 45 && tcp.dstport == 443", exactly(1)}},
		},
	}
}

// sntpWitnesses are ntpdig's and chronyd's, which measures and sets nothing.
func sntpWitnesses() []witness {
	const ntpdig = "ntpdig -t 5 $SERVER"
	const chronyd = `chronyd -Q -t 8 -f /dev/null 'server '$SERVER' iburst maxsamples 1' 'cmdport 0' 'bindcmdaddress /' 'pidfile '$PWD/pid`
	all := func(e sntpd.Effect) []fault.Rule { return []fault.Rule{fault.On("SNTP").Do(e)} }
	return []witness{
		{
			name: "silence", rules: all(sntpd.Drop{}), fired: []bounds{atLeast(1)},
			run: ntpdig, code: 1,
			shows: []shown{{"ntp.flags.mode == 3", atLeast(1)}, {"ntp.flags.mode == 4", exactly(0)}},
		},
		{
			name: "kiss-of-death", rules: all(sntpd.KissOfDeath{Code: "DENY"}), fired: []bounds{atLeast(1)},
			run: ntpdig, code: 1,
			shows: []shown{{"ntp.flags.mode == 4 && ntp.stratum == 0 && ntp.flags.li == 3 && frame contains \"DENY\"", atLeast(1)}},
		},
		{
			name: "unsynchronised", rules: all(sntpd.Unsynchronised{Leap: 3, Stratum: 16}), fired: []bounds{atLeast(1)},
			run: chronyd, code: 1, says: `No suitable source|Timeout`,
			shows: []shown{{"ntp.flags.mode == 4 && ntp.stratum == 16 && ntp.flags.li == 3", atLeast(1)}},
		},
		{
			name: "offset: an hour", rules: all(sntpd.Offset{D: time.Hour}), fired: []bounds{atLeast(1)},
			run: chronyd, says: `System clock wrong by 3(600|599)\.`,
			shows: []shown{{"ntp.flags.mode == 4", atLeast(1)}},
		},
		{
			name: "offset: 2036", rules: all(sntpd.SetTo{At: time.Date(2036, 2, 7, 0, 0, 0, 0, time.UTC)}), fired: []bounds{atLeast(1)},
			run: ntpdig, says: `2036-02-07`,
			shows: []shown{{`ntp.flags.mode == 4 && ntp.xmt >= "2036-02-07 00:00:00"`, atLeast(1)}},
		},
		{
			name: "mode: a broadcast", rules: all(sntpd.WrongMode{Mode: 5}), fired: []bounds{atLeast(1)},
			run: ntpdig, code: 1,
			shows: []shown{{"ntp.flags.mode == 5", atLeast(1)}},
		},
		{
			name: "origin: of another request", rules: all(sntpd.WrongOrigin{}), fired: []bounds{atLeast(1)},
			run: chronyd, code: 1,
			shows: []shown{{"ntp.flags.mode == 4", atLeast(1)}},
		},
		{
			name: "delay: an answer on a long way", rules: all(sntpd.Delay{By: 600 * time.Millisecond}), fired: []bounds{atLeast(1)},
			run: ntpdig, says: `[+-]0?\.[2-9]|[+-][1-9]\d*\.`,
			shows: []shown{{"ntp.flags.mode == 4 && udp.time_delta > 0.55", exactly(1)}},
		},
	}
}

// dnsWitnesses are dig's.
func dnsWitnesses() []witness {
	const dig = "dig +tries=1 +timeout=5 @$SERVER $NAME A"
	all := func(e dnsd.Effect) []fault.Rule { return []fault.Rule{fault.On("A").Do(e).Once()} }
	return []witness{
		{
			name: "rcode: NXDOMAIN", rules: all(dnsd.Rcode{N: 3}),
			run: dig, says: `status: NXDOMAIN.*`, shows: []shown{{"dns.flags.rcode == 3", exactly(1)}},
		},
		{
			name: "rcode: SERVFAIL", rules: all(dnsd.Rcode{N: 2}),
			run: dig, says: `status: SERVFAIL`, shows: []shown{{"dns.flags.rcode == 2", exactly(1)}},
		},
		{
			name: "silence", rules: all(dnsd.Drop{}),
			run: dig, code: 9, says: `timed out|no servers could be reached`, shows: []shown{{"dns.flags.response == 1", exactly(0)}},
		},
		{
			name: "truncated: on to TCP, where nobody is", rules: all(dnsd.Truncated{}),
			run: dig, code: 9, says: `(?s)Truncated, retrying in TCP mode.*refused`,
			shows: []shown{{"dns.flags.truncated == 1", exactly(1)}, {"tcp.srcport == 53 && tcp.flags.reset == 1", atLeast(1)}},
		},
		{
			name: "a wrong address", rules: all(dnsd.WrongAddress{Addr: netip.MustParseAddr("203.0.113.7")}),
			run: dig + " +short", says: `(?m)^203\.0\.113\.7$`, shows: []shown{{"dns.a == 203.0.113.7", exactly(1)}},
		},
		{
			name: "a long chain of aliases", rules: all(dnsd.Chain{Length: 12}),
			run: dig, says: `ANSWER: 13,`, shows: []shown{{"dns.count.answers == 13 && count(dns.cname) == 12", exactly(1)}},
		},
		{
			name: "aliases in a circle", rules: all(dnsd.Loop{}),
			run: dig + " +short", says: `c1\.prov`, shows: []shown{{"count(dns.cname) == 2 && !dns.a", exactly(1)}},
		},
		{
			name: "a wrong id", rules: all(dnsd.WrongID{}),
			run: dig, code: 9, says: `ID mismatch`, shows: []shown{{"dns.flags.response == 1", exactly(1)}},
		},
	}
}

// sipWitnesses are sipsak's and SIPp's.
func sipWitnesses() []witness {
	const register = "timeout 60 sipsak -vv -U -C sip:1001@$HANDSET:5062 -s sip:1001@$SERVER -x 60 -a secret "
	const listen = "timeout 60 sipp -sf $FIXTURES/answer.xml -i $HANDSET -p 5062 -nostdin -m 1 $SERVER >sipp.log 2>&1 "
	on := func(e sipd.Effect) []fault.Rule { return []fault.Rule{fault.On("REGISTER").Do(e)} }
	notify := func(ctx context.Context, f *faultLab) error {
		if err := f.listening(ctx, 5062); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_ = f.lane.Notify(ctx, "check-sync") // nobody need answer
		return nil
	}
	flood := func(ctx context.Context, f *faultLab) error {
		if err := f.listening(ctx, 5062); err != nil {
			return err
		}
		flood, err := f.lane.Notices(ctx, sipd.Notice{Event: "check-sync"}, 20, 5*time.Millisecond, 5*time.Second)
		if err == nil && flood.Sent != 20 {
			err = fmt.Errorf("a flood of 20 notices: %v", flood)
		}
		return err
	}
	return []witness{
		{
			name: "401 in a loop", rules: on(sipd.Challenge{}), fired: []bounds{atLeast(2)},
			run: register, code: 2, says: `authorization failed`,
			shows: []shown{{"sip.Status-Code == 401", atLeast(2)}, {"sip.Status-Code == 200", exactly(0)}},
		},
		{
			name: "503 with Retry-After", rules: on(sipd.Respond{Code: 503, RetryAfter: 30}), fired: []bounds{atLeast(1)},
			run: register, code: 1,
			shows: []shown{{"sip.Status-Code == 503 && sip.Retry-After", atLeast(1)}},
		},
		{
			name: "a flood of NOTIFY, each a request of its own",
			run:  register + "&& " + strings.Replace(listen, "-m 1 ", "-m 20 ", 1), at: flood,
			shows: []shown{{"sip.Method == NOTIFY && !icmp", atLeast(20)}, {"sip.Status-Code == 200 && sip.CSeq.method == NOTIFY", atLeast(20)}},
		},
		{
			name: "a NOTIFY in many copies", rules: []fault.Rule{fault.On("NOTIFY").Do(sipd.Duplicate{Copies: 30}).Once()},
			run: register + "&& " + listen, at: notify,
			shows: []shown{{"sip.Method == NOTIFY && !icmp", atLeast(31)}, {"sip.Status-Code == 200 && sip.CSeq.method == NOTIFY", atLeast(1)}},
		},
		{
			name: "a malformed NOTIFY", rules: []fault.Rule{fault.On("NOTIFY").Do(sipd.Cut{To: 60})},
			run: register + "&& " + strings.Replace(listen, "timeout 60 ", "timeout 10 ", 1), at: notify, fired: []bounds{atLeast(1)}, code: 124, malformed: atLeast(1),
			shows: []shown{{"udp.srcport == 5060 && udp.length == 68", atLeast(1)}, {"sip.Status-Code == 200 && sip.CSeq.method == NOTIFY", exactly(0)}},
		},
		{
			name: "an event that nobody knows", rules: []fault.Rule{fault.On("NOTIFY").Do(sipd.SetHeader{Name: "Event", Value: "no-such-event"}).Once()},
			run: register + "&& " + listen, at: notify,
			shows: []shown{{`sip.Event == "no-such-event"`, atLeast(1)}},
		},
	}
}

// wireWitnesses are those of what goes wrong below the services. Interface 0 is
// the handset's cable, 1 what the rig's host sent or would have had, 2 holds notes.
func wireWitnesses() []witness {
	const tftp = "atftp --get --option 'blksize 1000' -r " + plainFile + " -l got $SERVER 69"
	const same = " && cmp got " + plainFile + ".orig && echo same"
	const web = "http://$SERVER/"
	told := func(iface int, text string) string {
		return fmt.Sprintf("frame.interface_id == %d && frame.comment contains %q", iface, text)
	}
	return []witness{
		{
			name: "loss: counted", rules: []fault.Rule{fault.On("TFTP").Do(impair.Lose{}).From(4).Times(2)}, fired: []bounds{exactly(2)},
			run: tftp + same, says: `same`,
			shows: []shown{{told(1, "loses it"), exactly(2)}, {told(1, "dropped"), exactly(2)}},
		},
		{
			name: "loss: by a pattern, one way", rules: []fault.Rule{fault.On(impair.ToHandset).Of("ICMP").Do(impair.Lose{Pattern: "..x"})}, fired: []bounds{exactly(1)},
			run: "busybox ping -c 3 -i 0.2 -W 5 $SERVER", says: `2 packets received`, code: 0,
			shows: []shown{{told(1, "loses it by the pattern ..x"), exactly(1)}},
		},
		{
			name: "burst", rules: []fault.Rule{fault.On(impair.ToHandset).Do(impair.Burst{Enter: 5, Leave: 40, Bad: 100, Seed: 1})}, fired: []bounds{atLeast(2)},
			run: fetch("") + web + bigFile + " && cmp got " + bigFile + ".orig && echo same", says: `same`,
			shows: []shown{{told(1, "loses it in bursts"), atLeast(2)}}, cable: []shown{{"tcp.srcport == 80 && (tcp.analysis.retransmission || tcp.analysis.lost_segment || tcp.analysis.out_of_order)", atLeast(1)}},
		},
		{
			name: "delay", rules: []fault.Rule{fault.On(impair.FromHandset).Do(impair.Delay{D: 300 * time.Millisecond})}, fired: []bounds{atLeast(2)},
			run: "busybox ping -c 2 -i 0.5 $SERVER", says: `time=([3-9]\d\d|\d{4,})\.`,
			shows: []shown{{told(1, "delayed by 300ms"), atLeast(2)}}, cable: []shown{{"icmp.resptime > 290", exactly(2)}},
		},
		{
			name: "duplicate", rules: []fault.Rule{fault.On("ICMP").Do(impair.Duplicate{Copies: 1})}, fired: []bounds{atLeast(2)},
			run: "busybox ping -c 2 -i 0.3 $SERVER; busybox ping -c 1 $SERVER", says: `DUP!`,
			shows: []shown{{told(1, "sends it 2 times"), atLeast(2)}}, cable: []shown{{"icmp.type == 0", atLeast(4)}},
		},
		{
			name: "reorder", rules: []fault.Rule{fault.On(impair.ToHandset).Do(impair.Reorder{Every: 4, By: 30 * time.Millisecond})}, fired: []bounds{atLeast(3)},
			run: fetch("") + web + bigFile + " && cmp got " + bigFile + ".orig && echo same", says: `same`,
			shows: []shown{{told(1, "past those behind it"), atLeast(3)}}, cable: []shown{{"tcp.srcport == 80 && (tcp.analysis.out_of_order || tcp.analysis.retransmission)", atLeast(1)}},
		},
		{
			name: "corrupt: thrown away by whoever checks", rules: []fault.Rule{fault.On("TFTP").Do(impair.Corrupt{Seed: 2}).From(4).Once()},
			run: tftp + same, says: `same`,
			shows: []shown{{told(1, "turns over a bit"), exactly(1)}}, cable: []shown{{"ip.src == 198.18.0.9 && (ip.checksum.status == 0 || udp.checksum.status == 0)", exactly(1)}},
		},
		{
			name: "corrupt: with right checksums", rules: []fault.Rule{fault.On("TFTP").Do(impair.Corrupt{Mend: true, Seed: 3}).From(4).Once()},
			run: tftp + "; cmp got " + plainFile + ".orig", code: 1, says: `differ`,
			shows: []shown{{told(1, "mends the checksums"), exactly(1)}}, cable: []shown{{"ip.src == 198.18.0.9 && (ip.checksum.status == 0 || udp.checksum.status == 0)", exactly(0)}},
		},
		{
			name: "bandwidth", rules: []fault.Rule{fault.On(impair.ToHandset).Do(impair.Limit{BytesPerSecond: 80_000})}, fired: []bounds{atLeast(20)},
			run: fetch("") + web + bigFile, says: `size 150000 redirects 0 time [1-9]\d*\.`,
			shows: []shown{{told(1, "80000 bytes a second"), atLeast(20)}},
		},
		{
			name: "link down", rules: []fault.Rule{fault.On(plainFile).During("block 3").Do(impair.LinkDown{For: time.Second}).Once()},
			run: tftp + same, says: `same`,
			shows: []shown{{told(2, "takes the link down for 1s"), atLeast(1)}, {told(1, "takes the link down for 1s"), atLeast(1)}},
		},
		{
			name: "power", rules: []fault.Rule{fault.On(plainFile).During("block 3").Do(impair.PowerCut{For: 500 * time.Millisecond}).Once()},
			// Without its power it is not even there to wait.
			run: "until " + tftp + "; do sleep 0.2; done" + same, says: `same`,
			shows: []shown{{told(2, "cuts the power for 500ms"), exactly(1)}, {told(2, "power off"), exactly(1)}, {told(2, "power on"), exactly(1)}},
		},
		{
			name: "phase: after a file, the next one is lost", rules: []fault.Rule{
				fault.On("done").Of(otherFile).Do(impair.Phase{Name: "after the first file"}).Once(),
				fault.On(impair.ToHandset).During("after the first file").Do(impair.Lose{}),
			}, fired: []bounds{exactly(1), atLeast(1)},
			run: fetch("") + web + otherFile + " && cmp got " + otherFile + ".orig && echo first; " + fetch("-m 3") + web + plainFile, code: 28, says: `first`,
			shows: []shown{{told(2, "begins the wire's phase"), exactly(1)}, {told(1, "during after the first file"), atLeast(1)}},
		},
	}
}
