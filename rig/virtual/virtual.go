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
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/trust"
	"ip88rig/rig/wire"
)

// FactoryVersion runs on a handset whose Config names no Flash.
const FactoryVersion = "1.0.0"

// shortestRetry is what a retry timer is never scaled below, so that a busy
// machine breeds no false alarms.
const shortestRetry = 50 * time.Millisecond

// shortestHTTP is the same for HTTP, where either end may have to compute for a
// handshake first.
const shortestHTTP = 300 * time.Millisecond

// Supply is where the handset gets its power from. *wire.SwitchPort is one.
type Supply interface {
	// Power tells whether there is power.
	Power() bool
	// Watch returns a channel that is closed at the next change.
	Watch() <-chan struct{}
}

// outages is what a Supply may tell besides: how often power has gone so far.
// With it a cut that was over before the handset looked is not missed.
type outages interface{ Outages() uint64 }

func (h *Handset) outages() uint64 {
	if o, ok := h.cfg.Supply.(outages); ok {
		return o.Outages()
	}
	return 0
}

// Flash is the memory that outlives the cut of power.
type Flash = flash.Flash

// Config says what a handset is.
type Config struct {
	Model model.Model
	// Facts are what is held to be true of it; those of the model when zero.
	Facts model.Facts
	// MAC is the phone's. Module is the WiFi module's, nil when wired; its MAC
	// takes over for everything.
	MAC, Module net.HardwareAddr
	// Port is the cable. The handset never closes it.
	Port wire.Port
	// Supply switches it on and off; nil is always on.
	Supply Supply
	// Air is what a WiFi module associates to, with Passphrase and, until somebody
	// sets it to another security mode, WPA2-PSK; nil: the link of Port is all that
	// it knows of an access point.
	Air        *air.Air
	Passphrase string
	// Factor divides every wait; retry timers not below 50 ms. 0 is 1.
	Factor  float64
	Defects defect.Set
	// Seed makes what is random repeatable; 0 is different each time.
	Seed uint64
	// Flash is its memory; that of a handset from the factory when nil.
	Flash *Flash
	// PublicAuthorities are built in, as Verisign's is in a real one.
	PublicAuthorities []*x509.Certificate
	// Log tells what the handset does, for people; nil for silence.
	Log *slog.Logger
}

func (c Config) check() error {
	_, err := model.Parse(string(c.Model))
	switch {
	case err != nil:
		return fmt.Errorf("virtual: config: Model: %w", err)
	case len(c.MAC) != 6 || c.MAC[0]&1 == 1:
		return fmt.Errorf("virtual: config: MAC %q is not the address of one station", c.MAC)
	case c.Module != nil && (len(c.Module) != 6 || c.Module[0]&1 == 1):
		return fmt.Errorf("virtual: config: Module %q is not the address of one station", c.Module)
	case c.Port == nil:
		return errors.New("virtual: config: Port is nil")
	case c.Factor < 0:
		return fmt.Errorf("virtual: config: Factor %v is negative", c.Factor)
	}
	return nil
}

// Handset is a simulated handset. Its methods are safe for concurrent use.
type Handset struct {
	cfg   Config
	log   *slog.Logger
	rules config.Rules
	flash *Flash
	cord  *cord
	radio radio

	mu      sync.Mutex
	running bool          // Run is under way
	over    bool          // Run was, and is no longer
	current *boot         // nil while nothing is up that a person could use
	changed chan struct{} // closed when current changes
	memory  volatile

	boots uint64 // since New; used by Run alone
	links string // what is used of module and cable since power came; used by Run alone

	// fitted is the WiFi module since power came, next the one from the next
	// power on; nil for none.
	fitted, next atomic.Pointer[net.HardwareAddr]
	// secured is the security mode that a WiFi module is set to; nil for WPA2-PSK.
	secured atomic.Pointer[model.Security]
	// plugged says that a cable is in beside the module.
	plugged atomic.Bool

	// hung is how often power must still come until the module works again, for
	// the defect module-hangs.
	hung atomic.Int32
}

