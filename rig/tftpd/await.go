package tftpd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"ip88rig/rig/fault"
)

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

// hears reports whether an ACK that takes the transfer further is to be one that
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

// linger sends what is late or held back until the end of the transfer. It
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
