package rig

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/dhcpd"
)

// What a given says of itself in the journal, so that timeline.Lapses can hold
// it against what the handset met.

// givenAs is given with the fields by which it can be proven.
func (l *Lane) givenAs(name, text string, fields map[string]string, args ...any) {
	l.Recorder.Record(timeline.Event{By: "scenario", Kind: timeline.Given, Message: name, Reason: text, SHA256: digest(name, args), Fields: fields})
}

// offerFields are the options of a lease as they read when they are decoded. A
// URL that holds a password, and text that is no text, are said to be sent and
// no more.
func offerFields(lease dhcpd.Lease) map[string]string {
	out := map[string]string{timeline.GivenOption + "51": strconv.Itoa(int(lease.Duration / time.Second))}
	if len(lease.NTP) > 0 {
		out[timeline.GivenOption+"42"] = list(lease.NTP)
	}
	for n, value := range lease.Options {
		text := ""
		switch n {
		case 150:
			if a, ok := netip.AddrFromSlice(value); ok {
				text = a.String()
			}
		case 66, 160:
			switch u, err := url.Parse(string(value)); {
			case len(value) == 0:
				text = timeline.GivenMaybe
			case err == nil && u.User == nil && plain(value):
				text = string(value)
			}
		}
		out[timeline.GivenOption+strconv.Itoa(int(n))] = text
	}
	forced := make([]string, len(lease.Force))
	for i, n := range lease.Force {
		forced[i] = strconv.Itoa(int(n))
	}
	out[timeline.GivenForced] = strings.Join(forced, ",")
	return out
}

func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func list(addrs []netip.Addr) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ",")
}

// servers are the rig's own addresses.
func (l *Lane) servers() []netip.Addr { return []netip.Addr{l.Addrs.Server, l.Addrs.Second} }

// resetFields are what Reset brings about, but for the certificate.
func (l *Lane) resetFields(shown map[string]string) map[string]string {
	shown[timeline.GivenServers] = list(l.servers())
	shown[timeline.GivenChallenged] = ""
	shown[timeline.GivenRegistrar] = ""
	shown[timeline.GivenSkew] = "0s"
	shown[timeline.GivenName+l.Addrs.Name] = l.Addrs.Server.String()
	shown[timeline.GivenName+l.Addrs.SecondName] = l.Addrs.Second.String()
	return shown
}

func certificateFields(c *tls.Certificate, label string) map[string]string {
	out := map[string]string{timeline.GivenCertificate: label}
	if c != nil && len(c.Certificate) > 0 {
		sum := sha256.Sum256(c.Certificate[0])
		out[timeline.GivenCertificateSHA256] = hex.EncodeToString(sum[:])
	}
	return out
}

// challengeFields are the servers that ask for authentication.
func (l *Lane) challengeFields(s Scheme, servers ...int) map[string]string {
	var asking []netip.Addr
	for _, i := range servers {
		if s != NoAuth {
			asking = append(asking, l.servers()[i])
		}
	}
	return map[string]string{timeline.GivenChallenged: list(asking)}
}

// tellTree writes into a new recording what is served as it begins.
func (l *Lane) tellTree() {
	l.givenAs(timeline.GivenTree, fmt.Sprintf("%d files as before", l.Tree.Tell()), nil)
}
