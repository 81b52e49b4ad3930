package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

// lane serves the first handset of labBench on a port.
func lane(t *testing.T, port wire.Port) *rig.Lane {
	t.Helper()
	b, err := bench.Parse("lab.yaml", []byte(labBench), "")
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := rig.LoadAuthorities(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// ctx outlives the test's own, so that Close finds everything alive.
	l, err := rig.Open(context.WithoutCancel(t.Context()), rig.Config{Bench: b, Handset: b.Handsets[0], Seed: 1, Authorities: authorities, Port: port, Operator: asker{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	files, err := minimal(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Tree.Replace(files); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestHandsetBootsAndDoesWhatItIsTold(t *testing.T) {
	sw := wire.NewSwitch()
	served := lane(t, sw.Access("rig", 1))
	memory := filepath.Join(t.TempDir(), "phone.flash")
	c := &handsetCmd{Model: "8830", Factor: 500, Version: "1.2.38", Flash: memory, Seed: 1}
	cfg, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	authority := write(t, "A.pem", string(served.AuthorityPEM("A")))
	in, keys := io.Pipe()
	out := newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx, cfg, sw.Access("phone", 1), in, out) }() // ends with ctx
	out.await(t, "simulated IP8830 00:00:5e:00:53:30, version 1.2.38")
	out.await(t, "msg=registration ok=true")
	for _, tt := range []struct{ line, answer string }{
		{"help", "upload FILE.pem"},
		{"power off", "ok power off"},
		{"answer", "error answer: "},
		{"power on", "ok power on"},
		{"set PROVISION/verifying_cert 3", "ok set PROVISION/verifying_cert 3"},
		{"set PROVISION/verifying_cert seven", "error set PROVISION/verifying_cert seven: "},
		{"set verifying_cert 3", `error set verifying_cert 3: "verifying_cert" is not SECTION/name`},
		{"upload " + authority, "ok upload " + authority},
		{"upload /nosuch.pem", "error upload /nosuch.pem: open"},
		{"hang-up", "error hang-up: "},
		{"", ""},
		{"dance", "error dance: not a command"},
		{"factory-reset", "ok factory-reset"},
	} {
		if _, err := io.WriteString(keys, tt.line+"\n"); err != nil {
			t.Fatal(err)
		}
		out.await(t, tt.answer)
		if strings.HasPrefix(tt.line, "upload "+authority) {
			if f, err := flash.Load(memory); err != nil || len(f.Read().Uploaded) != 1 {
				t.Errorf("the file does not hold the authority: %v", err)
			}
		}
	}
	// The end of the input is not the end of the handset.
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	f, err := flash.Load(memory)
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Read(); s.Running() != "1.2.38" || len(s.Uploaded) != 0 {
		t.Errorf("the file holds version %q and %d authorities, want 1.2.38 and, after the reset, none", s.Running(), len(s.Uploaded))
	}
	if n := strings.Count(out.String(), "msg=\"power on\""); n != 2 {
		t.Errorf("power came on %d times, want 2:\n%s", n, out)
	}
}

func TestHandsetTellsThatItsPortHasFailed(t *testing.T) {
	c := &handsetCmd{Model: "8830", Factor: 500, Version: "1.0"}
	cfg, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	port := wire.NewSwitch().Access("phone", 1)
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context(), cfg, port, strings.NewReader(""), newScreen()); err == nil {
		t.Error("got no error from a closed port")
	}
}

func TestHandsetFlags(t *testing.T) {
	good := handsetCmd{Model: "IP8830", Factor: 1, Version: "1.0"}
	damaged := write(t, "damaged.flash", "rubbish")
	kept := filepath.Join(t.TempDir(), "kept.flash")
	if f, err := flash.New("8840", "1.0"); err != nil {
		t.Fatal(err)
	} else if err := f.Save(kept); err != nil {
		t.Fatal(err)
	}
	text := write(t, "text.pem", "no certificate")
	for _, tt := range []struct {
		name   string
		change func(*handsetCmd)
		error  string
	}{
		{"as they are", func(*handsetCmd) {}, ""},
		{"the model", func(c *handsetCmd) { c.Model = "8850" }, "--model"},
		{"the MAC", func(c *handsetCmd) { c.MAC = "00:00" }, "--mac"},
		{"a group MAC", func(c *handsetCmd) { c.MAC = "01:00:5e:00:00:01" }, "--mac"},
		{"the module", func(c *handsetCmd) { c.Module = "x" }, "--module"},
		{"a module", func(c *handsetCmd) { c.Module = "00:00:5e:00:53:b2" }, ""},
		{"the VLAN", func(c *handsetCmd) { c.VLAN = 4095 }, "--vlan"},
		{"the factor", func(c *handsetCmd) { c.Factor = 0.5 }, "--factor"},
		{"the defect", func(c *handsetCmd) { c.Defect = "grumpy" }, "--defect"},
		{"the version", func(c *handsetCmd) { c.Version = "a b" }, "--version"},
		{"a damaged memory", func(c *handsetCmd) { c.Flash = damaged }, "damaged"},
		{"another model's memory", func(c *handsetCmd) { c.Flash = kept }, "IP8840"},
		{"a memory that cannot be kept", func(c *handsetCmd) { c.Flash = "/nosuch/phone.flash" }, "--flash"},
		{"an authority that is none", func(c *handsetCmd) { c.Authority = text }, "--authority"},
		{"an authority that is not there", func(c *handsetCmd) { c.PublicAuthority = "/nosuch.pem" }, "--public-authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			_, err := c.config()
			if tt.error == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if code(err) != report.ExitUsage || !strings.Contains(err.Error(), tt.error) {
				t.Errorf("got %v, code %d, want %d and %q", err, code(err), report.ExitUsage, tt.error)
			}
		})
	}
	if err := (&handsetCmd{Interface: "nosuch0", Model: "8830", Factor: 1, Version: "1"}).Run(t.Context()); code(err) != report.ExitUsage || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("got %v, want that there is no such interface", err)
	}
	if _, err := os.Stat("/nosuch"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a folder was made")
	}
}
