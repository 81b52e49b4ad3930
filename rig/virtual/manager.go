package virtual

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"ip88rig/rig/virtual/defect"
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

// webManager switches the Web Manager of a boot on and off.
type webManager struct {
	*device

	net   *network
	tasks *sync.WaitGroup
	on    *manager // nil: it is off
}

// manager is the Web Manager while it is on. A nil manager is off.
type manager struct {
	server *http.Server
	done   chan struct{}  // closed when it serves no more
	conns  sync.WaitGroup // connections that are open
}

// adjust switches the Web Manager on or off, as the field web_server says.
func (w *webManager) adjust(ctx context.Context) {
	want := w.settings().text(webServer) != "0"
	switch {
	case want == (w.on != nil):
	case !want:
		w.on.end()
		w.on = nil
	default:
		l, err := w.net.host.ListenTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), WebManagerPort))
		if err != nil {
			w.log.Warn("web manager", "error", err)
			return
		}
		m := &manager{done: make(chan struct{})}
		mux := http.NewServeMux()
		mux.HandleFunc("POST "+AuthorityPath, w.postAuthority)
		m.server = &http.Server{
			Handler: mux, ReadTimeout: managerPatient, WriteTimeout: managerPatient,
			ConnState:   m.count,
			BaseContext: func(net.Listener) context.Context { return ctx },
		}
		w.on = m
		w.tasks.Go(func() { // ends by end, which the boot's end calls
			defer close(m.done)
			if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				w.log.Warn("web manager", "error", err)
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

func (w *webManager) postAuthority(to http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(to, r.Body, maxAuthority))
	if err == nil {
		err = w.upload(text)
	}
	if err != nil {
		http.Error(to, err.Error(), http.StatusBadRequest)
		return
	}
	to.WriteHeader(http.StatusNoContent)
}

// upload stores the authorities of a PEM text.
func (d *device) upload(text []byte) error {
	certs, err := flash.ParseAuthority(text)
	if err != nil {
		return err
	}
	if err := d.flash.Update(func(s *flash.State) {
		if d.has(defect.UploadReplaces) {
			s.Installed, s.Uploaded = nil, nil
		}
		s.Upload(certs)
	}); err != nil {
		return err
	}
	for _, c := range certs {
		d.log.Info("authority uploaded", "subject", c.Subject.String())
	}
	return nil
}

// authorities are all that the handset trusts.
func (d *device) authorities() []*x509.Certificate {
	own, err := d.flash.Authorities()
	if err != nil {
		d.log.Error("authorities", "error", err) // flash checks them: does not happen
	}
	if d.has(defect.NoPublicAuthorities) {
		return own
	}
	return append(own, d.cfg.PublicAuthorities...)
}
