package timeline

import (
	"fmt"
	"net/netip"
)

// tftp follows read transfers by the handset's end, its transfer identifier. A
// packet of an unknown identifier belongs to none of them.
func (d *deriver) tftp(e *Event, from, to bool) {
	if e.Fields["tftp.unknown_tid"] == "true" {
		return
	}
	end := e.Src
	if to && !from {
		end = e.Dst
	}
	t, known := d.s.Transfers[end]
	switch {
	case e.Kind == TFTPRead && from:
		if known && t.File == e.File && !t.Moving && !t.Done {
			return // sent again
		}
		remember(&d.s.Transfers, end, transfer{File: e.File})
		d.asked(e, TFTP)
	case e.Kind == TFTPError && (from || to):
		if known {
			t.Moving = true
			d.s.Transfers[end] = t
		}
	case e.Kind == TFTPAck && from:
		late := known && t.File != e.File // of the transfer before from the same port
		if !late && t.Done {
			return // the last acknowledgement sent again
		}
		if !late {
			remember(&d.s.Transfers, end, transfer{File: e.File, Moving: true, Done: e.Complete})
		}
		if e.Complete {
			d.emit(Event{Kind: Fetched, SrcMAC: e.SrcMAC, DstMAC: e.DstMAC, Src: e.Src, Dst: e.Dst, Transport: TFTP, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
		}
	}
}

// httpAsked folds a GET. After 401 the same request with credentials is the
// same ask.
func (d *deriver) httpAsked(e *Event) {
	if e.Message != "" && e.Message != "GET" {
		return
	}
	over := e.Transport
	if over == "" {
		over = HTTP
	}
	key := requestKey(over, e.Src, e.Dst, e.File)
	if (e.Fields["http.authorization.scheme"] != "" || e.Fields["auth.scheme"] != "") && d.s.Challenged[key] {
		delete(d.s.Challenged, key)
		return
	}
	delete(d.s.Challenged, key)
	d.asked(e, over)
}

func (d *deriver) httpAnswered(e *Event, handset, server netip.AddrPort) {
	if e.Status != 401 {
		return
	}
	over := e.Transport
	if over == "" {
		over = HTTP
	}
	remember(&d.s.Challenged, requestKey(over, handset, server, e.File), true)
}

func requestKey(over Transport, handset, server netip.AddrPort, file string) string {
	return fmt.Sprint(over, " ", handset.Addr().Unmap(), " ", server, " ", file)
}

func (d *deriver) asked(e *Event, over Transport) {
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	d.emit(Event{Kind: Asked, SrcMAC: e.SrcMAC, DstMAC: e.DstMAC, Src: e.Src, Dst: e.Dst, Transport: over, File: e.File})
}

// whole reports whether a status goes with a whole file; 0 is a service that
// does not say.
func whole(status int) bool { return status == 0 || status == 200 }
