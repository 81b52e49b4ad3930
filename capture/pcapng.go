package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"ip88rig/capture/pcap"
)

// The interfaces of a recording (design: evidence).
const (
	// Cable is what the handset sent and what was really handed to it.
	Cable = 0
	// Host is what the rig's host sent or received wherever an impairment
	// changed that.
	Host = 1
	// Notes holds faults and control actions, as comments; faults of the wire that
	// have a frame are comments on that.
	Notes = 2

	interfaces = 3
)

// ErrTruncated says that a file ends within a block or line: its writer was
// stopped. Everything before that was read.
var ErrTruncated = pcap.ErrTruncated

// pcapng writes one capture: whole blocks in each write.
type pcapng struct {
	file *os.File
	buf  *[]byte // what waits to be written
	// header is where the first packet block begins, whole where the last
	// complete one ends.
	header, whole int64
	// gather is how much may wait to be written, in bytes; 0: nothing.
	gather int
}

// newBuffer has room for the longest block, and what is gathered before it.
func newBuffer() *[]byte {
	b := make([]byte, 0, 128<<10)
	return &b
}

func createPcapng(path string, buf *[]byte, create func(path string) (*os.File, error)) (*pcapng, error) {
	if create == nil {
		create = func(path string) (*os.File, error) {
			return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the recorder's own file
		}
	}
	file, err := create(path)
	if err != nil {
		return nil, err
	}
	w, err := newPcapng(file, buf, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return w, nil
}

// newPcapng writes the headers, and secrets, if any, in front of all packets. The
// buffer is the capture's until its file is closed.
func newPcapng(file *os.File, buf *[]byte, secrets []byte) (*pcapng, error) {
	w := &pcapng{file: file, buf: buf}
	*buf = pcap.AppendSection((*buf)[:0], "ip88rig",
		pcap.Interface{Name: "cable", Link: pcap.Ethernet}, pcap.Interface{Name: "host", Link: pcap.Ethernet}, pcap.Interface{Name: "notes", Link: pcap.User0})
	if len(secrets) > 0 {
		*buf = pcap.AppendTLSSecrets(*buf, secrets)
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	w.header = w.whole
	return w, nil
}

// flush hands what was written to the operating system. There is no fsync: without
// it a killed process loses nothing, only a machine that loses its power does.
func (w *pcapng) flush() error {
	if len(*w.buf) == 0 {
		return nil
	}
	n, err := w.file.Write(*w.buf)
	*w.buf = (*w.buf)[:0]
	if err != nil {
		return err
	}
	w.whole += int64(n)
	return nil
}

func (w *pcapng) frame(number int, outbound bool, at time.Time, data []byte, comments []string) error {
	p := pcap.Packet{Interface: number, At: at, Data: data, Length: len(data), Direction: pcap.Inbound, Comments: comments}
	if outbound {
		p.Direction = pcap.Outbound
	}
	for i, c := range comments {
		comments[i] = comment(c)
	}
	*w.buf = pcap.AppendPacket(*w.buf, p)
	if len(*w.buf) <= w.gather {
		return nil
	}
	return w.flush()
}

// comment makes a text fit for a pcapng option: UTF-8, and not longer than its
// length field can say.
func comment(s string) string {
	s = clean(s)
	const limit = 32 << 10
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// clean replaces bytes that are not UTF-8.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// embed rewrites the capture at path with TLS secrets in front of all packets,
// by rename. Packets keep their numbers.
func (w *pcapng) embed(path string, secrets []byte) (err error) {
	in, err := os.Open(path) //nolint:gosec // G304: the recorder's own file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	temporary := path + ".new"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // G304: the recorder's own file
	if err != nil {
		return err
	}
	if err := w.copyInto(out, in, secrets); err != nil {
		return errors.Join(err, out.Close(), os.Remove(temporary))
	}
	if err := out.Close(); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}

func (w *pcapng) copyInto(out, in *os.File, secrets []byte) error {
	if _, err := newPcapng(out, w.buf, secrets); err != nil {
		return err
	}
	_, err := io.Copy(out, io.NewSectionReader(in, w.header, w.whole-w.header))
	return err
}

// Read calls fn for every packet of a capture file, pcapng or pcap, in order;
// number counts from 1 as Wireshark's frame numbers do. The data is valid until
// fn returns. It returns fn's error, ErrTruncated for a file that ends within a
// block, or an error that names the file and the last frame that was read.
func Read(path string, fn func(iface, number int, at time.Time, data []byte, comments []string) error) (err error) {
	file, err := os.Open(path) //nolint:gosec // G304: to read the file that is named is what this is for
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := readFrom(file, fn); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

type readFunc = func(iface, number int, at time.Time, data []byte, comments []string) error

func readFrom(in io.Reader, fn readFunc) error {
	r, err := pcap.NewReader(in)
	if err != nil {
		return err
	}
	for {
		p, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case p.Link != pcap.Ethernet && p.Link != pcap.User0:
			return fmt.Errorf("frame %d: interface %d is %v, not Ethernet", p.Number, p.Interface, p.Link)
		}
		if err := fn(p.Interface, p.Number, p.At, p.Data, p.Comments); err != nil {
			return fmt.Errorf("frame %d: %w", p.Number, err)
		}
	}
}
