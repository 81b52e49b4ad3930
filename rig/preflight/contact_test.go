package preflight_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/preflight"
	"ip88rig/rig/virtual"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

func TestFirstContactNamesTheURLThatAHandsetHolds(t *testing.T) {
	for _, tt := range []struct {
		name, stored string
		absent       bool
		want         preflight.State
		urls         []string
		says, ways   string
	}{
		{name: "no URL", want: preflight.OK, says: "comes to TFTP, asked for sysconf_8830_sip.cfg"},
		{
			name: "a name and a port", stored: "http://prov.example.net:8080/lge/", want: preflight.Warn,
			urls: []string{"http://prov.example.net:8080/lge/sysconf_8830_sip.cfg"}, says: `looked up "prov.example.net"`, ways: "--url http://198.18.",
		},
		{
			name: "an address elsewhere", stored: "http://192.0.2.77/", want: preflight.Warn,
			urls: []string{"http://192.0.2.77/sysconf_8830_sip.cfg"}, says: "does not come to TFTP", ways: "by hand",
		},
		{
			name: "an address of this subnet", stored: "http://198.18.255.77/", want: preflight.Warn,
			urls: []string{"http://198.18.255.77/sysconf_8830_sip.cfg"}, says: "XPT-01",
		},
		{
			name: "HTTPS", stored: "https://prov.example.net/", want: preflight.Warn,
			urls: []string{"https://prov.example.net/…"}, says: `looked up "prov.example.net"`,
		},
		{name: "nobody there", absent: true, want: preflight.Warn, says: "was not heard", ways: "power-cycle"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := parse(t, lab, "")
			h := b.Handsets[0]
			sw := wire.NewSwitch()
			port, phone := sw.Access("rig", 1), sw.Access("phone", 1)
			memory, err := flash.New(h.Model, "1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			if tt.stored != "" {
				if err := memory.Update(func(s *flash.State) {
					s.Set(model.Field{Section: "PROVISION", Name: "https_url"}, tt.stored)
				}); err != nil {
					t.Fatal(err)
				}
			}
			t.Parallel()
			// Long enough for a busy machine; it ends soon after the URL is there.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			if tt.absent {
				ended <- nil
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, 50*time.Millisecond)
				defer stop()
			} else {
				v, err := virtual.New(virtual.Config{Model: h.Model, MAC: h.MAC, Port: phone, Factor: 500, Seed: 1, Flash: memory})
				if err != nil {
					t.Fatal(err)
				}
				go func() { ended <- v.Run(ctx) }() // ends with ctx
			}
			c, err := preflight.FirstContact(ctx, port, b, h)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			f := c.Finding()
			if f.State != tt.want || !strings.Contains(f.Text, tt.says) || !strings.Contains(f.WhatToDo, tt.ways) {
				t.Errorf("got %s, want %s, %q and %q", f, tt.want, tt.says, tt.ways)
			}
			for _, u := range tt.urls {
				if !slices.Contains(c.URLs, u) {
					t.Errorf("got %q, want %q among them", c.URLs, u)
				}
			}
		})
	}
}

func TestAHandsetThatAsksForNothingIsNamed(t *testing.T) {
	b := parse(t, lab, "")
	f := preflight.Contact{Handset: b.Handsets[0], DHCP: true}.Finding()
	if f.State != preflight.Warn || !strings.Contains(f.Text, "then for nothing") {
		t.Errorf("got %s", f)
	}
}
