package model

import "strings"

// Security is how a WiFi network is protected, as WIF-03 names it.
type Security string

// The modes of WIF-03.
const (
	Open       Security = "open"
	WPA        Security = "WPA-PSK"
	WPA2       Security = "WPA2-PSK"
	Enterprise Security = "802.1X"
)

// Securities returns the modes in the order of WIF-03.
func Securities() []Security { return []Security{Open, WPA, WPA2, Enterprise} }

// securities are the modes as the value of a fact.
func securities() string {
	var names []string
	for _, s := range Securities() {
		names = append(names, string(s))
	}
	return strings.Join(names, " ")
}
