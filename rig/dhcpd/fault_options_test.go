package dhcpd

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/fault"
)

// optionsOf is the hexadecimal of the options field up to its padding.
func optionsOf(t *testing.T, frame []byte) string {
	t.Helper()
	return hex.EncodeToString(bytes.TrimRight(bootp(t, frame)[240:], "\x00"))
}

// TestFaultsOfOptionsByteForByte writes down what stands in the options field.
// The list asks for the router and option 160 ("ftp", for brevity) only.
func TestFaultsOfOptionsByteForByte(t *testing.T) {
	const (
		typ, id = "350102", "3604c0000201"
		times   = "330400000e10" + "3a0400000708" + "3b0400000c4e"
		head    = typ + id + times
		router  = "0304c00002fe"
		url     = "a003667470"
		end     = "ff"
	)
	x := func(n int) string { return strings.Repeat("x", n) }
	x16 := func(n int) string { return strings.Repeat("78", n) }
	for _, tt := range []struct {
		effect fault.Effect
		want   string
	}{
		{nil, head + router + url + end},
		{WithoutOption{Code: 53}, id + times + router + url + end},
		{WithoutOption{Code: 54}, typ + times + router + url + end},
		{WithoutOption{Code: 51}, typ + id + times[12:] + router + url + end},
		{WithoutOption{Code: 160}, head + router + end},
		{SetOption{Code: 160, Value: ""}, head + router + "a000" + end},
		{SetOption{Code: 160, Value: x(255)}, head + router + "a0ff" + x16(255) + end},
		{SetOption{Code: 160, Value: x(256)}, head + router + "a0ff" + x16(255) + "a00178" + end},
		{SetOption{Code: 160, Value: x(600)}, head + router + "a0ff" + x16(255) + "a0ff" + x16(255) + "a05a" + x16(90) + end},
		{SetOption{Code: 160, Value: "tftp://\x01\x00"}, head + router + "a009746674703a2f2f0100" + end},
		{SetOption{Code: 3, Value: "\xc0\x00\x02"}, head + "0303c00002" + url + end},
		{SetOption{Code: 224, Value: "?"}, head + router + url + "e0013f" + end},
		{SetOption{Code: 52, Value: "\x03"}, head + router + url + "340103" + end},
		{DoubleOption{Code: 160}, head + router + url + url + end},
		{DoubleOption{Code: 3, Second: "\xc0\x00\x02\xfd"}, head + router + url + "0304c00002fd" + end},
		{SplitOption{Code: 160, At: 1}, head + router + "a00166" + "a0027470" + end},
		{SplitOption{Code: 160, At: 0}, head + router + "a000" + url + end},
		{SplitOption{Code: 3, At: 2, Apart: true}, head + "0302c000" + url + "030202fe" + end},
		{SplitOption{Code: 3, At: 2, Apart: true, Swapped: true}, head + "030202fe" + url + "0302c000" + end},
		{WrongLength{Code: 160, Len: 200}, head + router + "a0c8667470" + end},
		{WrongLength{Code: 3, Len: 3}, head + "0303c00002fe" + url + end},
		{WrongLength{Code: 224, Len: 9, Value: "?"}, head + router + url + "e0093f" + end},
		{UnsplitOption{Code: 160, Value: x(300)}, head + router + "a02c" + x16(300) + end},
		{NoEnd{}, head + router + url},
		{WrongServerID{ID: lease().Router}, typ + "3604c00002fe" + times + router + url + end},
		{LeaseTimes{Lease: 2, T1: 0xffffffff}, typ + id + "330400000002" + "3a04ffffffff" + "3b0400000000" + router + url + end},
	} {
		name := "nothing is wrong"
		if tt.effect != nil {
			name = tt.effect.String()
		}
		t.Run(name, func(t *testing.T) {
			l := lease()
			l.Options[160] = Text("ftp")
			s, c, _, plan := bench(t, l)
			if tt.effect != nil {
				plan.Add(fault.On("OFFER").Do(tt.effect).Once())
			}
			s.handle(frameOf(t, kind(1, opt(55, 3, 160))))
			// Zeros at the end of a value would look like padding.
			if got := optionsOf(t, c.sent(t)); got != strings.TrimRight(tt.want, "0") && got != tt.want {
				t.Errorf("sent\n%s, want\n%s", got, tt.want)
			}
			if tt.effect == nil {
				return
			}
			if n := plan.Ledger()[0].Fired; n != 1 {
				t.Errorf("fired %d times", n)
			}
			// The next one is right again, and so is the lease.
			s.handle(frameOf(t, kind(1, opt(55, 3, 160))))
			if got, want := optionsOf(t, c.sent(t)), head+router+url+end; got != want {
				t.Errorf("the next is\n%s, want\n%s", got, want)
			}
		})
	}
}

