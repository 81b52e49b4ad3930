package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
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
	// linkUser0 is LINKTYPE_USER0 of the tcpdump group's list: no packets of
	// any protocol, only comments.
	linkUser0 = layers.LinkType(147)
)

// ErrTruncated says that a file ends within a block or line: whoever wrote it was
// stopped. Everything before that was read.
var ErrTruncated = errors.New("cut off within a block or line")

// pcapng writes one capture: whole blocks in each write.
type pcapng struct {
	file *os.File
	buf  *bufio.Writer
	ng   *pcapgo.NgWriter
	// header is where the first packet block begins, whole where the last
	// complete one ends.
	header, whole int64
	// gather is how much may wait to be written, in bytes; 0: nothing.
	gather int
	// frames wait to be encoded, their data stands in data one after another. Encoding
	// takes a deep stack, and those who record have a small one: it would have to grow
	// for each frame.
	frames []waiting
	data   []byte
}

// waiting is a frame that is not encoded yet.
type waiting struct {
	info    gopacket.CaptureInfo
	options pcapgo.NgPacketOptions
}

// newBuffer has room for the longest block, and what is gathered before it.
func newBuffer() *bufio.Writer { return bufio.NewWriterSize(nil, 128<<10) }

func createPcapng(path string, buf *bufio.Writer, create func(path string) (*os.File, error)) (*pcapng, error) {
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
func newPcapng(file *os.File, buf *bufio.Writer, secrets []byte) (*pcapng, error) {
	buf.Reset(file)
	w := &pcapng{file: file, buf: buf}
	var err error
	// The library takes over a buffer that is large enough.
	w.ng, err = pcapgo.NewNgWriterInterface(w.buf, iface("cable", layers.LinkTypeEthernet), pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: "ip88rig"},
	})
	if err != nil {
		return nil, err
	}
	for _, i := range []pcapgo.NgInterface{
		iface("host", layers.LinkTypeEthernet),
		iface("notes", linkUser0),
	} {
		if _, err := w.ng.AddInterface(i); err != nil {
			return nil, err
		}
	}
	if len(secrets) > 0 {
		if err := w.ng.WriteDecryptionSecretsBlock(pcapgo.DSB_SECRETS_TYPE_TLS, secrets); err != nil {
			return nil, err
		}
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	w.header = w.whole
	return w, nil
}

func iface(name string, link layers.LinkType) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: name, LinkType: link, TimestampResolution: 9}
}

// flush hands what was written to the operating system. There is no fsync: a
// killed process loses nothing by that, only a machine without power does.
func (w *pcapng) flush() error {
	data := w.data
	for _, f := range w.frames {
		n := f.info.CaptureLength
		if err := w.ng.WritePacketWithOptions(f.info, data[:n], f.options); err != nil {
			return err
		}
		data = data[n:]
	}
	clear(w.frames)
	w.frames, w.data = w.frames[:0], w.data[:0]
	if w.buf.Buffered() == 0 {
		return nil
	}
	n := int64(w.buf.Buffered())
	if err := w.ng.Flush(); err != nil {
		return err
	}
	w.whole += n
	return nil
}

// blockOverhead is about how many bytes a block has besides its data.
const blockOverhead = 48

func (w *pcapng) frame(number int, outbound bool, at time.Time, data []byte, comments []string) error {
	direction := pcapgo.NgEpbFlagDirectionInbound
	if outbound {
		direction = pcapgo.NgEpbFlagDirectionOutbound
	}
	options := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction}}
	if len(comments) > 0 {
		options.Comments = make([]string, len(comments))
		for i, c := range comments {
			options.Comments[i] = comment(c)
		}
	}
	w.data = append(w.data, data...)
	w.frames = append(w.frames, waiting{info: gopacket.CaptureInfo{
		Timestamp: at, CaptureLength: len(data), Length: len(data), InterfaceIndex: number,
	}, options: options})
	if len(w.data)+len(w.frames)*blockOverhead <= w.gather {
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
func Read(path string, fn func(iface, number int, at time.Time, data []byte, comments []string) error) error {
	file, err := os.Open(path) //nolint:gosec // G304: to read the file that is named is what this is for
	if err != nil {
		return err
	}
	number, err := readFrom(file, fn)
	if err != nil {
		err = fmt.Errorf("%s: after frame %d: %w", path, number, err)
	}
	return errors.Join(err, file.Close())
}

type readFunc = func(iface, number int, at time.Time, data []byte, comments []string) error

func readFrom(r io.Reader, fn readFunc) (number int, err error) {
	in := bufio.NewReader(r)
	magic, err := in.Peek(4)
	if err != nil {
		return 0, ended(err)
	}
	if string(magic) != "\x0a\x0d\x0d\x0a" {
		return readPcap(in, fn)
	}
	ng, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return 0, ended(err)
	}
	for {
		data, ci, options, err := ng.ZeroCopyReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return number, nil
		}
		if err != nil {
			return number, ended(err)
		}
		number++
		link, _ := ci.AncillaryData[0].(layers.LinkType)
		if link != layers.LinkTypeEthernet && link != linkUser0 {
			return number, fmt.Errorf("interface %d is %v, not Ethernet", ci.InterfaceIndex, link)
		}
		if err := fn(ci.InterfaceIndex, number, ci.Timestamp.UTC(), data, options.Comments); err != nil {
			return number, err
		}
	}
}

func readPcap(in io.Reader, fn readFunc) (number int, err error) {
	r, err := pcapgo.NewReader(in)
	if err != nil {
		return 0, ended(err)
	}
	if r.LinkType() != layers.LinkTypeEthernet {
		return 0, fmt.Errorf("link type is %v, not Ethernet", r.LinkType())
	}
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return number, nil
		}
		if err != nil {
			return number, ended(err)
		}
		number++
		if err := fn(Cable, number, ci.Timestamp.UTC(), data, nil); err != nil {
			return number, err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
