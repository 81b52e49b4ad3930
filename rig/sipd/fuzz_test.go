package sipd_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/sipd"
)

// FuzzServer throws datagrams at the server, while it rings the sender if that
// has registered, and then expects it to register others as if nothing had been.
func FuzzServer(f *testing.F) {
	f.Add([]byte(register("a", 1, own, "Expires: 60")), []byte("SIP/2.0 180 Ringing\r\n\r\n"))
	f.Add([]byte(register("a", 1, own, authorization("u1", secret, "ip88rig", "n", "sip:192.0.2.1", 1))), []byte(register("a", 2, "Contact: *", "Expires: 0")))
	f.Add([]byte(request("INVITE", "sip:x@192.0.2.1", "c", 1, desk, "body=v=0\r\n")), []byte(request("BYE", "sip:x@192.0.2.1", "c", 2)))
	f.Add([]byte(request("SUBSCRIBE", "sip:x@192.0.2.1", "c", 1, "Event: dialog", "Expires: 99999999999")), []byte(answer(request("INVITE", "sip:x", "c", 1), "200 OK")))
	f.Add([]byte("\r\n\r\n"), []byte("REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP :::;branch=;rport=x\r\nTo: <\r\n\r\n"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			s, end := b.start(func(c *sipd.Config) {
				c.Password = func(name string) (string, bool) { return secret, name != "" }
			})
			p := b.phone(handset)
			p.send(message(first))
			p.next(time.Millisecond)
			for _, reg := range s.Bindings() {
				go func() { _, _ = s.Ring(t.Context(), reg.User) }() // ends with the server
			}
			p.send(message(second))
			p.next(time.Millisecond)
			q := b.phone("192.0.2.8:5060")
			challenge := q.ask(register("z", 1, own), "SIP/2.0 401").header("WWW-Authenticate")
			_, nonce, _ := strings.Cut(challenge, `nonce="`)
			nonce, _, _ = strings.Cut(nonce, `"`)
			q.ask(register("z", 2, own, authorization("u1", secret, "ip88rig", nonce, "sip:192.0.2.1", 1)), "SIP/2.0 200")
			end()
			synctest.Wait()
		})
	})
}