func TestOptionsOfARelayAreLeftOutWhenAFaultHasItSo(t *testing.T) {
	m := kind(1, opt(82, 1, 1, 7), opt(55, 3))
	frames, _, _ := spoilt(t, m)
	if r := read(t, frames[0]); r.value(82) != "010107" {
		t.Fatalf("option 82 is %s", r.value(82))
	}
	frames, events, ledger := spoilt(t, m, fault.On("OFFER").Do(WithoutOption{Code: 82}))
	fires(t, events, ledger)
	if r := read(t, frames[0]); r.value(82) != "-" {
		t.Errorf("option 82 is %s", r.value(82))
	}
}

func TestUnknownOptionsAreAllThere(t *testing.T) {
	frames, events, ledger := spoilt(t, kind(1, opt(55, 3)), fault.On("OFFER").Do(UnknownOptions{Len: 30}))
	fires(t, events, ledger)
	r := read(t, frames[0])
	for code := 224; code < 255; code++ {
		if want := strings.Repeat(hex.EncodeToString([]byte{byte(code)}), 30); r.value(byte(code)) != want {
			t.Errorf("option %d is %s", code, r.value(byte(code)))
		}
	}
	if strings.Contains(events[len(events)-1].Reason, "no room") {
		t.Errorf("recorded %q", events[len(events)-1].Reason)
	}
}

func TestGarbageIsTheSameForTheSameSeed(t *testing.T) {
	send := func(e Garbage) []byte {
		frames, events, ledger := spoilt(t, kind(1, opt(55, 3)), fault.On("OFFER").Do(e))
		fires(t, events, ledger)
		return bootp(t, frames[0])[240:]
	}
	whole, _, _ := spoilt(t, kind(1, opt(55, 3)))
	good := bytes.TrimRight(bootp(t, whole[0])[240:], "\x00")
	good = good[:len(good)-1] // without the end option
	for _, first := range []bool{false, true} {
		a, b, c := send(Garbage{Len: 100, Seed: 1, First: first}), send(Garbage{Len: 100, Seed: 1, First: first}), send(Garbage{Len: 100, Seed: 2, First: first})
		if !bytes.Equal(a, b) || bytes.Equal(a, c) {
			t.Error("the seed does not tell")
		}
		at := 0
		if first {
			at = 100
		}
		if len(a) != len(good)+101 || a[len(a)-1] != 255 || !bytes.Equal(a[at:at+len(good)], good) {
			t.Errorf("sent %x, want 100 bytes and %x", a, good)
		}
	}
}

