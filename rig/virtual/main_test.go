package virtual

import (
	"testing"

	"ip88rig/rig/waiting"
)

func TestMain(m *testing.M) { waiting.Tests(m, 12) }
