package tftpd

import "fmt"

// FallSilent lets the transfer send no DATA that ends beyond so many bytes of
// the file, and from there on nothing at all. A transfer that ends before that
// says that the fault was not done. With 0 not one packet is sent, not even an
// ERROR. A file that is not longer is sent as it is: there the fault finds nothing
// to do. The transfer's port stays open and swallows what comes, until the same
// host asks anew: a closed one would say so.
type FallSilent struct{ AfterBytes int }

func (e FallSilent) String() string { return fmt.Sprintf("falls silent after %d bytes", e.AfterBytes) }

func (e FallSilent) check() error {
	if e.AfterBytes < 0 {
		return fmt.Errorf("tftpd cannot fall silent after %d bytes", e.AfterBytes)
	}
	return nil
}

func (e FallSilent) fits(at stand) bool {
	if !at.sends() || at.silent {
		return false
	}
	return e.AfterBytes == 0 || at.served && int64(e.AfterBytes) < at.length
}

func (e FallSilent) begin(t *transfer) { t.silentAt = e.AfterBytes }

func (e FallSilent) end(t *transfer, p packet) *ending {
	t.silentAt = e.AfterBytes
	return t.emit(p.n)
}
