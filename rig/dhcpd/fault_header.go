package dhcpd

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
)

// WrongXID answers with another transaction than the client's: every bit of it
// is turned over.
type WrongXID struct{}

func (WrongXID) String() string { return "answers another transaction" }

func (WrongXID) act(o *outgoing) bool {
	o.edit(func(b []byte) []byte {
		for i := 4; i < 8; i++ {
			b[i] ^= 0xff
		}
		return b
	})
	o.note("with another xid")
	return true
}

// WrongChaddr answers for another client: MAC stands in chaddr. The frame goes
// where it would have gone.
type WrongChaddr struct{ MAC string }

func (e WrongChaddr) String() string { return fmt.Sprintf("answers for the client %s", e.MAC) }

func (e WrongChaddr) check() error {
	if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 {
		return fmt.Errorf("%q is not an Ethernet address", e.MAC)
	}
	return nil
}

func (e WrongChaddr) fits(o *outgoing) bool {
	mac, err := net.ParseMAC(e.MAC)
	return err == nil && mac.String() != o.m.mac
}

func (e WrongChaddr) act(o *outgoing) bool {
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return false
	}
	o.edit(func(b []byte) []byte { copy(b[28:], mac); return b })
	o.note("for the client %v", mac)
	return true
}

// WrongHlen says in hlen that an address has so many bytes; it has 6.
type WrongHlen struct{ Len uint8 }

func (e WrongHlen) String() string { return fmt.Sprintf("says that a MAC has %d bytes", e.Len) }

func (e WrongHlen) check() error {
	if e.Len == 6 {
		return fmt.Errorf("%d is right", e.Len)
	}
	return nil
}

func (e WrongHlen) act(o *outgoing) bool {
	o.edit(func(b []byte) []byte { b[2] = e.Len; return b })
	o.note("with hlen %d", e.Len)
	return true
}

// WrongCookie puts Cookie in the place of 0x63825363, which tells options from
// a vendor area (RFC 2131 section 3). 0 is that of an empty vendor area.
type WrongCookie struct{ Cookie uint32 }

func (e WrongCookie) String() string { return fmt.Sprintf("sends the magic cookie 0x%08x", e.Cookie) }

func (e WrongCookie) check() error {
	if e.Cookie == binary.BigEndian.Uint32([]byte(magicCookie)) {
		return fmt.Errorf("0x%08x is right", e.Cookie)
	}
	return nil
}

func (e WrongCookie) act(o *outgoing) bool {
	o.edit(func(b []byte) []byte { binary.BigEndian.PutUint32(b[cookieAt:], e.Cookie); return b })
	o.note("with the cookie 0x%08x", e.Cookie)
	return true
}

// Truncate cuts the message to so many bytes. UDP and IP say that it is no
// longer.
type Truncate struct{ Len int }

func (e Truncate) String() string { return fmt.Sprintf("cuts it to %d bytes", e.Len) }

func (e Truncate) check() error {
	if e.Len < 0 || e.Len >= maxDatagram-ipUDPLen {
		return fmt.Errorf("%d bytes are no part of a message", e.Len)
	}
	return nil
}

func (e Truncate) fits(o *outgoing) bool {
	b, _ := o.bytes()
	return len(b) > e.Len
}

func (e Truncate) act(o *outgoing) bool {
	o.cut = e.Len + 1
	o.note("cut to %d bytes", e.Len)
	return true
}

// Overwrite puts Bytes into the message, from the byte At on counted from op.
// It is for what has no effect of its own.
type Overwrite struct {
	At    int
	Bytes string
}

func (e Overwrite) String() string {
	return fmt.Sprintf("writes %s over it from byte %d on", hex.EncodeToString([]byte(e.Bytes)), e.At)
}

func (e Overwrite) check() error {
	if e.At < 0 || e.Bytes == "" || e.At+len(e.Bytes) > maxDatagram-ipUDPLen {
		return fmt.Errorf("%d bytes from %d on are not within a message", len(e.Bytes), e.At)
	}
	return nil
}

func (e Overwrite) act(o *outgoing) bool {
	o.edit(func(b []byte) []byte {
		if n := e.At + len(e.Bytes) - len(b); n > 0 {
			b = append(b, make([]byte, n)...)
		}
		copy(b[e.At:], e.Bytes)
		return b
	})
	o.note("with %x from byte %d on", e.Bytes, e.At)
	return true
}
