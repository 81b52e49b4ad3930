package host

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"gvisor.dev/gvisor/pkg/sleep"
	gsync "gvisor.dev/gvisor/pkg/sync"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// The goroutines that do a stack's TCP wait with a runtime call of gVisor's own,
// for a reason that testing/synctest does not count: virtual time would never
// move. So in virtual time these goroutines end at once, and ours take their
// place: they wait for the reason that counts, and have gVisor's own loop do the
// work. Nothing of gVisor is copied or changed. What is reached here is not
// exported; go.mod pins gVisor, and durable_go*.go the version of Go.

// GoVersions are the versions of Go in which a Host runs in virtual time, and a
// toolchain of the newest.
const (
	GoVersions = "1.26 or 1.27"
	toolchain  = "go1.27.4"
)

// VirtualTime says why a Host cannot run in virtual time with this version of Go
// and of gVisor; nil: it can.
func VirtualTime() error {
	if durable == 0 {
		return fmt.Errorf("a wire in memory needs virtual time, which needs Go %s, and this was built with %s: build it with GOTOOLCHAIN=%s, as make does", GoVersions, runtime.Version(), toolchain)
	}
	return nil
}

// errGVisor says that gVisor is not the one that this file was written for.
var errGVisor = errors.New("virtual time needs the version of gvisor.dev/gvisor that go.mod names: its TCP dispatcher has another shape here")

// waitDurably replaces the goroutines that do a stack's TCP. It is called before
// the stack is used, in virtual time.
func waitDurably(s *stack.Stack) error {
	if err := VirtualTime(); err != nil {
		return err
	}
	dispatcher, err := field(reflect.ValueOf(s.TransportProtocolInstance(tcp.ProtocolNumber)).Elem(), "dispatcher")
	if err != nil {
		return err
	}
	var processors, wg, mu, closed reflect.Value
	for name, to := range map[string]*reflect.Value{"processors": &processors, "wg": &wg, "mu": &mu, "closed": &closed} {
		if *to, err = field(dispatcher, name); err != nil {
			return err
		}
	}
	if processors.Kind() != reflect.Slice {
		return errGVisor
	}
	if mu, err = field(mu, "mu"); err != nil {
		return err
	}
	group, err := at[sync.WaitGroup](wg)
	if err != nil {
		return err
	}
	var all []*processor
	for i := range processors.Len() {
		p, err := newProcessor(processors.Index(i))
		if err != nil {
			return err
		}
		if p.mu, err = at[gsync.Mutex](mu); err != nil {
			return err
		}
		if p.closed, err = at[bool](closed); err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range all {
		p.close.Assert()
	}
	group.Wait()
	for _, p := range all {
		group.Go(p.run) // ends when the stack is closed
	}
	return nil
}

// field is a field of a struct of gVisor's.
func field(v reflect.Value, name string) (reflect.Value, error) {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}, errGVisor
	}
	f := v.FieldByName(name)
	if !f.IsValid() {
		return reflect.Value{}, fmt.Errorf("%w: no field %s", errGVisor, name)
	}
	return f, nil
}

// at is where a field is that is not exported.
func at[T any](v reflect.Value) (*T, error) {
	if want := reflect.TypeFor[T](); v.Type() != want && v.Kind() != want.Kind() {
		return nil, fmt.Errorf("%w: %s in the place of %s", errGVisor, v.Type(), want)
	}
	return (*T)(unsafe.Pointer(v.UnsafeAddr())), nil //nolint:gosec // the type was compared
}

// processor is gVisor's tcp.processor, seen from outside.
type processor struct {
	self unsafe.Pointer
	// asserted is the list of wakers that the sleeper has not seen yet, waiting the
	// goroutine that waits for them.
	asserted *unsafe.Pointer
	waiting  *uintptr
	sleeper  *sleep.Sleeper
	close    *sleep.Waker
	work     *sleep.Waker
	// mu guards closed, which the dispatcher sets.
	mu     *gsync.Mutex
	closed *bool
}

func newProcessor(v reflect.Value) (*processor, error) {
	p := &processor{}
	var err error
	place := func(in reflect.Value, name string, to func(reflect.Value) error) {
		f, ferr := field(in, name)
		if ferr == nil {
			ferr = to(f)
		}
		err = errors.Join(err, ferr)
	}
	place(v, "sleeper", func(f reflect.Value) (err error) {
		p.sleeper, err = at[sleep.Sleeper](f)
		place(f, "sharedList", func(f reflect.Value) (err error) { p.asserted, err = at[unsafe.Pointer](f); return err })
		place(f, "waitingG", func(f reflect.Value) (err error) { p.waiting, err = at[uintptr](f); return err })
		return err
	})
	place(v, "closeWaker", func(f reflect.Value) (err error) { p.close, err = at[sleep.Waker](f); return err })
	place(v, "newEndpointWaker", func(f reflect.Value) (err error) { p.work, err = at[sleep.Waker](f); return err })
	if err != nil {
		return nil, err
	}
	p.self = unsafe.Pointer(v.UnsafeAddr()) //nolint:gosec // handed to gVisor's own method
	return p, nil
}

// run waits for work and has gVisor's own loop do it, until the stack is closed.
func (p *processor) run() {
	for !p.over() {
		p.sleeper.AddWaker(p.work)
		p.sleeper.AddWaker(p.close)
		p.wait()
		p.close.Assert() // so that the loop returns once there is nothing to do
		var done sync.WaitGroup
		done.Add(1)
		processorStart(p.self, &done)
	}
}

func (p *processor) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.closed
}

// wait does what sleep.Sleeper does before it takes a waker.
func (p *processor) wait() {
	const preparing = 1 // sleep.preparingG
	for atomic.LoadPointer(p.asserted) == nil {
		atomic.StoreUintptr(p.waiting, preparing)
		if atomic.LoadPointer(p.asserted) != nil {
			atomic.StoreUintptr(p.waiting, 0)
			return
		}
		gsync.Gopark(commitWait, unsafe.Pointer(p.waiting), durable, gsync.TraceBlockSelect, 0) //nolint:gosec // as in sleep.Sleeper
	}
}

// commitWait is sleep.commitSleep: it makes the goroutine known to who will wake
// it, unless it was asserted meanwhile.
//
//go:norace
//go:nosplit
func commitWait(g uintptr, waiting unsafe.Pointer) bool {
	const preparing = 1
	return gsync.RaceUncheckedAtomicCompareAndSwapUintptr((*uintptr)(waiting), preparing, g)
}

//go:linkname processorStart gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*processor).start
func processorStart(p unsafe.Pointer, wg *sync.WaitGroup)
