//go:build linux && interop

package interop

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ip88rig/fixtures"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// What is where in the network of foreign servers.
const (
	serverAddr = "192.0.2.1"
	phoneAddr  = "192.0.2.50"
	phoneMAC   = "00:00:5e:00:53:0a"
	ownFile    = "00005e00530a"
	globalFile = "sysconf_8830_sip.cfg"
	verFile    = "IP_8830_VER_SIP2"
	provName   = "prov.example"
)

// servers is a network of programs that nobody here wrote, and one simulated
// handset in it.
type servers struct {
	cable *netns.Cable
	// dir is short: it holds sockets.
	dir  string
	pids map[string]*os.Process
	// logs are files by the name of what writes them.
	logs map[string]string

	supply  *plug
	handset *virtual.Handset
}

// plug is the handset's power.
type plug struct {
	mu      sync.Mutex
	on      bool
	outages uint64
	change  chan struct{}
}

var _ virtual.Supply = (*plug)(nil)

func (p *plug) Power() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.on }

func (p *plug) Watch() <-chan struct{} { p.mu.Lock(); defer p.mu.Unlock(); return p.change }

// Outages is how often power has gone, so that a short cut is not missed.
func (p *plug) Outages() uint64 { p.mu.Lock(); defer p.mu.Unlock(); return p.outages }

func (p *plug) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on && !on {
		p.outages++
	}
	p.on = on
	close(p.change)
	p.change = make(chan struct{})
}

func newServers(t *testing.T) *servers {
	t.Helper()
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &servers{cable: netns.New(t), dir: dir, pids: map[string]*os.Process{}, logs: map[string]string{}, supply: &plug{change: make(chan struct{})}}
	s.cable.Address(t, serverAddr+"/24")
	return s
}

// path is a file of the network's folder.
func (s *servers) path(name string) string { return filepath.Join(s.dir, name) }

func (s *servers) write(t *testing.T, name, text string) string {
	t.Helper()
	path := s.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// log makes the log file of a server before the server does.
func (s *servers) log(t *testing.T, name string) string {
	t.Helper()
	s.logs[name] = s.write(t, name+".log", "")
	return s.logs[name]
}

// start runs a program beside the handset until stop or the end of the test. One
// that does not end when it is told to is killed, with its children: how it ends
// is not what is tested, and kamailio 5.6 is stuck now and then.
func (s *servers) start(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd := s.cable.Peer(context.WithoutCancel(t.Context()), args...)
	name := filepath.Base(args[0])
	out, err := os.OpenFile(s.log(t, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pids[name] = cmd.Process
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // its end is what is wanted
		ended := make(chan struct{})
		go func() { // ends with the program
			defer close(ended)
			_ = cmd.Wait() // ended by us
		}()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Logf("%s does not end by SIGTERM: killed", name)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may end just now
			<-ended
		}
		_ = out.Close()
	})
	t.Cleanup(stop)
	return stop
}

// run runs a program beside the handset to its end.
func (s *servers) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.cable.Peer(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// mark is how long each log is.
type mark map[string]int

func (s *servers) mark(t *testing.T) mark {
	t.Helper()
	m := mark{}
	for name := range s.logs {
		m[name] = len(s.read(t, name))
	}
	return m
}

func (s *servers) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(s.logs[name])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// since is what a server has logged since.
func (s *servers) since(t *testing.T, m mark, name string) string {
	t.Helper()
	return s.read(t, name)[m[name]:]
}

// until waits for words in what a server has logged since, and returns it.
func (s *servers) until(t *testing.T, m mark, name string, words ...string) string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		text := s.since(t, m, name)
		missing := ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			return text
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s does not log %q, but\n%s", name, missing, tail(text, 40))
		}
	}
}

// lines is what a server has logged since, once that is n lines: a server may
// write what it did after the handset went on.
func (s *servers) lines(t *testing.T, m mark, name string, n int) string {
	t.Helper()
	until(func() bool { return strings.Count(s.since(t, m, name), "\n") >= n })
	return s.since(t, m, name)
}

// rest lets time pass in which nothing should happen.
func rest(d time.Duration) { <-time.After(d) }

// openssl runs it in the folder of the certificates.
func (s *servers) openssl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = s.path("tls")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

