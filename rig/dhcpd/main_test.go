package dhcpd

import (
	"testing"

	"ip88rig/internal/waiting"
)

func TestMain(m *testing.M) { waiting.Tests(m, 6) }