// volatile is what is lost without power, and survives a reboot.
type volatile struct {
	force bool // the next cycle downloads whatever the flags say (check-sync)
	again bool // a defect reboots once more after the next cycle
	// needless says that the reboot was one of a defect that does not do so twice
	// running.
	needless bool
	// undo holds what files have overwritten since power came, for the defect
	// settings-volatile; nil stands for the factory's value.
	undo map[model.Field]*string
	// menu is the mask that the menu shows, for the defect menu-mask-ignored.
	menu string
	// uploads are what was there when power came, for upload-volatile.
	installed, uploaded [][]byte
	linkLost            bool        // the link was, for link-loss-sticks
	past                *trust.Past // of certificates, for defects
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
	h := &Handset{cfg: cfg, log: cfg.Log, flash: cfg.Flash, rules: config.NewRules(cfg.Facts), changed: make(chan struct{})}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.flash == nil {
		f, err := flash.New(cfg.Model, FactoryVersion)
		if err != nil {
			return nil, err
		}
		h.flash = f
	}
	if s := h.flash.Read(); s.Model != cfg.Model {
		return nil, fmt.Errorf("virtual: config: Flash is that of an %s, Model is %s", s.Model, cfg.Model)
	}
	h.cord = &cord{Port: cfg.Port}
	if cfg.Defects.Has(defect.GapsEndFile) {
		h.cord.gaps = &gaps{streams: map[uint16]*stream{}}
	}
	if cfg.Module != nil {
		module := slices.Clone(cfg.Module)
		h.next.Store(&module)
	}
	h.fit()
	return h, nil
}

// Flash returns the handset's memory.
func (h *Handset) Flash() *Flash { return h.flash }

// MAC returns the address that the handset has on the wire: the module's when
// one was installed when power came (guide F-2).
func (h *Handset) MAC() net.HardwareAddr {
	if m := h.module(); m != nil {
		return slices.Clone(m)
	}
	return slices.Clone(h.cfg.MAC)
}

// module is the address of the WiFi module that the handset was powered on
// with, nil for none.
func (h *Handset) module() net.HardwareAddr {
	if m := h.fitted.Load(); m != nil {
		return *m
	}
	return nil
}

// fit makes what was installed, removed or plugged in effective.
func (h *Handset) fit() {
	h.fitted.Store(h.next.Load())
	if h.links = h.beside(); h.links == cableAlone {
		h.fitted.Store(nil)
	}
	h.cord.sender = nil
	if h.module() != nil && h.cfg.Defects.Has(defect.ModuleSendsAsPhone) {
		h.cord.sender = h.cfg.MAC
	}
}

// markModule holds the module's name for the defect module-name-sticks.
const markModule = "module"

// Version returns the software version that the boot loader starts.
func (h *Handset) Version() string {
	s := h.flash.Read()
	return s.Running()
}

var (
	errNoPower = errors.New("power is off")
	errOver    = errors.New("handset is no longer run")
)

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
		if err := h.off(ctx); err != nil {
			return quiet(ctx, err)
		}
		seen := h.outages()
		h.powerOn()
		powered, cut := context.WithCancelCause(ctx)
		watched := make(chan struct{})
		go func() { // ends when power goes or powered ends
			defer close(watched)
			h.watch(powered, seen, cut)
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

// quiet drops errors that only say that ctx has ended.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // asked to stop
	}
	return err
}

