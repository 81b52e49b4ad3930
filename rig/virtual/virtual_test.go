package virtual

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

const (
	global  = "sysconf_8830_sip.cfg"
	own     = "00005e00530a"
	ownWiFi = "00005e00530b"
	verFile = "IP_8830_VER_SIP2"
)

// firmware publishes a version with two files.
func (l *lab) firmware(version string) {
	image, xml := strings.Repeat(version, 400), "<xml>"+version+"</xml>"
	l.publish("a.bin", image)
	l.publish("a.xml", xml)
	l.publish(verFile, fmt.Sprintf("# top\nversion %s\nmain a.bin %08x\n# below\nxml a.xml %08x\n",
		version, crc32.ChecksumIEEE([]byte(image)), crc32.ChecksumIEEE([]byte(xml))))
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestBootsProvisionsAndUpgradesWithOneReboot(t *testing.T) {
	l := newLab(t)
	l.publish(global, golden("local_udp_port 5070"))
	l.publish(own, "[VOIP]\nline1_name 202\n")
	l.firmware("2.0")
	h := l.handset(nil)
	first := l.until(0, "register ")
	same(t, first,
		"boot 00:00:5e:00:53:0a",
		"tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile, "tftp a.bin", "tftp a.xml",
		"boot 00:00:5e:00:53:0a",
		"tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile,
		"register <sip:202 LG-Ericsson IP8830 v2.0 SN/00005E00530A from 192.0.2.50:5070 expires 3600",
	)
	if h.Version() != "2.0" {
		t.Errorf("runs %s, want 2.0", h.Version())
	}

	// A power cycle is quiet, and what was transferred to memory holds.
	l.publish(global, "")
	l.publish(own, "")
	n := l.count()
	l.cycle(h)
	again := l.until(n, "register ")
	if got := again[len(again)-1]; !strings.HasPrefix(got, "register <sip:202 LG-Ericsson IP8830 v2.0") {
		t.Errorf("got %s", got)
	}
	same(t, downloads(again), "tftp "+global, "tftp "+own, "tftp "+own+"/"+verFile, "tftp "+verFile)
}
