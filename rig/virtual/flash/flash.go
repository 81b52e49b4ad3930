// Package flash is the memory of the simulated handset that outlives the cut
// of power: settings, two firmware banks, authorities and the last lease. It
// may be kept in a file, for a handset that outlives its process.
package flash

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/model"
)

// Bank is one half of the firmware memory.
type Bank struct {
	// Version is blank while the bank is erased or half written.
	Version string `json:"version,omitempty"`
	// Files are the names of what was written, and their lengths in bytes.
	Files map[string]int `json:"files,omitempty"`
}

// Lease is what INIT-REBOOT needs to know of the last lease (RFC 2131, 3.2).
type Lease struct {
	Addr   netip.Prefix `json:"addr"`
	Server netip.Addr   `json:"server"`
	// Acquired and Ends bound the lease; an Ends of 0 never ends.
	Acquired time.Time     `json:"acquired"`
	Ends     time.Duration `json:"ends"`
}

// SettingsMark opens the names of marks that a factory reset takes away.
const SettingsMark = "settings "

// State is everything in the memory.
type State struct {
	Model model.Model `json:"model"`
	// Settings holds what differs from the factory, as "SECTION/name".
	Settings map[string]string `json:"settings,omitempty"`
	Banks    [2]Bank           `json:"banks"`
	// Boot is the bank that the boot loader starts.
	Boot int `json:"boot"`
	// Installed authorities came with the handset and survive the factory
	// reset; Uploaded ones do not. Both in DER.
	Installed [][]byte `json:"installed,omitempty"`
	Uploaded  [][]byte `json:"uploaded,omitempty"`
	Lease     *Lease   `json:"lease,omitempty"`
	// Marks are notes that defects leave for later boots. Those whose name opens
	// with SettingsMark go with the settings.
	Marks map[string]string `json:"marks,omitempty"`
}

// Running is the version in the bank that the boot loader starts.
func (s *State) Running() string { return s.Banks[s.Boot].Version }

// Get returns a setting; ok is false when it stands as the factory left it.
func (s *State) Get(f model.Field) (value string, ok bool) {
	value, ok = s.Settings[f.Section+"/"+f.Name]
	return value, ok
}

// Set stores a setting.
func (s *State) Set(f model.Field, value string) { s.Settings[f.Section+"/"+f.Name] = value }

// Unset brings a setting back to the factory's value.
func (s *State) Unset(f model.Field) { delete(s.Settings, f.Section+"/"+f.Name) }

// Other is the bank that does not run.
func (s *State) Other() int { return 1 - s.Boot }

// Factory brings settings and uploads back to the factory's; the running
// firmware stays, and so do authorities that came with the handset.
func (s *State) Factory() {
	s.Settings = map[string]string{}
	s.Uploaded = nil
	s.Lease = nil
	maps.DeleteFunc(s.Marks, func(name, _ string) bool { return strings.HasPrefix(name, SettingsMark) })
}

func (s *State) clone() State {
	out := *s
	out.Settings = maps.Clone(s.Settings)
	out.Marks = maps.Clone(s.Marks)
	out.Installed = slices.Clone(s.Installed)
	out.Uploaded = slices.Clone(s.Uploaded)
	if s.Lease != nil {
		l := *s.Lease
		out.Lease = &l
	}
	for i := range s.Banks {
		out.Banks[i].Files = maps.Clone(s.Banks[i].Files)
	}
	return out
}

// Flash is the memory itself. It is safe for concurrent use.
type Flash struct {
	mu    sync.Mutex
	state State
	path  string
}

// New is the memory of a handset from the factory that runs a version.
func New(m model.Model, version string, installed ...*x509.Certificate) (*Flash, error) {
	s := State{Model: m, Settings: map[string]string{}, Marks: map[string]string{}}
	s.Banks[0].Version = version
	for _, c := range installed {
		s.Installed = append(s.Installed, c.Raw)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("flash of %s: %w", m, err)
	}
	return &Flash{state: s}, nil
}

// Read returns everything as it is now. It must not be changed.
func (f *Flash) Read() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state // Update changes copies only
}

