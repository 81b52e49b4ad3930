package virtual

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/host"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

// lab is the network of a handset, as small as it can be: each service knows
// just enough to be talked to, and everything asked of it is noted in order.
type lab struct {
	t    *testing.T
	sw   *wire.Switch
	port *wire.SwitchPort // the handset's
	host *host.Host

	mu      sync.Mutex
	notes   []string
	change  chan struct{}
	options map[uint8][]byte
	files   map[string]string
	senders map[string]bool // MACs that downloads came from
	phone   string          // the address to give
	lease   time.Duration
	late    time.Duration                                     // what the time server is ahead
	sip     *net.UDPAddr                                      // where the last REGISTER came from
	web     func(w http.ResponseWriter, r *http.Request) bool // answers before http does, or leaves it to that
	slow    time.Duration                                     // what the time server takes to answer
	silent  bool                                              // the DHCP server answers nothing
	refuses string                                            // status of the registrar's answers in place of 200
	clock   func(answer []byte) []byte                        // what becomes of the time server's answer, nil for none
}

const (
	labServer = "192.0.2.1"
	labPhone  = "192.0.2.50"
)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, sw: wire.NewSwitch(), change: make(chan struct{}), options: map[uint8][]byte{}, files: map[string]string{}, senders: map[string]bool{}, phone: labPhone, lease: time.Hour}
	l.port = l.sw.Access("handset", 1)
	l.options[150] = net.ParseIP(labServer).To4()
	cable := l.sw.Access("server", 1)
	h, err := host.New(t.Context(), host.Config{
		Port: &snoop{cable, l}, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}, Addrs: []netip.Prefix{netip.MustParsePrefix(labServer + "/24")}, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.host = h
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	claim := h.Claim(func(f []byte) bool {
		return len(f) > 38 && f[23] == 17 && binary.BigEndian.Uint16(f[36:]) == 67
	})
	tasks.Go(func() { l.dhcp(ctx, claim) })
	tftp, err := h.ListenUDP(netip.MustParseAddrPort("0.0.0.0:69"))
	if err != nil {
		t.Fatal(err)
	}
	tasks.Go(func() { l.tftp(tftp, &tasks) })
	sip, err := h.ListenUDP(netip.MustParseAddrPort("0.0.0.0:5060"))
	if err != nil {
		t.Fatal(err)
	}
	tasks.Go(func() { l.registrar(sip) })
	clock, err := h.ListenUDP(netip.MustParseAddrPort("0.0.0.0:123"))
	if err != nil {
		t.Fatal(err)
	}
	tasks.Go(func() { l.sntp(clock) })
	web, err := h.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(l.http), ReadHeaderTimeout: time.Minute}
	tasks.Go(func() {
		if err := server.Serve(web); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		_, _, _, _, _ = server.Close(), h.Close(), tftp.Close(), sip.Close(), clock.Close()
		tasks.Wait()
	})
	return l
}

// snoop notes which stations downloads come from.
type snoop struct {
	wire.Port
	l *lab
}

func (s *snoop) Receive(ctx context.Context) (wire.Frame, error) {
	f, err := s.Port.Receive(ctx)
	if err == nil && len(f.Data) > 38 && f.Data[23] == 17 && binary.BigEndian.Uint16(f.Data[36:]) == 69 {
		s.l.mu.Lock()
		s.l.senders[net.HardwareAddr(f.Data[6:12]).String()] = true
		s.l.mu.Unlock()
	}
	return f, err
}

func (l *lab) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
	close(l.change)
	l.change = make(chan struct{})
}

func (l *lab) publish(name, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text == "" {
		delete(l.files, name)
		return
	}
	l.files[name] = text
}

func (l *lab) file(name string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, ok := l.files[name]
	return text, ok
}

// count tells how many notes there are so far.
func (l *lab) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.notes)
}

// since returns the notes from the nth on.
func (l *lab) since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.notes[n:])
}

// until waits for a note with a prefix, from the nth on, and returns the notes
// up to it.
func (l *lab) until(from int, prefix string) []string {
	l.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		change, notes := l.change, slices.Clone(l.notes[from:])
		l.mu.Unlock()
		if i := slices.IndexFunc(notes, func(s string) bool { return strings.HasPrefix(s, prefix) }); i >= 0 {
			return notes[:i+1]
		}
		select {
		case <-change:
		case <-limit:
			l.t.Fatalf("no %q among\n%s", prefix, strings.Join(notes, "\n"))
		}
	}
}

