package rig

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/control"
	"ip88rig/rig/firmware"
	"ip88rig/rig/model"
	"ip88rig/rig/sipd"
	"ip88rig/rig/virtual"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

// GoldenVersion is what a stand-in is called that runs on a simulated handset
// whose bench entry does not say.
const GoldenVersion = "1.2.38"

// preparePower makes the handset's supply, and the simulated handset itself. Of
// ctx the supply keeps the values only: power is given back after ctx has ended.
func (l *Lane) preparePower(ctx context.Context) error {
	h := l.Handset
	var p control.Power
	if h.Simulated {
		cord, err := l.simulate()
		if err != nil {
			return err
		}
		p = cord
		l.hands = script{l.virtual, l.air}
	}
	switch h.Power.Kind {
	case "command":
		p = control.Hook{OnCommand: h.Power.On, OffCommand: h.Power.Off, Timeout: time.Minute}
	case "operator":
		if l.Operator == nil {
			return errors.New("power is the operator's, and there is no terminal to ask him at")
		}
		asked := control.Hands{Operator: l.Operator, Handset: h.Name}
		if p == nil {
			p = asked
		} else {
			// A simulated handset has no plug to pull: what the person confirms is done.
			p = confirmedPower{asked, p}
		}
	}
	if l.hands == nil {
		l.hands = l.Operator
	}
	l.hands = wrap(l.Hooks.Hands, l.hands)
	l.supply = &recordedPower{power: wrap(l.Hooks.Power, p), record: l.Recorder.Record}
	l.Power = l.supply
	l.restore = func() error { return l.supply.restore(ctx) }
	return nil
}

// simulate makes the handset that stands in for a phone.
func (l *Lane) simulate() (control.Power, error) {
	h := l.Handset
	version := h.Running
	if version == "" {
		version = GoldenVersion
	}
	mem, err := flash.New(h.Model, version, l.Authorities.A.Cert())
	if err != nil {
		return nil, fmt.Errorf("simulated handset: %w", err)
	}
	var supply virtual.Supply
	var power control.Power
	if l.sw != nil {
		supply, power = l.sw, switchPower{l.sw}
	} else {
		plug := newPlug()
		supply, power = plug, plug
	}
	cfg := virtual.Config{
		Model: h.Model, Facts: h.Facts, MAC: h.MAC, Module: h.Module, Port: l.phone, Supply: supply, Factor: h.Factor,
		Defects: l.Defects, Seed: l.chance("handset"), Flash: mem,
	}
	if len(h.Module) > 0 {
		l.air = air.New(airPassphrase)
		cfg.Air, cfg.Passphrase = l.air, airPassphrase
	}
	if c := l.Bench.PublicChain; c != nil && c.Embedded {
		cfg.PublicAuthorities = []*x509.Certificate{l.Authorities.P.Cert()}
	}
	l.virtual, err = virtual.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("simulated handset: %w", err)
	}
	return power, nil
}

// switchPower is power over the Ethernet of a switch in memory.
type switchPower struct{ port *wire.SwitchPort }

func (s switchPower) On(context.Context) error  { s.port.SetPower(true); return nil }
func (s switchPower) Off(context.Context) error { s.port.SetPower(false); return nil }

// confirmedPower switches a simulated supply once a person has confirmed it.
type confirmedPower struct{ asked, done control.Power }

func (c confirmedPower) On(ctx context.Context) error {
	if err := c.asked.On(ctx); err != nil {
		return err
	}
	return c.done.On(ctx)
}

func (c confirmedPower) Off(ctx context.Context) error {
	if err := c.asked.Off(ctx); err != nil {
		return err
	}
	return c.done.Off(ctx)
}

// recordedPower writes what was commanded into the journal, and knows whether
// the handset may be without power.
type recordedPower struct {
	power  control.Power
	record func(timeline.Event)
	off    atomic.Bool
}

// On tries twice: a handset that stays dark because one request to its power
// port was lost spoils the night. The journal holds the command once.
func (r *recordedPower) On(ctx context.Context) error {
	// Before it is done: the handset may be quicker than the journal.
	r.record(timeline.Event{By: "power", Kind: timeline.PowerOn})
	err := r.power.On(ctx)
	if err != nil && ctx.Err() == nil {
		r.record(timeline.Event{By: "power", Kind: timeline.Note, Reason: "power on failed and is tried again: " + err.Error()})
		err = r.power.On(ctx)
	}
	if err == nil {
		r.off.Store(false)
	}
	return err
}

