//go:build linux && interop

// Package interop puts clients that nobody here wrote against the rig, on
// network interfaces. It needs root, network namespaces and the Debian packages
// of fixtures/interop/packages.txt; a program that is missing is a failure.
//
//	make interop
package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/fixtures"
	"ip88rig/rig"
	"ip88rig/rig/report"
	"ip88rig/rig/wire/netns"
)

// lab is a rig and a foreign handset with a cable between them.
type lab struct {
	t *testing.T
	// rig is the cable's end that ip88rig opens, phone the namespace of the handset.
	rig   *netns.Cable
	phone string
	dir   string
	env   []string
	bin   string
}

// foreign says what the handset is made of.
type foreign struct {
	// model is its number; edit changes the text of bench.yaml, nil does not.
	model string
	edit  *strings.Replacer
	// mac is what the handset's interface speaks from.
	mac string
	// dhcp and tftp name the programs, alter what it does wrong.
	dhcp, tftp, alter string
}

const (
	goldenVersion = "1.2.38"
	nextVersion   = "1.3.51"
)

// command builds the rig's one command.
func command(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "ip88rig")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "ip88rig/rig/cmd/ip88rig").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// need fails where the network or a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	probe := fmt.Sprintf("ip88-probe-%d-%x", os.Getpid(), sha256.Sum256([]byte(t.Name()))) // tests run side by side
	for _, verb := range []string{"add", "delete"} {
		if out, err := exec.CommandContext(t.Context(), "ip", "netns", verb, probe).CombinedOutput(); err != nil {
			t.Fatalf("ip netns %s: %v: %s", verb, err, out)
		}
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Errorf("%v: its package stands in fixtures/interop/packages.txt", err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// newLab makes bench file, bundles, certificates and an unwired handset that
// runs golden's version. rig and phone are the ends of what lies between.
func newLab(t *testing.T, bin string, f foreign, rigEnd, phoneEnd *netns.Cable) *lab {
	t.Helper()
	dir := folder(t)
	root, err := filepath.Abs("../../fixtures/interop")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, rig: rigEnd, phone: phoneEnd.PeerName(), dir: dir, bin: bin}
	text, err := os.ReadFile(filepath.Join(root, "bench.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if f.edit != nil {
		text = []byte(f.edit.Replace(string(text)))
	}
	l.write("bench.yaml", text)
	for folder, version := range map[string]string{"golden": goldenVersion, "next": nextVersion} {
		l.bundle(folder, f.model, version)
	}
	ca := l.publicChain()
	own, err := rig.LoadAuthorities(filepath.Join(dir, "bench.state"))
	if err != nil {
		t.Fatal(err)
	}
	l.write("phone/authorities.pem", append(own.A.ExportPEM(), ca...))
	l.write("phone/version", []byte(goldenVersion+"\n"))
	l.env = append(os.Environ(),
		"HANDSET="+filepath.Join(root, "handset.sh"), "HANDSET_HOME="+filepath.Join(dir, "phone"), "HANDSET_NETNS="+l.phone,
		"HANDSET_IF="+netns.PeerEnd, "HANDSET_MODEL="+f.model, "HANDSET_DHCP="+f.dhcp, "HANDSET_TFTP="+f.tftp, "ALTER="+f.alter)
	if out, err := exec.CommandContext(t.Context(), "ip", "-n", l.phone, "link", "set", netns.PeerEnd, "address", f.mac).CombinedOutput(); err != nil {
		t.Fatalf("address of the handset: %v: %s", err, out)
	}
	t.Cleanup(func() {
		off := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(root, "handset.sh"), "off")
		off.Env = l.env
		if out, err := off.CombinedOutput(); err != nil {
			t.Errorf("power off: %v: %s", err, out)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "phone", "log"))
			t.Logf("the handset says, at last:\n%s", tail(string(log), 60))
		}
	})
	return l
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (l *lab) write(name string, data []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// bundle makes what stands for a vendor's firmware.
func (l *lab) bundle(folder, model, version string) {
	l.t.Helper()
	files := fixtures.Firmware(model, version, 1, 48<<10)
	sums := ""
	add := func(name string, data []byte) {
		l.write(filepath.Join(folder, name), data)
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), name)
	}
	add("IP_"+model+"_VER_SIP2", fixtures.VersionFile(version, files))
	for _, f := range files {
		add(f.Name, f.Content)
	}
	l.write(filepath.Join(folder, "SHA256SUMS"), []byte(sums))
}

// publicChain makes an authority that the handset has built in, and a chain of
// it for the rig.
func (l *lab) publicChain() (authority []byte) {
	l.t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			l.t.Fatal(err)
		}
		return k
	}
	sign := func(cert, parent *x509.Certificate, k, signer *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, cert, parent, k.Public(), signer)
		if err != nil {
			l.t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	now := time.Now()
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Public authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "phones"}, DNSNames: []string{"prov.foreign.rig.test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	l.write("public/chain.pem", sign(leaf, ca, leafKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		l.t.Fatal(err)
	}
	l.write("public/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return sign(ca, ca, caKey, caKey)
}

// run judges the handset and returns what run.json says. Standard input is not
// a terminal: whatever would ask a person must do without.
func (l *lab) run(filter string) report.Run {
	l.t.Helper()
	out := filepath.Join(l.dir, "out")
	cmd := l.rig.Rig(l.t.Context(), l.bin, "run", "--bench", filepath.Join(l.dir, "bench.yaml"), "--out", out, "--seed", "1",
		"--allow-risk", "lockout", "--filter", filter)
	cmd.Env = l.env
	text, err := cmd.CombinedOutput()
	run, readErr := report.Read(filepath.Join(out, "latest", "run.json"))
	if readErr != nil || len(run.Handsets) != 1 {
		l.t.Fatalf("ip88rig run: %v, %v\n%s", err, readErr, text)
	}
	l.t.Logf("ip88rig run, %d specs in %s: %v", len(run.Handsets[0].Specs), run.Took.Round(time.Second), err)
	if died := run.Handsets[0].Died; died != "" {
		l.t.Errorf("the lane died: %s\n%s", died, text)
	}
	return run
}
