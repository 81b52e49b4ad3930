//go:build linux && interop

package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

// TestEvidence makes a full run of a wired and a WiFi handset and puts what it
// leaves before tshark, and before a second process that judges it again.
// $IP88RIG_RUN names folders of runs to take instead, as in a search path.
func TestEvidence(t *testing.T) { //nolint:tparallel // beside other tests; its parts come one after another
	t.Parallel()
	need(t, "tshark", "editcap")
	bin := command(t)
	runs := filepath.SplitList(os.Getenv("IP88RIG_RUN"))
	if len(runs) == 0 {
		runs = []string{fullRun(t, bin)}
	}
	for _, dir := range runs {
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		name := " of " + filepath.Base(dir)
		t.Run("tshark lists every capture as we do, run"+name, func(t *testing.T) { compareRun(t, dir) })
		t.Run("another process judges the recordings the same, run"+name, func(t *testing.T) { judgeRun(t, bin, dir) })
		t.Run("judging again fails on changed evidence, run"+name, func(t *testing.T) { judgeChanged(t, bin, dir) })
	}
	t.Run("a failure is judged again as one", func(t *testing.T) { judgeDefective(t, bin) })
	t.Run("a lane that was killed leaves all it recorded", func(t *testing.T) { killed(t, bin) })
	t.Run("an interrupted run leaves all it recorded", func(t *testing.T) { inWhole(t); interrupted(t, bin) })
}

// compared are the rows whose recordings are held against tshark's reading: all
// that a vendor promises, and the faults of each service; a whole run takes
// minutes more and has nothing of another kind.
const compared = `\[(XPT-0[1-5]|ORD-0|CFG-(0[1239]|11)|RBT-0[1-5]|FWU-0[1-4]|TLS-0|TLS-12|AUT-0[1-4]|RSY-0[1-4]|WIF-01|NET-0[12]|DHC-02|TIM-02)`

// inShort are those of them in the short part: one of each transport, a refused
// certificate, a check-sync.
const inShort = `\[(XPT-01|ORD-01|AUT-02|TLS-02|RSY-01)`

// fullRun runs those scenarios on two handsets and returns the run's folder.
func fullRun(t *testing.T, bin string) string {
	t.Helper()
	out := t.TempDir()
	filter := compared
	if testing.Short() {
		filter = inShort
	}
	cmd := exec.CommandContext(t.Context(), bin, "run", "--handset", "ip8830,ip8820-wifi", "--out", out, "--seed", "1", "--quiet", "--filter", filter)
	began := time.Now()
	text, err := cmd.CombinedOutput()
	if code := exitCode(t, err); code != report.ExitPass {
		t.Fatalf("ip88rig run: exit code %d\n%s", code, text)
	}
	t.Logf("full run: %s", time.Since(began).Round(time.Second))
	return filepath.Join(out, "latest")
}

// tshark runs it on a capture; it must be content with the file.
func tshark(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "tshark", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("tshark: %w: %s", err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user ") { // what it says to root
			return stdout.String(), fmt.Errorf("tshark complains: %s", line)
		}
	}
	return stdout.String(), nil
}

// The families of messages that both sides list.
const (
	dhcpMessages  = "DHCP messages"
	tftpPackets   = "TFTP"
	tlsAlerts     = "TLS alerts"
	httpRequests  = "HTTP requests"
	httpsRequests = "HTTPS requests"
	sipMessages   = "SIP"
)

// spoilt are frames that tshark takes for malformed, or whose checksum is wrong: a
// fault made them so, and what each side still reads of them is its own affair.
const spoilt = "spoilt frames"

func families() []string {
	return []string{dhcpMessages, tftpPackets, tlsAlerts, httpRequests, httpsRequests, sipMessages}
}

// listing is the ordered messages of each family, each as "frame words"; of HTTPS
// without the frame, as the journal names the last one of the connection, which
// is another where the handset has sent its request twice.
type listing map[string][]string

