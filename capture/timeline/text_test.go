package timeline

import (
	"fmt"
	"strings"
	"testing"
)

// goodBoot is a handset that boots, downloads over TFTP and registers.
func goodBoot() *script {
	return newScript(func(s *script) {
		s.add(Event{By: "scenario", Kind: Verb, Message: "PowerCycle"})
		s.powerCycle()
		s.bind("x1")
		s.fetch("a", 2001)
		s.rrq("b", 2002)
		for block := 1; block <= 3; block++ {
			s.data("b", 2002, block)
			s.tftpAck("b", 2002, block, block == 3)
		}
		s.notFound("c", 2003)
		s.add(Event{By: "tftpd", Kind: Served, File: "b", Transport: TFTP, Bytes: 1536, Complete: true})
		s.sent(Event{Kind: ARPRequest, Src: s.own(0), Dst: s.rig(0)})
		s.hello(3001)
		s.get(HTTPS, "d?password=secret", 3001, "auth.scheme", "Basic", "auth.user", "lab")
		s.answer(HTTPS, "d?password=secret", 3001, 401, true)
		s.register("2001", "call-1")
		s.add(Event{By: "scenario", Kind: Judgement, Message: "RBT-04", Fields: map[string]string{"matcher": "Reboot", "negated": "true", "verdict": "pass"}})
		s.add(Event{By: "tftpd", Kind: FaultFired, Reason: "falls silent after 64 KiB"})
	})
}

