package rig

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/host"
	"ip88rig/rig/httpd"
	"ip88rig/rig/pki"
	"ip88rig/rig/wire"
)

// Sabotage is a named way to break the rig itself, as a defect is one to break a
// simulated handset: the proof that a broken rig never fails a handset. Each
// breaks the thing at its source; what is then noticed is up to the rig.
type Sabotage string

// What a rig may suffer. The first ones are troubles, after which nothing may be
// judged: inconclusive.
const (
	// DHCPDies and the others: the service's socket fails at its first request,
	// dhcpd's at its second.
	DHCPDies  Sabotage = "dhcpd-dies"
	TFTPDies  Sabotage = "tftpd-dies"
	HTTPDies  Sabotage = "httpd-dies"
	HTTPSDies Sabotage = "httpsd-dies"
	SNTPDies  Sabotage = "sntpd-dies"
	DNSDies   Sabotage = "dnsd-dies"
	SIPDies   Sabotage = "sipd-dies"
	// DHCPUnsaid and the others: the service does its work, and its journal has no
	// entry of it.
	DHCPUnsaid      Sabotage = "dhcpd-unsaid"
	TFTPUnsaid      Sabotage = "tftpd-unsaid"
	SNTPUnsaid      Sabotage = "sntpd-unsaid"
	DNSUnsaid       Sabotage = "dnsd-unsaid"
	SIPUnsaid       Sabotage = "sipd-unsaid"
	RequestUnsaid   Sabotage = "httpd-request-unsaid"
	HandshakeUnsaid Sabotage = "httpd-handshake-unsaid"
	// BytesInvented and the others: the journal says what the wire did not carry.
	BytesInvented   Sabotage = "tftpd-bytes-invented"
	FilesInvented   Sabotage = "httpd-bytes-invented"
	RequestInvented Sabotage = "httpd-request-invented"
	AnswerInvented  Sabotage = "sntpd-answer-invented"
	// FramesDropped: every tenth frame never reaches the rig, and the port counts it.
	FramesDropped Sabotage = "frames-dropped"
	// DiskFull: the capture cannot be written any more.
	DiskFull Sabotage = "disk-full"
	// ClockStepped: somebody sets the clock by 5 ms.
	ClockStepped Sabotage = "clock-stepped"
	// StrangeServer: another DHCP server answers on the wire.
	StrangeServer Sabotage = "strange-dhcp-server"
	// Starved: other work keeps the rig from the processor. There is none in virtual
	// time, which waits for the rig.
	Starved Sabotage = "starved"
	// FaultsUnheard: no service is asked for the faults that are declared.
	FaultsUnheard Sabotage = "faults-unheard"
	// RestartedBetween: the handset loses its power between two specs, and nobody
	// says so.
	RestartedBetween Sabotage = "restarted-between"
	// PowerSilent: the power port does not answer when the power is to be taken.
	PowerSilent Sabotage = "power-silent"
	// ImpatientWait: waits end long before their windows close.
	ImpatientWait Sabotage = "impatient-wait"
	// CallSilent: a call is never placed.
	CallSilent Sabotage = "call-silent"
)

// Givens that are taken away: the spec is blocked by the given.
const (
	OfferWithheld    Sabotage = "offer-withheld"
	OfferWrong       Sabotage = "offer-wrong"
	OfferSilent      Sabotage = "offer-silent"
	PublishMissing   Sabotage = "publish-missing"
	PublishOld       Sabotage = "publish-old"
	PublishSilent    Sabotage = "publish-silent"
	PresentOther     Sabotage = "present-other"
	PresentLies      Sabotage = "present-lies"
	ClockSilent      Sabotage = "clock-silent"
	ClockWrong       Sabotage = "clock-wrong"
	NamesSilent      Sabotage = "names-silent"
	NamesWrong       Sabotage = "names-wrong"
	ChallengeNone    Sabotage = "challenge-none"
	ChallengeUnasked Sabotage = "challenge-unasked"
	RegistrarSilent  Sabotage = "registrar-silent"
	RegistrarOpen    Sabotage = "registrar-open"
	NotifyUnsent     Sabotage = "notify-unsent"
	HandsIdle        Sabotage = "hands-idle"
)

