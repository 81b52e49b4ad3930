package main

import (
	"context"
	"strings"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/host"
	"ip88rig/rig/report"
)

func loadBench(path string) (bench.Bench, error) {
	var b bench.Bench
	var err error
	if path == "" {
		b, err = bench.Embedded()
	} else {
		b, err = bench.Load(path)
	}
	if err != nil {
		return b, exitError{report.ExitUsage, err}
	}
	return b, nil
}

// loadBenchWith is loadBench with what the command line puts in the place of the
// bench file's own.
func loadBenchWith(path, goldenRecords, deviations string) (bench.Bench, error) {
	b, err := loadBench(path)
	if err != nil {
		return b, err
	}
	if goldenRecords != "" {
		b.GoldenRecords = goldenRecords
	}
	if deviations != "" {
		b.Deviations = deviations
	}
	return b, nil
}

// loadAuthorities are the bench's own, whose keys somebody may hold against the
// rig on an interface only.
func loadAuthorities(b bench.Bench, state string) (rig.Authorities, error) {
	if b.Wire.Memory {
		return rig.MemoryAuthorities(state)
	}
	return rig.LoadAuthorities(state)
}

// chosen returns the handsets that are named, all for none.
func chosen(b bench.Bench, names []string) ([]bench.Handset, error) {
	if len(names) == 0 {
		return b.Handsets, nil
	}
	var out []bench.Handset
	for _, n := range names {
		h, ok := b.Handset(n)
		if !ok {
			var have []string
			for _, h := range b.Handsets {
				have = append(have, h.Name)
			}
			return nil, usage("no handset %q on bench %s; there are %s", n, b.Name, strings.Join(have, ", "))
		}
		out = append(out, h)
	}
	return out, nil
}

// timeIsVirtual says why nothing can run on a bench whose wire is in memory: there is
// no other way to run there.
func timeIsVirtual(ctx context.Context, b bench.Bench) error {
	if !b.Wire.Memory {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := host.CheckVirtualTime(ctx); err != nil {
		return exitError{report.ExitUsage, err}
	}
	return nil
}
