package timeline

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestLogGivesBackWhatItWasGiven(t *testing.T) {
	when := time.Date(2026, 11, 30, 20, 0, 0, 17, time.UTC)
	handset, rig := netip.MustParseAddrPort("192.0.2.10:2001"), netip.MustParseAddrPort("192.0.2.1:3001")
	data := Event{By: Wire, Kind: TFTPData, At: when, Frame: 7, Number: 1, Bytes: 512, Src: rig, Dst: handset, SrcMAC: "a", DstMAC: "b", Transport: TFTP, File: "f"}
	ack := data
	ack.Kind, ack.Src, ack.Dst, ack.SrcMAC, ack.DstMAC, ack.Bytes = TFTPAck, handset, rig, "b", "a", 0
	var want []Event
	put := func(e Event, change func(*Event)) {
		if change != nil {
			change(&e)
		}
		e.Seq = len(want) + 1
		want = append(want, e)
	}
	for n := range 5 {
		put(data, func(e *Event) { e.Number, e.Frame, e.At = n, 2*n, when.Add(time.Duration(n)) })
		put(ack, func(e *Event) { e.Number, e.Frame = n, 2*n+1 })
	}
	blocks := len(want)
	put(ack, func(e *Event) { e.Complete, e.Bytes, e.SHA256 = true, 2560, "sum" })
	put(data, func(e *Event) { e.Fields = map[string]string{"tftp.unknown_tid": "true"} })
	put(data, func(e *Event) { e.Number = -1 })
	put(data, func(e *Event) { e.Bytes = 1 << 40 })
	put(data, func(e *Event) { e.At = time.Time{} })
	put(data, func(e *Event) { e.At = when.In(time.FixedZone("", 3600)) })
	put(Event{By: "x", Kind: Note, At: when}, nil)
	whole := len(want) - blocks
	for _, change := range []func(*Event){
		func(e *Event) { e.Src = netip.AddrPort{} },
		func(e *Event) { e.File = "g" },
		func(e *Event) { e.Status = 9 },
		func(e *Event) { e.Reason = "why" },
		func(e *Event) { e.After = 3 },
		nil,
	} {
		put(data, change)
		put(ack, change)
	}
	log := LogOf(want...)
	if got := log.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if len(log.whole) != whole {
		t.Errorf("%d events are kept in whole, want %d", len(log.whole), whole)
	}
	var back []Event
	for e := range log.From(3).Backward() {
		back = append([]Event{*e}, back...)
	}
	if !reflect.DeepEqual(back, want[3:]) {
		t.Errorf("backward from the third: got\n%+v, want\n%+v", back, want[3:])
	}
}
