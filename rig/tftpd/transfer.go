package tftpd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// maxOddities bounds what one transfer writes of strange packets into the
// journal; the rest is counted in its last entry.
const maxOddities = 16

// transferSpec is what a transfer is started with.
type transferSpec struct {
	raw      string // the request, to know it when it is sent again
	file     string
	mode     string
	content  []byte // as it goes over the wire
	terms    terms
	peer     netip.AddrPort
	asked    netip.AddrPort // the end the request came to
	silentAt int            // no DATA beyond so many bytes; negative: never silent
}

// transfer sends one file. Packets are numbered as one row: 0 is the OACK if
// there is one, 1 and up are the blocks, counted on past 65535.
type transfer struct {
	transferSpec
	srv     *Server
	sock    *datagram.Socket
	local   netip.AddrPort
	began   time.Time
	timeout time.Duration
	oack    []byte
	blocks  int // number of the last block
	buf     []byte

	again     int   // packets sent more than once
	oddities  int   // strange packets met
	lastWrite error // of the last packet that could not be sent

	stopped chan string // holds one reason once somebody ended it

	silent bool // guarded by srv.mu
}

// ending is how a transfer ended.
type ending struct {
	reason string
	pkt    []byte // ERROR to send as the last word
	code   uint16 // of pkt
	silent bool
}

func newTransfer(s *Server, conn net.PacketConn, spec transferSpec) *transfer {
	t := &transfer{
		transferSpec: spec,
		srv:          s,
		sock:         datagram.Upgrade(conn),
		began:        time.Now(),
		timeout:      s.cfg.Timeout,
		// The last block is the one shorter than the others, empty if need be.
		blocks:  len(spec.content)/spec.terms.blockSize + 1,
		buf:     make([]byte, 4+min(spec.terms.blockSize, len(spec.content))),
		stopped: make(chan string, 1),
	}
	if spec.terms.timeout > 0 {
		t.timeout = time.Duration(spec.terms.timeout) * time.Second
	}
	if len(spec.terms.accepted) > 0 {
		t.oack = optionAck(spec.terms.accepted)
	}
	t.local = t.sock.Local()
	if !t.local.Addr().IsValid() || t.local.Addr().IsUnspecified() {
		t.local = netip.AddrPortFrom(spec.asked.Addr(), t.local.Port())
	}
	return t
}

// stop ends the transfer from outside.
func (t *transfer) stop(why string) {
	select {
	case t.stopped <- why:
	default: // somebody else was first
	}
	_ = t.sock.Close() // wakes its read
}

// run sends the file and journals the outcome. It returns when the transfer
// has ended or ctx has.
func (t *transfer) run(ctx context.Context) {
	defer t.srv.leave(t)
	stop := context.AfterFunc(ctx, func() { t.stop("the server was stopped") })
	defer stop()
	defer func() { _ = t.sock.Close() }()

	acked, end := t.send()
	if end != nil && end.silent {
		t.srv.mu.Lock()
		t.silent = true
		t.srv.mu.Unlock()
	}
	t.journal(acked, end)
	switch {
	case end == nil:
	case end.pkt != nil:
		t.write(end.pkt, t.peer)
	case end.silent:
		t.swallow()
	}
}

// send delivers everything. It returns how many blocks were acknowledged, and
// nil when that is all of them.
func (t *transfer) send() (acked int, end *ending) {
	if t.oack != nil {
		if _, end := t.deliver(0, 0); end != nil {
			return 0, end
		}
	}
	for acked < t.blocks {
		n, end := t.deliver(acked+1, min(acked+t.terms.window, t.blocks))
		if end != nil {
			return acked, end
		}
		acked = n
	}
	if t.silentAt >= 0 {
		t.odd(t.peer, "DATA", fmt.Sprintf("told to fall silent after %d bytes, but the file has %d", t.silentAt, len(t.content)))
	}
	return acked, nil
}

