// Package tftpc is the TFTP client of the simulated handset: read requests in
// octet mode after RFC 1350, with the options of RFC 2347, 2348 and 2349. It is
// strict about transfer ids and block numbers, because the rig's server
// misbehaves on purpose.
package tftpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/rig/virtual/defect"
)

// Opcodes (RFC 1350, 5; RFC 2347).
const (
	opRRQ   = 1
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

// Code is a TFTP error code (RFC 1350, appendix; RFC 2347).
type Code uint16

// The error codes.
const (
	NotDefined      Code = 0
	FileNotFound    Code = 1
	AccessViolation Code = 2
	DiskFull        Code = 3
	IllegalOp       Code = 4
	UnknownID       Code = 5
	FileExists      Code = 6
	NoSuchUser      Code = 7
	RefusedOption   Code = 8
)

const (
	plainBlock   = 512 // block size without the option, in bytes
	defaultLimit = 64 << 20
	maxPacket    = 65536
	leastBuffer  = 4096 // holds any packet that is not DATA
	roomAhead    = 1 << 20
)

// ErrTimeout is returned when the server stayed silent through all tries.
var ErrTimeout = errors.New("tftp: server silent")

// errOptions is an answer to the options that was refused.
var errOptions = errors.New("options refused")

// ServerError is an ERROR packet of the server.
type ServerError struct {
	Code Code
	Text string
}

// Error says code and text.
func (e *ServerError) Error() string { return fmt.Sprintf("tftp: error %d %q", e.Code, e.Text) }

// BrokenError is a transfer that ended before its file did.
type BrokenError struct {
	// Got is what had come until then.
	Got []byte
	// Err says why it ended.
	Err error
}

// Error says why the transfer ended.
func (e *BrokenError) Error() string { return e.Err.Error() }

// Unwrap returns why the transfer ended.
func (e *BrokenError) Unwrap() error { return e.Err }

// Partial returns what had come of the file.
func (e *BrokenError) Partial() []byte { return e.Got }

// Option is one option of a read request, in the order of the request.
type Option struct{ Name, Value string }

// ParseOptions reads "tsize blksize=1428 timeout=3"; tsize without a value asks
// for the size.
func ParseOptions(list string) ([]Option, error) {
	var out []Option
	for word := range strings.FieldsSeq(list) {
		name, value, _ := strings.Cut(word, "=")
		name = strings.ToLower(name)
		if name == "tsize" && value == "" {
			value = "0"
		}
		if !slices.Contains([]string{"tsize", "blksize", "timeout"}, name) {
			return nil, fmt.Errorf("tftp option %q: want tsize, blksize or timeout", name)
		}
		if _, err := strconv.ParseUint(value, 10, 32); err != nil {
			return nil, fmt.Errorf("tftp option %s: value %q is not a number", name, value)
		}
		out = append(out, Option{name, value})
	}
	return out, nil
}

// Config says how to read.
type Config struct {
	// Listen opens a socket on a port of its own for one transfer.
	Listen func(ctx context.Context) (net.PacketConn, error)
	// Server is where read requests go; port 69 when the port is 0.
	Server netip.AddrPort
	// Options are asked for; none when empty.
	Options []Option
	// Timeout is waited for the next packet before the last one is sent again.
	// It must be positive.
	Timeout time.Duration
	// Tries is how often a packet is sent, at least once.
	Tries int
	// Limit is the longest file taken, in bytes; 64 MiB when it is 0.
	Limit int
	// Defects are the handset's.
	Defects defect.Set
}

// Get reads a file. Errors are a *ServerError, ErrTimeout, ctx's error, or a
// violation of the protocol by the server; on an error nothing of the file is
// returned, but a *BrokenError holds what of it had come.
func Get(ctx context.Context, cfg Config, name string) ([]byte, error) {
	if cfg.Timeout <= 0 {
		return nil, fmt.Errorf("tftp: RRQ %q: timeout %v is not positive", name, cfg.Timeout)
	}
	if cfg.Limit <= 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Server.Port() == 0 {
		cfg.Server = netip.AddrPortFrom(cfg.Server.Addr(), 69)
	}
	if strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("tftp: RRQ %q: name holds a NUL", name)
	}
	for {
		body, err := get(ctx, cfg, name)
		switch {
		case err == nil:
			return body, nil
		case len(cfg.Options) > 0 && withoutOptions(err):
			cfg.Options = nil // RFC 2347: ask again without
			continue
		case cfg.onceMore(ctx, err):
			continue
		}
		return nil, fmt.Errorf("tftp: RRQ %q to %v: %w", name, cfg.Server, err)
	}
}

// withoutOptions reports whether the one or the other side would not have the
// options.
func withoutOptions(err error) bool {
	var refused *ServerError
	return errors.Is(err, errOptions) || errors.As(err, &refused) && refused.Code == RefusedOption
}

