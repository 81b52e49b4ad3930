package tftpd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram"
	"ip88rig/rig/fault"
)

// transferSpec is what a transfer is started with.
type transferSpec struct {
	raw     string // the request, to know it when it is sent again
	file    string
	mode    string
	content []byte // as it goes over the wire
	terms   terms
	peer    netip.AddrPort
	asked   netip.AddrPort // the end the request came to

	exchange *fault.Exchange
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
	in      [1024]byte // what the client says

	heard   bool           // the client answered
	highest int            // number of the last block that went out
	altered map[int][]byte // what went out first of a block, where it is not the file's

	// What faults set.
	silentAt  int              // no DATA beyond so many bytes; negative: never silent
	hush      bool             // silentAt was reached
	toOne     bool             // block 65536 is 1 on the wire
	whole     int              // the file goes on without an end up to this block, if above 0
	careless  bool             // an ACK is answered however often it comes
	late      []latePacket     // to be sent yet, the soonest first
	swapped   []packet         // to be sent after one of another number
	otherPort *datagram.Socket // for what goes astray, closed with the transfer
	otherAddr *datagram.Socket

	again     int   // packets sent more than once
	oddities  int   // strange packets met
	lastWrite error // of the last packet that could not be sent

	stopped chan string // holds one reason once somebody ended it
	over    *time.Timer // closes sock, once the client has gone on; srv.mu guards it

	silent bool // guarded by srv.mu
}

func newTransfer(s *Server, conn net.PacketConn, spec transferSpec) *transfer {
	t := &transfer{
		transferSpec: spec,
		srv:          s,
		sock:         datagram.Upgrade(conn),
		began:        time.Now(),
		silentAt:     -1,
		stopped:      make(chan string, 1),
	}
	t.agree(spec.terms)
	t.local = t.sock.Local()
	if !t.local.Addr().IsValid() || t.local.Addr().IsUnspecified() {
		t.local = netip.AddrPortFrom(spec.asked.Addr(), t.local.Port())
	}
	return t
}

// agree makes the terms those of the transfer, before its first block is sent.
func (t *transfer) agree(now terms) {
	t.terms = now
	// The last block is the one shorter than the others, empty if need be.
	t.blocks = len(t.content)/now.blockSize + 1
	t.buf = make([]byte, 4+min(now.blockSize, len(t.content)))
	t.timeout = t.srv.cfg.Timeout
	if now.timeout > 0 {
		t.timeout = time.Duration(now.timeout) * time.Second
	}
	t.oack = nil
	if len(now.accepted) > 0 {
		t.oack = optionAck(now.accepted)
	}
}

// stop ends the transfer from outside.
func (t *transfer) stop(why string) {
	select {
	case t.stopped <- why:
	default: // somebody else was first
	}
	_ = t.sock.Close() // wakes its read
}

// overtakes is how long a transfer that a new request ended still hears what was
// sent to it before.
const overtakes = 50 * time.Millisecond

// overtaken is stop for a client that goes on from the same port. Its last ACK
// went to another socket than its new request, which may be read first.
func (t *transfer) overtaken(why string) {
	t.srv.mu.Lock()
	defer t.srv.mu.Unlock()
	if t.silent {
		t.stop(why)
		return
	}
	if t.over != nil {
		return
	}
	select {
	case t.stopped <- why:
	default: // somebody else was first
	}
	t.over = time.AfterFunc(overtakes, func() { _ = t.sock.Close() })
}

// run sends the file and journals the outcome. It returns when the transfer
// has ended or ctx has.
func (t *transfer) run(ctx context.Context) {
	defer t.srv.leave(t)
	defer func() {
		t.srv.mu.Lock()
		defer t.srv.mu.Unlock()
		if t.over != nil {
			t.over.Stop()
		}
	}()
	stop := context.AfterFunc(ctx, func() { t.stop("the server was stopped") })
	defer stop()
	defer func() {
		for _, sock := range []*datagram.Socket{t.sock, t.otherPort, t.otherAddr} {
			if sock != nil {
				_ = sock.Close()
			}
		}
	}()

	acked, end := t.send()
	if end != nil && end.silent {
		t.srv.mu.Lock()
		t.silent = true
		t.srv.mu.Unlock()
	}
	handed := t.journal(acked, end)
	if t.silentAt >= 0 && !t.hush {
		why := fmt.Sprintf("the client had all of the file after %d bytes", handed) // another fault made it shorter
		if end != nil {
			why = fmt.Sprintf("the transfer ended after %d bytes: %s", handed, end.reason)
		}
		t.srv.unable(t.peer, t.local, t.file, "DATA", why, FallSilent{t.silentAt}.String())
	}
	switch {
	case end == nil:
		t.srv.fault(fault.Point{Message: "done", File: t.file, Bytes: handed, Exchange: t.exchange}, t.peer, t.local, stand{})
	case end.pkt != nil:
		t.write(end.pkt, t.peer)
	}
	if !t.linger(end) {
		return
	}
	if end != nil && end.silent {
		_ = t.swallow(time.Time{})
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
		if cut := t.cut(acked); cut > 0 {
			return cut, nil
		}
	}
	if last, ok := t.altered[t.blocks]; ok && len(last) >= t.terms.blockSize {
		return acked, &ending{reason: fmt.Sprintf("%s: sent with %d bytes, as told: not the last for the client", t.name(t.blocks), len(last)), silent: true}
	}
	return acked, nil
}

