package preflight

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ip88rig/rig/wire"
)

// Local is this computer.
func Local() System {
	start := time.Now()
	return System{
		Interface:     localInterface,
		DefaultRoutes: localRoutes,
		MayUsePackets: func() (bool, error) {
			status, err := os.ReadFile("/proc/self/status")
			if err != nil {
				return false, err
			}
			return netRaw(status)
		},
		Open: func(name string, opts wire.PacketOptions) (wire.Port, error) { return wire.OpenPacket(name, opts) },
		Clock: func() Reading {
			// The one of several looks that was least disturbed between its clocks.
			var best Reading
			for n := range 5 {
				now := time.Now()
				r := Reading{Wall: now.Round(0), Elapsed: now.Sub(start)}
				if n == 0 || r.Wall.Sub(best.Wall)-(r.Elapsed-best.Elapsed) > 0 {
					best = r
				}
			}
			return best
		},
		Free: free,
	}
}

func localInterface(name string) (Interface, error) {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return Interface{}, fmt.Errorf("interface %q: %w", name, err)
	}
	sys := filepath.Join("/sys/class/net", name)
	there := func(what string) bool { _, err := os.Stat(filepath.Join(sys, what)); return err == nil }
	i := Interface{
		MAC: nic.HardwareAddr, Up: nic.Flags&net.FlagUp != 0, Carrier: nic.Flags&net.FlagRunning != 0, MTU: nic.MTU,
		Wireless: there("wireless") || there("phy80211"), Physical: there("device"),
	}
	if to, err := os.Readlink(filepath.Join(sys, "master")); err == nil {
		i.Master = filepath.Base(to)
	}
	return i, nil
}

func localRoutes() ([]string, error) {
	v4, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	// A kernel without IPv6 has no such file.
	v6, err := os.ReadFile("/proc/net/ipv6_route")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("routes: %w", err)
	}
	return defaultRoutes(v4, v6), nil
}

// defaultRoutes reads /proc/net/route and /proc/net/ipv6_route.
func defaultRoutes(v4, v6 []byte) []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for line := range strings.Lines(string(v4)) {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask …
		f := strings.Fields(line)
		if len(f) >= 8 && f[1] == "00000000" && f[7] == "00000000" {
			add(f[0])
		}
	}
	for line := range strings.Lines(string(v6)) {
		// destination, its length in hex, …, flags, device; lo holds a route that
		// rejects.
		f := strings.Fields(line)
		if len(f) >= 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[9] != "lo" {
			add(f[9])
		}
	}
	return out
}

// netRaw reads /proc/self/status.
func netRaw(status []byte) (bool, error) {
	sc := bufio.NewScanner(bytes.NewReader(status))
	for sc.Scan() {
		if mask, ok := strings.CutPrefix(sc.Text(), "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			if err != nil {
				return false, fmt.Errorf("capabilities: %w", err)
			}
			return n>>unix.CAP_NET_RAW&1 == 1, nil
		}
	}
	return false, errors.New("capabilities: no CapEff in /proc/self/status")
}

// free asks for the nearest folder that is there.
func free(dir string) (uint64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		if err == nil {
			return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // a block size is not negative
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return 0, fmt.Errorf("room in %s: %w", dir, err)
		}
		dir = up
	}
}