func TestAGivenStandsOutAsAVerbDoes(t *testing.T) {
	s := newScript()
	s.add(Event{By: "scenario", Kind: Given, Message: "challenge", Reason: "Basic as lab"})
	s.add(Event{By: "scenario", Kind: Given, Message: "reset"})
	s.discover("x1")
	for _, text := range []string{Text(LogOf(s.events...)), Ladder(LogOf(s.events...))} {
		for _, want := range []string{"== given challenge: Basic as lab\n", "== given reset\n"} {
			if !strings.Contains(strings.ReplaceAll(text, "==  ", "== "), want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
	}
}

func TestText(t *testing.T) {
	want := strings.TrimPrefix(`
from 2026-01-02 03:04:06.000000 UTC
      frame     seconds      what
               0.000000  ==  verb PowerCycle
               1.000000      power: power off
               2.000000      power: power on
          1    3.000000  ->  DISCOVER
          1    3.000000   *  booted: first DISCOVER after power on
          2    4.000000  <-  OFFER 192.0.2.10
          3    5.000000  ->  REQUEST 192.0.2.10 of server 192.0.2.1
          4    6.000000  <-  DHCP ACK 192.0.2.10 from server 192.0.2.1 for 3600 s
          4    6.000000   *  bound to 192.0.2.10
          5    7.000000  ->  RRQ a
          5    7.000000   *  asked for a over tftp at 192.0.2.1:69
        6-7    8.000000  <>  1 DATA (block 1, 512 bytes), 1 ACK (block 1) of a, complete
          7    9.000000   *  fetched a over tftp, 512 bytes, sha256 01234567
          8   10.000000  ->  RRQ b
          8   10.000000   *  asked for b over tftp at 192.0.2.1:69
       9-14   11.000000  <>  3 DATA (blocks 1 to 3, 1536 bytes), 3 ACK (blocks 1 to 3) of b, complete
         14   16.000000   *  fetched b over tftp, 1536 bytes, sha256 01234567
         15   17.000000  ->  RRQ c
         15   17.000000   *  asked for c over tftp at 192.0.2.1:69
         16   18.000000  <-  error 1 for c
              19.000000      tftpd: served b over tftp, 1536 bytes
         17   20.000000  ->  ARP request
         18   21.000000  ->  ClientHello
              22.000000  ->  httpd: GET /d?… with Basic credentials of lab (https)
              22.000000   *  asked for d?… over https at 192.0.2.1:443
              23.000000  <-  httpd: 401 for /d?…, 0 bytes (https)
         19   24.000000  ->  REGISTER 2001 at 192.0.2.1:5060, expires 300
         20   25.000000  <-  200 to REGISTER
         20   25.000000   *  registered as 2001 at 192.0.2.1:5060 from port 5060, expires 300, "LG 1.2.3"
              26.000000  ==  judgement RBT-04: not Reboot pass
              27.000000   !  tftpd: fault falls silent after 64 KiB
`, "\n")
	if got := Text(goodBoot().fold().Log()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Text(Log{}); got != "" {
		t.Errorf("the text of nothing is %q", got)
	}
}

func TestLadder(t *testing.T) {
	got := Ladder(goodBoot().fold().Log())
	for _, want := range []string{
		"  DISCOVER ---", "--- OFFER 192.0.2.10\n", "          1    3.000000   * booted: first DISCOVER after power on\n", "== judgement RBT-04: not Reboot pass",
		"       9-14   11.000000  <", "3 ACK (blocks 1 to 3) of b, complete ->",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the ladder lacks %q:\n%s", want, got)
		}
	}
	for _, dont := range []string{"ARP", "asked for", "served", "secret"} {
		if strings.Contains(got, dont) {
			t.Errorf("the ladder holds %q:\n%s", dont, got)
		}
	}
	if got := Ladder(Log{}); got != "" {
		t.Errorf("the ladder of nothing is %q", got)
	}
}

func TestALongLadderIsCutInTheMiddle(t *testing.T) {
	s := newScript(func(s *script) {
		for i := range 100 {
			s.rrq(fmt.Sprintf("file-%02d", i), 2000+i)
		}
	})
	got := Ladder(LogOf(s.events...))
	if n := strings.Count(got, "\n"); n != 1+ladderHead+1+ladderTail {
		t.Errorf("%d lines:\n%s", n, got)
	}
	for _, want := range []string{"file-00", "file-07", "… 60 lines left out …", "file-68", "file-99"} {
		if !strings.Contains(got, want) {
			t.Errorf("the ladder lacks %q:\n%s", want, got)
		}
	}
}

func TestWhatAHostWroteDoesNotMoveTheCursor(t *testing.T) {
	if got, want := Words(Event{Kind: TFTPRead, File: "a\x1b[2J\nb"}), `RRQ a\x1b[2J\nb`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWords(t *testing.T) {
	fields := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	for want, e := range map[string]Event{
		"REQUEST, renewing 192.0.2.10":                               {Kind: DHCPRequest, Fields: fields("dhcp.ip.client", "192.0.2.10")},
		"RELEASE 192.0.2.10":                                         {Kind: DHCPRelease, Fields: fields("dhcp.ip.client", "192.0.2.10")},
		"NAK wrong network":                                          {Kind: DHCPNak, Reason: "wrong network"},
		"OACK a":                                                     {Kind: TFTPOAck, File: "a"},
		"DATA block 7, 512 bytes, of a":                              {Kind: TFTPData, File: "a", Number: 7, Bytes: 512},
		"GET /a with Digest credentials of lab":                      {Kind: HTTPRequest, Message: "GET", File: "a", Fields: fields("http.authorization.scheme", "Digest", "http.authorization.username", "lab")},
		"NOTIFY check-sync from 2001":                                {Kind: SIPRequest, Message: "NOTIFY", Fields: fields("sip.From.user", "2001", "sip.Event", "check-sync")},
		"ClientHello rig.test":                                       {Kind: TLSClientHello, Fields: fields("tls.handshake.extensions_server_name", "rig.test")},
		"alert bad_certificate":                                      {Kind: TLSAlert, Reason: "bad_certificate"},
		"handshake TLS 1.2 with certificate good, complete":          {Kind: Handshake, Complete: true, Fields: fields("tls.version", "TLS 1.2", "tls.cert", "good")},
		"handshake, not complete: no answer in time":                 {Kind: Handshake, Reason: "no answer in time"},
		"served a over tftp, 3 bytes, not whole: reset":              {Kind: Served, Transport: TFTP, File: "a", Bytes: 3, Reason: "reset"},
		"connection closed by the handset":                           {Kind: ConnClosed, Reason: "closed by the handset"},
		"judgement TLS-04 mask 4: RefuseCertificate fail it took it": {Kind: Judgement, Message: "TLS-04", Reason: "it took it", Fields: fields("case", "mask 4", "matcher", "RefuseCertificate", "verdict", "fail")},
		"refused the certificate: unknown_ca":                        {Kind: Refused, Reason: "unknown_ca"},
		"asked for a over http at -":                                 {Kind: Asked, Transport: HTTP, File: "a"},
		"frames lost disk full":                                      {Kind: FramesLost, Reason: "disk full"},
	} {
		if got := Words(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
