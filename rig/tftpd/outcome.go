package tftpd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
)

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