func (r *recordedPower) Off(ctx context.Context) error {
	// A command that fails may have done it all the same.
	r.off.Store(true)
	if err := r.power.Off(ctx); err != nil {
		return err
	}
	r.record(timeline.Event{By: "power", Kind: timeline.PowerOff})
	return nil
}

// restore gives the power back, once the last command took it away.
func (r *recordedPower) restore(ctx context.Context) error {
	if !r.off.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), powerPatience)
	defer cancel()
	if err := r.On(ctx); err != nil {
		return fmt.Errorf("the handset is left without power: %w", err)
	}
	return nil
}

// powerPatience is how long a lane that closes waits for the handset's power.
const powerPatience = 30 * time.Second

// script does by hand what a person would do at a simulated handset.
type script struct {
	handset *virtual.Handset
	// air is the network that its WiFi module is in; nil without one.
	air *air.Air
}

var (
	_ control.Operator = script{}
	_ control.Looker   = script{}
)

// Do implements control.Operator.
func (s script) Do(ctx context.Context, r control.Request) error {
	switch r.Verb {
	case control.FactoryReset:
		return s.handset.FactoryReset(ctx)
	case control.UploadAuthority:
		return s.handset.UploadAuthority(ctx, r.PEM)
	case control.SetChecks:
		return s.handset.SetByHand(ctx, checksField(), strconv.Itoa(r.Mask))
	case control.Answer:
		return s.handset.Answer(ctx)
	case control.HangUp:
		return s.handset.HangUp(ctx)
	case control.RemoveModule:
		s.handset.RemoveModule()
		return nil
	case control.InstallModule:
		return s.handset.InstallModule(r.MAC)
	case control.WiFiSecurity:
		if s.air == nil {
			return errNoModule
		}
		mode := cmp.Or(r.Security, airSecurity)
		s.handset.SetSecurity(mode)
		s.air.Secure(mode)
		return nil
	case control.PlugCable, control.UnplugCable:
		s.handset.PlugCable(r.Verb == control.PlugCable)
		return nil
	case control.Supply, control.Unplug:
	}
	return fmt.Errorf("%s: %w", r.Verb, control.ErrUnsupported)
}

// checksField is where a menu keeps the certificate checks.
func checksField() model.Field { return model.Field{Section: "PROVISION", Name: "verifying_cert"} }

// Look implements control.Looker: what the Web Manager lists, the menu and the
// access point show.
func (s script) Look(ctx context.Context, r control.Request) error {
	switch r.Verb { //nolint:exhaustive // the others leave nothing to look at
	case control.UploadAuthority:
		certs, err := flash.ParseAuthority(r.PEM)
		if err != nil {
			return err
		}
		listed, err := s.handset.Listed(ctx)
		if err != nil {
			return err
		}
		for _, c := range certs {
			if !slices.Contains(listed, c.Subject.CommonName) {
				return control.ShowsError{Shows: "the authorities " + strconv.Quote(strings.Join(listed, ", "))}
			}
		}
	case control.SetChecks:
		shown, err := s.handset.Shown(ctx, checksField())
		if err != nil {
			return err
		}
		if shown != strconv.Itoa(r.Mask) {
			return control.ShowsError{Shows: "checks " + shown}
		}
	case control.WiFiSecurity:
		if s.air == nil {
			return errNoModule
		}
		if shown := s.air.Security(); shown != cmp.Or(r.Security, airSecurity) {
			return control.ShowsError{Shows: "a network secured with " + string(shown)}
		}
	}
	return nil
}

// Do has something done by hand, within the operator's patience. Done is what the
// handset shows, where the request says what that is.
func (l *Lane) Do(ctx context.Context, r control.Request) error {
	if l.hands == nil {
		return fmt.Errorf("%s: %w: there is nobody to ask", r.Verb, control.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, l.Handset.Patience.Operator)
	defer cancel()
	recorded := r
	if r.File != "" {
		recorded.File = filepath.Base(r.File) // it lies beside the recording, wherever that is
	}
	l.Recorder.Record(timeline.Event{By: "operator", Kind: timeline.OperatorAsked, Message: string(r.Verb), Reason: recorded.Words()})
	r.Text = r.Words()
	err := l.hands.Do(ctx, r)
	if looker, ok := l.hands.(control.Looker); ok && err == nil && r.ReadBack != "" {
		err = looker.Look(ctx, r)
	}
	switch {
	case err == nil:
		l.Recorder.Record(timeline.Event{By: "operator", Kind: timeline.OperatorDone, Message: string(r.Verb), Reason: r.ReadBack})
		return nil
	case r.ReadBack == "":
		return fmt.Errorf("by hand: %s: %w", r.Verb, err)
	}
	return fmt.Errorf("by hand: %s: %w; look whether %s, and whose fault it is that it is not so: the handset's or that of whoever was to do it", r.Verb, err, r.ReadBack)
}

func (l *Lane) openSIP() error {
	conn, err := l.host.ListenUDP(netip.AddrPortFrom(l.Addrs.Server, 5060))
	if err != nil {
		return err
	}
	l.sip, err = sipd.New(configured(l, sipd.Config{
		Conn: conn, Record: l.Recorder.Gather, Faults: l.Faults, Now: l.now, Text: l.texts("sipd"),
		Challenge: func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.registrar) > 0
		},
		Password: func(name string) (string, bool) {
			l.mu.Lock()
			defer l.mu.Unlock()
			password, ok := l.registrar[name]
			return password, ok
		},
	}))
	return err
}

