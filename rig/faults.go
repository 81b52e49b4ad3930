package rig

import (
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
)

// FaultKinds lists the kinds of faults of every service and of the wire (impair).
func FaultKinds() []fault.Kinds {
	return []fault.Kinds{dhcpd.Kinds(), tftpd.Kinds(), httpd.Kinds(), sntpd.Kinds(), dnsd.Kinds(), sipd.Kinds(), impair.Kinds()}
}
