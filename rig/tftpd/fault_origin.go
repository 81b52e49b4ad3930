package tftpd

import (
	"errors"
	"net"

	"ip88rig/rig/datagram"
)

// FromOtherPort sends an OACK or DATA packet from another port than the
// transfer's: a wrong transfer id, which the client answers with ERROR 5 while
// the transfer goes on (RFC 1350 section 4). With Besides it follows the right
// one; without, it is sent in its place, which is no fault before the client
// has answered the transfer's own port, so it waits until then.
type FromOtherPort struct{ Besides bool }

func (e FromOtherPort) String() string { return stray("port", e.Besides) }

func (e FromOtherPort) fits(at stand) bool { return at.packet() && (e.Besides || at.heard) }

func (e FromOtherPort) act(t *transfer, p packet) {
	t.astray(p, e.String(), e.Besides, &t.otherPort, func() (net.PacketConn, error) {
		return t.srv.cfg.Transfer(t.asked.Addr())
	})
}

// FromOtherAddress sends an OACK or DATA packet from another address, with the
// transfer's port. Besides is that of FromOtherPort. It needs Config.Elsewhere.
type FromOtherAddress struct{ Besides bool }

func (e FromOtherAddress) String() string { return stray("address", e.Besides) }

func (e FromOtherAddress) fits(at stand) bool { return at.packet() && (e.Besides || at.heard) }

func (e FromOtherAddress) act(t *transfer, p packet) {
	t.astray(p, e.String(), e.Besides, &t.otherAddr, func() (net.PacketConn, error) {
		return t.srv.elsewhere(t.local.Port())
	})
}

// AnswerElsewhere serves a request from another address than the one that was
// asked, from the first packet to the last. It needs Config.Elsewhere.
type AnswerElsewhere struct{}

func (AnswerElsewhere) String() string { return "answers from another address" }

func (AnswerElsewhere) fits(at stand) bool { return at.begins() }

// begin has nothing left to do: the transfer's socket is opened there.
func (AnswerElsewhere) begin(*transfer) {}

func stray(what string, besides bool) string {
	if besides {
		return "sends it from another " + what + " besides"
	}
	return "sends it from another " + what
}

// astray sends a packet from a socket that is opened when it is first needed,
// and stays open as long as the transfer: a closed one would tell the client.
func (t *transfer) astray(p packet, told string, besides bool, sock **datagram.Socket, open func() (net.PacketConn, error)) {
	if besides {
		t.dispatch(p)
	}
	if *sock == nil {
		conn, err := open()
		if err != nil {
			t.srv.unable(t.peer, t.local, t.file, p.message(), "no socket to go astray: "+err.Error(), told)
			return
		}
		*sock = datagram.Upgrade(conn)
	}
	if _, err := (*sock).WriteFromTo(p.b, (*sock).Local(), t.peer); err != nil {
		t.srv.unable(t.peer, t.local, t.file, p.message(), "not sent: "+err.Error(), told)
	}
}

// elsewhere opens a socket at another address of the host.
func (s *Server) elsewhere(port uint16) (net.PacketConn, error) {
	if s.cfg.Elsewhere == nil {
		return nil, errors.New("no other address")
	}
	return s.cfg.Elsewhere(port)
}