// GoldenFiles are the texts of golden's global and phone-specific file: those
// of the bench entry's folder, empty where there is none.
func (l *Lane) GoldenFiles() [2][]byte {
	var out [2][]byte
	if l.Handset.Golden == "" {
		return out
	}
	for i, name := range []string{l.Handset.Model.GlobalFile(), l.Handset.OwnFile()} {
		if data, err := os.ReadFile(filepath.Join(l.Handset.Golden, name)); err == nil { //nolint:gosec // the folder is named by the user's bench file
			out[i] = data
		}
	}
	return out
}

// GoldenFirmware is the version the handset is to run when no spec does; nil
// where there is no bundle, and the version file is then answered "not found".
func (l *Lane) GoldenFirmware() *firmware.Version {
	v, err := l.Firmware("golden")
	if err != nil {
		return nil
	}
	return &v
}

// Firmware returns the version "golden" or "next": of the bench entry's bundles,
// or a stand-in for a simulated handset.
func (l *Lane) Firmware(which string) (firmware.Version, error) {
	if v, ok := l.images[which]; ok {
		return v, nil
	}
	h := l.Handset
	bundle := h.GoldenFirmware
	if which == "next" {
		bundle = h.NextFirmware
	}
	var v firmware.Version
	switch {
	case bundle != nil:
		got, err := firmware.Load(h.Model, *bundle)
		if err != nil {
			return v, err
		}
		v = got
	case h.Simulated:
		name := h.Running
		if name == "" {
			name = GoldenVersion
		}
		if which == "next" {
			name = fmt.Sprintf("1.3.%d", 10+l.seed("next")%80)
		}
		v = firmware.StandIn(h.Model, name, l.seed(which), l.ImageSize)
	default:
		return v, fmt.Errorf("firmware %q: %w: the bench entry of %s names no bundle", which, firmware.ErrStandIn, h.Name)
	}
	l.images[which] = v
	return v, nil
}

// Notify asks the handset by NOTIFY to provision: to the first line's address
// of record, at the contact it registered.
func (l *Lane) Notify(ctx context.Context, event string) error {
	user, err := l.registeredUser()
	if err != nil {
		return err
	}
	return l.sip.Notify(ctx, user, event)
}

// Notices sends NOTIFY requests of any content, so many with a spacing, and waits
// until all are answered or so long. Without a user they go to the one that is
// registered.
func (l *Lane) Notices(ctx context.Context, n sipd.Notice, count int, spacing, wait time.Duration) (sipd.Flood, error) {
	if n.User == "" {
		user, err := l.registeredUser()
		if err != nil {
			return sipd.Flood{}, err
		}
		n.User = user
	}
	return l.sip.NotifyFlood(ctx, n, count, spacing, wait)
}

func (l *Lane) registeredUser() (string, error) {
	b := l.sip.Bindings()
	if len(b) == 0 {
		return "", errors.New("the handset is not registered")
	}
	// The newest registration is the one the handset listens to.
	return b[len(b)-1].User, nil
}

// Call is a call from the rig to the handset.
type Call struct{ dialog *sipd.Dialog }

// Call makes the handset ring.
func (l *Lane) Call(ctx context.Context) (*Call, error) {
	user, err := l.registeredUser()
	if err != nil {
		return nil, err
	}
	d, err := l.sip.Ring(ctx, user)
	if err != nil {
		return nil, err
	}
	return &Call{d}, nil
}

// Answered waits until the call is taken.
func (c *Call) Answered(ctx context.Context) error { return c.dialog.Await(ctx) }

// Hangup ends the call.
func (c *Call) Hangup(ctx context.Context) error { return c.dialog.Hangup(ctx) }

// AddrPort is a port at the handset's address.
func (l *Lane) AddrPort(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(l.Addrs.Handset, port)
}