// deliver sends the packets first to last until at least the first of them is
// acknowledged, and returns the last one that is: after a gap the window goes
// on from there (RFC 7440 section 4).
func (t *transfer) deliver(first, last int) (acked int, end *ending) {
	for try := range t.srv.cfg.Tries {
		if try > 0 {
			t.again += last - first + 1
		}
		for n := first; n <= last; n++ {
			if end := t.put(n); end != nil {
				return 0, end
			}
		}
		n, end := t.await(first, last, time.Now().Add(t.timeout))
		if end != nil || n >= first {
			return n, end
		}
	}
	why := fmt.Sprintf("%s: timeout after %d tries", t.name(first), t.srv.cfg.Tries)
	if t.lastWrite != nil {
		why += ": " + t.lastWrite.Error()
	}
	return 0, &ending{reason: why}
}

// put sends packet n, unless a fault says otherwise.
func (t *transfer) put(n int) *ending {
	pt := fault.Point{Message: "OACK", File: t.file}
	from, to := 0, 0
	if n > 0 {
		pt.Message = "DATA"
		if t.srv.cfg.Faults != nil {
			pt.Phase = "block " + strconv.Itoa(n)
		}
		from = (n - 1) * t.terms.blockSize
		to = min(n*t.terms.blockSize, len(t.content))
	}
	drop := false
	// A transfer that is to fall silent is not asked about again, so that a
	// rule on its file counts once per transfer.
	if t.silentAt < 0 {
		switch e := t.srv.fault(pt, t.peer, t.local).(type) {
		case Drop:
			drop = true
		case Fail:
			return errorEnding(e.Code, e.Text, t.name(n)+", as told")
		case FallSilent:
			t.silentAt = e.AfterBytes
		case nil:
		}
	}
	if t.silentAt == 0 || (t.silentAt > 0 && to > t.silentAt) {
		return &ending{reason: fmt.Sprintf("%s: fell silent, as told", t.name(n)), silent: true}
	}
	if drop {
		return nil
	}
	pkt := t.oack
	if n > 0 {
		pkt = t.buf[:4+to-from]
		pkt[0], pkt[1] = 0, opData
		binary.BigEndian.PutUint16(pkt[2:], uint16(n)) //nolint:gosec // wraps to 0 past 65535, as clients expect
		copy(pkt[4:], t.content[from:to])
	}
	t.write(pkt, t.peer)
	return nil
}

// fail ends the transfer with an ERROR, unless a fault keeps that back.
func (t *transfer) fail(code uint16, text, why string) *ending {
	code, text, ok := t.srv.errorAt(t.peer, t.local, t.file, code, text)
	if !ok {
		return &ending{reason: fmt.Sprintf("%s: ERROR %d %q not sent, as told", why, code, text)}
	}
	return errorEnding(code, text, why)
}

func errorEnding(code uint16, text, why string) *ending {
	return &ending{reason: fmt.Sprintf("%s: ERROR %d %q", why, code, text), pkt: errorPacket(code, text), code: code}
}

