package timeline

// direction is the end that an event goes to.
type direction int

const (
	nowhere direction = iota
	fromHandset
	toHandset
	bothWays
)

// row is one line.
type row struct {
	frames string
	at     string
	dir    direction
	mark   string // for those that go nowhere
	words  string
	// again is how often a SYN was sent again that nothing has answered yet.
	again int
	open  bool // an attempt that is not answered yet
}

func (r row) arrow() string {
	switch r.dir {
	case fromHandset:
		return "->"
	case toHandset:
		return "<-"
	case bothWays:
		return "<>"
	case nowhere:
	}
	return r.mark
}

func way(e *Event, own map[string]bool) direction {
	hidden := e.Transport == HTTPS && (e.Kind == HTTPRequest || e.Kind == HTTPResponse) // the wire shows ciphertext
	if e.By == Derived || e.By != Wire && !hidden {
		return nowhere
	}
	switch {
	case own[e.SrcMAC]:
		return fromHandset
	case own[e.DstMAC]:
		return toHandset
	case len(own) > 0 && e.SrcMAC != "":
		return nowhere // somebody else's
	}
	switch e.Kind {
	case DHCPOffer, DHCPAck, DHCPNak, TFTPData, TFTPOAck, TLSServerHello, TLSCertificate, HTTPResponse, SNTPResponse, DNSResponse:
		return toHandset
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform, TFTPRead, TFTPWrite, TLSClientHello, HTTPRequest, SNTPRequest, DNSQuery:
		return fromHandset
	default: // by kind, where no address says it
	}
	return nowhere
}

func mark(e *Event) string {
	switch {
	case e.Kind == Verb, e.Kind == Given, e.Kind == Judgement:
		return "=="
	case e.By == Derived:
		return " *"
	case e.Kind == FaultFired, e.Kind == FramesLost, e.Kind == ClockStepped:
		return " !"
	}
	return "  "
}
