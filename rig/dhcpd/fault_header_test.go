package dhcpd

import (
	"bytes"
	"testing"

	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// TestFaultsOfTheHeaderChangeNothingElse compares the spoilt message with the
// whole one, byte by byte.
func TestFaultsOfTheHeaderChangeNothingElse(t *testing.T) {
	for _, tt := range []struct {
		effect fault.Effect
		at     int
		want   string
	}{
		{WrongXID{}, 4, "\xfe\xfd\xfc\xfb"},
		{WrongChaddr{MAC: rogue}, 28, "\x00\x00\x5e\x00\x53\x99"},
		{WrongHlen{Len: 16}, 2, "\x10"},
		{WrongHlen{Len: 0}, 2, "\x00"},
		{WrongHlen{Len: 255}, 2, "\xff"},
		{WrongCookie{}, 236, "\x00\x00\x00\x00"},
		{WrongCookie{Cookie: 0x63538263}, 236, "\x63\x53\x82\x63"},
		{WrongAddr{Addr: lease().Router}, 16, "\xc0\x00\x02\xfe"},
		{Overwrite{At: 0, Bytes: "\x01"}, 0, "\x01"},
		{Overwrite{At: 240, Bytes: "\x35\x01\x0d"}, 240, "\x35\x01\x0d"},
	} {
		for message, m := range map[string]msg{"OFFER": kind(1, phoneList()), "ACK": selects()} {
			t.Run(message+" "+tt.effect.String(), func(t *testing.T) {
				whole, _, _ := spoilt(t, m)
				frames, events, ledger := spoilt(t, m, fault.On(message).Do(tt.effect))
				fires(t, events, ledger)
				want := bytes.Clone(bootp(t, whole[0]))
				copy(want[tt.at:], tt.want)
				if got := bootp(t, frames[0]); !bytes.Equal(got, want) {
					t.Errorf("sent\n%x, want\n%x", got, want)
				}
			})
		}
	}
}

func TestAnAnswerIsCut(t *testing.T) {
	whole, _, _ := spoilt(t, kind(1, phoneList()))
	for _, n := range []int{0, 1, 100, 239, 240, 241, 300} {
		frames, events, ledger := spoilt(t, kind(1, phoneList()), fault.On("OFFER").Do(Truncate{Len: n}))
		fires(t, events, ledger)
		if got, want := bootp(t, frames[0]), bootp(t, whole[0])[:n]; !bytes.Equal(got, want) {
			t.Errorf("%d bytes: sent %x, want %x", n, got, want)
		}
		if last := events[len(events)-1]; last.Kind != timeline.DHCPOffer {
			t.Errorf("%d bytes: recorded %v", n, last)
		}
	}
}

func TestAnAnswerMayGrowByWhatIsWrittenBehindIt(t *testing.T) {
	frames, _, _ := spoilt(t, kind(1, phoneList()), fault.On("OFFER").Do(Overwrite{At: 1000, Bytes: "behind"}))
	if b := bootp(t, frames[0]); len(b) != 1006 || string(b[1000:]) != "behind" {
		t.Errorf("%d bytes, the last %q", len(b), b[len(b)-6:])
	}
}

func TestTheJournalHasTheTransactionAndAddressThatWereSent(t *testing.T) {
	_, events, _ := spoilt(t, kind(1), fault.On("DISCOVER").Do(WrongXID{}), fault.On("OFFER").Do(WrongAddr{Addr: lease().Router}))
	e := events[len(events)-1]
	if e.Fields["dhcp.id"] != "0xfefdfcfb" || e.Fields["dhcp.ip.your"] != "192.0.2.254" {
		t.Errorf("recorded %v", e.Fields)
	}
	_, events, _ = spoilt(t, kind(1), fault.On("OFFER").Do(SetOption{Code: 53, Value: "\x05"}))
	if e := events[len(events)-1]; e.Kind != timeline.DHCPAck || e.Message != "ACK" {
		t.Errorf("recorded %v of an ACK", e)
	}
	_, events, _ = spoilt(t, kind(1), fault.On("OFFER").Do(SetOption{Code: 53, Value: "\x4d"}))
	if e := events[len(events)-1]; e.Kind != timeline.DHCPOffer {
		t.Errorf("recorded %v of what is no message", e)
	}
}

func TestGopacketAgreesOnTheHeader(t *testing.T) {
	frames, _, _ := spoilt(t, kind(1), fault.On("OFFER").Do(WrongXID{}))
	var d layers.DHCPv4
	if err := d.DecodeFromBytes(bootp(t, frames[0]), noFeedback{}); err != nil || d.Xid != ^uint32(0x01020304) {
		t.Errorf("xid %08x, %v", d.Xid, err)
	}
	frames, _, _ = spoilt(t, kind(1), fault.On("OFFER").Do(WrongCookie{}))
	if err := d.DecodeFromBytes(bootp(t, frames[0]), noFeedback{}); err == nil {
		t.Error("gopacket does not mind a wrong cookie")
	}
}

type noFeedback struct{}

func (noFeedback) SetTruncated() {}