// off waits for power.
func (h *Handset) off(ctx context.Context) error {
	for h.cfg.Supply != nil {
		change := h.cfg.Supply.Watch()
		if h.cfg.Supply.Power() {
			break
		}
		if err := h.rest(ctx, 0, change); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watch pulls the cord when power goes, or has gone since seen outages.
func (h *Handset) watch(ctx context.Context, seen uint64, cut context.CancelCauseFunc) {
	if h.cfg.Supply == nil {
		return
	}
	for {
		change := h.cfg.Supply.Watch()
		if !h.cfg.Supply.Power() || h.outages() != seen {
			h.cord.live.Store(false)
			cut(errNoPower)
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

func (h *Handset) powerOn() {
	h.fit()
	if n := h.hung.Load(); n > 0 {
		h.hung.Store(n - 1) // nobody else has it yet
	}
	if m := h.module(); m != nil && h.cfg.Defects.Has(defect.ModuleNameSticks) {
		h.store(func(s *flash.State) { s.Marks[markModule] = h.hex(m) })
	}
	s := h.flash.Read()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory = volatile{past: &trust.Past{}, undo: map[model.Field]*string{}, installed: s.Installed, uploaded: s.Uploaded}
	h.log.Info("power on", "model", h.cfg.Model, "version", s.Running())
}

// powerOff loses what is volatile, and with a defect what should not be.
func (h *Handset) powerOff() {
	h.cord.live.Store(false)
	h.mu.Lock()
	m := h.memory
	h.memory = volatile{}
	h.mu.Unlock()
	h.log.Info("power off")
	h.store(func(s *flash.State) {
		if h.cfg.Defects.Has(defect.SettingsVolatile) {
			for f, old := range m.undo {
				if old == nil {
					s.Unset(f)
				} else {
					s.Set(f, *old)
				}
			}
		}
		if h.cfg.Defects.Has(defect.UploadVolatile) {
			s.Installed, s.Uploaded = m.installed, m.uploaded
		}
	})
}

// store changes the flash. Its file may fail; then the log says so and the
// handset goes on with what it had, as one with worn-out memory would.
func (h *Handset) store(change func(*flash.State)) {
	if err := h.flash.Update(change); err != nil {
		h.log.Error("flash", "error", err)
	}
}

// powered boots, again after each reboot, until power goes.
func (h *Handset) powered(ctx context.Context) error {
	for {
		loading := h.wait(model.BootLoaderTime)
		if h.cfg.Defects.Has(defect.BootsSlowly) {
			loading *= 5
		}
		if err := h.rest(ctx, loading, nil); err != nil {
			return quiet(ctx, err)
		}
		h.boots++
		if err := h.boot(ctx); err != nil || ctx.Err() != nil {
			return quiet(ctx, err)
		}
	}
}

// rest lets a time pass, or waits for until when the time is 0, with frames
// falling on deaf ears. The error is ctx's or the port's.
func (h *Handset) rest(ctx context.Context, d time.Duration, until <-chan struct{}) error {
	deaf, stop := context.WithCancel(ctx)
	var failure error
	failed := make(chan struct{})
	go func() { // ends by stop, or when the port fails
		defer close(failed)
		for failure == nil {
			_, failure = h.cfg.Port.Receive(deaf)
		}
	}()
	var timer <-chan time.Time
	if until == nil {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	case <-until:
	case <-failed:
		stop()
		if ctx.Err() == nil {
			return fmt.Errorf("virtual: handset %s: %w", h.MAC(), failure)
		}
		return ctx.Err()
	}
	stop()
	<-failed
	return ctx.Err()
}

// wait is a time of the facts, divided.
func (h *Handset) wait(fact string) time.Duration {
	return time.Duration(float64(h.cfg.Facts.Duration(fact)) / h.cfg.Factor)
}

// retry is a retry timer of the facts, divided, but not below 50 ms.
func (h *Handset) retry(fact string) time.Duration {
	d := h.cfg.Facts.Duration(fact)
	return max(h.wait(fact), min(d, shortestRetry), time.Millisecond)
}

// seed is a different one for every boot and purpose, as two boots with the
// same would take up each other's connections.
func (h *Handset) seed(purpose uint64) uint64 {
	if h.cfg.Seed == 0 {
		return 0
	}
	return (h.cfg.Seed*1_000_003+h.boots)*16 + purpose
}

// hex is a MAC without separators, in the letter case of file names.
func (h *Handset) hex(mac net.HardwareAddr) string {
	s := fmt.Sprintf("%x", []byte(mac))
	if h.cfg.Facts.Text(model.OwnFileCase) == "upper" {
		return strings.ToUpper(s)
	}
	return s
}

// ownName is the phone-specific file: the MAC of the phone, or of the WiFi
// module when installed, with no extension (guide F-2).
func (h *Handset) ownName() string {
	if h.cfg.Defects.Has(defect.ModuleKeepsPhoneName) {
		return h.hex(h.cfg.MAC)
	}
	if s := h.flash.Read(); h.module() == nil && h.cfg.Defects.Has(defect.ModuleNameSticks) && s.Marks[markModule] != "" {
		return s.Marks[markModule]
	}
	return h.hex(h.MAC())
}

// expand replaces $MODEL, $VERSION and $MAC.
func (h *Handset) expand(fact, version string) string {
	mac := strings.ToUpper(fmt.Sprintf("%x", []byte(h.MAC())))
	return strings.NewReplacer("$MODEL", h.cfg.Model.String(), "$VERSION", h.told(version), "$MAC", mac).Replace(h.cfg.Facts.Text(fact))
}
