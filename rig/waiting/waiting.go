// Package waiting is for the tests of packages that hardly compute: they wait
// for sockets, timers and other programs. More of them than there are
// processors run side by side.
package waiting

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
)

// Tests runs the tests of a package, from its TestMain, so many parallel ones
// at a time where the command line does not say. Under the race detector they
// compute too, and are fewer.
func Tests(m *testing.M, atOnce int) {
	if race {
		atOnce = max(2, atOnce/3)
	}
	// A new default: what the command line says is read later.
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(fmt.Errorf("waiting: %w", err))
	}
	m.Run()
}