// Sabotages lists the names.
func Sabotages() []Sabotage {
	return []Sabotage{
		DHCPDies, TFTPDies, HTTPDies, HTTPSDies, SNTPDies, DNSDies, SIPDies,
		DHCPUnsaid, TFTPUnsaid, SNTPUnsaid, DNSUnsaid, SIPUnsaid, RequestUnsaid, HandshakeUnsaid,
		BytesInvented, FilesInvented, RequestInvented, AnswerInvented,
		FramesDropped, DiskFull, ClockStepped, StrangeServer, Starved, FaultsUnheard, RestartedBetween, PowerSilent, ImpatientWait, CallSilent,
		OfferWithheld, OfferWrong, OfferSilent, PublishMissing, PublishOld, PublishSilent, PresentOther, PresentLies,
		ClockSilent, ClockWrong, NamesSilent, NamesWrong, ChallengeNone, ChallengeUnasked, RegistrarSilent, RegistrarOpen, NotifyUnsent, HandsIdle,
	}
}

// ParseSabotage returns the way of that name; blank is none.
func ParseSabotage(name string) (Sabotage, error) {
	s := Sabotage(name)
	if s != "" && !slices.Contains(Sabotages(), s) {
		return "", fmt.Errorf("no sabotage is called %q", name)
	}
	return s, nil
}

var errSabotaged = errors.New("sabotaged")

// saboteur breaks what a lane is made of; the zero value breaks nothing.
type saboteur struct {
	is Sabotage

	mu sync.Mutex
	// old is what each file was when it was first asked for.
	old map[string][]byte
	// capture is the file that frames are written to.
	capture *os.File
	frames  int
	stepped atomic.Bool
	foreign *wire.SwitchPort
	wait    sync.WaitGroup
}

// check refuses a sabotage that is none, on a handset that is one, and one that
// virtual time knows nothing of.
func (s *saboteur) check(simulated, instant bool) error {
	if _, err := ParseSabotage(string(s.is)); err != nil {
		return err
	}
	if s.is != "" && !simulated {
		return fmt.Errorf("sabotage %s: only rigs of simulated handsets are broken on purpose", s.is)
	}
	if s.is == Starved && instant {
		return fmt.Errorf("sabotage %s: on a wire in memory time is virtual and waits for the rig, which so cannot be starved", s.is)
	}
	return nil
}

// Services that end.

// conn is the socket of a UDP service.
func (s *saboteur) conn(service string, c *host.UDPConn) net.PacketConn {
	switch {
	case string(s.is) == service+"-dies":
		return &spoiltConn{UDPConn: c, dies: 1}
	case s.is == PublishSilent && service == "tftpd", s.is == ClockSilent && service == "sntpd", s.is == NamesSilent && service == "dnsd":
		return &spoiltConn{UDPConn: c, deaf: func([]byte) bool { return true }}
	case s.is == RegistrarSilent && service == "sipd":
		return &spoiltConn{UDPConn: c, deaf: func(b []byte) bool { return strings.HasPrefix(string(b), "REGISTER") }}
	case s.is == CallSilent && service == "sipd":
		return &spoiltConn{UDPConn: c, mute: func(b []byte) bool { return strings.HasPrefix(string(b), "INVITE") }}
	}
	return c
}

// spoiltConn is a socket that fails, does not hear or does not speak.
type spoiltConn struct {
	*host.UDPConn
	// dies is at which datagram it fails; 0: never.
	dies       int
	deaf, mute func([]byte) bool
	heard      int
}

// ReadFromTo is the socket's, for one reader.
func (c *spoiltConn) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	for {
		n, from, to, err = c.UDPConn.ReadFromTo(b)
		if err != nil {
			return n, from, to, err
		}
		c.heard++
		if c.heard == c.dies {
			return 0, from, to, errors.Join(errSabotaged, c.Close())
		}
		if c.deaf == nil || !c.deaf(b[:n]) {
			return n, from, to, nil
		}
	}
}

// WriteFromTo is the socket's.
func (c *spoiltConn) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	if c.mute != nil && c.mute(b) {
		return 0, errSabotaged
	}
	return c.UDPConn.WriteFromTo(b, from, to)
}

// listener is the socket of a web server.
func (s *saboteur) listener(secure bool, ln net.Listener) net.Listener {
	if s.is == HTTPDies && !secure || s.is == HTTPSDies && secure {
		return &spoiltListener{Listener: ln, dies: 1}
	}
	return ln
}