// onceMore reports whether a defect asks for the file again, after a pause.
func (cfg Config) onceMore(ctx context.Context, err error) bool {
	var broken *BrokenError
	switch {
	case errors.As(err, &broken):
		if !cfg.Defects.Has(defect.RestartsTransfer) {
			return false
		}
	case !errors.Is(err, ErrTimeout) || !cfg.Defects.Has(defect.RetriesForever):
		return false
	}
	pause := time.NewTimer(cfg.Timeout)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func get(ctx context.Context, cfg Config, name string) ([]byte, error) {
	conn, err := cfg.Listen(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()                                      //nolint:errcheck // nothing was written that could be lost
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck,gosec // it only wakes the reader
	defer stop()

	t := transfer{cfg: cfg, conn: conn, block: plainBlock, size: -1}
	body, err := t.run(ctx, readRequest(name, cfg.Options))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil && t.peer.IsValid() {
		err = &BrokenError{t.body, err}
	}
	return body, err
}

// transfer is one read request and what follows.
type transfer struct {
	cfg  Config
	conn net.PacketConn
	peer netip.AddrPort // the server's transfer id, invalid until its first answer
	last []byte         // the packet to send again
	// repeated says that it was, because what it answers came again.
	repeated bool
	block    int    // block size, in bytes
	size     int64  // announced by tsize, or -1
	done     uint64 // blocks taken
	repeats  int    // packets sent again because nothing came
	body     []byte
	lost     error // why the last packet did not leave, if it did not
}

// tired is how many repeats are too many for the defect tires-of-repeats.
const tired = 5

func (t *transfer) run(ctx context.Context, request []byte) ([]byte, error) {
	if err := t.send(request); err != nil {
		return nil, err
	}
	buf := make([]byte, t.longest())
	for try := 1; ; {
		deadline := time.Now().Add(t.cfg.Timeout)
		took, finished, err := t.wait(buf, deadline)
		switch {
		case err != nil:
			return nil, err
		case finished:
			if t.size >= 0 && t.size != int64(len(t.body)) {
				return nil, fmt.Errorf("tsize %d announced, %d bytes came", t.size, len(t.body))
			}
			return t.body, nil
		case took:
			try = 1
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case try >= t.cfg.Tries || t.cfg.Defects.Has(defect.NeverRetries):
			return nil, errors.Join(fmt.Errorf("block %d: no answer to %d tries: %w", t.done+1, try, ErrTimeout), t.lost)
		default:
			try++
			t.repeats++
			if t.repeats >= tired && t.cfg.Defects.Has(defect.TiresOfRepeats) {
				return t.body, nil
			}
			if err := t.resend(); err != nil {
				return nil, err
			}
		}
	}
}

// longest is how long a packet may be, and one byte more: longer ones are too long
// as well.
func (t *transfer) longest() int {
	most := leastBuffer
	for _, o := range t.cfg.Options {
		if n, err := strconv.Atoi(o.Value); err == nil && strings.EqualFold(o.Name, "blksize") {
			most = max(most, min(n+5, maxPacket))
		}
	}
	return most
}

// wait reads until something new has come (took), the file is complete, or the
// deadline has passed. Packets that belong to nothing do not move the deadline.
func (t *transfer) wait(buf []byte, deadline time.Time) (took, finished bool, err error) {
	for {
		if err := t.conn.SetReadDeadline(deadline); err != nil {
			return false, false, err
		}
		n, addr, err := t.conn.ReadFrom(buf)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return false, false, nil
			}
			return false, false, err
		}
		from := addrPort(addr)
		if !t.belongs(from) {
			// RFC 1350, 4: the transfer is not disturbed by it. An ERROR is never
			// answered (RFC 1350, 7).
			if n >= 2 && binary.BigEndian.Uint16(buf) == opERROR {
				continue
			}
			if err := t.sendTo(errorPacket(UnknownID, "unknown transfer id"), from); err != nil {
				return false, false, err
			}
			continue
		}
		took, finished, err := t.take(buf[:n], from)
		if took || finished || err != nil {
			return took, finished, err
		}
	}
}

// belongs reports whether a packet comes from the server's transfer id, or may
// set it: any port of the server's address.
func (t *transfer) belongs(from netip.AddrPort) bool {
	if t.cfg.Defects.Has(defect.AnyTransferID) {
		return true
	}
	if t.peer.IsValid() {
		return from == t.peer
	}
	return from.Addr() == t.cfg.Server.Addr().Unmap()
}

