package sntpd

import (
	"bytes"
	"testing"
	"testing/synctest"

	"ip88rig/rig/fault"
)

func TestAPacketThatIsWrong(t *testing.T) {
	tells(t, []told{
		{"a client's mode", WrongMode{Mode: 3}, "230106ec", origin, now, "LOCL", "", "answers in mode 3"},
		{"a broadcast", WrongMode{Mode: 5}, "250106ec", origin, now, "LOCL", "", "answers in mode 5"},
		{"version 7", WrongVersion{Version: 7}, "3c0106ec", origin, now, "LOCL", "", "answers with version 7"},
		{"the stamp of another request", WrongOrigin{}, right, "e801020204050607", now, "LOCL", "", "answers with the origin stamp of another request"},
		{"no origin stamp", WrongOrigin{Zero: true}, right, "0000000000000000", now, "LOCL", "", "answers with an origin stamp of zero"},
	})
}

func TestACutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(Truncated{To: 47}).Once())
		d, ok := ask(t, phone)
		if !ok || len(d.Data) != 47 || !bytes.HasPrefix(d.Data, []byte{0x24, 1, 6, 0xec}) {
			t.Errorf("got %x, want 47 bytes", d.Data)
		}
		if e := j.last(); e.Bytes != 47 {
			t.Errorf("journal has %d bytes", e.Bytes)
		}
	})
}

func TestAPacketThatIsSoIsSpared(t *testing.T) {
	spares(t, WrongVersion{Version: 4}, request(4<<3|3))
	unstamped := request(4<<3 | 3)
	clear(unstamped[40:48])
	spares(t, WrongOrigin{Zero: true}, unstamped)
}

func TestAPacketThatIsWrongIsChecked(t *testing.T) {
	wrongs{
		WrongMode{Mode: 4}:        "mode 4",
		WrongMode{Mode: 8}:        "mode 8",
		WrongVersion{Version: -1}: "version -1",
		Truncated{To: 48}:         "48 bytes",
	}.check(t)
	for _, e := range []Effect{WrongMode{Mode: 0}, Truncated{}} {
		if err := (&Server{}).Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	if got, want := (Truncated{To: 7}).String(), "cuts the answer to 7 bytes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