// TestOptionsStandInFileAndSname reads the fields by their offsets.
func TestOptionsStandInFileAndSname(t *testing.T) {
	const router, dns, url = "0304c00002fe", "0608c0000201c0000202", "a003667470"
	for _, tt := range []struct {
		effect            Overload
		over, file, sname string
	}{
		{Overload{File: true}, "01", router + dns + url + "ff", ""},
		{Overload{Sname: true}, "02", "", router + dns + url + "ff"},
		{Overload{File: true, Sname: true}, "03", router + dns + url + "ff", "ff"},
	} {
		t.Run(tt.effect.String(), func(t *testing.T) {
			l := lease()
			l.Options[160] = Text("ftp")
			s, c, _, plan := bench(t, l)
			plan.Add(fault.On("ACK").Do(tt.effect))
			s.handle(frameOf(t, kind(3, opt(54, 192, 0, 2, 1), opt(50, 192, 0, 2, 10), opt(55, 3, 6, 160))))
			frame := c.sent(t)
			b := bootp(t, frame)
			for _, f := range []struct {
				name       string
				bytes      []byte
				want       string
				wantLength int
			}{{"file", b[108:236], tt.file, 128}, {"sname", b[44:108], tt.sname, 64}} {
				want, err := hex.DecodeString(f.want)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(f.bytes, append(want, make([]byte, f.wantLength-len(want))...)) {
					t.Errorf("%s is %x, want %s", f.name, f.bytes, f.want)
				}
			}
			r := read(t, frame)
			if want := []byte{53, 52, 54, 51, 58, 59}; !slices.Equal(r.list, want) || r.value(52) != tt.over {
				t.Errorf("options %v, 52 is %s, want %v and %s", r.list, r.value(52), want, tt.over)
			}
		})
	}
}

// TestWhatDoesNotFitIntoFileGoesIntoSname fills the fields to their last byte.
func TestWhatDoesNotFitIntoFileGoesIntoSname(t *testing.T) {
	for _, tt := range []struct {
		name        string
		one, two    int // lengths of the options 224 and 225
		file, sname int // how many bytes of options stand there, without the end
	}{
		{"both fill their field", 125, 61, 127, 63},
		{"the first is too long for file", 126, 61, 63, 0},
		{"the second is too long for sname", 125, 62, 127, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lease()
			l.Options[224], l.Options[225] = bytes.Repeat([]byte{'a'}, tt.one), bytes.Repeat([]byte{'b'}, tt.two)
			s, c, _, plan := bench(t, l)
			plan.Add(fault.On("OFFER").Do(Overload{File: true, Sname: true}))
			s.handle(frameOf(t, kind(1, opt(55, 224, 225))))
			b := bootp(t, c.sent(t))
			if got := bytes.IndexByte(b[108:236], 255); got != tt.file {
				t.Errorf("file ends at %d, want %d", got, tt.file)
			}
			if got := bytes.IndexByte(b[44:108], 255); got != tt.sname {
				t.Errorf("sname ends at %d, want %d", got, tt.sname)
			}
			if got := numbersIn(b); !slices.Contains(got, 224) || !slices.Contains(got, 225) {
				t.Errorf("only %v are there", got)
			}
		})
	}
}

func TestAnOptionThatHasNoRoomStandsInFileOrSname(t *testing.T) {
	l := lease()
	// 548 bytes: 240 of header, 27 always sent, 1 for the end.
	l.Options[160] = bytes.Repeat([]byte{'x'}, 255) // 257 of the 280 that are left
	l.Options[66] = bytes.Repeat([]byte{'y'}, 100)
	l.Options[67] = bytes.Repeat([]byte{'z'}, 40)
	s, c, j, _ := bench(t, l)
	s.handle(frameOf(t, kind(1, opt(55, 160, 66, 67))))
	frame := c.sent(t)
	b := bootp(t, frame)
	if r := read(t, frame); r.value(52) != "03" || r.value(160) != strings.Repeat("78", 255) || r.value(66) != "-" {
		t.Errorf("options %v, 52 is %s", r.list, r.value(52))
	}
	if !bytes.HasPrefix(b[108:], append([]byte{66, 100}, bytes.Repeat([]byte{'y'}, 100)...)) || b[108+102] != 255 {
		t.Errorf("file is %x", b[108:236])
	}
	if !bytes.HasPrefix(b[44:], append([]byte{67, 40}, bytes.Repeat([]byte{'z'}, 40)...)) || b[44+42] != 255 {
		t.Errorf("sname is %x", b[44:108])
	}
	if len(b) > 548 {
		t.Errorf("%d bytes, want 548 at most", len(b))
	}
	e := j.take()[0]
	if e.Reason != "DISCOVER: OFFER 192.0.2.10" || e.Fields["dhcp.option.type"] != "53,52,54,51,58,59,160,66,67" {
		t.Errorf("recorded %q, options %s", e.Reason, e.Fields["dhcp.option.type"])
	}
}
