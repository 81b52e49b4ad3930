// Package sntpd tells handsets the time: an SNTP server after RFC 4330 (the
// on-wire format is RFC 5905) that answers client requests on a socket handed
// to it, with the time that a scenario wants the handset to have. What time it
// is decides whether a handset finds a certificate expired, so the clock is
// asked anew for every client and every answer.
//
// Datagrams are handled one after another, and each answer stands in the
// journal before it is sent, as it is sent. Faults are asked for once per
// request, when it came, at
//
//	fault.Point{Service: "sntpd", Message: "SNTP", Phase: "answer"}
package sntpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

const (
	name = "sntpd"

	// packetLen is an SNTP message without authenticator (RFC 4330 section 4).
	packetLen = 48

	modeClient = 3
	modeServer = 4

	leapUnsynchronised = 3

	// precision is that of the stamps, log2 of seconds: about a microsecond.
	precision = -20
)

// Config is what a Server needs. It is not read any more once New returned.
type Config struct {
	// Conn is where requests arrive, usually on port 123. Serve closes it. A
	// socket bound to the unspecified address tells the address that a request
	// came to through ReadFromTo and answers from it through WriteFromTo;
	// what becomes of others says datagram.Upgrade.
	Conn net.PacketConn
	// Clock says what time to tell a client when it really is now. With false
	// the client is told that the server is not synchronised (leap indicator 3,
	// stratum 0, "INIT"). Nil tells the real time.
	Clock func(client netip.Addr, now time.Time) (time.Time, bool)
	// Open opens a socket on a fresh port of the address that a request came to.
	// Only FromOtherPort uses it, and cannot be done if it is nil. The server
	// closes it.
	Open func(local netip.Addr) (net.PacketConn, error)
	// Stratum of the answers, 1 to 15; 0 means 1.
	Stratum uint8
	// Leap is the leap indicator of the answers: 0 none, 1 the last minute has
	// 61 seconds, 2 it has 59.
	Leap uint8
	// Record takes events into the journal. It must not be nil.
	Record func(timeline.Event)
	// Faults is the plan in force; nil misbehaves never.
	Faults *fault.Plan
	// Now is the lane's clock; nil means time.Now.
	Now func() time.Time
}

// Server answers SNTP requests.
type Server struct {
	sock    *datagram.Socket
	open    func(netip.Addr) (net.PacketConn, error)
	clock   func(netip.Addr, time.Time) (time.Time, bool)
	stratum uint8
	leap    uint8
	record  func(timeline.Event)
	faults  *fault.Plan
	now     func() time.Time

	// told is what each client was told last. Only serve's goroutine uses it.
	told map[netip.Addr]time.Time
}

