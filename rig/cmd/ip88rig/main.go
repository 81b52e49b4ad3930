// Command ip88rig is a hardware-in-the-loop test rig for IP8820, IP8830 and
// IP8840 SIP desk phones. Without arguments it shows its help; "ip88rig run"
// judges six simulated handsets on a wire in memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"ip88rig/rig/report"
)

type cli struct {
	Run          runCmd          `cmd:"" help:"Run every scenario on every handset of the bench."`
	Check        checkCmd        `cmd:"" help:"Look before a run: interface, privileges, foreign DHCP, clock, disk, and what would be skipped."`
	Serve        serveCmd        `cmd:"" help:"Serve one handset and watch it; or watch an interface for phones."`
	Judge        judgeCmd        `cmd:"" help:"Judge the recordings of a run again, from the files alone."`
	Requirements requirementsCmd `cmd:"" help:"List the requirements, with the specs and defects that cover them."`
	Defects      defectsCmd      `cmd:"" help:"List what can be wrong with a simulated handset."`
	Faults       faultsCmd       `cmd:"" help:"List what the rig's services and its wire can do wrong on purpose."`
	Mutants      mutantsCmd      `cmd:"" help:"Prove that the scenarios can fail: run them against each defect."`
	Timeline     timelineCmd     `cmd:"" help:"Print what a capture tells, one line each."`
	Authority    authorityCmd    `cmd:"" help:"The authority that signs the rig's certificates."`
	Handset      handsetCmd      `cmd:"" help:"Run one simulated handset alone, on an interface."`
	Lane         laneCmd         `cmd:"" hidden:"" help:"One handset of a run, as a process of its own."`
}

func main() { os.Exit(run()) }

func run() int {
	var c cli
	parser, err := kong.New(
		&c,
		kong.Name("ip88rig"),
		kong.Description("A hardware-in-the-loop test rig for IP8820, IP8830 and IP8840 SIP desk phones.\n\nExamples:\n  ip88rig run                              six simulated handsets, nothing needed\n  ip88rig run --bench lab.yaml             the handsets of a bench file\n  ip88rig run --handset ip8830 --filter RBT-04\n  ip88rig serve --interface eth1           see which phones speak, get the lines to paste\n  ip88rig check --bench lab.yaml           before the first run"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ip88rig:", err)
		return report.ExitUsage
	}
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ip88rig: %v\n\"ip88rig --help\" shows what there is.\n", err)
		return report.ExitUsage
	}
	ctx, stop := context.Background(), func() {}
	if k.Command() != "lane" {
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		// The first one asks, the second one kills.
		context.AfterFunc(ctx, stop)
	}
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	err = k.Run()
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintln(os.Stderr, "ip88rig:", exit.err)
		}
		return exit.code
	case errors.Is(err, context.Canceled):
		return report.ExitInterrupted
	}
	// It was begun and could not be finished; 1 is a handset's failure alone.
	fmt.Fprintln(os.Stderr, "ip88rig:", err)
	return report.ExitInconclusive
}
