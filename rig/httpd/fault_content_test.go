package httpd

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestWrongContent(t *testing.T) {
	t.Parallel()
	flipped := func(at int, mask byte) string {
		b := bytes.Clone(image)
		b[at] ^= mask
		return string(b)
	}
	for name, c := range map[string]struct {
		effect fault.Effect
		want   string
	}{
		"the lowest bit of the first byte":    {Corrupt{}, flipped(0, 1)},
		"a bit in the middle":                 {Corrupt{Offset: 100_000, Mask: 0x80}, flipped(100_000, 0x80)},
		"the last byte":                       {Corrupt{Offset: -1, Mask: 0xff}, flipped(len(image)-1, 0xff)},
		"another file":                        {WrongFile{Name: "sysconf_8830_sip.cfg"}, config},
		"the beginning":                       {Truncate{Bytes: 20_000}, string(image[:20_000])},
		"nothing":                             {Truncate{}, ""},
		"said to be compressed and it is not": {Compressed{HeaderOnly: true}, string(image)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{}, fault.On("image.rom").Do(c.effect))
			if out, code := curl(t, "http://"+addr+"/image.rom"); code != 0 || out != c.want {
				t.Errorf("curl: %d bytes, %d, want %d", len(out), code, len(c.want))
			}
			told(t, j, c.want, true)
			if odd := j.of(timeline.ServiceOddity); len(odd) > 0 {
				t.Errorf("oddities %v", odd)
			}
		})
	}
	if image[0] != 'f' {
		t.Error("the file itself was changed")
	}
}

// What was found when the rule was chosen is served: it may be gone at once.
func TestAnotherFileThatIsThereOnlyOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	addr, j := faulty(t, Config{Lookup: func(name string, _ netip.AddrPort) ([]byte, error) {
		if name == "image.rom" {
			return image, nil
		}
		if asked++; asked > 1 {
			return nil, fs.ErrNotExist
		}
		return []byte(config), nil
	}}, fault.On("image.rom").Do(WrongFile{Name: "other"}))
	if out, err := get(t, addr, "image.rom"); err != nil || !strings.HasSuffix(out, "\r\n\r\n"+config) {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
	told(t, j, config, true)
	if odd := j.of(timeline.ServiceOddity); len(odd) > 0 {
		t.Errorf("oddities %v", odd)
	}
}

func TestCompressedUnasked(t *testing.T) {
	t.Parallel()
	for _, e := range []Compressed{{}, {BodyOnly: true}} {
		addr, j := faulty(t, Config{}, fault.On("image.rom").Do(e))
		out, err := get(t, addr, "image.rom")
		head, body, _ := strings.Cut(out, "\r\n\r\n")
		if said := strings.Contains(head, "\r\nContent-Encoding: gzip\r\n"); err != nil || said == e.BodyOnly {
			t.Errorf("%s: head %q, %v", e, head, err)
		}
		r, err := gzip.NewReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, image) {
			t.Errorf("%s: %d bytes, %v", e, len(plain), err)
		}
		told(t, j, body, true)
		out, code := curl(t, "--compressed", "http://"+addr+"/image.rom")
		if code != 0 || (out == string(image)) == e.BodyOnly {
			t.Errorf("%s: curl got %d bytes, %d", e, len(out), code)
		}
	}
}

// Who asks for gzip is not served it unasked.
func TestCompressedIsSparedWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	for accept, asked := range map[string]bool{
		"":                                 false,
		"gzip":                             true,
		"deflate, GZIP;q=0.5":              true,
		"x-gzip":                           true,
		"*":                                true,
		"identity, * ; q=0.1":              true,
		"gzip;q=0":                         false,
		"gzip; q=0.000, *":                 false,
		"*;q=0":                            false,
		"deflate, identity, gzip2":         false,
		"deflate\r\nAccept-Encoding: gzip": true,
	} {
		plan := &fault.Plan{}
		plan.Add(fault.On("image.rom").Do(Compressed{}))
		addr, _ := serve(t, Config{Faults: plan})
		client := dial(t, addr)
		if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: "+accept+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(client)
		if err != nil || strings.Contains(string(out), "Content-Encoding") == asked || strings.HasSuffix(string(out), string(image)) != asked {
			t.Errorf("%q: answered %d bytes, %v", accept, len(out), err)
		}
		if fired := plan.Ledger()[0].Fired == 1; fired == asked {
			t.Errorf("%q: fired %t", accept, fired)
		}
	}
}

func TestGarbageInPlaceOfTheAnswer(t *testing.T) {
	t.Parallel()
	e := Garbage{Bytes: 5000, Seed: 7}
	addr, j := faulty(t, Config{}, fault.On("image.rom").Do(e))
	if out, err := get(t, addr, "image.rom"); err != nil || out != string(e.make()) {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
	if _, code := curl(t, "http://"+addr+"/image.rom"); code != 1 { // HTTP/0.9
		t.Errorf("curl: %d", code)
	}
	j.wait(t, timeline.ConnClosed, 2)
	if n := len(j.of(timeline.HTTPResponse)) + len(j.of(timeline.Served)); n > 0 {
		t.Errorf("an answer is in the journal: %s", j)
	}
	if bytes.Equal(e.make(), Garbage{Bytes: 5000, Seed: 8}.make()) {
		t.Error("two seeds make the same")
	}
}
