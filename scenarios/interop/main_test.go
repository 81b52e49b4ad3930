//go:build linux && interop

package interop

import (
	"testing"

	"ip88rig/rig/waiting"
)

func TestMain(m *testing.M) { waiting.Tests(m, 2) }