type spoiltListener struct {
	net.Listener
	dies, heard int
}

// Accept is the listener's, for one caller.
func (l *spoiltListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.heard++
	if l.heard == l.dies {
		return nil, errors.Join(errSabotaged, c.Close(), l.Close())
	}
	return c, nil
}

// dhcp is the port of the DHCP server.
func (s *saboteur) dhcp(p wire.Port) wire.Port {
	switch s.is {
	case DHCPDies:
		return &spoiltPort{Port: p, dies: 2}
	case OfferSilent:
		return wire.Filter(p, func(wire.Frame) bool { return false })
	default:
		return p
	}
}

// spoiltPort is a port that fails, or loses frames and counts them.
type spoiltPort struct {
	wire.Port
	dies, every int
	heard       int
	lost        atomic.Uint64
}

// Receive is the port's, for one caller.
func (p *spoiltPort) Receive(ctx context.Context) (wire.Frame, error) {
	for {
		f, err := p.Port.Receive(ctx)
		if err != nil {
			return f, err
		}
		p.heard++
		if p.heard == p.dies {
			return f, errSabotaged
		}
		if p.every == 0 || p.heard%p.every != 0 {
			return f, nil
		}
		p.lost.Add(1)
	}
}

// Dropped is how many frames were lost.
func (p *spoiltPort) Dropped() uint64 { return p.lost.Load() }

// cable is the lane's end of the wire.
func (s *saboteur) cable(p wire.Port) wire.Port {
	if s.is == FramesDropped {
		return &spoiltPort{Port: p, every: 10}
	}
	return p
}

// A journal that is not honest.

// record is what services write their journal with.
func (s *saboteur) record(record func(timeline.Event)) func(timeline.Event) {
	unsaid := map[Sabotage]struct {
		by    string
		kinds []timeline.Kind
	}{
		DHCPUnsaid:      {"dhcpd", []timeline.Kind{timeline.DHCPOffer, timeline.DHCPAck, timeline.DHCPNak}},
		TFTPUnsaid:      {"tftpd", []timeline.Kind{timeline.Served}},
		SNTPUnsaid:      {"sntpd", []timeline.Kind{timeline.SNTPResponse}},
		DNSUnsaid:       {"dnsd", []timeline.Kind{timeline.DNSResponse}},
		SIPUnsaid:       {"sipd", []timeline.Kind{timeline.SIPResponse}},
		RequestUnsaid:   {"httpd", []timeline.Kind{timeline.HTTPRequest}},
		HandshakeUnsaid: {"httpd", []timeline.Kind{timeline.Handshake, timeline.TLSClientHello}},
	}
	swallowed, swallows := unsaid[s.is]
	switch {
	case swallows:
		return func(e timeline.Event) {
			if e.By != swallowed.by && e.By != "" || !slices.Contains(swallowed.kinds, e.Kind) {
				record(e)
			}
		}
	case s.is == BytesInvented:
		return func(e timeline.Event) {
			if e.By == "tftpd" && e.Kind == timeline.Served && e.Complete {
				e.Bytes++
			}
			record(e)
		}
	case s.is == FilesInvented:
		return func(e timeline.Event) {
			switch {
			case e.By == "httpd" && e.Kind == timeline.Served && e.Complete:
				e.Bytes++
			case e.By == "httpd" && e.Kind == timeline.ConnClosed && e.Transport == timeline.HTTPS:
				e.Fields = maps.Clone(e.Fields)
				e.Fields["bytes.out"] += "0"
			}
			record(e)
		}
	case s.is == RequestInvented:
		return func(e timeline.Event) {
			record(e)
			if e.By == "httpd" && e.Kind == timeline.HTTPRequest && e.Transport == timeline.HTTP {
				record(e)
			}
		}
	case s.is == AnswerInvented:
		return func(e timeline.Event) {
			record(e)
			if e.By == "sntpd" && e.Kind == timeline.SNTPResponse {
				e.Src = netip.AddrPortFrom(e.Src.Addr(), e.Src.Port()^1)
				record(e)
			}
		}
	}
	return record
}

