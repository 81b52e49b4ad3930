package virtual

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"ip88rig/rig/virtual/flash"
)

// AuthorityPath is where the Web Manager takes an authority: POST of a PEM
// text. The vendor's page is not known; this one is as small as it can be.
const AuthorityPath = "/authority"

// WebManagerPort is where the Web Manager listens on the handset's address.
const WebManagerPort = 80

const (
	maxAuthority   = 256 << 10
	managerPatient = 30 * time.Second
)

// manager is the Web Manager while it is on. A nil manager is off.
type manager struct {
	server *http.Server
	done   chan struct{}  // closed when it serves no more
	conns  sync.WaitGroup // connections that are open
}

// adjustWeb switches the Web Manager on or off, as the field web_server says.
func (b *boot) adjustWeb(ctx context.Context) {
	want := b.h.settings().text(webServer) != "0"
	switch {
	case want == (b.web != nil):
	case !want:
		b.web.end()
		b.web = nil
	default:
		l, err := b.net.host.ListenTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), WebManagerPort))
		if err != nil {
			b.h.log.Warn("web manager", "error", err)
			return
		}
		m := &manager{done: make(chan struct{})}
		mux := http.NewServeMux()
		mux.HandleFunc("POST "+AuthorityPath, b.h.postAuthority)
		m.server = &http.Server{
			Handler: mux, ReadTimeout: managerPatient, WriteTimeout: managerPatient,
			ConnState:   m.count,
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		b.web = m
		b.task(func() { // ends by end, which the boot's end calls
			defer close(m.done)
			if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				b.h.log.Warn("web manager", "error", err)
			}
		})
	}
}

func (m *manager) end() {
	if m == nil {
		return
	}
	_ = m.server.Close() // the listener's error: it is gone either way
	<-m.done
	m.conns.Wait()
}

// count keeps count of the connections, which have a goroutine each.
func (m *manager) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		m.conns.Done()
	case http.StateActive, http.StateIdle:
	}
}

func (h *Handset) postAuthority(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAuthority))
	if err == nil {
		err = h.upload(text)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// upload stores the authorities of a PEM text.
func (h *Handset) upload(text []byte) error {
	certs, err := flash.ParseAuthority(text)
	if err != nil {
		return err
	}
	if err := h.flash.Update(func(s *flash.State) { h.addAuthorities(s, certs) }); err != nil {
		return err
	}
	for _, c := range certs {
		h.log.Info("authority uploaded", "subject", c.Subject.String())
	}
	return nil
}
