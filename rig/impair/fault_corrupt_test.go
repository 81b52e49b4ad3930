package impair_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

func TestCorrupt(t *testing.T) {
	fare(t, []fated{
		{"damaged by a pattern", []fault.Rule{toHandset().Do(impair.Corrupt{Pattern: "..x"})}, "..!..!", "......", ""},
		{"damaged", []fault.Rule{toHandset().Do(impair.Corrupt{}).From(6)}, ".....!", "......", "on frame to handset in wire from occasion 6: turns over a bit of it (seed 0)"},
	})
}

// intact tells whether every checksum of a frame is right.
func intact(f []byte) bool {
	ip := f[14:34]
	body := f[34:]
	return sum(ip) == 0xffff && sum(ip[12:20], []byte{0, ip[9], 0, byte(len(body))}, body) == 0xffff
}

func TestOneBitIsTurnedOver(t *testing.T) {
	fragment := data("a piece")
	binary.BigEndian.PutUint16(fragment[20:], 0x2000)
	for _, tt := range []struct {
		name  string
		mend  bool
		frame []byte
		bits  int // that differ in the payload; -1: the frame is spared
		fine  bool
	}{
		{"of UDP", false, data("hello"), 1, false},
		{"of UDP, mended", true, data("hello"), 1, true},
		{"of TCP", false, packet(6, rig+":80", handset+":2001", "hello"), 1, false},
		{"of TCP, mended", true, packet(6, rig+":80", handset+":2001", "hello"), 1, true},
		{"of TCP without payload, mended", true, packet(6, rig+":80", handset+":2001", ""), -1, true},
		{"of UDP without payload, mended", true, packet(17, rig+":80", handset+":2001", ""), -1, true},
		{"of a piece, mended", true, fragment, -1, true},
		{"of ARP", false, slices.Concat(make([]byte, 12), []byte{8, 6}, make([]byte, 28)), -1, true},
		{"of nothing", false, nil, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBad(t, fault.On("*").Do(impair.Corrupt{Mend: tt.mend, Seed: 5}))
			before := bytes.Clone(tt.frame)
			for range 300 {
				v := b.Judge(true, wire.Frame{Data: tt.frame})
				if !bytes.Equal(tt.frame, before) {
					t.Fatal("the frame itself was changed")
				}
				if tt.bits < 0 {
					if v.Data != nil || b.plan.Ledger()[0].Fired != 0 {
						t.Fatalf("it was damaged: % x", v.Data)
					}
					continue
				}
				turned, checksum := 0, 40
				if tt.frame[23] == 6 {
					checksum = 50
				}
				for i := range before {
					if tt.mend && (i == checksum || i == checksum+1) {
						continue
					}
					for x := before[i] ^ v.Data[i]; x != 0; x &= x - 1 {
						turned++
					}
				}
				if turned != tt.bits || !bytes.Equal(v.Data[:14], before[:14]) {
					t.Fatalf("%d bits differ, want %d:\n% x\n% x", turned, tt.bits, before, v.Data)
				}
				if got := wellFormed(v.Data) && intact(v.Data); got != tt.fine {
					t.Fatalf("checksums right: %t, want %t: % x", got, tt.fine, v.Data)
				}
			}
			if tt.bits > 0 && b.plan.Ledger()[0].Fired != 300 {
				t.Errorf("fired %d times, want 300", b.plan.Ledger()[0].Fired)
			}
		})
	}
}

// wellFormed tells whether intact may look at a frame.
func wellFormed(f []byte) bool {
	return f[14] == 0x45 && int(binary.BigEndian.Uint16(f[16:])) == len(f)-14 && (f[23] == 17 || f[23] == 6)
}

// What one rule left may be no packet any more: the others spare it.
func TestManyBitsAreTurnedOver(t *testing.T) {
	rules := make([]fault.Rule, 40)
	for i := range rules {
		rules[i] = fault.On("*").Do(impair.Corrupt{Mend: i%2 == 0, Seed: uint64(i)})
	}
	b := newBad(t, rules...)
	for range 200 {
		if v := b.Judge(true, wire.Frame{Data: data("hello")}); v.Data == nil {
			t.Fatal("no bit was turned over")
		}
	}
	spared := 0
	for _, c := range b.plan.Ledger() {
		if c.Fired < 200 {
			spared++
		}
	}
	if spared == 0 {
		t.Error("no rule found a frame that it could not read")
	}
}

// From and Times count frames that have a bit to turn.
func TestCorruptCountsWhatItCanDamage(t *testing.T) {
	b := newBad(t, fault.On("*").Do(impair.Corrupt{Mend: true}).From(2).Once())
	empty := packet(6, rig+":80", handset+":2001", "")
	got := ""
	for _, f := range [][]byte{empty, data("one"), empty, empty, data("two"), data("three")} {
		if v := b.Judge(true, wire.Frame{Data: f}); v.Data != nil {
			got += "!"
		} else {
			got += "."
		}
	}
	if got != "....!." {
		t.Errorf("%s, want ....!.", got)
	}
}

func TestCorruptSaysWhatItDoes(t *testing.T) {
	says(t, []said{
		{impair.Corrupt{Mend: true}, "turns over a bit of its payload and mends the checksums (seed 0)", ""},
		{impair.Corrupt{Percent: 5, Seed: 1}, "turns over a bit of it with a chance of 5 % (seed 1)", ""},
		{impair.Corrupt{Pattern: ".x"}, "turns over a bit of it by the pattern .x (seed 0)", ""},
		{impair.Corrupt{Pattern: "xyz"}, "", "is not made of . and x"},
		{impair.Corrupt{Percent: 5, Pattern: "x"}, "", "not both"},
		{impair.Corrupt{Percent: 500}, "", "not 0 to 100"},
	})
}

func FuzzJudge(f *testing.F) {
	f.Add(data("hello"), uint64(1))
	f.Add(packet(6, rig+":80", handset+":2001", "hello"), uint64(2))
	f.Add([]byte{}, uint64(3))
	f.Fuzz(func(t *testing.T, frame []byte, seed uint64) {
		b := newBad(t, fault.On("*").Do(impair.Corrupt{Mend: seed%2 == 0, Seed: seed}))
		before := bytes.Clone(frame)
		v := b.Judge(seed%3 == 0, wire.Frame{Data: frame})
		if !bytes.Equal(frame, before) {
			t.Fatal("the frame was changed")
		}
		if v.Data != nil && (len(v.Data) != len(frame) || bytes.Equal(v.Data, frame)) {
			t.Fatalf("damaged % x into % x", frame, v.Data)
		}
	})
}