// create makes the file of a capture; frame counts what is written to it.
func (s *saboteur) create() func(path string) (*os.File, error) {
	if s.is != DiskFull {
		return nil
	}
	return func(path string) (*os.File, error) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the recorder's own file
		s.mu.Lock()
		defer s.mu.Unlock()
		s.capture, s.frames = f, 0
		return f, err
	}
}

// tap sees the frames that reach the rig: in the middle of a recording the file
// that they go to is lost.
func (s *saboteur) tap(keep func(wire.Frame) bool) func(wire.Frame) bool {
	if s.is != DiskFull {
		return keep
	}
	return func(f wire.Frame) bool {
		s.mu.Lock()
		if s.frames++; s.frames == 10 && s.capture != nil {
			_ = s.capture.Close()
		}
		s.mu.Unlock()
		return keep(f)
	}
}

// now is the lane's clock, elapsed one that nobody sets.
func (s *saboteur) now() (now func() time.Time, elapsed func() time.Duration) {
	if s.is != ClockStepped {
		return time.Now, nil
	}
	start := time.Now()
	return func() time.Time {
		if s.stepped.Load() {
			return time.Now().Add(5 * time.Millisecond)
		}
		return time.Now()
	}, func() time.Duration { return time.Since(start) }
}

// power is the handset's supply.
func (s *saboteur) power(p control.Power) control.Power {
	if s.is == PowerSilent {
		return silentPower{p}
	}
	return p
}

// silentPower never hears that the power is to be taken.
type silentPower struct{ control.Power }

// Off implements control.Power.
func (silentPower) Off(context.Context) error {
	return fmt.Errorf("the power port does not answer: %w", errSabotaged)
}

// powered is told of each power that is given: in the middle of a spec.
func (s *saboteur) powered() {
	switch s.is {
	case ClockStepped:
		s.stepped.Store(!s.stepped.Load())
	case Starved:
		s.starve()
	default:
	}
}

// starve keeps one processor busy with more than the rig, for a while.
func (s *saboteur) starve() {
	const others, long = 100, 1500 * time.Millisecond
	was := runtime.GOMAXPROCS(1)
	until := time.Now().Add(long)
	var spinning sync.WaitGroup
	for range others {
		// Ends after long.
		spinning.Go(func() {
			for time.Now().Before(until) {
				for range 1 << 16 {
				}
			}
		})
	}
	// Ends with the spinners.
	s.wait.Go(func() {
		spinning.Wait()
		runtime.GOMAXPROCS(was)
	})
}

// Strangers.

// haunt has another DHCP server answer on the switch whatever the handset asks.
func (s *saboteur) haunt(ctx context.Context, sw *wire.Switch, own net.HardwareAddr) {
	if s.is != StrangeServer {
		return
	}
	s.foreign = sw.Access("stranger", 1)
	// Ends with ctx.
	s.wait.Go(func() {
		for {
			f, err := s.foreign.Receive(ctx)
			if err != nil {
				return
			}
			if !isDHCP(f.Data) || string(f.Data[6:12]) == string(own) {
				continue
			}
			_ = s.foreign.Send(wire.Frame{Data: strangeOffer(f.Data)})
		}
	})
}