func (l *lab) dhcp(ctx context.Context, port wire.Port) {
	for {
		f, err := port.Receive(ctx)
		if err != nil {
			return
		}
		req, err := dhcpv4.FromBytes(f.Data[42:])
		if err != nil {
			l.t.Error(err)
			return
		}
		kind := dhcpv4.MessageTypeOffer
		switch req.MessageType() {
		case dhcpv4.MessageTypeDiscover:
			l.note("boot %s", net.HardwareAddr(f.Data[6:12]))
		case dhcpv4.MessageTypeRequest:
			kind = dhcpv4.MessageTypeAck
			if req.ServerIdentifier() == nil && req.ClientIPAddr.IsUnspecified() {
				l.note("boot %s", net.HardwareAddr(f.Data[6:12]))
			} else if req.ServerIdentifier() == nil {
				l.note("renew %v", req.ClientIPAddr)
			}
		default:
			continue
		}
		l.mu.Lock()
		phone, lease, silent := net.ParseIP(l.phone), l.lease, l.silent
		l.mu.Unlock()
		if silent {
			continue
		}
		if had := req.ClientIPAddr; !had.IsUnspecified() && !had.Equal(phone) {
			l.note("nak")
			kind = dhcpv4.MessageTypeNak
		}
		res, err := dhcpv4.NewReplyFromRequest(req, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(phone),
			dhcpv4.WithServerIP(net.ParseIP(labServer)), dhcpv4.WithLeaseTime(uint32(lease/time.Second)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(labServer))))
		if err != nil {
			l.t.Error(err)
			return
		}
		l.mu.Lock()
		for code, value := range l.options {
			res.UpdateOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value))
		}
		l.mu.Unlock()
		if err := port.Send(wire.Frame{Data: udpTo(f.Data[6:12], res.ToBytes())}); err != nil {
			return
		}
	}
}

// udpTo is a frame from the server's port 67 to port 68 of a station.
func udpTo(mac, payload []byte) []byte {
	b := append(append([]byte{}, mac...), 0, 0, 0x5e, 0, 0x53, 1, 8, 0)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(28+len(payload)))
	b = append(b, 0, 0, 0, 0, 64, 17, 0, 0)
	b = append(b, net.ParseIP(labServer).To4()...)
	b = append(b, net.ParseIP(labPhone).To4()...)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum+sum>>16))
	b = append(b, 0, 67, 0, 68)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func (l *lab) tftp(conn net.PacketConn, tasks *sync.WaitGroup) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		name, _, _ := strings.Cut(string(buf[2:n]), "\x00")
		l.note("tftp %s", name)
		text, ok := l.file(name)
		tasks.Go(func() { l.transfer(from, text, ok) })
	}
}

// breakOff in a file ends its transfer there; over TFTP it stands at the end of
// a block.
const breakOff = "\x00break off\x00"

func (l *lab) transfer(to net.Addr, text string, ok bool) {
	conn, err := l.host.ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if !ok {
		_, _ = conn.WriteTo([]byte("\x00\x05\x00\x01none\x00"), to)
		return
	}
	ack := make([]byte, 600)
	for block := 1; ; block++ {
		if strings.HasPrefix(text, breakOff) {
			return
		}
		part := text[:min(512, len(text))]
		text = text[len(part):]
		_, _ = conn.WriteTo(append([]byte{0, 3, byte(block >> 8), byte(block)}, part...), to)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, _, err := conn.ReadFrom(ack); err != nil || n < 4 || ack[1] != 4 || len(part) < 512 {
			return
		}
	}
}

// sntp tells a time that is late ahead.
func (l *lab) sntp(conn net.PacketConn) {
	buf := make([]byte, 100)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		l.note("sntp")
		if n < 48 {
			continue
		}
		l.mu.Lock()
		now, slow, clock := time.Now().Add(l.late), l.slow, l.clock
		l.mu.Unlock()
		time.Sleep(slow) //nolint:forbidigo // a server that takes its time
		const to1900 = 2208988800
		res := make([]byte, 48)
		res[0], res[1] = 4<<3|4, 1
		copy(res[24:32], buf[40:48])
		for _, at := range []int{16, 32, 40} {
			binary.BigEndian.PutUint32(res[at:], uint32(now.Unix()+to1900))
		}
		if clock != nil {
			res = clock(res)
		}
		_, _ = conn.WriteTo(res, from)
	}
}

