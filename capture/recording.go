package capture

import (
	"errors"
	"os"
	"path/filepath"

	"ip88rig/capture/decode"
)

// The files of a recording.
const (
	CaptureFile = "capture.pcapng"
	JournalFile = "journal.jsonl"
	KeysFile    = "keys.log"
)

// recording is one folder.
type recording struct {
	dir     string
	pcap    *pcapng
	journal *gathered
	keys    *gathered
	keyed   bool
	frames  int
	lost    int // frames that came after an error
	dec     *decode.Decoder
	flows   flowIndex
}

func create(dir string, gather int, buf *[]byte, file func(path string) (*os.File, error)) (rec *recording, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	rec = &recording{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, rec.close())
		}
	}()
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if rec.pcap, err = createPcapng(filepath.Join(dir, CaptureFile), buf, file); err != nil {
		return rec, err
	}
	rec.pcap.gather = gather
	for name, to := range map[string]**gathered{JournalFile: &rec.journal, KeysFile: &rec.keys} {
		f, err := os.OpenFile(filepath.Join(dir, name), flags, 0o600) //nolint:gosec // G304: the lane names its folder
		if err != nil {
			return rec, err
		}
		*to = &gathered{file: f, limit: gather}
	}
	return rec, nil
}

func (rec *recording) close() error {
	var errs []error
	if rec.pcap != nil {
		errs = append(errs, rec.pcap.file.Close())
	}
	for _, g := range []*gathered{rec.journal, rec.keys} {
		if g != nil {
			errs = append(errs, g.file.Close())
		}
	}
	return errors.Join(errs...)
}

// finish closes the files, which are no longer written to, and puts the TLS secrets
// into the capture.
func (rec *recording) finish(before error) error {
	if before != nil {
		// Half a block at the end would make other readers fail.
		return errors.Join(rec.pcap.file.Truncate(rec.pcap.whole), rec.close())
	}
	if err := rec.close(); err != nil || !rec.keyed {
		return err
	}
	secrets, err := os.ReadFile(filepath.Join(rec.dir, KeysFile))
	if err != nil {
		return err
	}
	return rec.pcap.embed(filepath.Join(rec.dir, CaptureFile), secrets)
}

// gatherLimit is how much is gathered in virtual time before it is written, in
// bytes.
const gatherLimit = 32 << 10

// gathered is a file whose writes are collected and written together.
type gathered struct {
	file *os.File
	// limit is how much may wait, in bytes; 0: nothing.
	limit int
	buf   []byte
}

// Write implements io.Writer.
func (g *gathered) Write(b []byte) (int, error) {
	g.buf = append(g.buf, b...)
	if len(g.buf) <= g.limit {
		return len(b), nil
	}
	return len(b), g.flush()
}

func (g *gathered) flush() error {
	if len(g.buf) == 0 {
		return nil
	}
	_, err := g.file.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}