// strangeOffer is the OFFER of a server that nobody knows, broadcast.
func strangeOffer(question []byte) []byte {
	server, yours := [4]byte{203, 0, 113, 1}, [4]byte{203, 0, 113, 7}
	in := question[14+int(question[14]&15)*4+8:]
	bootp := make([]byte, 300)
	copy(bootp, []byte{2, 1, 6, 0})
	copy(bootp[4:8], in[4:8]) // xid
	copy(bootp[16:20], yours[:])
	copy(bootp[28:44], in[28:44]) // chaddr
	copy(bootp[236:], []byte{99, 130, 83, 99, 53, 1, 2, 54, 4, server[0], server[1], server[2], server[3], 51, 4, 0, 0, 14, 16, 255})
	out := slices.Concat([]byte{255, 255, 255, 255, 255, 255}, []byte{0x00, 0x00, 0x5e, 0x00, 0x53, 0xee}, []byte{8, 0})
	ip := slices.Concat([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}, server[:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[2:], 20+8+300)
	var sum uint32
	for pair := range slices.Chunk(ip, 2) {
		sum += uint32(binary.BigEndian.Uint16(pair))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	udp := []byte{0, 67, 0, 68, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(udp[4:], 8+300)
	return slices.Concat(out, ip, udp, bootp)
}

// Givens.

func (s *saboteur) lease(l dhcpd.Lease) dhcpd.Lease {
	switch s.is {
	case OfferWithheld:
		l.Options, l.NTP, l.Force = map[uint8][]byte{}, nil, nil
	case OfferWrong:
		for n := range l.Options {
			l.Options[n] = dhcpd.Addrs(netip.AddrFrom4([4]byte{203, 0, 113, 9}))
			if n != 150 {
				l.Options[n] = dhcpd.Text("tftp.invalid")
			}
		}
	default:
	}
	return l
}

type lookup func(name string, from netip.AddrPort) ([]byte, error)

func (s *saboteur) lookup(find lookup) lookup {
	switch s.is {
	case PublishMissing:
		return func(name string, _ netip.AddrPort) ([]byte, error) {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
	case PublishOld:
		return func(name string, from netip.AddrPort) ([]byte, error) {
			content, err := find(name, from)
			s.mu.Lock()
			defer s.mu.Unlock()
			if was, ok := s.old[strings.ToLower(name)]; ok || err != nil {
				return was, err
			}
			if s.old == nil {
				s.old = map[string][]byte{}
			}
			s.old[strings.ToLower(name)] = content
			return content, nil
		}
	default:
		return find
	}
}

// certificate is what is shown in the place of c.
func (s *saboteur) certificate(c *tls.Certificate, label string, other func(string) (*tls.Certificate, error)) (*tls.Certificate, string, error) {
	if s.is != PresentOther && s.is != PresentLies {
		return c, label, nil
	}
	flaw := pki.Good
	if label == pki.Good.String() {
		flaw = pki.Expired
	}
	shown, err := other(flaw.String())
	if s.is == PresentOther {
		label = flaw.String()
	}
	return shown, label, err
}

func (s *saboteur) clock(t time.Time) time.Time {
	if s.is == ClockWrong {
		return t.Add(48 * time.Hour)
	}
	return t
}

func (s *saboteur) names(a []netip.Addr) []netip.Addr {
	if s.is == NamesWrong && len(a) > 0 {
		return []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, 9})}
	}
	return a
}

// hands do what is asked for by hand.
func (s *saboteur) hands(o control.Operator) control.Operator {
	if s.is == HandsIdle {
		looker, _ := o.(control.Looker)
		return idle{looker}
	}
	return o
}

// idle says that it is done and does nothing. Asked what the handset shows, it
// tells the truth.
type idle struct{ eyes control.Looker }

// Do implements control.Operator.
func (idle) Do(context.Context, control.Request) error { return nil }

// Look implements control.Looker.
func (i idle) Look(ctx context.Context, r control.Request) error {
	if i.eyes == nil {
		return nil
	}
	return i.eyes.Look(ctx, r)
}

// auth is what a web server asks for.
func (s *saboteur) auth(a httpd.Auth) httpd.Auth {
	switch s.is {
	case ChallengeNone:
		return httpd.Auth{}
	case ChallengeUnasked:
		if a.User == "" {
			return httpd.Auth{Scheme: httpd.Basic, Realm: "ip88rig", User: "nobody", Password: func() string { return "nothing" }}
		}
	default:
	}
	return a
}

// between comes after a spec, when the recording of what lies between it and the
// next one has begun.
func (s *saboteur) between(l *Lane) {
	if s.is != RestartedBetween || l.sw == nil {
		return
	}
	l.sw.SetPower(false)
	l.sw.SetPower(true)
	tl := l.Recorder.Timeline()
	limit := time.After(l.Handset.Patience.Boot)
	for {
		changed := tl.Changed()
		if _, seen := l.RebootedBetween(); seen {
			return
		}
		select {
		case <-changed:
		case <-limit:
			return
		}
	}
}

// close ends what the saboteur began, once the lane's context has ended.
func (s *saboteur) close() {
	if s.foreign != nil {
		_ = s.foreign.Close()
	}
	s.wait.Wait()
}

// patience is for how long a call may ring that never does.
func (s *saboteur) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.is == CallSilent {
		return context.WithTimeout(ctx, time.Second)
	}
	return ctx, func() {}
}
