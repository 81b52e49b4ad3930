package tftpd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
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
	swapped   []packet         // to be sent behind one of another number
	otherPort *datagram.Socket // for what goes astray, closed with the transfer
	otherAddr *datagram.Socket

	again     int   // packets sent more than once
	oddities  int   // strange packets met
	lastWrite error // of the last packet that could not be sent

	stopped chan string // holds one reason once somebody ended it
	over    *time.Timer // closes sock, once the client has gone on; srv.mu guards it

	silent bool // guarded by srv.mu
}

// packet is an OACK (number 0) or a DATA packet.
type packet struct {
	n       int
	b       []byte
	changed bool // the data is not the file's
}

// latePacket is one whose time has not come.
type latePacket struct {
	packet
	at time.Time
}

func (p packet) message() string {
	if p.n == 0 {
		return "OACK"
	}
	return "DATA"
}

// payload is the data, or the options.
func (p packet) payload() []byte {
	if p.n == 0 {
		return p.b[2:]
	}
	return p.b[4:]
}

// clone is a packet to keep or to change: the one it was made of lives in the
// transfer's buffer.
func (p packet) clone() packet {
	p.b = bytes.Clone(p.b)
	return p
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

// packet builds packet n in the transfer's buffer.
func (t *transfer) packet(n int) packet {
	if n == 0 {
		return packet{b: t.oack}
	}
	from := (n - 1) * t.terms.blockSize
	size := min(t.terms.blockSize, max(len(t.content)-from, 0))
	if t.whole > 0 {
		size = t.terms.blockSize
	}
	b := t.buf[:4+size]
	b[0], b[1] = 0, opData
	binary.BigEndian.PutUint16(b[2:], t.number(n))
	t.read(b[4:], from)
	return packet{n: n, b: b}
}

// read copies the content from an offset on, from its beginning again where it
// is to have no end.
func (t *transfer) read(b []byte, from int) {
	if from < len(t.content) {
		b = b[copy(b, t.content[from:]):]
		from = len(t.content)
	}
	if len(t.content) == 0 {
		clear(b)
		return
	}
	for len(b) > 0 {
		k := copy(b, t.content[from%len(t.content):])
		b, from = b[k:], from+k
	}
}

// number is that of block n on the wire.
func (t *transfer) number(n int) uint16 {
	if t.toOne && n > 65535 {
		return uint16((n-1)%65535 + 1)
	}
	return uint16(n) //nolint:gosec // wraps to 0 past 65535, as clients expect
}

// dispatch sends a packet from the transfer's own port, and behind it those of
// other numbers that were held back until then.
func (t *transfer) dispatch(p packet) {
	t.goesOut(p)
	if len(t.swapped) == 0 {
		return
	}
	held := t.swapped
	t.swapped = nil
	for _, q := range held {
		if q.n == p.n {
			t.swapped = append(t.swapped, q)
			continue
		}
		t.goesOut(q)
	}
}

// goesOut sends a packet and keeps account of what is not the file's: the first
// of a block counts, as it does for a client that gets it.
func (t *transfer) goesOut(p packet) {
	if p.n > t.highest {
		t.highest = p.n
		if p.changed {
			if t.altered == nil {
				t.altered = map[int][]byte{}
			}
			t.altered[p.n] = p.payload()
		}
	}
	t.write(p.b, t.peer)
}

// postpone keeps a packet until its time has come.
func (t *transfer) postpone(p packet, at time.Time) {
	t.late = append(t.late, latePacket{p.clone(), at})
	slices.SortStableFunc(t.late, func(a, b latePacket) int { return a.at.Compare(b.at) })
}

// due sends the late packets whose time has come, and returns when the next one
// is due, or the deadline if that is sooner.
func (t *transfer) due(deadline time.Time) time.Time {
	for len(t.late) > 0 {
		next := t.late[0]
		if time.Now().Before(next.at) {
			if deadline.IsZero() || next.at.Before(deadline) {
				return next.at
			}
			break
		}
		t.late = t.late[1:]
		t.dispatch(next.packet)
	}
	return deadline
}

// linger sends what is late or held back behind the end of the transfer. It
// returns false when the socket was closed meanwhile.
func (t *transfer) linger(end *ending) bool {
	if len(t.late)+len(t.swapped) == 0 {
		return true
	}
	if end == nil || !end.silent {
		t.srv.leave(t) // another request from this port is a new one
	}
	held := t.swapped
	t.swapped = nil
	for _, p := range held {
		t.goesOut(p)
	}
	for len(t.late) > 0 {
		if err := t.swallow(t.due(time.Time{})); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
	}
	return true
}

// fail ends the transfer with an ERROR, unless a fault keeps that back.
func (t *transfer) fail(code uint16, text, why string) *ending {
	code, text, ok := t.srv.errorAt(t.peer, t.local, t.exchange, t.file, code, text)
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
	until := t.due(deadline)
	if err := t.sock.SetReadDeadline(until); err != nil {
		return 0, t.broken(err)
	}
	in := t.in[:]
	for {
		n, from, _, err := t.sock.ReadFromTo(in)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
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
			ahead, around := t.ahead(a.block, first)
			if ahead <= last-first && !t.hears(first+ahead) {
				break
			}
			t.heard = true
			switch {
			case ahead <= last-first:
				return first + ahead, nil
			case ahead < around/2:
				t.odd(from, "ACK", fmt.Sprintf("ACK of block %d, which was not sent yet", first+ahead))
			case t.careless && first+ahead-around >= 0:
				t.again++
				if end := t.put(first + ahead - around + 1); end != nil {
					return 0, end
				}
			}
		}
		// Not every connection lets a deadline pass while packets come.
		if now := time.Now(); !now.Before(deadline) {
			return first - 1, nil
		} else if !now.Before(until) {
			until = t.due(deadline)
			if err := t.sock.SetReadDeadline(until); err != nil {
				return 0, t.broken(err)
			}
		}
	}
}

// ahead is how far the number of an ACK is ahead of a block's on the circle of
// all numbers, and how long way around that is; windows are far smaller.
func (t *transfer) ahead(number uint16, block int) (ahead, around int) {
	if t.toOne {
		return (int(number) - int(t.number(block)) + 65535) % 65535, 65535
	}
	return int(number - uint16(block)), 1 << 16 //nolint:gosec // both wrap
}

// hears tells whether an ACK that takes the transfer further is to be one that
// came.
func (t *transfer) hears(n int) bool {
	if t.srv.cfg.Faults.Empty() {
		return true
	}
	pt := fault.Point{
		Message: "ACK", File: t.file, Phase: "block " + strconv.Itoa(n), Named: true,
		Bytes: min(int64(n)*int64(t.terms.blockSize), t.length()), Exchange: t.exchange,
	}
	_, lost := t.srv.fault(pt, t.peer, t.local, stand{n: n}).(Drop)
	return !lost
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
	if code, text, ok := t.srv.errorAt(from, t.local, t.exchange, t.file, UnknownTransferID, "unknown transfer id"); ok {
		t.write(errorPacket(code, text), from)
	}
}

// swallow keeps the port open without a word until a time (zero: without end)
// or until somebody closes it: the server's end, or the next request of the
// same host. It returns the error of the read that ended it.
func (t *transfer) swallow(until time.Time) error {
	if err := t.sock.SetReadDeadline(until); err != nil {
		return err
	}
	var in [1024]byte
	for {
		if _, _, _, err := t.sock.ReadFromTo(in[:]); err != nil {
			return err
		}
		if !until.IsZero() && !time.Now().Before(until) {
			return nil
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
