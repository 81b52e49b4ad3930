package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/bench"
)

// forward reaches a port of the handset from this computer, through the rig's
// host.
type forward struct {
	// listen is where this computer listens, to where it leads.
	listen string
	to     netip.AddrPort
}

// parseForward reads [HOST:]PORT=PHONE:PORT. Without a host it is loopback.
func parseForward(s string, h bench.Handset, at netip.Addr) (forward, error) {
	wrong := func(why string) (forward, error) {
		return forward{}, usage("--forward %q: %s; want 127.0.0.1:8880=%s:80", s, why, h.Name)
	}
	left, right, ok := strings.Cut(s, "=")
	if !ok {
		return wrong("no \"=\"")
	}
	if !strings.Contains(left, ":") {
		left = ":" + left
	}
	host, port, err := net.SplitHostPort(left)
	if err != nil {
		return wrong(err.Error())
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return wrong(fmt.Sprintf("%q is not a port", port))
	}
	f := forward{listen: net.JoinHostPort(host, port)}
	phone, port, err := net.SplitHostPort(right)
	if err != nil {
		return wrong(err.Error())
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return wrong(fmt.Sprintf("%q is not a port", port))
	}
	addr := at
	if phone != h.Name {
		if addr, err = netip.ParseAddr(phone); err != nil || !addr.Is4() {
			return wrong(fmt.Sprintf("%q is neither the handset that is served nor an IPv4 address", phone))
		}
	}
	f.to = netip.AddrPortFrom(addr, uint16(n))
	return f, nil
}

// dialTime is how long a handset may take to let a connection in.
const dialTime = 10 * time.Second

// serve carries connections until ctx ends, and closes ln.
func (f forward) serve(ctx context.Context, ln net.Listener, dial func(context.Context, netip.AddrPort) (net.Conn, error), say func(string)) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("forward %s: %w", f.listen, err)
		}
		// Ends with the connection, or with ctx.
		wg.Go(func() {
			if err := f.carry(ctx, conn, dial); err != nil && ctx.Err() == nil {
				say(fmt.Sprintf("forward %s=%s: %v\n", f.listen, f.to, err))
			}
		})
	}
}

func (f forward) carry(ctx context.Context, near net.Conn, dial func(context.Context, netip.AddrPort) (net.Conn, error)) error {
	defer func() { _ = near.Close() }()
	limit, cancel := context.WithTimeout(ctx, dialTime)
	far, err := dial(limit, f.to)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = far.Close() }()
	stop := context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })
	defer stop()
	back := make(chan error, 1)
	// Ends when the handset has no more to say, or when both ends are closed.
	go func() { back <- pass(near, far) }()
	there := pass(far, near)
	return errors.Join(there, <-back)
}

// pass copies one direction and passes its end on.
func pass(to, from net.Conn) error {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if !ok || err != nil {
		// The other direction cannot go on either.
		_, _ = to.Close(), from.Close()
		return err
	}
	_ = half.CloseWrite() // it may be gone by now
	return nil
}
