package capture

import (
	"net/netip"
)

// flowIndex knows the last frame of each flow, of two generations of flows at
// most.
type flowIndex struct {
	young, old map[[2]netip.AddrPort]int
}

const flowGeneration = 2048

func (x *flowIndex) put(src, dst netip.AddrPort, frame int) {
	key := [2]netip.AddrPort{src, dst}
	if _, ok := x.young[key]; !ok && len(x.young) >= flowGeneration || x.young == nil {
		x.old, x.young = x.young, map[[2]netip.AddrPort]int{}
	}
	x.young[key] = frame
}

// last finds the last frame from src to dst. A service that does not know which
// of its addresses was asked leaves the address, or all of dst, out.
func (x *flowIndex) last(src, dst netip.AddrPort) int {
	src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	key := [2]netip.AddrPort{src, dst}
	if n, ok := x.young[key]; ok {
		return n
	}
	if n, ok := x.old[key]; ok {
		return n
	}
	if dst.Addr().IsValid() && !dst.Addr().IsUnspecified() {
		return 0
	}
	best := 0
	for _, generation := range []map[[2]netip.AddrPort]int{x.young, x.old} {
		for k, n := range generation {
			if k[0] == src && (dst.Port() == 0 || k[1].Port() == dst.Port()) {
				best = max(best, n)
			}
		}
	}
	return best
}
