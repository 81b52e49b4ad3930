package timeline

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// registerSent folds a REGISTER of the handset.
func (d *deriver) registerSent(e *Event) {
	call, user := e.Fields["sip.Call-ID"], e.Fields["sip.From.user"]
	key := registrationKey(user, e.Dst)
	r, ok := d.s.Registrations[key]
	switch {
	case ok && r.CallID != call && e.At.Before(r.Until):
		d.ground("REGISTER with a new Call-ID", e)
	case !ok && d.s.Expect && len(d.s.Registrations) == 0 && len(d.s.Leases) == 0:
		d.ground("REGISTER", e)
	}
	cseq := e.Fields["sip.CSeq.seq"]
	if old, ok := d.s.Registers[call]; ok && old.CSeq == cseq {
		return // sent again
	}
	remember(&d.s.Registers, call, register{
		CSeq: cseq, User: user, Expires: e.Fields["sip.Expires"], Agent: e.Fields["sip.User-Agent"], Contact: e.Fields["sip.contact"],
		Src: e.Src, Dst: e.Dst,
	})
}

func registrationKey(user string, registrar netip.AddrPort) string {
	return user + "@" + registrar.String()
}

// registerAnswer folds the final answer to a REGISTER.
func (d *deriver) registerAnswer(e *Event) {
	call := e.Fields["sip.Call-ID"]
	r, known := d.s.Registers[call]
	if !known || r.CSeq != e.Fields["sip.CSeq.seq"] {
		// Its request was not seen, or is an older one: the fields of the answer
		// are taken instead.
		r = register{CSeq: e.Fields["sip.CSeq.seq"], User: e.Fields["sip.From.user"], Expires: e.Fields["sip.Expires"], Contact: e.Fields["sip.contact"], Src: e.Dst, Dst: e.Src}
	}
	if e.Status < 200 || r.Done {
		return
	}
	key := registrationKey(r.User, r.Dst)
	switch {
	case e.Status == 401, e.Status == 407, e.Status == 423:
		return // comes again with credentials, or with a longer expiry
	case e.Status >= 300:
		delete(d.s.Registrations, key)
		return
	}
	r.Done = true
	remember(&d.s.Registers, call, r)
	granted, ok := seconds(e.Fields["sip.Expires"])
	if !ok {
		if granted, ok = seconds(r.Expires); !ok {
			granted = 3600 // RFC 3261, 10.3: the registrar's own choice; its usual one
		}
	}
	if granted == 0 {
		if _, ok := d.s.Registrations[key]; ok {
			delete(d.s.Registrations, key)
			d.s.Removed = true
			d.weak("registration removed", e)
		}
		return
	}
	d.s.Removed = false
	remember(&d.s.Registrations, key, registration{CallID: call, Until: e.At.Add(time.Duration(granted) * time.Second).UTC()})
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	d.s.Weak = nil
	fields := map[string]string{"sip.Call-ID": call, "sip.From.user": r.User}
	for name, value := range map[string]string{"sip.Expires": r.Expires, "sip.User-Agent": r.Agent, "sip.contact": r.Contact} {
		if value != "" {
			fields[name] = value
		}
	}
	d.emit(Event{Kind: Registered, SrcMAC: e.DstMAC, DstMAC: e.SrcMAC, Src: r.Src, Dst: r.Dst, Status: e.Status, Number: granted, Fields: fields})
}

// seconds reads a count of seconds (RFC 3261: up to 2**32-1).
func seconds(s string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return int(n), err == nil
}
