//go:build !linux

package preflight

import (
	"errors"
	"runtime"
	"time"

	"ip88rig/rig/wire"
)

// Local is this computer, which can run a wire in memory only.
func Local() System {
	start := time.Now()
	none := errors.New("lab interfaces need Linux, this is " + runtime.GOOS)
	return System{
		Interface:     func(string) (Interface, error) { return Interface{}, none },
		DefaultRoutes: func() ([]string, error) { return nil, none },
		MayUsePackets: func() (bool, error) { return false, none },
		Open:          func(string, wire.PacketOptions) (wire.Port, error) { return nil, none },
		Clock: func() Reading {
			now := time.Now()
			return Reading{Wall: now.Round(0), Elapsed: now.Sub(start)}
		},
		Free: func(string) (uint64, error) { return 1 << 40, nil },
	}
}