func (l listing) add(family, frame string, words ...string) {
	if family != httpsRequests {
		words = append([]string{frame}, words...)
	}
	l[family] = append(l[family], strings.Join(words, " "))
}

// fields are what tshark is asked for.
func fields() []string {
	return []string{
		"frame.number", "dhcp.option.dhcp", "dhcp.id",
		"tftp.opcode", "tftp.source_file", "tftp.destination_file", "tftp.block", "tftp.error.code",
		"tls.record.content_type", "tls.record.length", "tls.alert_message.desc",
		"http.request.method", "http.request.uri", "tcp.srcport",
		"sip.Method", "sip.CSeq.method", "sip.Status-Code", "sip.Call-ID",
		"_ws.malformed", "ip.checksum.status", "udp.checksum.status",
	}
}

// theirs is tshark's listing of a capture's interface 0.
func theirs(ctx context.Context, path string, more ...string) (listing, error) {
	// Without putting bodies together tshark shows a request where its head
	// ends, as we do; what ICMP quotes is no message of its own.
	args := append([]string{
		"-n", "-r", path, "-o", "http.desegment_body:FALSE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", "frame.interface_id == 0 && !icmp",
		"-T", "fields", "-E", "separator=/t", "-E", "aggregator=|",
	}, more...)
	for _, f := range fields() {
		args = append(args, "-e", f)
	}
	out, err := tshark(ctx, args...)
	if err != nil {
		return nil, err
	}
	list := listing{}
	for line := range strings.Lines(out) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != len(fields()) {
			return nil, fmt.Errorf("tshark: %d columns, want %d: %q", len(columns), len(fields()), line)
		}
		all := func(name string) []string {
			v := columns[slices.Index(fields(), name)]
			if v == "" {
				return nil
			}
			return strings.Split(v, "|")
		}
		first := func(name string) string { return strings.Join(all(name)[:min(1, len(all(name)))], "") }
		add := func(family string, words ...string) { list.add(family, columns[0], words...) }
		if first("_ws.malformed") != "" || first("ip.checksum.status") == "0" || first("udp.checksum.status") == "0" {
			add(spoilt)
		}
		if kind := first("dhcp.option.dhcp"); kind != "" {
			add(dhcpMessages, kind, first("dhcp.id"))
		}
		// An opcode that there is not: tshark takes a port that is used again for one
		// of the transfer that had it before.
		if op := first("tftp.opcode"); op != "" && len(op) == 1 && op >= "1" && op <= "6" {
			file := strings.TrimPrefix(first("tftp.source_file")+first("tftp.destination_file"), "/")
			if op != "1" && op != "2" {
				file = "" // tshark's own guess by ports
			}
			add(tftpPackets, op, file, first("tftp.block"), first("tftp.error.code"))
		}
		alerts, err := clearAlerts(all("tls.record.content_type"), all("tls.record.length"), all("tls.alert_message.desc"))
		if err != nil {
			return nil, fmt.Errorf("tshark: frame %s: %w", columns[0], err)
		}
		for _, a := range alerts {
			add(tlsAlerts, a)
		}
		uris := all("http.request.uri")
		for i, method := range all("http.request.method") {
			family := httpRequests
			if first("tls.record.length") != "" {
				family = httpsRequests
			}
			uri := ""
			if i < len(uris) {
				uri = strings.TrimPrefix(uris[i], "/")
			}
			if family == httpsRequests {
				uri, _, _ = strings.Cut(uri, "?") // the journal names the file
			}
			add(family, method, uri, "from", first("tcp.srcport"))
		}
		if method := first("sip.CSeq.method"); method != "" {
			method = method[strings.LastIndexByte(method, ' ')+1:] // a number that is none counts as method
			add(sipMessages, method, first("sip.Status-Code"), first("sip.Call-ID"))
		}
	}
	return list, nil
}

