package air_test

import (
	"errors"
	"testing"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
)

const passphrase = "right"

func TestWhateverTheAccessPointDoesEndsTheAssociation(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(*air.Air)
		err  error
		want air.Beacon
	}{
		"de-authentication": {(*air.Air).Deauthenticate, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
		"gone":              {(*air.Air).Off, air.ErrGone, air.Beacon{AccessPoint: 1, Channel: 1}},
		"restarted":         {func(a *air.Air) { a.Off(); a.On() }, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
		"wrong passphrase":  {func(a *air.Air) { a.Wrong(true) }, air.ErrPassphrase, air.Beacon{AccessPoint: 1, Channel: 1}},
		"right again":       {func(a *air.Air) { a.Wrong(true); a.Wrong(false) }, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
		"roam":              {(*air.Air).Roam, nil, air.Beacon{AccessPoint: 2, Channel: 6}},
		"roam and back":     {func(a *air.Air) { a.Roam(); a.Roam() }, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
		"secured otherwise": {func(a *air.Air) { a.Secure(model.WPA) }, air.ErrSecurity, air.Beacon{AccessPoint: 1, Channel: 1}},
		"secured as before": {func(a *air.Air) { a.Secure(model.Open); a.Secure(model.WPA2) }, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
		"channel":           {(*air.Air).Retune, nil, air.Beacon{AccessPoint: 1, Channel: 6}},
		"three channels":    {func(a *air.Air) { a.Retune(); a.Retune(); a.Retune() }, nil, air.Beacon{AccessPoint: 1, Channel: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a := air.New(passphrase)
			first, err := a.Join(model.WPA2, passphrase)
			if err != nil || !first.Alive() {
				t.Fatalf("a good network: %v", err)
			}
			changed := a.Watch()
			tt.do(a)
			if first.Alive() {
				t.Error("the association still holds")
			}
			select {
			case <-changed:
			default:
				t.Error("nobody is told of the change")
			}
			if got, on := a.Beacon(); got != tt.want || on == (tt.err == air.ErrGone) || on != a.Link() { //nolint:errorlint // the table's own value
				t.Errorf("beacon %v, on the air %t; want %v", got, on, tt.want)
			}
			again, err := a.Join(model.WPA2, passphrase)
			if !errors.Is(err, tt.err) || err == nil && (!again.Alive() || again.Beacon != tt.want) {
				t.Errorf("joined %v, %v; want %v", again, err, tt.err)
			}
		})
	}
}

func TestTheAirStaysSilentUntilTheLastWhoHoldsItOffLetsGo(t *testing.T) {
	a := air.New(passphrase)
	a.Off()
	a.Off()
	a.On()
	if a.Link() {
		t.Error("on the air while somebody holds it off")
	}
	a.On()
	if _, err := a.Join(model.WPA2, "another"); !errors.Is(err, air.ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
}

func TestOnlyWhoIsSetToTheSecurityModeJoins(t *testing.T) {
	a := air.New(passphrase)
	if got := a.Security(); got != model.WPA2 {
		t.Errorf("secured with %s from the start, want %s", got, model.WPA2)
	}
	for _, is := range model.Securities() {
		a.Secure(is)
		for _, set := range model.Securities() {
			want := air.ErrSecurity
			if set == is {
				want = nil
			}
			if _, err := a.Join(set, passphrase); !errors.Is(err, want) {
				t.Errorf("%s joins %s: %v, want %v", set, is, err, want)
			}
		}
		var wants error
		if is != model.Open {
			wants = air.ErrPassphrase
		}
		if _, err := a.Join(is, "another"); !errors.Is(err, wants) {
			t.Errorf("%s with another passphrase: %v, want %v", is, err, wants)
		}
	}
}
