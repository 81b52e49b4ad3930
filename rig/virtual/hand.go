package virtual

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/sipc"
)

// What a person does at the handset or in its Web Manager. All of it but what is
// done to the WiFi module and the cable beside it needs a handset that Run runs and
// that has power; a handset that boots, or that Run has not begun to run, is waited
// for.

// await returns the boot under way.
func (h *Handset) await(ctx context.Context) (*boot, error) {
	for {
		var power <-chan struct{}
		if h.cfg.Supply != nil {
			power = h.cfg.Supply.Watch()
			if !h.cfg.Supply.Power() {
				return nil, errNoPower
			}
		}
		h.mu.Lock()
		b, changed, over := h.current, h.changed, h.over
		h.mu.Unlock()
		switch {
		case b != nil:
			return b, nil
		case over:
			return nil, errOver
		}
		select {
		case <-changed:
		case <-power:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *Handset) handError(verb string, err error) error {
	return fmt.Errorf("virtual: handset %s: %s: %w", h.MAC(), verb, err)
}

// FactoryReset brings settings and uploaded authorities back to the factory's
// and reboots. It returns when the memory is reset and the reboot has begun.
func (h *Handset) FactoryReset(ctx context.Context) error {
	b, err := h.await(ctx)
	if err != nil {
		return h.handError("factory reset", err)
	}
	done := make(chan error, 1)
	if !b.askReset(done) { // it ended meanwhile: the next boot will do
		return h.FactoryReset(ctx)
	}
	select {
	case err := <-done:
		if err != nil {
			return h.handError("factory reset", err)
		}
		return nil
	case <-ctx.Done():
		return h.handError("factory reset", ctx.Err())
	}
}

// SetByHand stores a setting as its menu does. It holds from the next cycle,
// the next registration or the next boot on, whatever comes first that uses it;
// no setting reboots the handset by itself (assumed). Values that the field may
// not hold are refused.
func (h *Handset) SetByHand(ctx context.Context, f model.Field, value string) error {
	b, err := h.await(ctx)
	if err == nil {
		err = h.rules.Check(f, value)
	}
	if err != nil {
		return h.handError("set "+f.Section+"/"+f.Name, err)
	}
	shown := value
	if h.has(defect.MenuMaskIgnored) && slices.Contains(h.cfg.Facts.Fields(model.MaskField), f) {
		value = "7"
	}
	if err := h.flash.Update(func(s *flash.State) { s.Set(f, value) }); err != nil {
		return h.handError("set "+f.Section+"/"+f.Name, err)
	}
	h.memory.update(func(v *volatile) {
		delete(v.undo, f)
		if shown != value {
			v.menu = shown
		}
	})
	h.log.Info("set by hand", "field", f.Section+"/"+f.Name, "value", value)
	b.nudge()
	return nil
}

// Shown is what the menu shows of a setting. With the defect menu-mask-ignored
// that is what was last set there, whatever is done.
func (h *Handset) Shown(ctx context.Context, f model.Field) (string, error) {
	if _, err := h.await(ctx); err != nil {
		return "", h.handError("look at "+f.Section+"/"+f.Name, err)
	}
	if menu := h.memory.read().menu; menu != "" && slices.Contains(h.cfg.Facts.Fields(model.MaskField), f) {
		return menu, nil
	}
	return h.settings().get(f), nil
}

// Listed are the names of the authorities that the Web Manager lists.
func (h *Handset) Listed(ctx context.Context) ([]string, error) {
	_, err := h.await(ctx)
	var certs []*x509.Certificate
	if err == nil {
		certs, err = h.flash.Authorities()
	}
	if err != nil {
		return nil, h.handError("list authorities", err)
	}
	names := make([]string, len(certs))
	for i, c := range certs {
		names[i] = c.Subject.CommonName
	}
	return names, nil
}

// UploadAuthority copies the authorities of a PEM text to the handset, as a
// person does in its Web Manager; it fails when the Web Manager is switched off.
// Over the wire it is a POST to AuthorityPath at WebManagerPort.
func (h *Handset) UploadAuthority(ctx context.Context, pem []byte) error {
	_, err := h.await(ctx)
	if err == nil && h.settings().text(webServer) == "0" {
		err = errors.New("web manager is switched off (web_server 0)")
	}
	if err == nil {
		err = h.upload(pem)
	}
	if err != nil {
		return h.handError("upload authority", err)
	}
	return nil
}

// InstallModule installs a WiFi module, or another one. It takes effect at the
// next power on, and needs neither power nor Run.
func (h *Handset) InstallModule(mac net.HardwareAddr) error {
	if len(mac) != 6 || mac[0]&1 == 1 {
		return h.handError("install module", fmt.Errorf("%q is not the address of one station", mac))
	}
	module := slices.Clone(mac)
	h.slots.next.Store(&module)
	h.log.Info("module installed", "mac", mac)
	return nil
}

// RemoveModule removes the WiFi module, if there is one. It takes effect at the
// next power on, and needs neither power nor Run.
func (h *Handset) RemoveModule() {
	h.slots.next.Store(nil)
	h.log.Info("module removed")
}

// SetSecurity sets the WiFi module to a security mode, from its next try to
// associate on, or leaves it as it is where it has no such setting. The setting
// belongs to the handset: it outlives the module and the power (assumed).
func (h *Handset) SetSecurity(s model.Security) {
	if !slices.Contains(h.cfg.Facts.List(model.WiFiSecurities), string(s)) {
		h.log.Info("no such security mode", "mode", s)
		return
	}
	h.radio.secured.Store(&s)
	h.log.Info("security mode", "mode", s)
}

// PlugCable plugs a cable in beside the WiFi module, or pulls it out. It takes
// effect at the next power on.
func (h *Handset) PlugCable(in bool) {
	h.slots.plugged.Store(in)
	h.log.Info("cable beside the module", "in", in)
}

// Answer takes the call that rings.
func (h *Handset) Answer(ctx context.Context) error {
	return h.call(ctx, "answer", (*sipc.Agent).Answer)
}

// HangUp ends the call, or declines the one that rings.
func (h *Handset) HangUp(ctx context.Context) error {
	return h.call(ctx, "hang up", (*sipc.Agent).HangUp)
}

func (h *Handset) call(ctx context.Context, verb string, do func(*sipc.Agent, context.Context) error) error {
	b, err := h.await(ctx)
	if err != nil {
		return h.handError(verb, err)
	}
	agent := b.phone.line()
	if agent == nil {
		return h.handError(verb, sipc.ErrNoCall)
	}
	if err := do(agent, ctx); err != nil {
		return h.handError(verb, err)
	}
	return nil
}
