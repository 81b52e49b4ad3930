package virtual

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/trust"
)

// device is what the parts of a handset share: what it is, its flash, what it
// holds in memory until power goes, its end of the cable and its log.
type device struct {
	cfg    Config
	log    *slog.Logger
	rules  config.Rules
	flash  *Flash
	memory memory
	cord   *cord
	boots  uint64 // since New; changed between boots alone
	// fitted is the WiFi module since power came; nil for none.
	fitted atomic.Pointer[net.HardwareAddr]
}

// has reports whether the handset has a defect.
func (d *device) has(name defect.Name) bool { return d.cfg.Defects.Has(name) }

// MAC returns the address that the handset has on the wire: the module's when
// one was installed when power came (guide F-2).
func (d *device) MAC() net.HardwareAddr {
	if m := d.module(); m != nil {
		return slices.Clone(m)
	}
	return slices.Clone(d.cfg.MAC)
}

// module is the address of the WiFi module that the handset was powered on
// with, nil for none.
func (d *device) module() net.HardwareAddr {
	if m := d.fitted.Load(); m != nil {
		return *m
	}
	return nil
}

// version is the software that the boot loader starts.
func (d *device) version() string {
	s := d.flash.Read()
	return s.Running()
}

// wait is a time of the facts, divided.
func (d *device) wait(fact string) time.Duration {
	return time.Duration(float64(d.cfg.Facts.Duration(fact)) / d.cfg.Factor)
}

// retry is a retry timer of the facts, divided, but not below 50 ms.
func (d *device) retry(fact string) time.Duration {
	return max(d.wait(fact), min(d.cfg.Facts.Duration(fact), shortestRetry), time.Millisecond)
}

// seed is a different one for every boot and purpose, as two boots with the
// same would take up each other's connections.
func (d *device) seed(purpose uint64) uint64 {
	if d.cfg.Seed == 0 {
		return 0
	}
	return (d.cfg.Seed*1_000_003+d.boots)*16 + purpose
}

// hex is a MAC without separators, in the letter case of file names.
func (d *device) hex(mac net.HardwareAddr) string {
	s := fmt.Sprintf("%x", []byte(mac))
	if d.cfg.Facts.Text(model.OwnFileCase) == "upper" {
		return strings.ToUpper(s)
	}
	return s
}

// ownName is the phone-specific file: the MAC of the phone, or of the WiFi
// module when installed, with no extension (guide F-2).
func (d *device) ownName() string {
	if d.has(defect.ModuleKeepsPhoneName) {
		return d.hex(d.cfg.MAC)
	}
	if name := d.mark(markModule); d.module() == nil && d.has(defect.ModuleNameSticks) && name != "" {
		return name
	}
	return d.hex(d.MAC())
}

// expand replaces $MODEL, $VERSION and $MAC.
func (d *device) expand(fact, version string) string {
	mac := strings.ToUpper(fmt.Sprintf("%x", []byte(d.MAC())))
	return strings.NewReplacer("$MODEL", d.cfg.Model.String(), "$VERSION", cmp.Or(d.mark(markWas), version), "$MAC", mac).Replace(d.cfg.Facts.Text(fact))
}

// mark returns what a defect has noted in the flash, blank for nothing.
func (d *device) mark(name string) string { return d.flash.Read().Marks[name] }

// store changes the flash. Its file may fail; then the log says so and the
// handset goes on with what it had, as one with worn-out memory would.
func (d *device) store(change func(*flash.State)) {
	if err := d.flash.Update(change); err != nil {
		d.log.Error("flash", "error", err)
	}
}

// forgetLines sets all lines back to the factory's values, as several defects do.
func (d *device) forgetLines() {
	d.store(func(s *flash.State) {
		maps.DeleteFunc(s.Settings, func(path, _ string) bool { return strings.HasPrefix(path, "VOIP/line") })
	})
}

// pause waits while the host still runs.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// quiet drops errors that only say that ctx has ended.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // asked to stop
	}
	return err
}

// memory holds what is lost without power. It is safe for concurrent use.
type memory struct {
	mu  sync.Mutex
	now volatile
}

// update changes it.
func (m *memory) update(change func(*volatile)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.now)
}

// read returns it as it is now.
func (m *memory) read() volatile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
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

// Marks of defects that concern software; a factory reset leaves them.
const (
	// markTried holds the version that installs-nothing has rebooted for.
	markTried = "tried"
	// markLoops is how often version-loop will install its version again.
	markLoops = "loops"
	// markRow is how often in a row refuses-sixth-upgrade has installed, markIdle how
	// often since then it had nothing to install.
	markRow  = "in a row"
	markIdle = "idle"
	// markHalf says that single-bank was writing over what it runs.
	markHalf = "half written"
	// markWas is the version that reports-old-version goes on telling.
	markWas = "was"
)

// markModule holds the module's name for the defect module-name-sticks.
const markModule = "module"

// markBelieved holds the time of an unsynchronised server, as an offset of the
// real one (believes-unsynchronised).
const markBelieved = "believed"

// markClock holds the first time that a handset with the defect clock-sticks was
// told, as an offset of the real one.
const markClock = "clock"
