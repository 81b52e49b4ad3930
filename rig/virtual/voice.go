package virtual

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/sipc"
)

// telephone is what a boot does about SIP. Only line 1 is simulated: no row needs
// the others.
type telephone struct {
	*device

	net     *network
	version string
	tasks   *sync.WaitGroup
	// notified is called for a check-sync, stop to end the boot.
	notified func(event string)
	stop     func(error)

	registered atomic.Bool // line 1 is
	agents     uint64      // SIP agents so far

	mu    sync.Mutex
	voice *voice // changed by the boot's own goroutine alone, which reads it without mu
}

// voice is line 1 with its registration. A nil voice is a handset that does not
// register.
type voice struct {
	line   line
	callID string
	cancel context.CancelFunc
	done   chan struct{} // closed when its task has ended

	mu    sync.Mutex
	agent *sipc.Agent // nil until the proxy's address is known
}

// line is what the settings say of line 1; a change of any of it registers anew.
type line struct {
	user, auth, password, display string
	proxy                         string
	proxyPort                     int
	outbound                      string
	outboundPort                  int
	local                         netip.Addr
	localPort, expires, media     int
	t1                            time.Duration
	answers                       bool
}

// payloadTypes are the static ones (RFC 3551, table 4) of the codecs that
// preferred_codec may name.
func payloadTypes() map[string]string {
	return map[string]string{"pcmu": "0", "g723": "4", "pcma": "8", "g722": "9", "g729": "18"}
}

// formats are the payload types of the preferred codecs.
func (t *telephone) formats() []string {
	codecs := t.settings().text(preferredCodec)
	if t.has(defect.FirstOfList) {
		codecs, _, _ = strings.Cut(codecs, " ")
	}
	types := payloadTypes()
	var list []string
	for codec := range strings.FieldsSeq(codecs) {
		list = append(list, types[codec])
	}
	return list
}

// wanted returns what line 1 should be; ok is false when it should not register.
func (t *telephone) wanted() (l line, ok bool) {
	set := t.settings()
	l = line{
		user: set.text(lineName), auth: set.text(lineAuthName), password: set.text(linePassword), display: set.text(lineDisplayName),
		proxy: set.text(lineProxy), proxyPort: set.number(lineProxyPort),
		outbound: set.text(outboundProxy), outboundPort: set.number(outboundPort),
		local: t.net.host.Addr(), localPort: set.number(localPort),
		expires: set.number(registerExpires), media: set.number(rtpPort),
		t1: t.retry(model.SIPT1), answers: set.enabled(autoAnswer),
	}
	if _, set1 := set.state.Get(model.Field{Section: "VOIP", Name: "timer_t1"}); set1 {
		l.t1 = max(time.Duration(float64(set.number(timerT1))*float64(time.Millisecond)/t.cfg.Factor), shortestRetry)
	}
	return l, l.user != "" && l.proxy != "" && l.local.IsValid() && set.enabled(lineRegistration)
}

// adjust registers as the settings say, anew if they have changed.
func (t *telephone) adjust(ctx context.Context) {
	l, ok := t.wanted()
	if t.voice != nil {
		if ok && t.voice.line == l {
			return
		}
		t.voice.end()
		t.setVoice(nil)
	}
	if !ok {
		return
	}
	own, cancel := context.WithCancel(ctx)
	t.agents++
	v := &voice{line: l, callID: t.callID(l), cancel: cancel, done: make(chan struct{})}
	t.setVoice(v)
	t.tasks.Go(func() { // ends by end, or with the boot
		defer close(v.done)
		if err := v.run(own, t); err != nil {
			t.log.Warn("sip", "error", err)
		}
	})
}

// setVoice changes the voice.
func (t *telephone) setVoice(v *voice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.voice = v
}

// line returns the SIP agent of the moment, nil without one.
func (t *telephone) line() *sipc.Agent {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.voice.current()
}

func (v *voice) run(ctx context.Context, t *telephone) error {
	host, port := v.line.proxy, v.line.proxyPort
	if v.line.outbound != "" {
		host, port = v.line.outbound, v.line.outboundPort
	}
	proxy, ok := v.lookUp(ctx, t, host)
	if !ok {
		return nil
	}
	conn, err := t.net.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(v.line.localPort))) //nolint:gosec // 1024 to 32000
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // its end is what is wanted
	agent, err := sipc.New(sipc.Config{
		Conn: conn, Local: netip.AddrPortFrom(v.line.local, uint16(v.line.localPort)), //nolint:gosec // as above
		Proxy: netip.AddrPortFrom(proxy, uint16(port)), ProxyHost: v.domain(), //nolint:gosec // as above
		User: v.line.user, AuthUser: v.line.auth, Password: v.line.password, DisplayName: v.line.display,
		UserAgent: t.expand(model.UserAgent, t.version), Expires: v.line.expires, T1: v.line.t1,
		MediaPort: uint16(v.line.media), Formats: t.formats, AutoAnswer: v.line.answers, //nolint:gosec // 16300 to 32700
		Seed: t.seed(4), CallID: v.callID, Event: t.cfg.Facts.Text(model.CheckSyncEvent), OnNotify: t.notified, Defects: t.cfg.Defects,
		OnRefused: t.refused,
		OnRegister: func(ok bool) {
			t.registered.Store(ok)
			t.log.Info("registration", "ok", ok, "user", v.line.user, "proxy", proxy)
		},
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.agent = agent
	v.mu.Unlock()
	return agent.Run(ctx)
}

// refused is what the SIP agent calls when the registrar does not take it.
func (t *telephone) refused(status int) {
	if t.has(defect.RefusedRegistrationReboots) {
		t.stop(&reboot{fmt.Sprintf("REGISTER was answered %d (defect)", status)})
	}
}

// domain is the registrar in URIs; a port that is not the usual one belongs to it.
func (v *voice) domain() string {
	if v.line.proxyPort == 5060 {
		return v.line.proxy
	}
	return fmt.Sprintf("%s:%d", v.line.proxy, v.line.proxyPort)
}

// lookUp asks for the proxy's address until it is known.
func (v *voice) lookUp(ctx context.Context, t *telephone, host string) (addr netip.Addr, ok bool) {
	for {
		addr, err := t.net.resolve(ctx, host)
		if err == nil {
			return addr, true
		}
		if ctx.Err() != nil {
			return netip.Addr{}, false
		}
		t.log.Warn("proxy", "name", host, "error", err)
		const t1s = 64 // as long as a REGISTER that nobody answers (assumed)
		if pause(ctx, t1s*v.line.t1) != nil {
			return netip.Addr{}, false
		}
	}
}

// callID is a new one for every agent, since each counts its CSeq from the start.
func (t *telephone) callID(l line) string {
	n := rand.Uint64() //nolint:gosec // it need not be secret
	if seed := t.seed(5); seed != 0 {
		n = rand.New(rand.NewPCG(seed, t.agents)).Uint64() //nolint:gosec // repeatable on purpose
	}
	return fmt.Sprintf("%016x-%s@%s", n, t.hex(t.MAC()), l.local)
}

// end closes the line and waits for it.
func (v *voice) end() {
	if v == nil {
		return
	}
	v.cancel()
	<-v.done
}

func (v *voice) current() *sipc.Agent {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.agent
}

// busy reports whether there is a call, or one coming in.
func (t *telephone) busy() bool {
	a := t.voice.current()
	return a != nil && a.Busy()
}

// idle is closed when there is no call.
func (t *telephone) idle() <-chan struct{} {
	if a := t.voice.current(); a != nil {
		return a.Idle()
	}
	free := make(chan struct{})
	close(free)
	return free
}