func (l *lab) http(w http.ResponseWriter, r *http.Request) {
	l.note("http %s", strings.TrimPrefix(r.URL.Path, "/"))
	l.mu.Lock()
	web := l.web
	l.mu.Unlock()
	if web != nil && web(w, r) {
		return
	}
	text, ok := l.file(strings.TrimPrefix(r.URL.Path, "/"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	if part, _, broken := strings.Cut(text, breakOff); broken {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write([]byte(part))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write([]byte(text))
}

// registrar grants every REGISTER and notes what the scenarios read from it.
func (l *lab) registrar(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		head := string(buf[:n])
		get := func(name string) string {
			for line := range strings.SplitSeq(head, "\r\n") {
				if v, ok := strings.CutPrefix(line, name+": "); ok {
					return v
				}
			}
			return ""
		}
		if !strings.HasPrefix(head, "REGISTER ") {
			if strings.HasPrefix(head, "SIP/2.0 ") {
				_, media, _ := strings.Cut(head, "\r\nm=")
				l.note("sip %s %s %s", strings.Fields(head)[1], get("CSeq"), strings.TrimSpace(media))
			}
			continue
		}
		l.mu.Lock()
		l.sip = from.(*net.UDPAddr)
		status := cmp.Or(l.refuses, "200 OK")
		l.mu.Unlock()
		l.note("register %s %s from %s expires %s", strings.TrimSuffix(strings.SplitAfter(get("From"), "@")[0], "@"), get("User-Agent"), from, get("Expires"))
		_, _ = fmt.Fprintf(writerTo{conn, from}, "SIP/2.0 %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s;tag=x\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: %s;expires=3600\r\nContent-Length: 0\r\n\r\n",
			status, get("Via"), get("From"), get("To"), get("Call-ID"), get("CSeq"), strings.Split(get("Contact"), ";expires")[0])
	}
}

type writerTo struct {
	net.PacketConn
	to net.Addr
}

func (w writerTo) Write(b []byte) (int, error) { return w.WriteTo(b, w.to) }

// request sends a SIP request to the handset, from the registrar's address.
func (l *lab) request(method, branch, headers, body string) {
	l.t.Helper()
	conn, err := l.host.ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	l.mu.Lock()
	to := l.sip
	l.mu.Unlock()
	msg := fmt.Sprintf("%s sip:100@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;branch=z9hG4bK%s\r\nFrom: <sip:rig@%s>;tag=a\r\nCall-ID: call@rig\r\nCSeq: 1 %s\r\nContact: <sip:rig@%s>\r\nMax-Forwards: 70\r\n%sContent-Length: %d\r\n\r\n%s",
		method, to, labServer, branch, labServer, method, labServer, headers, len(body), body)
	if _, err := conn.WriteTo([]byte(msg), to); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) notify(event string) {
	l.t.Helper()
	l.request("NOTIFY", "n1", "To: <sip:100@"+labServer+">\r\nEvent: "+event+"\r\n", "")
}

var (
	phoneMAC  = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x0a}
	moduleMAC = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0x0b}
)

// handset makes and runs one on the lab's port.
func (l *lab) handset(change func(*Config)) *Handset {
	l.t.Helper()
	cfg := Config{Model: model.IP8830, MAC: phoneMAC, Port: l.port, Supply: l.port, Factor: 100, Seed: 7}
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(testWriter{l.t}, nil))
	}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }() // ends with ctx
	l.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("run: %v", err)
		}
	})
	return h
}

// cycle cuts the power until the handset has gone down, gives it back, and
// returns where the notes of the boot begin: what the handset sent again before
// that may be noted late.
func (l *lab) cycle(h *Handset) (from int) {
	l.t.Helper()
	l.port.SetPower(false)
	for {
		h.mu.Lock()
		down, changed := h.current == nil, h.changed
		h.mu.Unlock()
		if down {
			break
		}
		<-changed
	}
	from = l.count()
	l.port.SetPower(true)
	return from + len(l.until(from, "boot ")) - 1
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// golden is a configuration that registers line 1.
func golden(more ...string) string {
	return "[VOIP]\nline1_name 201\nline1_proxy_address " + labServer + "\n" + strings.Join(more, "\n") + "\n"
}

func with(d ...defect.Name) func(*Config) { return func(c *Config) { c.Defects = d } }

func newFlash(t *testing.T, m model.Model, settings map[string]string) *Flash {
	t.Helper()
	f, err := flash.New(m, FactoryVersion)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Update(func(s *flash.State) {
		maps.Copy(s.Settings, settings)
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// downloads leaves only what was asked of TFTP and HTTP.
func downloads(notes []string) []string {
	var out []string
	for _, n := range notes {
		if strings.HasPrefix(n, "tftp ") || strings.HasPrefix(n, "http ") {
			out = append(out, n)
		}
	}
	return out
}
