package virtual

import (
	"sync"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/trust"
)

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
