package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/virtual/flash"
)

func TestAuthorityExportWritesTheCertificateAndNeverTheKey(t *testing.T) {
	bench := write(t, "lab.yaml", labBench)
	dir := filepath.Join(t.TempDir(), "stick")
	var out bytes.Buffer
	if err := (&authorityExportCmd{Bench: bench, Out: dir}).run(&out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ip88rig-authority-A.pem"))
	if err != nil {
		t.Fatal(err)
	}
	der, err := os.ReadFile(filepath.Join(dir, "ip88rig-authority-A.der"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("KEY")) {
		t.Error("the file holds a key")
	}
	certs, err := flash.ParseAuthority(text) // as a handset reads it
	if err != nil {
		t.Fatal(err)
	}
	if got, err := x509.ParseCertificate(der); err != nil || !got.Equal(certs[0]) {
		t.Errorf("DER and PEM differ: %v", err)
	}
	for _, want := range []string{certs[0].Subject.CommonName, fingerprint(der), "Web Manager", "not known", "bench lab"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q", out.String(), want)
		}
	}

	// The authority is the bench's, the same again, also where it is kept itself.
	out.Reset()
	if err := (&authorityExportCmd{Bench: bench}).run(&out, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	state := strings.TrimSuffix(bench, ".yaml") + ".state"
	again, err := os.ReadFile(filepath.Join(state, "ip88rig-authority-A.pem"))
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("another authority was exported: %v", err)
	}
	if kept, err := os.ReadFile(filepath.Join(state, "A.pem")); err != nil || !bytes.Contains(kept, []byte("KEY")) {
		t.Errorf("the bench has lost its key: %v", err)
	}
}

func TestAuthorityExportSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name string
		cmd  authorityExportCmd
		code int
	}{
		{"no such bench file", authorityExportCmd{Bench: "/nosuch/lab.yaml"}, report.ExitUsage},
		{"a folder that cannot be made", authorityExportCmd{Bench: write(t, "lab.yaml", labBench), Out: "/dev/null/x"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tt.cmd.run(&out, t.TempDir()); code(err) != tt.code {
				t.Errorf("got %v, code %d, want %d", err, code(err), tt.code)
			}
		})
	}
}