// New checks cfg and returns a server that does not listen to its socket yet.
// The error names the field that is wrong.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("sntpd: Conn is missing")
	case cfg.Record == nil:
		return nil, errors.New("sntpd: Record is missing")
	case cfg.Stratum > 15:
		return nil, fmt.Errorf("sntpd: Stratum %d is not within 1 to 15", cfg.Stratum)
	case cfg.Leap > 2:
		return nil, fmt.Errorf("sntpd: Leap %d is not within 0 to 2; let Clock return false to be unsynchronised", cfg.Leap)
	}
	s := &Server{
		sock: datagram.Upgrade(cfg.Conn), open: cfg.Open, clock: cfg.Clock,
		stratum: max(cfg.Stratum, 1), leap: cfg.Leap,
		record: cfg.Record, faults: cfg.Faults, now: cfg.Now,
		told: map[netip.Addr]time.Time{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.clock == nil {
		s.clock = func(_ netip.Addr, now time.Time) (time.Time, bool) { return now, true }
	}
	return s, nil
}

// Serve answers requests until ctx ends, then closes the socket and returns
// nil. It returns an error when the socket fails before that. It may be called
// once.
func (s *Server) Serve(ctx context.Context) error {
	s.record(timeline.Event{By: name, Kind: timeline.ServiceUp, Dst: s.sock.Local()})
	err := s.serve(ctx)
	down := timeline.Event{By: name, Kind: timeline.ServiceDown, Dst: s.sock.Local()}
	if err != nil {
		down.Reason = err.Error()
	}
	s.record(down)
	return err
}

// Release has every answer sent now that a fault delays.
func (s *Server) Release() { s.sock.Release() }

func (s *Server) serve(ctx context.Context) error {
	err := s.sock.Serve(ctx, func(b []byte, from, to netip.AddrPort) datagram.Reply {
		a := s.answer(b, from, to, s.now())
		if a == nil {
			return datagram.Reply{}
		}
		return datagram.Reply{Delay: a.delay, Send: func(ctx context.Context) { s.send(ctx, a, from, to) }}
	})
	if err != nil {
		return fmt.Errorf("sntpd: read on %v: %w", s.sock.Local(), err)
	}
	return nil
}

// answer is what is sent to a client, and how.
type answer struct {
	leap, version, mode, stratum, poll byte
	refID                              string
	origin                             uint64
	// received and sent are what the client is told.
	received, sent time.Time
	why            string

	length int // in bytes, what is behind that is cut off
	delay  time.Duration
	fresh  bool // from a fresh port
	drop   bool // not at all
}

// same tells whether nobody can tell two answers apart.
func (a *answer) same(b *answer) bool {
	return bytes.Equal(a.bytes(), b.bytes()) && a.delay == b.delay && a.fresh == b.fresh && a.drop == b.drop
}

// bytes is the message (RFC 5905 section 7.3).
func (a *answer) bytes() []byte {
	out := make([]byte, packetLen)
	out[0] = a.leap<<6 | a.version<<3 | a.mode
	out[1] = a.stratum
	out[2] = a.poll
	out[3] = byte(256 + precision)
	copy(out[12:16], a.refID)
	binary.BigEndian.PutUint64(out[16:], Stamp(a.received)) // reference
	binary.BigEndian.PutUint64(out[24:], a.origin)
	binary.BigEndian.PutUint64(out[32:], Stamp(a.received)) // receive
	binary.BigEndian.PutUint64(out[40:], Stamp(a.sent))     // transmit
	return out[:a.length]
}

// answer says what one datagram is answered, nil: nothing. What is odd about it
// and what goes wrong on purpose is recorded.
func (s *Server) answer(b []byte, from, to netip.AddrPort, received time.Time) *answer {
	if len(b) < packetLen {
		s.oddity(from, to, fmt.Sprintf("%d bytes are no SNTP message, which has %d", len(b), packetLen))
		return nil
	}
	version, mode := b[0]>>3&7, b[0]&7
	switch {
	case version < 1 || version > 4:
		s.oddity(from, to, fmt.Sprintf("version %d is not within 1 to 4", version))
		return nil
	case mode == modeClient:
	case mode == 0 && version == 1:
		// NTPv1 (RFC 1059) knew no modes; RFC 1305 appendix B keeps such clients served.
	default:
		s.oddity(from, to, fmt.Sprintf("mode %d is not a client's", mode))
		return nil
	}

	rec, synced := s.clock(from.Addr(), received)
	sent, _ := s.clock(from.Addr(), s.now())
	a := &answer{
		leap: s.leap, version: version, mode: modeServer, stratum: s.stratum, refID: "LOCL",
		poll:     b[2],                            // copied (RFC 4330 section 6)
		origin:   binary.BigEndian.Uint64(b[40:]), // the client's transmit stamp
		received: rec, sent: sent, length: packetLen,
	}
	if !synced {
		a.leap, a.stratum, a.refID, a.why = leapUnsynchronised, 0, "INIT", "not synchronised"
	}
	last, before := s.told[from.Addr()]
	s.fault(a, from, to, last, before)
	if a.drop {
		return nil
	}
	s.told[from.Addr()] = a.sent
	return a
}

// fault asks the plan, has it change the answer, and journals what it says. last
// is what the client was told before, if it was.
func (s *Server) fault(a *answer, from, to netip.AddrPort, last time.Time, before bool) {
	if s.faults.Empty() {
		return
	}
	_, sentence, ok := s.faults.Try(fault.Point{Service: name, Message: "SNTP", Phase: "answer"}, func(e fault.Effect) bool {
		picks, picky := e.(choosy)
		return s.Can(e) == nil && (!picky || picks.fits(before))
	}, func(e fault.Effect) bool {
		own, ok := e.(Effect)
		spoilt := *a
		if ok {
			own.act(&spoilt, last)
		}
		if spoilt.same(a) {
			return false
		}
		*a = spoilt
		return true
	})
	if ok {
		s.record(timeline.Event{By: name, Kind: timeline.FaultFired, Src: from, Dst: to, Reason: sentence})
	}
}

// send records an answer and sends it.
func (s *Server) send(ctx context.Context, a *answer, from, to netip.AddrPort) {
	out := a.bytes()
	s.record(timeline.Event{
		By: name, Kind: timeline.SNTPResponse, Src: from, Dst: to, Reason: a.why, Bytes: int64(len(out)),
		Fields: map[string]string{
			"ntp.flags.vn":   strconv.Itoa(int(a.version)),
			"ntp.flags.li":   strconv.Itoa(int(a.leap)),
			"ntp.flags.mode": strconv.Itoa(int(a.mode)),
			"ntp.stratum":    strconv.Itoa(int(a.stratum)),
			"ntp.refid":      a.refID,
			"ntp.xmt":        a.sent.UTC().Format(time.RFC3339Nano),
		},
	})
	sock := s.sock
	if a.fresh {
		conn, err := s.open(to.Addr())
		if err != nil {
			s.record(timeline.Event{
				By: name, Kind: timeline.ServiceOddity, Src: from, Dst: to, Reason: fmt.Sprintf("no other port to answer from: %v", err),
				Fields: map[string]string{timeline.FaultUndone: FromOtherPort{}.String()},
			})
			return
		}
		defer func() { _ = conn.Close() }()
		sock = datagram.Upgrade(conn)
		to = sock.Local()
	}
	if _, err := sock.WriteFromTo(out, to, from); err != nil && ctx.Err() == nil {
		s.oddity(from, to, fmt.Sprintf("answer to %v: %v", from, err))
	}
}

func (s *Server) oddity(from, to netip.AddrPort, reason string) {
	s.record(timeline.Event{By: name, Kind: timeline.ServiceOddity, Src: from, Dst: to, Reason: reason})
}

// epoch is how many seconds lie between 1900, where NTP counts from, and 1970.
const epoch = 2208988800

// Stamp returns t as an NTP timestamp: seconds since 1900 in the upper 32 bits,
// the fraction in the lower (RFC 5905 section 6). The seconds wrap at
// 2036-02-07 06:28:16 UTC, where era 1 begins with 0, and in 1899 likewise:
// the era does not travel.
func Stamp(t time.Time) uint64 {
	seconds := uint64(t.Unix()+epoch) & 0xffffffff //nolint:gosec // wraps on purpose: only the place within an era travels
	fraction := uint64(t.Nanosecond()) << 32 / 1e9 //nolint:gosec // 0 to 999999999
	return seconds<<32 | fraction
}