// clearAlerts leaves out of a frame's alerts those that tshark has decrypted: an
// alert in clear is a record of two bytes (RFC 5246, 7.2).
func clearAlerts(types, lengths, descriptions []string) ([]string, error) {
	if len(types) > len(lengths) {
		return nil, fmt.Errorf("%d record types, %d lengths", len(types), len(lengths))
	}
	var alerts, plain int
	for i, kind := range types {
		if kind == "21" {
			alerts++
			if lengths[i] == "2" {
				plain++
			}
		}
	}
	switch {
	case plain == 0:
		return nil, nil
	case plain == len(descriptions):
		return descriptions, nil
	case alerts != len(descriptions):
		return nil, fmt.Errorf("%d alerts, %d in clear, descriptions %q", alerts, plain, descriptions)
	}
	var out []string
	n := 0
	for i, kind := range types {
		if kind == "21" {
			if lengths[i] == "2" {
				out = append(out, descriptions[n])
			}
			n++
		}
	}
	return out, nil
}

// tftpOpcodes are RFC 1350, 5 and RFC 2347.
func tftpOpcodes() map[timeline.Kind]string {
	return map[timeline.Kind]string{
		timeline.TFTPRead: "1", timeline.TFTPWrite: "2", timeline.TFTPData: "3", timeline.TFTPAck: "4", timeline.TFTPError: "5", timeline.TFTPOAck: "6",
	}
}

// ours is our listing of the recording in a folder: what the frames tell, and
// for HTTPS what the service wrote into the journal. A connection that began in
// the recording before this one has its handshake, and so its keys, there: no
// program can decrypt the rest of it from this file alone.
func ours(dir string) (listing, error) {
	list := listing{}
	opcodes := tftpOpcodes()
	began := map[netip.AddrPort]bool{}
	asked := map[netip.AddrPort]netip.Addr{} // by the client of a TFTP transfer
	err := capture.LoadEvents(dir, func(e timeline.Event) error {
		add := func(family string, words ...string) { list.add(family, strconv.Itoa(e.Frame), words...) }
		if e.Kind == timeline.TLSClientHello && e.By == timeline.Wire {
			began[e.Src] = true
		}
		if e.Kind == timeline.HTTPRequest && e.Transport == timeline.HTTPS && began[e.Src] {
			add(httpsRequests, e.Message, e.File, "from", strconv.Itoa(int(e.Src.Port())))
		}
		if e.By != timeline.Wire {
			return nil
		}
		switch {
		case e.Fields["dhcp.option.dhcp"] != "":
			add(dhcpMessages, e.Fields["dhcp.option.dhcp"], e.Fields["dhcp.id"])
		case opcodes[e.Kind] != "":
			var file, block, code string
			switch e.Kind {
			case timeline.TFTPRead, timeline.TFTPWrite:
				file = e.File
				asked[e.Src] = e.Dst.Addr()
			case timeline.TFTPData, timeline.TFTPAck:
				block = strconv.Itoa(e.Number % 65536) // tshark does not count on
			case timeline.TFTPError:
				code = strconv.Itoa(e.Status)
			default:
			}
			// Of a transfer that another address answers tshark shows the request alone.
			if server, ok := asked[e.Src]; ok && server != e.Dst.Addr() {
				return nil
			}
			if server, ok := asked[e.Dst]; ok && server != e.Src.Addr() {
				return nil
			}
			add(tftpPackets, opcodes[e.Kind], file, block, code)
		case e.Kind == timeline.TLSAlert:
			add(tlsAlerts, strconv.Itoa(e.Status))
		case e.Kind == timeline.HTTPRequest:
			add(httpRequests, e.Message, e.File, "from", strconv.Itoa(int(e.Src.Port())))
		case e.Kind == timeline.SIPRequest || e.Kind == timeline.SIPResponse:
			status := ""
			if e.Status != 0 {
				status = strconv.Itoa(e.Status)
			}
			add(sipMessages, e.Message, status, e.Fields["sip.Call-ID"])
		}
		return nil
	})
	return list, err
}

