package virtual

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/config"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/flash"
)

// Fields that the vendor's files name and the facts do not, as SECTION/name
// (section 2.3 of the phone facts; 88, 8802 and 68).
const (
	networkMode  = "LAN/network_mode"
	ownAddress   = "LAN/ipAddress"
	subnetMask   = "LAN/subnetMask"
	ownGateway   = "LAN/defaultGateway"
	dns1         = "LAN/dns1_address"
	dns2         = "LAN/dns2_address"
	tftpServer   = "LAN/tftp_server_address"
	sntpServer   = "NETTIME/sntp_server_address"
	dhcpGetTFTP  = "PROVISION/dhcp_get_tftp"
	dhcpGetHTTP  = "PROVISION/dhcp_get_http"
	httpsPort    = "PROVISION/https_port"
	httpsMACForm = "PROVISION/https_macform"
	decryptKey   = "PROVISION/decrypt_key"
	smartUse     = "PROVISION/smartup_use"
	smartType    = "PROVISION/smartup_type"
	smartEvery   = "PROVISION/smartup_interval"
	webServer    = "SYSTEM/web_server"
	autoAnswer   = "CALL/auto_answer"

	lineName         = "VOIP/line1_name"
	lineAuthName     = "VOIP/line1_authname"
	linePassword     = "VOIP/line1_password" //nolint:gosec // the name of a field
	lineDisplayName  = "VOIP/line1_displayname"
	lineProxy        = "VOIP/line1_proxy_address"
	lineProxyPort    = "VOIP/line1_proxy_port"
	lineRegistration = "VOIP/line1_registration"
	outboundProxy    = "VOIP/outbound_proxy_server"
	outboundPort     = "VOIP/outbound_proxy_port"
	localPort        = "VOIP/local_udp_port"
	registerExpires  = "VOIP/timer_register_expires"
	rtpPort          = "VOIP/rtp_port"
	preferredCodec   = "VOIP/preferred_codec"
	timerT1          = "VOIP/timer_t1"
)

// settings is what the memory holds at a moment, with the factory's defaults.
type settings struct {
	state flash.State
	rules config.Rules
	facts model.Facts
}

func (d *device) settings() settings {
	return settings{d.flash.Read(), d.rules, d.cfg.Facts}
}

func (s settings) get(f model.Field) string {
	if v, ok := s.state.Get(f); ok {
		return v
	}
	return s.rules.Default(f)
}

// text returns the value of SECTION/name.
func (s settings) text(path string) string {
	section, name, _ := strings.Cut(path, "/")
	return s.get(model.Field{Section: section, Name: name})
}

// number is text as a number, 0 when it is none.
func (s settings) number(path string) int {
	n, err := strconv.Atoi(s.text(path))
	if err != nil {
		return 0
	}
	return n
}

func (s settings) enabled(path string) bool { return s.text(path) == "enable" }

// fact returns the value of the nth field that a fact names, blank without one.
func (s settings) fact(name string, n int) string {
	if fields := s.facts.Fields(name); n < len(fields) {
		return s.get(fields[n])
	}
	return ""
}

// optionNumber is the DHCP option that carries the URL.
func (s settings) optionNumber() uint8 {
	if n, err := strconv.ParseUint(s.fact(model.OptionNumberField, 0), 10, 8); err == nil && n > 0 && n < 255 {
		return uint8(n)
	}
	return optURL
}

// requestList is option 55, with the number of the HTTPS option as it is set.
func (s settings) requestList() []uint8 {
	var out []uint8
	for _, word := range s.facts.List(model.DHCPRequestList) {
		n, err := strconv.ParseUint(word, 10, 8)
		if err != nil {
			continue
		}
		if n == optURL {
			n = uint64(s.optionNumber())
		}
		out = append(out, uint8(n))
	}
	return out
}

// mask is that of the certificate checks.
func (s settings) mask() uint8 {
	n, err := strconv.ParseUint(s.fact(model.MaskField, 0), 16, 8)
	if err != nil || n > 7 {
		return 7
	}
	return uint8(n)
}

// static is the address set by hand or file, as a lease without an end.
func (s settings) static() (dhcpc.Lease, bool) {
	if s.text(networkMode) != "static" {
		return dhcpc.Lease{}, false
	}
	addr, err := netip.ParseAddr(s.text(ownAddress))
	mask, err2 := netip.ParseAddr(s.text(subnetMask))
	if err != nil || err2 != nil || !addr.Is4() || addr.IsUnspecified() || !mask.Is4() {
		return dhcpc.Lease{}, false
	}
	bits, size := net.IPMask(mask.AsSlice()).Size()
	if size != 32 {
		return dhcpc.Lease{}, false
	}
	lease := dhcpc.Lease{Addr: netip.PrefixFrom(addr, bits)}
	if gw, err := netip.ParseAddr(strings.TrimSpace(s.text(ownGateway))); err == nil {
		lease.Gateway = gw
	}
	return lease, true
}

// DHCP options that the manuals of the line name (8002, 68).
const (
	optSNTP       = 42
	optTFTPName   = 66
	optTFTPServer = 150
	optURL        = 160 // by default (guide F-2)
)

// Fields of the clock (68), as SECTION/name.
const (
	smartTime    = "PROVISION/smartup_time"
	timeInterval = "NETTIME/interval"
	timeZone     = "NETTIME/timezone"
)
