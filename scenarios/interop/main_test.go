//go:build linux && interop

package interop

import (
	"testing"

	"ip88rig/internal/waiting"
)

func TestMain(m *testing.M) { waiting.Tests(m, 2) }