func (t *transfer) take(p []byte, from netip.AddrPort) (took, finished bool, err error) {
	if len(p) < 4 {
		return false, false, nil
	}
	first := !t.peer.IsValid()
	switch binary.BigEndian.Uint16(p) {
	case opERROR:
		text, _, _ := strings.Cut(string(p[4:]), "\x00")
		return false, false, &ServerError{Code(binary.BigEndian.Uint16(p[2:])), text}
	case opOACK:
		if !first && t.done == 0 && len(t.last) == 4 {
			return false, false, t.repeat() // our ACK of it was lost
		}
		if !first || len(t.cfg.Options) == 0 {
			return false, false, nil
		}
		t.peer = from
		if err := t.accept(p[2:]); err != nil {
			return false, false, errors.Join(fmt.Errorf("%w: %w", errOptions, err), t.send(errorPacket(RefusedOption, err.Error())))
		}
		if t.size > int64(t.cfg.Limit) {
			return false, false, t.tooLong()
		}
		return true, false, t.send(ackPacket(0))
	case opDATA:
		number, data := binary.BigEndian.Uint16(p[2:]), p[4:]
		switch {
		case number == 0 && uint16(t.done+1) == 0 && t.cfg.Defects.Has(defect.BlockWrapStops): //nolint:gosec // as below
			err := errors.New("block 0 after 65535")
			return false, false, errors.Join(err, t.send(errorPacket(IllegalOp, "block number")))
		case number == uint16(t.done+1): //nolint:gosec // block numbers wrap on purpose
		case !first && number == uint16(t.done) && t.done > 0: //nolint:gosec // as above
			return false, false, t.repeat() // our ACK was lost; one ACK for one DATA
		default:
			return false, false, nil
		}
		t.peer = from
		if len(data) > t.block {
			err := fmt.Errorf("block %d holds %d bytes, %d were agreed", t.done+1, len(data), t.block)
			return false, false, errors.Join(err, t.send(errorPacket(IllegalOp, "block too long")))
		}
		if len(t.body)+len(data) > t.cfg.Limit {
			return false, false, t.tooLong()
		}
		t.done++
		t.body = append(t.body, data...)
		return true, len(data) < t.block, t.send(ackPacket(number))
	default:
		return false, false, nil
	}
}

func (t *transfer) tooLong() error {
	err := fmt.Errorf("file is longer than %d bytes", t.cfg.Limit)
	return errors.Join(err, t.send(errorPacket(DiskFull, "file too long")))
}

// accept takes the server's answer to the options: only what was asked for, and
// no larger block than asked for (RFC 2347, 2348, 2349).
func (t *transfer) accept(p []byte) error {
	got, err := parseOptions(p)
	if err != nil {
		return err
	}
	for _, o := range got {
		i := slices.IndexFunc(t.cfg.Options, func(asked Option) bool { return strings.EqualFold(asked.Name, o.Name) })
		if i < 0 {
			return fmt.Errorf("option %s was not asked for", o.Name)
		}
		value, err := strconv.ParseInt(o.Value, 10, 64)
		if err != nil || value < 0 {
			return fmt.Errorf("option %s: value %q is not a number", o.Name, o.Value)
		}
		switch strings.ToLower(o.Name) {
		case "blksize":
			asked, err := strconv.ParseInt(t.cfg.Options[i].Value, 10, 64)
			if err != nil || value < 8 || value > asked {
				return fmt.Errorf("option blksize: %d answered, %s asked for", value, t.cfg.Options[i].Value)
			}
			t.block = int(value)
		case "tsize":
			t.size = value
			t.body = slices.Grow(t.body, int(min(value, roomAhead)))
		case "timeout":
			if o.Value != t.cfg.Options[i].Value {
				return fmt.Errorf("option timeout: %s answered, %s asked for", o.Value, t.cfg.Options[i].Value)
			}
		}
	}
	return nil
}

// send remembers the packet, to be sent again.
func (t *transfer) send(p []byte) error {
	t.last, t.repeated = p, false
	return t.resend()
}

func (t *transfer) resend() error {
	to := t.peer
	if !to.IsValid() {
		to = t.cfg.Server
	}
	return t.sendTo(t.last, to)
}

// repeat answers something that has come again as before, but once only: what
// comes a third time is no sign of a lost ACK, and a careless server on a wire
// that doubles frames would be told to double each block. Our timer does the
// rest.
func (t *transfer) repeat() error {
	switch {
	case t.cfg.Defects.Has(defect.NeverRetries):
		return nil
	case t.cfg.Defects.Has(defect.DoublesAcks):
		if err := t.resend(); err != nil {
			return err
		}
	case t.repeated:
		return nil
	}
	t.repeated = true
	return t.resend()
}

// sendTo takes a packet that could not be sent (no route, no neighbour) for a
// lost one: the next try may do better.
func (t *transfer) sendTo(p []byte, to netip.AddrPort) error {
	_, t.lost = t.conn.WriteTo(p, net.UDPAddrFromAddrPort(to))
	if errors.Is(t.lost, net.ErrClosed) {
		return t.lost
	}
	return nil
}

func readRequest(name string, options []Option) []byte {
	p := []byte{0, opRRQ}
	p = append(p, name...)
	p = append(p, "\x00octet\x00"...)
	for _, o := range options {
		p = append(p, o.Name+"\x00"+o.Value+"\x00"...)
	}
	return p
}

func ackPacket(block uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, opACK}, block)
}

func errorPacket(code Code, text string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, opERROR}, uint16(code))
	return append(append(p, text...), 0)
}

// parseOptions reads the NUL-ended pairs of an OACK.
func parseOptions(p []byte) ([]Option, error) {
	var out []Option
	for len(p) > 0 {
		name, rest, ok := strings.Cut(string(p), "\x00")
		value, rest, ok2 := strings.Cut(rest, "\x00")
		if !ok || !ok2 || name == "" {
			return nil, errors.New("options are cut off")
		}
		out = append(out, Option{name, value})
		p = []byte(rest)
	}
	return out, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