// await waits for an acknowledgement of one of the packets first to last. It
// returns a number below first when none came in time. Whatever else comes
// does not prolong the wait, and an ACK of an earlier block is nothing: to
// answer it would double every packet from there on (RFC 1123 section
// 4.2.3.1).
func (t *transfer) await(first, last int, deadline time.Time) (acked int, end *ending) {
	if err := t.sock.SetReadDeadline(deadline); err != nil {
		return 0, t.broken(err)
	}
	var in [1024]byte
	for {
		n, from, _, err := t.sock.ReadFromTo(in[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return first - 1, nil
		case err != nil:
			return 0, t.broken(err)
		case from != t.peer:
			t.stranger(in[:n], from)
		default:
			a, err := parseAnswer(in[:n])
			if err != nil {
				// RFC 1350 section 2: a packet that no delay or duplication
				// explains ends the transfer.
				t.odd(from, opName(a.op), err.Error())
				return 0, t.fail(IllegalOperation, "not an ACK", err.Error())
			}
			if a.op == opError {
				return 0, &ending{reason: fmt.Sprintf("%s: the client sent ERROR %d %q", t.name(first), a.code, a.text)}
			}
			// Distance on the circle of 65536; windows are far smaller.
			switch ahead := int(a.block - uint16(first)); { //nolint:gosec // both wrap
			case ahead <= last-first:
				return first + ahead, nil
			case ahead < 1<<15:
				t.odd(from, "ACK", fmt.Sprintf("ACK of block %d, which was not sent yet", first+ahead))
			}
		}
		// Not every connection lets a deadline pass while packets come.
		if !time.Now().Before(deadline) {
			return first - 1, nil
		}
	}
}

// broken says why the socket failed: somebody closed it, or the network did.
func (t *transfer) broken(err error) *ending {
	select {
	case why := <-t.stopped:
		return &ending{reason: why}
	default:
		return &ending{reason: err.Error()}
	}
}

// stranger answers a packet from another end with ERROR 5; the transfer goes
// on (RFC 1350 section 4). An ERROR is never answered.
func (t *transfer) stranger(b []byte, from netip.AddrPort) {
	a, _ := parseAnswer(b)
	t.odd(from, opName(a.op), fmt.Sprintf("%s from another transfer id than %v", opName(a.op), t.peer))
	if a.op == opError {
		return
	}
	if code, text, ok := t.srv.errorAt(from, t.local, t.file, UnknownTransferID, "unknown transfer id"); ok {
		t.write(errorPacket(code, text), from)
	}
}

// swallow keeps the port open without a word until somebody closes it: the
// server's end, or the next request of the same host.
func (t *transfer) swallow() {
	if err := t.sock.SetReadDeadline(time.Time{}); err != nil {
		return
	}
	var in [1024]byte
	for {
		if _, _, _, err := t.sock.ReadFromTo(in[:]); err != nil {
			return
		}
	}
}

// write sends a packet. One that cannot be sent is like one lost on the way (a
// cable that is out for a second is not the end): it is sent again in time.
func (t *transfer) write(pkt []byte, to netip.AddrPort) {
	if _, t.lastWrite = t.sock.WriteFromTo(pkt, netip.AddrPort{}, to); t.lastWrite != nil {
		t.odd(to, opName(binary.BigEndian.Uint16(pkt)), "not sent: "+t.lastWrite.Error())
	}
}

func (t *transfer) odd(from netip.AddrPort, message, why string) {
	t.oddities++
	if t.oddities <= maxOddities {
		t.srv.odd(from, t.local, t.file, message, why)
	}
}

// name is a packet's name in the words of the field.
func (t *transfer) name(n int) string {
	if n == 0 {
		return "OACK"
	}
	return "block " + strconv.Itoa(n)
}

// journal says how the transfer ended; bytes and hash are those that were
// acknowledged.
func (t *transfer) journal(acked int, end *ending) {
	got := t.content[:min(acked*t.terms.blockSize, len(t.content))]
	sum := sha256.Sum256(got)
	opts := make([]string, 0, len(t.terms.accepted))
	for _, o := range t.terms.accepted {
		opts = append(opts, o.name+"="+o.value)
	}
	e := timeline.Event{
		Kind: timeline.Served, Src: t.peer, Dst: t.local, File: t.file,
		Bytes: int64(len(got)), SHA256: hex.EncodeToString(sum[:]), Complete: end == nil,
		Fields: map[string]string{
			"tftp.type":       t.mode,
			"blksize":         strconv.Itoa(t.terms.blockSize),
			"windowsize":      strconv.Itoa(t.terms.window),
			"blocks":          strconv.Itoa(acked),
			"retransmissions": strconv.Itoa(t.again),
			"milliseconds":    strconv.FormatInt(time.Since(t.began).Milliseconds(), 10),
		},
	}
	if len(opts) > 0 {
		e.Fields["options"] = strings.Join(opts, " ")
	}
	if t.oddities > 0 {
		e.Fields["oddities"] = strconv.Itoa(t.oddities)
	}
	if end != nil {
		e.Reason = end.reason
		if end.pkt != nil {
			e = refusal(e, end.code)
		}
	}
	t.srv.record(e)
}
