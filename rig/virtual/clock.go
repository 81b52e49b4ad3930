package virtual

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/sntpc"
)

// clock is the handset's time during one boot, and what asks for it. The handset
// has no battery: every boot begins without (assumed).
type clock struct {
	*device

	net   *network
	tasks *sync.WaitGroup
	// adjusted is called after an answer.
	adjusted func()

	mu     sync.Mutex
	offset time.Duration // of the real time
	timed  bool          // offset is known
	asks   int           // how often the time was asked for
	told   int           // the latest ask that was answered
	asked  time.Time     // when it was last asked for, zero for never
}

func newClock(net *network, tasks *sync.WaitGroup, adjusted func()) *clock {
	c := &clock{device: net.device, net: net, tasks: tasks, adjusted: adjusted}
	c.believe()
	return c
}

// lateParts is which part of its timeout an answer may take before the defect
// late-time-accepts-expired calls it late.
const lateParts = 5

// tooLate reports an answer that the clock is not set by (late-time-accepts-expired).
func (c *clock) tooLate(after time.Duration) bool {
	return c.has(defect.LateTimeAcceptsExpired) && after > c.retry(model.SNTPTimeout)/lateParts
}

// offsetFor is what the clock goes by once a server has told the time.
func (c *clock) offsetFor(told time.Duration) time.Duration {
	if !c.has(defect.ClockSticks) {
		return told
	}
	if latest, err := time.ParseDuration(c.mark(markClock)); err == nil && latest > told+time.Minute {
		return latest
	}
	c.store(func(s *flash.State) { s.Marks[markClock] = told.String() })
	return told
}

// askTime sets the clock by the server of option 42, else by the stored one
// (assumed order). Without an answer the clock stays as it is, not known after a
// boot; one that comes later is used then. It returns false, for a defect, when
// there is to be no cycle.
func (c *clock) askTime(ctx context.Context) bool {
	if c.has(defect.AsksTimeLate) {
		return true
	}
	return c.askTimeNow(ctx)
}

func (c *clock) askTimeNow(ctx context.Context) bool {
	servers, known := c.timeServers(ctx)
	for _, a := range servers {
		if c.askTimeOf(ctx, a) || ctx.Err() != nil {
			break
		}
	}
	_, timed := c.now()
	if !timed && known && c.has(defect.NoTimeNoCycle) {
		<-ctx.Done()
		return false
	}
	return true
}

// timeServers are at most two; known is true also when the only one has a name
// without an address.
func (c *clock) timeServers(ctx context.Context) (servers []netip.Addr, known bool) {
	for _, a := range c.net.current().Addrs(optSNTP) {
		if !a.IsUnspecified() {
			servers = append(servers, a)
		}
	}
	if name := c.settings().text(sntpServer); len(servers) == 0 && name != "" {
		a, err := c.net.resolve(ctx, name)
		if err != nil {
			c.log.Warn("time server", "name", name, "error", err)
			return nil, true
		}
		servers = append(servers, a)
	}
	return servers[:min(len(servers), 2)], len(servers) > 0
}

// askTimeOf waits for one server's answer until it gives up; the task goes on
// listening then, as long as the facts say.
func (c *clock) askTimeOf(ctx context.Context, server netip.Addr) (told bool) {
	c.mu.Lock()
	c.asks++
	number := c.asks
	c.asked = time.Now()
	c.mu.Unlock()
	asked := time.Now()
	over := make(chan bool, 2)
	c.tasks.Go(func() { // ends with an answer, with late, or with the boot
		answer, err := sntpc.Ask(ctx, sntpc.Config{
			Listen: c.net.listen, Server: netip.AddrPortFrom(server, 0),
			Timeout: c.retry(model.SNTPTimeout), Tries: c.cfg.Facts.Int(model.SNTPTries), Late: c.wait(model.SNTPLateAnswer),
			Defects: c.cfg.Defects,
			GaveUp: func(err error) {
				c.log.Warn("no time yet", "error", err)
				over <- false
			},
		})
		switch {
		case err != nil:
			c.log.Warn("no time", "error", err)
		case c.tooLate(time.Since(asked)):
			c.log.Warn("no time: told too late")
		default:
			c.setClock(number, server, answer)
		}
		over <- err == nil
	})
	return <-over // in time: Ask ends with ctx
}

// believe has the clock go by the time of an unsynchronised server (defect).
func (c *clock) believe() {
	if !c.has(defect.BelievesUnsynchronised) {
		return
	}
	if offset, err := time.ParseDuration(c.mark(markBelieved)); err == nil {
		c.offset, c.timed = offset, true
	}
}

// setClock takes an answer, unless one to a later question has come before.
func (c *clock) setClock(number int, from netip.Addr, answer sntpc.Answer) {
	defer c.adjusted()
	if answer.Unsynchronised {
		c.store(func(s *flash.State) {
			if s.Marks[markBelieved] == "" {
				s.Marks[markBelieved] = answer.Offset.String()
			}
		})
	}
	offset := c.offsetFor(answer.Offset)
	c.mu.Lock()
	defer c.mu.Unlock()
	if number < c.told {
		return
	}
	c.offset, c.timed, c.told = offset, true, number
	c.believe()
	c.log.Info("time", "from", from, "now", time.Now().Add(c.offset).UTC().Format(time.RFC3339))
}

// lastAsked returns when a server was last asked for the time, zero for never.
func (c *clock) lastAsked() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// askAgain asks for the time while other things go on.
func (c *clock) askAgain(ctx context.Context) {
	c.mu.Lock()
	c.asked = time.Now()
	c.mu.Unlock()
	c.tasks.Go(func() { c.askTimeNow(ctx) }) // ends as askTimeNow does
}

// zone is that of DHCP option 2, else of the field; summer time is not
// simulated.
func (c *clock) zone(set settings) *time.Location {
	if b := c.net.current().Options[optTimeOffset]; len(b) == 4 {
		return time.FixedZone("", int(int32(binary.BigEndian.Uint32(b)))) //nolint:gosec // it is signed
	}
	return time.FixedZone("", zoneMinutes(set.number(timeZone))*60)
}

// zoneMinutes is how far a code of the field timezone is ahead of GMT (68; table
// 2.5 of the phone facts).
func zoneMinutes(code int) int {
	hours := map[int]int{60: -12, 61: -11, 1: -10, 62: -9, 4: -7, 63: -2, 59: 1, 64: 5, 65: 6, 51: 8, 55: 10, 67: 11, 58: 13}
	halves := map[int]int{15: -210, 44: 210, 47: 270, 48: 330, 66: 390, 54: 570}
	if m, ok := halves[code]; ok {
		return m
	}
	if h, ok := hours[code]; ok {
		return h * 60
	}
	for _, r := range [...]struct{ from, to, hours int }{
		{2, 3, -8},
		{5, 7, -6},
		{8, 11, -5},
		{12, 14, -4},
		{16, 18, -3},
		{19, 20, -1},
		{21, 23, 0},
		{24, 34, 1},
		{35, 39, 2},
		{40, 43, 3},
		{45, 46, 4},
		{49, 50, 7},
		{52, 53, 9},
		{56, 57, 12},
	} {
		if code >= r.from && code <= r.to {
			return r.hours * 60
		}
	}
	return 0
}

// now returns the time, and whether a server has told it.
func (c *clock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset), c.timed
}

// optTimeOffset is in seconds from GMT (8002).
const optTimeOffset = 2
