package timeline

// fold takes one event in and returns the facts that it proves, in order. The
// slice is good until the next call.
func (d *deriver) fold(e *Event) []Event {
	d.out = d.out[:0]
	if e.By == Wire {
		d.wire(e)
	} else {
		d.journal(e)
	}
	return d.out
}

// journal folds the entries of the rig's own parts.
func (d *deriver) journal(e *Event) {
	if e.Fields[ExpectField] == expectBoot {
		d.s.Expect = true
	}
	switch e.Kind {
	case CarriedState:
		d.restore(e.Fields[stateField])
	case PowerOff:
		d.forget()
		d.s.Power, d.s.Expect = "off", false
	case PowerOn:
		if d.s.Power != "on" && d.s.Power != "starting" { // a port switched on twice has not cut the power
			d.forget()
			d.s.Power = "starting"
		}
	case LinkDown:
		d.s.LinkDown, d.s.LinkExcuse = true, true
	case LinkUp:
		d.s.LinkDown = false
	case LinkLost:
		d.weak("link lost", e)
	case HTTPRequest, HTTPResponse, Served, Handshake:
		if d.isHandset(e.SrcMAC) || e.SrcMAC == "" && d.s.Addrs[e.Src.Addr().Unmap()] {
			d.httpd(e)
		}
	default: // most kinds prove nothing
	}
}

// httpd folds the journal of the HTTPS service: what is encrypted on the wire
// has no other witness. Over HTTP the wire says it.
func (d *deriver) httpd(e *Event) {
	if e.Kind == Handshake {
		if !e.Complete {
			if d.s.Hellos[e.Src] {
				d.refused(e, e.Src, e.Dst, handshakeRefusal(e))
			}
		} else {
			delete(d.s.Refusals, e.Src)
		}
		return
	}
	if e.Transport != HTTPS {
		return
	}
	switch e.Kind {
	case HTTPRequest:
		d.httpAsked(e)
	case HTTPResponse:
		d.httpAnswered(e, e.Src, e.Dst)
	case Served:
		if e.Complete && whole(e.Status) {
			d.emit(Event{Kind: Fetched, Src: e.Src, Dst: e.Dst, SrcMAC: e.SrcMAC, Transport: HTTPS, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
		}
	default: // the caller lets four kinds in
	}
}

// wire folds what was seen on the handset's cable.
func (d *deriver) wire(e *Event) {
	from, to := d.isHandset(e.SrcMAC), d.isHandset(e.DstMAC)
	if from {
		d.alive(e)
		if a := e.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
			remember(&d.s.Addrs, a.Unmap(), true)
		}
	}
	switch e.Kind {
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform:
		if from {
			d.dhcpSent(e)
		}
	case DHCPAck, DHCPNak:
		d.dhcpAnswer(e)
	case TFTPRead, TFTPAck, TFTPError:
		d.tftp(e, from, to)
	case TCPOpen, TLSClientHello:
		if from {
			delete(d.s.Refusals, e.Src) // the port begins a new connection
			if e.Kind == TLSClientHello {
				remember(&d.s.Hellos, e.Src, true)
			} else {
				delete(d.s.Hellos, e.Src)
			}
		}
	case TLSAlert:
		if name := alertName(e.Reason); from && aboutCertificate(name) {
			d.refused(e, e.Src, e.Dst, name)
		}
	case HTTPRequest:
		if from && e.Transport != HTTPS {
			d.httpAsked(e)
		}
	case HTTPResponse:
		if to && e.Transport != HTTPS {
			d.httpAnswered(e, e.Dst, e.Src)
			if e.Complete && whole(e.Status) && e.Message != "HEAD" && e.Message != "" {
				d.emit(Event{Kind: Fetched, SrcMAC: e.DstMAC, DstMAC: e.SrcMAC, Src: e.Dst, Dst: e.Src, Transport: HTTP, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
			}
		}
	case SIPRequest:
		if from && e.Message == "REGISTER" {
			d.registerSent(e)
		}
	case SIPResponse:
		if to && e.Message == "REGISTER" {
			d.registerAnswer(e)
		}
	default: // most kinds prove nothing
	}
	if from {
		d.used(e)
	}
}

// alive derives Booted from the first frame after the power came back.
func (d *deriver) alive(e *Event) {
	if d.s.Power == "starting" {
		d.s.Power, d.s.Expect = "on", false
		d.booted(e, "first "+string(e.Kind)+" after power on")
	}
}

// used notes that the handset is at work: what it does next that looks like a
// boot can no longer be blamed on the link.
func (d *deriver) used(e *Event) {
	switch e.Kind {
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform, ARPRequest, ARPReply, ARPProbe, ARPAnnouncement, Malformed, TCPClosed:
		return
	default: // anything else is work
	}
	if l, ok := d.s.Leases[e.SrcMAC]; ok && !l.Used {
		l.Used = true
		d.s.Leases[e.SrcMAC] = l
	}
}
