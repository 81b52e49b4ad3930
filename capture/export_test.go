package capture

import (
	"os"
)

// Fill makes every further write to one file of the recording at hand fail as
// on a full disk.
func Fill(r *Recorder, name string) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch name {
	case CaptureFile:
		r.rec.pcap.file = full
	case JournalFile:
		r.rec.journal.file = full
	case KeysFile:
		r.rec.keys.file = full
	}
}