// certificates makes two authorities and four leaves by openssl alone: one good,
// the others bad for one reason each.
func (s *servers) certificates(t *testing.T) {
	t.Helper()
	s.write(t, "tls/prov.ext", "subjectAltName=DNS:"+provName+"\nextendedKeyUsage=serverAuth\n")
	s.write(t, "tls/other.ext", "subjectAltName=DNS:other.example\nextendedKeyUsage=serverAuth\n")
	for _, ca := range []string{"lab", "stranger"} {
		s.openssl(t, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca+".key", "-out", ca+".pem", "-subj", "/CN=Authority "+ca, "-days", "30")
	}
	s.write(t, "tls/ca.cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
	s.write(t, "tls/index", "")
	day := func(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format("20060102150405Z") }
	for _, leaf := range []struct {
		name, ca, subject, ext string
		from, to               int
	}{
		{"good", "lab", provName, "prov.ext", -1, 10},
		{"authority", "stranger", provName, "prov.ext", -1, 10},
		{"name", "lab", "other.example", "other.ext", -1, 10},
		{"expired", "lab", provName, "prov.ext", -10, -1},
	} {
		s.openssl(t, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", leaf.name+".key", "-out", leaf.name+".csr", "-subj", "/CN="+leaf.subject)
		s.openssl(t, "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", leaf.ca+".pem", "-keyfile", leaf.ca+".key", "-in", leaf.name+".csr",
			"-out", leaf.name+".pem", "-startdate", day(leaf.from), "-enddate", day(leaf.to), "-extfile", leaf.ext)
		s.write(t, "tls/index", "") // the same subject may come again
	}
}

// firmware puts a version file and what it names into a folder.
func (s *servers) firmware(t *testing.T, folder, version string) {
	t.Helper()
	files := fixtures.Firmware("8830", version, 1, 96<<10)
	s.write(t, folder+"/"+verFile, "# a stand-in\n"+string(fixtures.VersionFile(version, files)))
	for _, f := range files {
		s.write(t, folder+"/"+f.Name, string(f.Content))
	}
}

// line is a phone-specific file that registers as a user, with settings of
// [PROVISION] behind it.
func (s *servers) line(t *testing.T, folder, user string, provision ...string) {
	t.Helper()
	s.write(t, folder+"/"+ownFile, "; "+folder+"\n[VOIP]\nline1_name "+user+"\nline1_authname "+user+"\nline1_password secret\n[PROVISION]\n"+strings.Join(provision, "\n")+"\n")
}

func (s *servers) global(t *testing.T, folder string) {
	t.Helper()
	s.write(t, folder+"/"+globalFile, "[VOIP]\nline1_proxy_address "+serverAddr+"\nline1_registration enable\nlocal_udp_port 5070\n")
}

// ports of the HTTPS servers, by their certificate.
func ports() map[string]int {
	return map[string]int{"good": 443, "authority": 8441, "name": 8442, "expired": 8443}
}

func (s *servers) nginx(t *testing.T) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off; master_process off; user root; pid %[1]s/nginx.pid;
error_log %[2]s info;
events {}
http {
 client_body_temp_path %[1]s/n1; proxy_temp_path %[1]s/n2; fastcgi_temp_path %[1]s/n3; uwsgi_temp_path %[1]s/n4; scgi_temp_path %[1]s/n5;
 log_format seen '$remote_addr "$request" $status $body_bytes_sent user=$remote_user authorization="$http_authorization"';
 server { listen %[3]s:80; access_log %[4]s seen; root %[1]s/basic; auth_basic phones; auth_basic_user_file %[5]s; }
`, s.dir, s.log(t, "nginx-error"), serverAddr, s.log(t, "basic"), s.write(t, "users", "phone:{PLAIN}open\n"))
	for name, port := range ports() {
		fmt.Fprintf(&b, " server { listen %s:%d ssl; ssl_certificate %s; ssl_certificate_key %s; access_log %s seen; root %s; }\n",
			serverAddr, port, s.path("tls/"+name+".pem"), s.path("tls/"+name+".key"), s.log(t, name), s.path(name))
	}
	b.WriteString("}\n")
	s.start(t, "nginx", "-c", s.write(t, "nginx.conf", b.String()), "-e", s.logs["nginx-error"])
}

// lighttpd asks for digests with qop at one port, and knows another password at
// the other. As it comes it would serve the phone-specific file for what a
// handset asks for in the folder of the same name.
func (s *servers) lighttpd(t *testing.T) {
	t.Helper()
	s.start(t, "lighttpd", "-D", "-f", s.write(t, "lighttpd.conf", fmt.Sprintf(`
server.modules = ( "mod_auth", "mod_authn_file", "mod_accesslog" )
server.document-root = "%[1]s/digest"
server.bind = "%[2]s"
server.port = 8081
static-file.disable-pathinfo = "enable"
accesslog.filename = "%[3]s"
accesslog.format = "%%p %%s \"%%r\" %%{Authorization}i"
auth.backend = "plain"
auth.backend.plain.userfile = "%[4]s"
auth.require = ( "/" => ( "method" => "digest", "realm" => "phones", "require" => "valid-user", "algorithm" => "MD5" ) )
$SERVER["socket"] == "%[2]s:8082" { auth.backend.plain.userfile = "%[5]s" }
`, s.dir, serverAddr, s.log(t, "digest"), s.write(t, "passwd", "phone:open\n"), s.write(t, "others", "phone:another\n"))))
}

func (s *servers) kamailio(t *testing.T) {
	t.Helper()
	conf := s.write(t, "kamailio.cfg", `
debug=2
log_stderror=yes
children=1
auto_aliases=no
listen=udp:`+serverAddr+`:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
request_route {
  if (is_method("REGISTER")) {
    if (!pv_www_authenticate("phones", "secret", "0")) {
      xlog("L_ERR", "REGISTER challenged user=$fU\n");
      www_challenge("phones", "1");
      exit;
    }
    save("location");
    xlog("L_ERR", "REGISTER granted user=$fU as=$au from=$si:$sp agent=$ua\n");
    exit;
  }
  sl_send_reply("404", "Not Here");
}
`)
	s.start(t, "kamailio", "-DD", "-E", "-m", "16", "-M", "4", "-Y", s.dir, "-f", conf)
}

func (s *servers) chronyd(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(s.path("chrony"), 0o770); err != nil {
		t.Fatal(err)
	}
	conf := s.write(t, "chrony.conf", "local stratum 3\nallow 192.0.2.0/24\nbindaddress "+serverAddr+"\ncmdport 0\nbindcmdaddress "+s.path("chrony/d.sock")+"\npidfile "+s.path("chrony.pid")+"\n")
	s.start(t, "chronyd", "-x", "-d", "-u", "root", "-f", conf)
}

// asked is how often chronyd says that the handset has asked it the time.
func (s *servers) asked(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(s.run(t, "chronyc", "-h", s.path("chrony/d.sock"), "-n", "clients")) {
		var n int
		if _, err := fmt.Sscanf(line, phoneAddr+" %d", &n); err == nil {
			return n
		}
	}
	return 0
}

func (s *servers) dnsmasq(t *testing.T) {
	t.Helper()
	s.start(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--interface="+netns.PeerEnd, "--bind-interfaces", "--user=root",
		"--pid-file="+s.path("dnsmasq.pid"), "--no-resolv", "--no-hosts", "--address=/"+provName+"/"+serverAddr, "--no-ping",
		"--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,1h", "--dhcp-host="+phoneMAC+","+phoneAddr, "--dhcp-leasefile="+s.path("leases"), "--dhcp-authoritative",
		"--dhcp-optsfile="+s.write(t, "options", ""), "--enable-tftp", "--tftp-root="+s.path("tftp"), "--log-dhcp", "--log-queries", "--log-facility=-")
}

// options sets what dnsmasq offers besides address and mask, as "number,value".
func (s *servers) options(t *testing.T, list ...string) {
	t.Helper()
	s.write(t, "options", strings.Join(list, "\n")+"\n")
	from := s.mark(t)
	if err := s.pids["dnsmasq"].Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.until(t, from, "dnsmasq", "read "+s.path("options"))
}

// begin puts a handset from the factory at the other end of the cable, without
// power.
func (s *servers) begin(t *testing.T) {
	t.Helper()
	mac, err := net.ParseMAC(phoneMAC)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := flash.New(model.IP8830, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(s.log(t, "handset"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	// It waits as long as a real one before it does anything again: however late
	// the servers are, they see one request each.
	s.handset, err = virtual.New(virtual.Config{
		Model: model.IP8830, MAC: mac, Port: s.cable.Open(t, wire.PacketOptions{}), Supply: s.supply, Flash: memory,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.handset.Run(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("handset: %v", err)
		}
		if t.Failed() {
			t.Logf("the handset says, at last:\n%s", tail(s.read(t, "handset"), 60))
		}
		_ = log.Close()
	})
}

// tcpdump listens at the servers' end of the cable; the returned function ends
// that and lists what it heard. Its buffer of 64 MiB holds the whole test: with the
// 2 MiB that it takes by itself, the kernel drops frames while tcpdump waits for a
// CPU.
func (s *servers) tcpdump(t *testing.T) func(*testing.T) []heard {
	t.Helper()
	path := s.path("wire.pcap")
	stop := s.start(t, "tcpdump", "-i", netns.PeerEnd, "-B", "65536", "-U", "--immediate-mode", "-Z", "root", "--time-stamp-precision", "nano", "-s", "0", "-w", path)
	s.until(t, mark{}, "tcpdump", "listening on")
	return func(t *testing.T) []heard {
		t.Helper()
		// What the kernel still holds for it comes before this.
		s.run(t, "bash", "-c", "echo the end >/dev/udp/"+phoneAddr+"/9")
		s.logs["wire"] = path
		s.until(t, mark{}, "wire", "the end")
		stop()
		if said := s.read(t, "tcpdump"); !strings.Contains(said, "\n0 packets dropped by kernel\n") {
			t.Fatalf("tcpdump did not record every frame:\n%s", said)
		}
		return listen(t, path)
	}
}

// heard is one message of the handset, or a NOTIFY to it.
type heard struct {
	at    time.Time
	words string
}

// listen lists by tshark what a capture holds.
func listen(t *testing.T, path string) []heard {
	t.Helper()
	names := []string{
		"frame.time_epoch", "eth.src", "dhcp.option.dhcp", "ntp.flags.mode", "tftp.opcode", "tftp.source_file",
		"http.request.uri", "tls.handshake.type", "tls.handshake.extensions_server_name", "tls.alert_message.desc", "tls.record.length",
		"sip.Method", "sip.User-Agent", "sip.Event",
	}
	args := []string{"-n", "-r", path, "-o", "http.desegment_body:FALSE", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"}
	for _, n := range names {
		args = append(args, "-e", n)
	}
	out, err := tshark(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	var list []heard
	for line := range strings.Lines(out) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		get := func(name string) string {
			for i, n := range names {
				if n == name && i < len(columns) {
					return columns[i]
				}
			}
			return ""
		}
		var seconds, nanos int64
		if _, err := fmt.Sscanf(get("frame.time_epoch"), "%d.%d", &seconds, &nanos); err != nil {
			t.Fatalf("tshark: %q: %v", line, err)
		}
		words := ""
		switch ours := get("eth.src") == phoneMAC; {
		case get("sip.Method") == "NOTIFY":
			words = "NOTIFY " + get("sip.Event")
		case !ours:
		case get("dhcp.option.dhcp") != "":
			words = map[string]string{"1": "DISCOVER", "3": "REQUEST", "4": "DECLINE", "7": "RELEASE"}[get("dhcp.option.dhcp")]
		case get("ntp.flags.mode") == "3":
			words = "SNTP"
		case get("tftp.opcode") == "1":
			words = "RRQ " + get("tftp.source_file")
		case get("http.request.uri") != "":
			words = "GET " + strings.TrimPrefix(get("http.request.uri"), "/")
		case get("tls.handshake.type") == "1":
			words = "ClientHello " + get("tls.handshake.extensions_server_name")
		case get("tls.alert_message.desc") != "" && get("tls.record.length") == "2":
			words = "alert " + get("tls.alert_message.desc")
		case get("sip.Method") == "REGISTER":
			words = "REGISTER " + get("sip.User-Agent")
		}
		// What is sent again, or once more with credentials, counts once.
		if words != "" && (len(list) == 0 || list[len(list)-1].words != words) {
			list = append(list, heard{time.Unix(seconds, nanos), words})
		}
	}
	return list
}

// count counts lines that hold all words.
func count(text string, words ...string) int {
	n := 0
	for line := range strings.Lines(text) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}
