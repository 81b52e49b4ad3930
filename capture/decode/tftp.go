package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
)

// Opcodes of RFC 1350 and 2347.
const (
	opRRQ   = 1
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

// Bounds of what is held of transfers.
const (
	maxTransfers    = 256
	maxPending      = 8 << 20
	transferTimeout = 5 * time.Minute
)

// transfer follows one RRQ or WRQ. Its client is known by its TID.
//
// The receiver takes block after block: a block that comes again, or runs ahead, is
// not taken. A receiver that keeps what runs ahead shows that by its ACK.
type transfer struct {
	file    string
	name    string // file as it was asked for, with its leading slash
	client  netip.AddrPort
	server  netip.AddrPort // what was asked; the port is 0 until somebody answered
	asks    netip.Addr     // where the request went
	write   bool
	blksize int
	window  int
	// nozero: the server goes from block 65535 to 1 instead of 0.
	nozero bool

	// before is the transfer that a request sent again may belong to: it crossed
	// the server's first answer, of which nothing was acknowledged yet.
	before *transfer
	// late is the client's previous transfer, of another file and from the same port.
	// The client may send its last ACK after the next request.
	late   *transfer
	failed bool // an ERROR ended it

	moving  bool           // something of the transfer itself was seen
	acked   int            // every block up to here was acknowledged
	taken   int            // every block up to here came in its turn
	claimed int            // acknowledged over blocks that were not seen; 0: nothing is
	last    int            // number of the last block; -1: not seen yet
	pending map[int][]byte // after acked; up to taken none is missing
	held    int            // bytes of pending
	free    [][]byte
	sum     hash.Hash
	bytes   int64
	broken  string // why bytes and digest are not known
	done    bool

	at   time.Time
	turn uint64
}

// tftpDecoder follows transfers, by the client's end.
type tftpDecoder struct {
	*reading
	transfers map[netip.AddrPort]*transfer
}

// decodeTFTP reads RFC 1350, 2347, 2348, 2349 and 7440, and says whether the
// datagram belongs to TFTP. A transfer that began before the recording is not
// recognised.
func (d *tftpDecoder) decodeTFTP(data []byte) bool {
	wellKnown := slices.Contains(d.ports.TFTP, d.dst.Port())
	if wellKnown && len(data) >= 2 && data[0] == 0 && (data[1] == opRRQ || data[1] == opWRQ) {
		d.tftpRequest(data)
		return true
	}
	t, fromClient := d.transfer(data)
	if t == nil {
		if wellKnown {
			d.malformed("TFTP: no request")
		}
		return wellKnown
	}
	if len(data) < 2 || data[0] != 0 || len(data) < 4 && data[1] != opOACK {
		d.malformed("TFTP: packet too short")
		return true
	}
	peer := d.src
	if fromClient {
		peer = d.dst
	}
	if t.before != nil && t.server.Port() == 0 && peer == t.before.server {
		t = t.before
		d.transfers[t.client] = t
	}
	if t.late != nil && peer == t.late.server && peer != t.server {
		// Where a server uses its well-known port as the TID of every transfer, the TID
		// does not distinguish the two. Then only a packet that can be the first of a
		// transfer belongs to the new one.
		sharesTID := slices.Contains(d.ports.TFTP, peer.Port())
		if fromClient || !sharesTID || !t.begins(data) {
			t = t.late
		}
	}
	t.at, t.turn = d.at, d.turn
	op := data[1]
	stray := false
	switch {
	case t.server.Port() != 0:
		stray = peer != t.server
	case !fromClient && t.begins(data):
		t.server = peer
	default:
		stray = !t.asked(peer) && (fromClient || op != opERROR)
	}
	switch op {
	case opDATA:
		d.tftpData(t, stray, fromClient == t.write, data)
	case opACK:
		d.tftpAck(t, stray, fromClient != t.write, int(binary.BigEndian.Uint16(data[2:])))
	case opOACK:
		d.tftpOAck(t, stray, data[2:])
	case opERROR:
		e := d.tftpEvent(timeline.TFTPError, t, stray)
		e.Status = int(binary.BigEndian.Uint16(data[2:]))
		text, _, _ := bytes.Cut(data[4:], []byte{0})
		e.Reason = clip(string(text))
		if t.name != t.file {
			fields := map[string]string{"tftp.source_file": t.name}
			maps.Copy(fields, e.Fields)
			e.Fields = fields
		}
		d.emit(e)
		t.failed = t.failed || !stray
	default:
		d.malformed(fmt.Sprintf("TFTP: opcode %d within a transfer", op))
	}
	return true
}

// transfer finds the transfer that the datagram at hand belongs to. A server with
// several addresses may answer from another one than was asked, and other hosts
// may use any address: from these the packet must look like one of TFTP.
func (d *tftpDecoder) transfer(data []byte) (t *transfer, fromClient bool) {
	// A client's port may soon belong to another socket, one that asks for the time
	// for example.
	for _, ports := range [][]uint16{d.ports.DNS, d.ports.SNTP, d.ports.SIP} {
		if slices.Contains(ports, d.src.Port()) || slices.Contains(ports, d.dst.Port()) {
			return nil, false
		}
	}
	other := len(data) >= 2 && data[0] == 0 && data[1] >= opDATA && data[1] <= opOACK
	if t = d.live(d.src); t != nil && (other || t.asked(d.dst)) {
		return t, true
	}
	if t = d.live(d.dst); t != nil && (other || t.asked(d.src)) {
		return t, false
	}
	return nil, false
}

// asked reports whether this is the host that the client asked or talks with.
func (t *transfer) asked(peer netip.AddrPort) bool {
	return t.server.Addr() == peer.Addr() || t.server.Addr() == broadcast()
}

// begins reports whether a packet of the server is the first of a transfer; a late
// one of the transfer before, from the same client's port, is not. An ERROR
// chooses no TID: nothing follows it.
func (t *transfer) begins(data []byte) bool {
	switch {
	case data[1] == opOACK:
		return true
	case t.write:
		return data[1] == opACK && binary.BigEndian.Uint16(data[2:]) == 0
	default:
		return data[1] == opDATA && binary.BigEndian.Uint16(data[2:]) == 1
	}
}

func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

func (d *tftpDecoder) live(client netip.AddrPort) *transfer {
	t := d.transfers[client]
	if t != nil && d.at.Sub(t.at) > transferTimeout {
		delete(d.transfers, client)
		return nil
	}
	return t
}

func (d *tftpDecoder) tftpRequest(data []byte) {
	words := strings.Split(string(data[2:]), "\x00")
	if d.missing > 0 && len(words) < 3 {
		d.cutShort("TFTP request")
		return
	}
	if d.missing > 0 {
		words[len(words)-1] = "" // of an option; it is not whole
	}
	if len(words) < 3 || words[len(words)-1] != "" || words[0] == "" {
		d.malformed("TFTP: request without name and mode")
		return
	}
	words = words[:len(words)-1]
	kind, write := timeline.TFTPRead, data[1] == opWRQ
	if write {
		kind = timeline.TFTPWrite
	}
	file := clip(strings.TrimPrefix(words[0], "/"))
	t := d.live(d.src)
	// A request sent again from the same TID goes on with its transfer; once
	// that has moved it is a new one from a client with a fixed port. The same
	// holds after an ERROR: nothing of the transfer was kept.
	if t == nil || t.moving || t.file != file || t.write != write {
		var before, late *transfer
		switch {
		case t == nil:
		case t.file != file || t.write != write:
			late = t
		case !t.failed && t.acked == 0 && t.taken <= 1:
			before = t
		}
		if t != nil {
			t.before, t.late = nil, nil
		}
		t = &transfer{
			before: before, late: late,
			file: file, client: d.src, server: netip.AddrPortFrom(d.dst.Addr(), 0), asks: d.dst.Addr(),
			write: write, blksize: 512, window: 1, last: -1,
			pending: map[int][]byte{}, sum: sha256.New(),
		}
		d.keepTransfer(t)
	}
	t.at, t.turn = d.at, d.turn
	e := d.tftpEvent(kind, t, false)
	e.Fields = map[string]string{"tftp.type": clip(words[1])}
	if t.name = clip(words[0]); t.name != file {
		e.Fields["tftp.source_file"] = t.name
	}
	tftpOptions(e.Fields, words[2:])
	d.emit(e)
}

func (d *tftpDecoder) keepTransfer(t *transfer) {
	if len(d.transfers) >= maxTransfers && d.transfers[t.client] == nil {
		var oldest netip.AddrPort
		least := d.turn
		for k, old := range d.transfers {
			if old.turn < least {
				oldest, least = k, old.turn
			}
		}
		delete(d.transfers, oldest)
	}
	d.transfers[t.client] = t
}

// tftpOptions writes "name value" pairs as "tftp.option.<name>".
func tftpOptions(f map[string]string, words []string) {
	for i := 0; i+1 < len(words) && i < 64; i += 2 {
		f["tftp.option."+clip(strings.ToLower(words[i]))] = clip(words[i+1])
	}
}

func (d *tftpDecoder) tftpEvent(kind timeline.Kind, t *transfer, stray bool) timeline.Event {
	e := d.event(kind)
	e.Transport = timeline.TFTP
	e.File = t.file
	if stray {
		e.Fields = map[string]string{"tftp.unknown_tid": "true"}
	}
	return e
}

func (d *tftpDecoder) tftpOAck(t *transfer, stray bool, data []byte) {
	e := d.tftpEvent(timeline.TFTPOAck, t, stray)
	if e.Fields == nil {
		e.Fields = map[string]string{}
	}
	tftpOptions(e.Fields, strings.Split(string(data), "\x00"))
	d.emit(e)
	if stray || t.taken > 0 {
		return
	}
	t.moving = true
	if n, err := strconv.Atoi(e.Fields["tftp.option.blksize"]); err == nil && n >= 8 && n <= 65464 {
		t.blksize = n
	}
	if n, err := strconv.Atoi(e.Fields["tftp.option.windowsize"]); err == nil && n >= 1 && n <= 65535 {
		t.window = n
	}
}

// unwrap finds the block of this number that is nearest to block near.
func (t *transfer) unwrap(near, n int) int {
	period := 65536
	if t.nozero && near > 32768 {
		period = 65535
	}
	n += (near - n) / period * period
	for _, m := range []int{n + period, n - period} {
		if m >= 0 && abs(m-near) < abs(n-near) {
			n = m
		}
	}
	return n
}

func abs(n int) int { return max(n, -n) }

func (d *tftpDecoder) tftpData(t *transfer, stray, rightWay bool, data []byte) {
	number, payload := int(binary.BigEndian.Uint16(data[2:])), data[4:]
	if !stray && rightWay {
		t.wrap(number)
	}
	n := t.unwrap(t.taken+1, number)
	e := d.tftpEvent(timeline.TFTPData, t, stray)
	e.Number, e.Bytes = n, int64(len(payload)+d.missing)
	if !stray && rightWay && t.server.Addr() != t.asks && t.asks != broadcast() && n == 1 {
		e.Fields = map[string]string{"tftp.request_frame.dst": t.asks.String()}
	}
	d.emit(e)
	if stray || !rightWay {
		return
	}
	t.moving = true
	if n <= t.taken || t.done {
		return // sent again: the first one counts
	}
	if len(payload)+d.missing < t.blksize {
		t.last = n
	}
	if d.missing > 0 {
		t.breakOff("cut by the capture")
	}
	inTurn := n == t.taken+1
	if t.claimed > t.acked && n == t.claimed+1 && n > t.acked+t.window && !inTurn {
		// The sender believed what the ACK said.
		if missing := t.unseen(t.claimed); missing != "" {
			t.breakOff(missing)
			t.acked = t.claimed
		}
	}
	if t.broken != "" {
		t.taken = max(t.taken, n)
		return
	}
	if inTurn {
		t.taken, t.claimed = n, 0
		t.forget(n) // whatever ran ahead under this number was not taken
	} else if n > t.taken+t.window || t.pending[n] != nil {
		return
	}
	if t.held+len(payload) > maxPending {
		t.breakOff("too many blocks in flight to follow")
		return
	}
	buf := []byte{}
	if k := len(t.free); k > 0 {
		buf, t.free = t.free[k-1], t.free[:k-1]
	}
	t.pending[n] = append(buf[:0], payload...)
	t.held += len(payload)
}

// wrap learns from the number of a DATA packet how the server counts on after
// block 65535. A 1 in the turn of block 65536 means that it leaves out 0, until
// a 0 comes after all: then the 1 ran ahead of it.
func (t *transfer) wrap(number int) {
	switch {
	case number == 1 && t.taken == 65535 && !t.nozero && t.pending[65536] == nil:
		t.nozero = true
		t.renumber(-1)
	case number == 0 && t.nozero && t.acked <= 65535:
		t.nozero = false
		t.renumber(1)
		t.taken = 65535
	}
}

// renumber moves the blocks that are held from 65536 on.
func (t *transfer) renumber(by int) {
	moved := make(map[int][]byte, len(t.pending))
	for n, data := range t.pending {
		if n > 65535 {
			n += by
		}
		moved[n] = data
	}
	t.pending = moved
}

// forget drops a block that is held.
func (t *transfer) forget(n int) {
	if data, ok := t.pending[n]; ok {
		t.held -= len(data)
		t.free = append(t.free, data)
		delete(t.pending, n)
	}
}

func (t *transfer) breakOff(why string) {
	t.broken = why
	t.pending, t.free, t.held = map[int][]byte{}, nil, 0
}

// unseen says which block up to n is missing, or nothing.
func (t *transfer) unseen(n int) string {
	for i := t.taken + 1; i <= n; i++ {
		if t.pending[i] == nil {
			return fmt.Sprintf("block %d was acknowledged and never seen", i)
		}
	}
	return ""
}

func (d *tftpDecoder) tftpAck(t *transfer, stray, rightWay bool, number int) {
	n := t.unwrap(t.acked, number)
	e := d.tftpEvent(timeline.TFTPAck, t, stray)
	e.Number = n
	if !stray && rightWay {
		t.moving = true
		if !t.done {
			t.acknowledge(n, &e)
		}
	}
	d.emit(e)
}

// acknowledge takes the blocks up to n as delivered, and reports in e how the
// transfer ended if that is the last one. An ACK of blocks that were not seen
// is nothing, unless the sender goes on from there.
func (t *transfer) acknowledge(n int, e *timeline.Event) {
	if t.broken != "" {
		t.acked = max(t.acked, n)
		if n == t.last {
			t.done, e.Reason = true, t.broken
		}
		return
	}
	if missing := t.unseen(n); missing != "" {
		t.claimed = n
		if n == t.last {
			e.Reason = missing
		}
		return
	}
	for i := t.acked + 1; i <= n; i++ {
		data := t.pending[i]
		t.sum.Write(data)
		t.bytes += int64(len(data))
		t.acked, t.taken = i, max(t.taken, i)
		t.forget(i)
		if len(data) < t.blksize {
			t.done = true
			e.Complete, e.Bytes = true, t.bytes
			e.SHA256 = hex.EncodeToString(t.sum.Sum(nil))
			t.breakOff("")
			return
		}
	}
}
