package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

// CheckVirtualTime says why hosts cannot run in virtual time here; nil: they can.
// It tries: two hosts on a switch exchange a few bytes by TCP an hour after each
// other, which takes some milliseconds. A wrong wait reason would stop time for
// good: then the error is that of ctx, and the trial is left behind.
func CheckVirtualTime(ctx context.Context) error {
	if err := VirtualTime(); err != nil {
		return err
	}
	result := make(chan error, 1)
	// Ends with the trial; one that hangs, with the process.
	go func() { //nolint:contextcheck // nothing ends it from outside of its bubble
		vtime.Run(vtime.Epoch, func() { result <- tryVirtualTime() })
	}()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("virtual time: trial: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("virtual time stands still in a trial: this build needs Go %s and the version of gvisor.dev/gvisor that go.mod names: %w", GoVersions, context.Cause(ctx))
	}
}

func tryVirtualTime() (err error) {
	sw := wire.NewTimedSwitch()
	near, err := tryHost(sw, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, near.Close()) }()
	far, err := tryHost(sw, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, far.Close()) }()
	ln, err := near.ListenTCP(netip.AddrPortFrom(near.Addr(), 80))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ln.Close()) }()
	served := make(chan error, 1)
	// Ends once it has answered, or the listener is closed.
	go func() {
		c, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		<-time.After(time.Hour)
		_, err = c.Write([]byte("an hour later"))
		served <- errors.Join(err, c.Close())
	}()
	began := time.Now()
	c, err := far.DialTCP(context.Background(), netip.AddrPort{}, netip.AddrPortFrom(near.Addr(), 80)) //nolint:forbidigo // the trial ends by itself
	if err != nil {
		return err
	}
	text, err := io.ReadAll(c)
	if err := errors.Join(err, c.Close(), <-served); err != nil {
		return err
	}
	if took := time.Since(began); string(text) != "an hour later" || took < time.Hour || took > time.Hour+time.Minute {
		return fmt.Errorf("%q came after %v, not after an hour", text, took)
	}
	return nil
}

// tryHost is a host of the trial on a port of its own.
func tryHost(sw *wire.Switch, n byte) (*Host, error) {
	return New(context.Background(), Config{ //nolint:forbidigo // it ends by Close
		Port: sw.Access(fmt.Sprint("host ", n), 1), Seed: uint64(n), Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)},
	})
}
