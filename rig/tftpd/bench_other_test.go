//go:build !linux

package tftpd_test

import (
	"context"
	"net"
	"testing"
)

func startDnsmasq(_ context.Context, b *testing.B, _ string, _ []byte) *net.UDPConn {
	b.Helper()
	b.Skip("needs network namespaces")
	return nil
}
