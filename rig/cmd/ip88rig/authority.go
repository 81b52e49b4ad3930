package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/pki"
)

type authorityCmd struct {
	Export authorityExportCmd `cmd:"" help:"Write the authority that handsets must hold, and say how it gets there."`
}

type authorityExportCmd struct {
	Bench string `help:"Bench file whose authority it is; without it that of the embedded bench." type:"path"`
	Out   string `help:"Folder to write to; without it the bench's state folder." type:"path"`
}

// Help is what "ip88rig authority export --help" shows beside the flags.
func (*authorityExportCmd) Help() string {
	return `Every certificate that the rig shows as good is signed by authority A of the
bench. It is made once, kept in the state folder beside the bench file, and has
to be copied to each handset by hand. Its key is not written.

Examples:
  ip88rig authority export --bench lab.yaml
  ip88rig authority export --bench lab.yaml --out /media/stick`
}

// Run writes the authority.
func (c *authorityExportCmd) Run() error { return c.run(os.Stdout, "out") }

func (c *authorityExportCmd) run(out io.Writer, runs string) error {
	b, err := loadBench(c.Bench)
	if err != nil {
		return err
	}
	state := b.StateDir(runs)
	authorities, err := rig.LoadAuthorities(state)
	if err != nil {
		return err
	}
	a := authorities.A
	dir := c.Out
	if dir == "" {
		dir = state
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // certificates are public
		return fmt.Errorf("authority export: %w", err)
	}
	// Not A.pem: in the state folder that name is the one with the key.
	base := filepath.Join(dir, "ip88rig-authority-"+pki.A)
	for _, f := range []struct {
		name string
		data []byte
	}{{base + ".pem", a.ExportPEM()}, {base + ".der", a.ExportDER()}} {
		if err := os.WriteFile(f.name, f.data, 0o644); err != nil { //nolint:gosec // certificates are public
			return fmt.Errorf("authority export: %w", err)
		}
	}
	cert := a.Cert()
	_, err = fmt.Fprintf(out, `authority A of bench %s
  subject      %s
  valid        %s to %s
  SHA-256      %s
  written to   %s.pem
               %s.der

To each handset, with its Web Manager (Installer Guide, page F-2):
  1. ip88rig serve --bench FILE --handset NAME --forward 127.0.0.1:8880=NAME:80
     and let the handset boot; the Web Manager must be on (web_server 1).
  2. Open http://127.0.0.1:8880/ in a browser on this computer.
  3. Log in. The name and the password are not known of these models; "private"
     and "lip", the pair of telnet on the IP8802, are worth a try.
  4. Find the page that takes an authority ("CA", "certificate"): neither its name
     nor the form it wants is known. Try the PEM file first, then the DER file.
  5. Reboot the handset. Whether it took the authority is judged by TLS-01:
     ip88rig run --bench FILE --handset NAME --filter TLS-01
Enter what you found under facts: or in your notes: nobody has written it down.
A factory reset may take the authority away again.
`, b.Name, a.Subject(), cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly), fingerprint(cert.Raw), base, base)
	return err
}

// fingerprint is a digest as browsers and openssl show it.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	parts := make([]string, len(sum))
	for i, x := range sum {
		parts[i] = fmt.Sprintf("%02X", x)
	}
	return strings.Join(parts, ":")
}
