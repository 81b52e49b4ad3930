// Package virtual is the simulated handset: an honest second implementation of
// the vendor's Installer Guide (page F-2) on a wire.Port, so that the rig can be
// developed and tried without a lab. It shares no code with the rig's services.
//
// A handset boots as the guide says: an address by DHCP, the time by SNTP, the
// transport (HTTP or HTTPS with the URL of DHCP option 160 or a stored one, else
// TFTP), the global and the phone-specific configuration file, the version file
// and, if the version differs, the files that it lists, at most one reboot at
// the end, and then registration with the SIP server. What the guide leaves open
// is read from model.Facts; what not even the facts name is assumed, and said
// where it is decided.
//
// Package defect lists what can be wrong with a handset; the package decides
// each in one place.
package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/trust"
)

// Handset is a simulated handset. Its methods are safe for concurrent use.
type Handset struct {
	*device

	radio radio
	slots slots

	mu      sync.Mutex
	running bool          // Run is under way
	over    bool          // Run was, and is no longer
	current *boot         // nil while nothing is up that a person could use
	changed chan struct{} // closed when current changes
}

// New returns a handset that does nothing until Run.
func New(cfg Config) (*Handset, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if len(cfg.Facts.All()) == 0 {
		cfg.Facts = model.Default(cfg.Model)
	}
	if cfg.Factor == 0 {
		cfg.Factor = 1
	}
	d := &device{cfg: cfg, log: cfg.Log, flash: cfg.Flash, rules: config.NewRules(cfg.Facts), cord: &cord{Port: cfg.Port}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.flash == nil {
		f, err := flash.New(cfg.Model, FactoryVersion)
		if err != nil {
			return nil, err
		}
		d.flash = f
	}
	if s := d.flash.Read(); s.Model != cfg.Model {
		return nil, fmt.Errorf("virtual: config: Flash is that of an %s, Model is %s", s.Model, cfg.Model)
	}
	if d.has(defect.GapsEndFile) {
		d.cord.gaps = &gaps{streams: map[uint16]*stream{}}
	}
	h := &Handset{device: d, radio: radio{device: d}, slots: slots{device: d}, changed: make(chan struct{})}
	if cfg.Module != nil {
		module := slices.Clone(cfg.Module)
		h.slots.next.Store(&module)
	}
	h.slots.fit()
	return h, nil
}

// Flash returns the handset's memory.
func (h *Handset) Flash() *Flash { return h.flash }

// Version returns the software version that the boot loader starts.
func (h *Handset) Version() string { return h.version() }

// Run runs the handset until ctx ends, then returns nil. It returns an error
// when the port fails. The end of Run is a cut of power to the handset.
func (h *Handset) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.running {
		h.mu.Unlock()
		return errors.New("virtual: handset runs already")
	}
	h.running, h.over = true, false
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.running, h.over = false, true
		h.mu.Unlock()
		h.publish(nil)
	}()

	for {
		if err := awaitPower(ctx, h.device); err != nil {
			return quiet(ctx, err)
		}
		seen := outagesOf(h.cfg.Supply)
		h.powerOn()
		powered, cut := context.WithCancelCause(ctx)
		watched := make(chan struct{})
		go func() { // ends when power goes or powered ends
			defer close(watched)
			watchPower(powered, h.device, seen, cut)
		}()
		err := h.powered(powered)
		cut(errOver)
		<-watched
		h.powerOff()
		if err != nil || ctx.Err() != nil {
			return quiet(ctx, err)
		}
	}
}

func (h *Handset) powerOn() {
	h.slots.fit()
	if n := h.radio.hung.Load(); n > 0 {
		h.radio.hung.Store(n - 1) // nobody else has it yet
	}
	if m := h.module(); m != nil && h.has(defect.ModuleNameSticks) {
		h.store(func(s *flash.State) { s.Marks[markModule] = h.hex(m) })
	}
	s := h.flash.Read()
	h.memory.update(func(v *volatile) {
		*v = volatile{past: &trust.Past{}, undo: map[model.Field]*string{}, installed: s.Installed, uploaded: s.Uploaded}
	})
	h.log.Info("power on", "model", h.cfg.Model, "version", s.Running())
}

// powerOff loses what is volatile, and with a defect what should not be.
func (h *Handset) powerOff() {
	h.cord.live.Store(false)
	var m volatile
	h.memory.update(func(v *volatile) { m, *v = *v, volatile{} })
	h.log.Info("power off")
	h.store(func(s *flash.State) {
		if h.has(defect.SettingsVolatile) {
			for f, old := range m.undo {
				if old == nil {
					s.Unset(f)
				} else {
					s.Set(f, *old)
				}
			}
		}
		if h.has(defect.UploadVolatile) {
			s.Installed, s.Uploaded = m.installed, m.uploaded
		}
	})
}

// powered boots, again after each reboot, until power goes.
func (h *Handset) powered(ctx context.Context) error {
	for {
		loading := h.wait(model.BootLoaderTime)
		if h.has(defect.BootsSlowly) {
			loading *= 5
		}
		if err := h.rest(ctx, loading, nil); err != nil {
			return quiet(ctx, err)
		}
		h.boots++
		up, stop := context.WithCancelCause(ctx)
		err := newBoot(h.device, &h.radio, h.slots.links == bothLinks, stop).live(ctx, up, h.publish)
		stop(errOver)
		if err != nil || ctx.Err() != nil {
			return quiet(ctx, err)
		}
	}
}

func (h *Handset) publish(b *boot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = b
	close(h.changed)
	h.changed = make(chan struct{})
}