// Update changes everything that change changes, or nothing: a cut of power
// cannot fall in between. The error is the file's, when the memory is kept in
// one; then nothing has changed.
func (f *Flash) Update(change func(*State)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.state.clone()
	change(&next)
	if f.path != "" {
		if err := save(f.path, next); err != nil {
			return err
		}
	}
	f.state = next
	return nil
}

// Authorities parses what was installed and uploaded, in that order.
func (f *Flash) Authorities() ([]*x509.Certificate, error) {
	s := f.Read()
	var out []*x509.Certificate
	for _, der := range slices.Concat(s.Installed, s.Uploaded) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("flash: authority: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}

// ParseAuthority reads the certificates of a PEM text; it must hold one at least.
func ParseAuthority(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("authority: no certificate in PEM form")
	}
	return out, nil
}

// Upload adds authorities to the uploaded ones, each once.
func (s *State) Upload(certs []*x509.Certificate) {
	for _, c := range certs {
		if !slices.ContainsFunc(s.Uploaded, func(der []byte) bool { return bytes.Equal(der, c.Raw) }) {
			s.Uploaded = append(s.Uploaded, c.Raw)
		}
	}
}

// magic opens a flash file; the SHA-256 of what follows its line stands after it.
const magic = "ip88rig-flash-1 "

// DamagedError says that a flash file cannot be used.
type DamagedError struct {
	Path string
	Why  error
}

// Error says the file and what is wrong with it.
func (d *DamagedError) Error() string {
	return fmt.Sprintf("flash file %s is damaged: %v; remove it to begin with a handset from the factory", d.Path, d.Why)
}

// Unwrap returns what is wrong.
func (d *DamagedError) Unwrap() error { return d.Why }

// Save writes the memory to a file: the whole file or, on an error, the one
// that was there.
func (f *Flash) Save(path string) error { return save(path, f.Read()) }

// Keep saves the memory to a file now and at every change from now on.
func (f *Flash) Keep(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := save(path, f.state); err != nil {
		return err
	}
	f.path = path
	return nil
}

// Load reads a memory that Save or Keep wrote. The error is the file system's
// (fs.ErrNotExist for a new handset) or a *DamagedError.
func Load(path string) (*Flash, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the file that the user names
	if err != nil {
		return nil, fmt.Errorf("flash: %w", err)
	}
	s, err := Decode(data)
	if err != nil {
		return nil, &DamagedError{path, err}
	}
	return &Flash{state: s}, nil
}

// Encode returns the bytes of a flash file.
func Encode(s State) ([]byte, error) {
	body, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return nil, fmt.Errorf("flash: %w", err)
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return slices.Concat([]byte(magic+hex.EncodeToString(sum[:])+"\n"), body), nil
}

// Decode reads the bytes of a flash file.
func Decode(data []byte) (State, error) {
	head, body, ok := bytes.Cut(data, []byte("\n"))
	sum, isFlash := bytes.CutPrefix(head, []byte(magic))
	if !isFlash {
		return State{}, errors.New("it does not open like a flash file")
	}
	if want := sha256.Sum256(body); !ok || !bytes.Equal(sum, hex.AppendEncode(nil, want[:])) {
		return State{}, fmt.Errorf("its %d bytes do not fit their SHA-256", len(body))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var s State
	if err := d.Decode(&s); err != nil {
		return State{}, err
	}
	if s.Settings == nil {
		s.Settings = map[string]string{}
	}
	if s.Marks == nil {
		s.Marks = map[string]string{}
	}
	if err := s.check(); err != nil {
		return State{}, err
	}
	return s, nil
}

func (s *State) check() error {
	if _, err := model.Parse(string(s.Model)); err != nil {
		return err
	}
	if s.Boot != 0 && s.Boot != 1 {
		return fmt.Errorf("boot bank is %d", s.Boot)
	}
	if s.Running() == "" || strings.ContainsAny(s.Running(), " \t\r\n") {
		return fmt.Errorf("bank %d holds version %q", s.Boot, s.Running())
	}
	for _, der := range slices.Concat(s.Installed, s.Uploaded) {
		if _, err := x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("authority: %w", err)
		}
	}
	return nil
}

func save(path string, s State) (err error) {
	data, err := Encode(s)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("flash: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("flash: %w", err)
			if gone := os.Remove(tmp.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
