package decode

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
)

// decodeSNTP reads RFC 4330. The mode distinguishes request and answer, or the
// port where the mode does not.
func (d *reading) decodeSNTP(data []byte) {
	if d.missing > 0 {
		d.cutShort("SNTP")
		return
	}
	var m layers.NTP
	if err := d.layer(&m, data); err != nil {
		d.malformed(err.Error())
		return
	}
	kind := timeline.SNTPRequest
	if m.Mode == 4 || m.Mode == 5 || m.Mode != 3 && m.Mode != 1 && d.src.Port() == 123 && d.dst.Port() != 123 {
		kind = timeline.SNTPResponse
	}
	e := d.event(kind)
	e.Fields = map[string]string{
		"ntp.flags.li":   strconv.Itoa(int(m.LeapIndicator)),
		"ntp.flags.vn":   strconv.Itoa(int(m.Version)),
		"ntp.flags.mode": strconv.Itoa(int(m.Mode)),
		"ntp.stratum":    strconv.Itoa(int(m.Stratum)),
		"ntp.org":        fmt.Sprintf("0x%016x", uint64(m.OriginTimestamp)),
		"ntp.rec":        fmt.Sprintf("0x%016x", uint64(m.ReceiveTimestamp)),
		"ntp.xmt":        fmt.Sprintf("0x%016x", uint64(m.TransmitTimestamp)),
	}
	if kind == timeline.SNTPResponse && m.Stratum == 0 {
		// A kiss code (RFC 5905, section 7.4).
		e.Reason = clip(strings.TrimRight(string(data[12:16]), "\x00"))
		e.Fields["ntp.refid"] = e.Reason
	}
	d.emit(e)
}

// decodeDNS reads RFC 1035: the first question, and the addresses answered.
func (d *reading) decodeDNS(data []byte) {
	if d.missing > 0 {
		d.cutShort("DNS")
		return
	}
	var m layers.DNS
	if err := d.layer(&m, data); err != nil {
		d.malformed("DNS: " + err.Error())
		return
	}
	kind := timeline.DNSQuery
	if m.QR {
		kind = timeline.DNSResponse
	}
	e := d.event(kind)
	e.Fields = map[string]string{"dns.id": fmt.Sprintf("0x%04x", m.ID)}
	if len(m.Questions) > 0 {
		e.Message = clip(string(m.Questions[0].Name))
		e.Fields["dns.qry.name"] = e.Message
		e.Fields["dns.qry.type"] = m.Questions[0].Type.String()
	}
	if m.QR {
		e.Status = int(m.ResponseCode)
		e.Fields["dns.flags.rcode"] = strconv.Itoa(int(m.ResponseCode))
		var addrs, services []string
		for _, a := range m.Answers {
			switch {
			case len(a.IP) == 4:
				addrs = append(addrs, addr4(a.IP))
			case a.Type == layers.DNSTypeSRV:
				services = append(services, clip(fmt.Sprintf("%s:%d", a.SRV.Name, a.SRV.Port)))
			}
		}
		if len(addrs) > 0 {
			e.Fields["dns.a"] = strings.Join(addrs, ",")
		}
		if len(services) > 0 {
			e.Fields["dns.srv"] = strings.Join(services, ",")
		}
	}
	d.emit(e)
}
