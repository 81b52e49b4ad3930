package tftpd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// startDnsmasq serves one file in a network namespace of its own, where port 69
// is nobody else's, until ctx ends. It returns a socket in that namespace: a
// thread that has left for it does not come back, so all that happens there is
// done by one goroutine whose thread ends with it.
func startDnsmasq(ctx context.Context, b *testing.B, name string, content []byte) *net.UDPConn {
	b.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		b.Skipf("needs dnsmasq: %v", err)
	}
	dir := b.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		b.Fatal(err)
	}
	var conn *net.UDPConn
	var err error
	done := make(chan struct{})
	go func() { // ends when dnsmasq answers
		defer close(done)
		runtime.LockOSThread()
		conn, err = dnsmasqElsewhere(ctx, b, dir)
	}()
	<-done
	if err != nil {
		b.Skipf("dnsmasq in a network namespace: %v", err)
	}
	return conn
}

func dnsmasqElsewhere(ctx context.Context, b *testing.B, dir string) (*net.UDPConn, error) {
	b.Helper()
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root",
		"--enable-tftp", "--tftp-root="+dir, "--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.Cleanup(func() { _ = cmd.Wait() }) // ends with ctx
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn, answers(ctx, conn, netip.MustParseAddrPort("127.0.0.1:69"))
}

// answers waits until the server refuses a file.
func answers(ctx context.Context, conn *net.UDPConn, server netip.AddrPort) error {
	var buf [100]byte
	for range 100 {
		if _, err := conn.WriteToUDPAddrPort(rrq("nothing", "octet"), server); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if _, _, err := conn.ReadFromUDPAddrPort(buf[:]); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // a closed port answers at once, and dnsmasq says nowhere when it is up
	}
	return errors.New("no answer")
}