// length is how much is sent of a file.
func (t *transfer) length() int64 {
	if t.whole > 0 {
		return int64(t.whole) * int64(t.terms.blockSize)
	}
	return int64(len(t.content))
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

// cut is the first block that went out shorter than a whole one and was
// acknowledged: for the client the file ends there. It is 0 if there is none.
func (t *transfer) cut(acked int) int {
	first := 0
	for n, payload := range t.altered {
		if len(payload) < t.terms.blockSize && n <= acked && (first == 0 || n < first) {
			first = n
		}
	}
	return first
}

// put sends packet n, unless a fault says otherwise.
func (t *transfer) put(n int) *ending {
	if t.srv.cfg.Faults.Empty() {
		return t.emit(n)
	}
	p := t.packet(n)
	if end := t.hushed(p); end != nil {
		return end
	}
	pt := fault.Point{Message: p.message(), File: t.file, Exchange: t.exchange}
	at := stand{
		n: n, payload: len(p.payload()), last: n == t.blocks && t.whole == 0, heard: t.heard, wrapped: t.toOne,
		served: true, length: t.length(), silent: t.silentAt >= 0,
	}
	if n > 0 {
		pt.Phase = "block " + strconv.Itoa(n)
		pt.Bytes = int64(n-1) * int64(t.terms.blockSize)
	} else {
		at.opts = t.terms.accepted
	}
	switch e := t.srv.fault(pt, t.peer, t.local, at).(type) {
	case onPacket:
		e.act(t, p)
		return nil
	case onCourse:
		return e.end(t, p)
	default:
		return t.emit(n)
	}
}

// emit sends packet n, unless the transfer is to be silent here.
func (t *transfer) emit(n int) *ending {
	p := t.packet(n)
	if end := t.hushed(p); end != nil {
		return end
	}
	t.dispatch(p)
	return nil
}

// hushed ends a transfer that is to be silent before this packet.
func (t *transfer) hushed(p packet) *ending {
	end := 0
	if p.n > 0 {
		end = (p.n-1)*t.terms.blockSize + len(p.payload())
	}
	t.hush = t.silentAt == 0 || t.silentAt > 0 && end > t.silentAt
	if t.hush || t.whole > 0 && p.n > t.whole {
		return &ending{reason: fmt.Sprintf("%s: fell silent, as told", t.name(p.n)), silent: true}
	}
	return nil
}

// fail ends the transfer with an ERROR, unless a fault keeps that back.
func (t *transfer) fail(code uint16, text, why string) *ending {
	code, text, ok := t.srv.errorAt(t.peer, t.local, t.exchange, t.file, code, text)
	if !ok {
		return &ending{reason: fmt.Sprintf("%s: ERROR %d %q not sent, as told", why, code, text)}
	}
	return errorEnding(code, text, why)
}

// ending is how a transfer ended.
type ending struct {
	reason string
	pkt    []byte // ERROR to send as the last word
	code   uint16 // of pkt
	silent bool
}

func errorEnding(code uint16, text, why string) *ending {
	return &ending{reason: fmt.Sprintf("%s: ERROR %d %q", why, code, text), pkt: errorPacket(code, text), code: code}
}

// journal says how the transfer ended; bytes and hash are those that were
// acknowledged, as they went out. It returns how many bytes that are.
func (t *transfer) journal(acked int, end *ending) int64 {
	size, sum := t.acknowledged(acked)
	opts := make([]string, 0, len(t.terms.accepted))
	for _, o := range t.terms.accepted {
		opts = append(opts, o.name+"="+o.value)
	}
	e := timeline.Event{
		Kind: timeline.Served, Src: t.peer, Dst: t.local, File: t.file,
		Bytes: size, SHA256: sum, Complete: end == nil,
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
	if end == nil && acked < t.blocks {
		e.Reason = t.name(acked) + ": sent short, as told: the last for the client"
	}
	if end != nil {
		e.Reason = end.reason
		if end.pkt != nil {
			e = refusal(e, end.code)
		}
	}
	t.srv.record(e)
	return size
}

// acknowledged is the size and digest of the blocks up to this one as they
// went out.
func (t *transfer) acknowledged(acked int) (size int64, digest string) {
	if len(t.altered) == 0 && t.whole == 0 {
		got := t.content[:min(acked*t.terms.blockSize, len(t.content))]
		sum := sha256.Sum256(got)
		return int64(len(got)), hex.EncodeToString(sum[:])
	}
	sum := sha256.New()
	for n := 1; n <= acked; n++ {
		payload, ok := t.altered[n]
		if !ok {
			payload = t.packet(n).payload()
		}
		_, _ = sum.Write(payload) // a hash takes everything
		size += int64(len(payload))
	}
	return size, hex.EncodeToString(sum.Sum(nil))
}

// maxOddities bounds what one transfer writes of strange packets into the
// journal; the rest is counted in its last entry.
const maxOddities = 16

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