// recordings lists the folders below dir that hold a capture.
func recordings(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == capture.CaptureFile {
			out = append(out, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// difference is where two lists part, blank where they do not.
func difference(family string, theirs, ours []string) string {
	if slices.Equal(theirs, ours) {
		return ""
	}
	i := 0
	for i < min(len(theirs), len(ours)) && theirs[i] == ours[i] {
		i++
	}
	from := func(list []string) []string { return list[min(i, len(list)):min(i+4, len(list))] }
	return fmt.Sprintf("%s: tshark lists %d, we %d; from entry %d tshark %q, we %q", family, len(theirs), len(ours), i+1, from(theirs), from(ours))
}

// frames counts what a capture holds on the handset's cable.
func frames(path string) (cable, all int, err error) {
	err = capture.Read(path, func(iface, _ int, _ time.Time, _ []byte, _ []string) error {
		all++
		if iface == capture.Cable {
			cable++
		}
		return nil
	})
	return cable, all, err
}

// compare lists one recording on both sides and says how they differ.
func compare(ctx context.Context, dir string, more ...string) (t, o listing, problems []error) {
	path := filepath.Join(dir, capture.CaptureFile)
	t, err := theirs(ctx, path, more...)
	if err != nil {
		return nil, nil, []error{err}
	}
	if o, err = ours(dir); err != nil {
		return t, nil, []error{err}
	}
	bad := map[string]bool{}
	for _, frame := range t[spoilt] {
		bad[frame] = true
	}
	for _, family := range families() {
		if family == httpsRequests {
			continue // these have no frame
		}
		for _, list := range []listing{t, o} {
			list[family] = slices.DeleteFunc(list[family], func(entry string) bool {
				frame, _, _ := strings.Cut(entry, " ")
				return bad[frame]
			})
		}
	}
	for _, family := range families() {
		if d := difference(family, t[family], o[family]); d != "" {
			problems = append(problems, errors.New(d))
		}
	}
	cable, _, err := frames(path)
	if err != nil {
		problems = append(problems, err)
	}
	// Some frames, and nothing to list on either side: nothing was compared.
	const few = 20
	if cable > few && len(o) == 0 {
		problems = append(problems, fmt.Errorf("%d frames on the cable, and nothing listed", cable))
	}
	return t, o, problems
}

// compareRun compares every recording of a run.
func compareRun(t *testing.T, dir string) {
	t.Helper()
	began := time.Now()
	run, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	folders := recordings(t, dir)
	if len(folders) == 0 {
		t.Fatalf("no capture below %s", dir)
	}
	totals := map[string][2]int{}
	same := map[[sha256.Size]byte]bool{} // what tshark was given
	for _, folder := range folders {
		content, err := os.ReadFile(filepath.Join(folder, capture.CaptureFile))
		if err != nil {
			t.Error(err)
		}
		sum := sha256.Sum256(content)
		// Half of them hold headers and no frame, byte for byte the same: one
		// stands for all.
		if same[sum] {
			list, err := ours(folder)
			if err != nil || len(list) > 0 {
				t.Errorf("%s: no frame, yet we list %v, %v", folder, list, err)
			}
			continue
		}
		same[sum] = true
		their, our, problems := compare(t.Context(), folder)
		for _, p := range problems {
			t.Errorf("%s: %v", strings.TrimPrefix(folder, dir), p)
		}
		for _, family := range families() {
			n := totals[family]
			totals[family] = [2]int{n[0] + len(their[family]), n[1] + len(our[family])}
		}
	}
	for _, family := range families() {
		n := totals[family]
		t.Logf("%-14s  tshark lists %d, we list %d", family, n[0], n[1])
		// Part of a run need not hold everything.
		if (n[0] == 0 || n[1] == 0) && (run.Filter == "" || n[0] != n[1]) {
			t.Errorf("%s: tshark lists %d, we list %d; neither may be nothing", family, n[0], n[1])
		}
	}
	t.Logf("%d captures, %d of them different, in %s", len(folders), len(same), time.Since(began).Round(time.Second))
}
