package timeline

import (
	"net/netip"
	"time"
)

// Kind says what happened, in the words of the field: RFCs and Wireshark.
type Kind string

// What is decoded from the frames of the handset's cable (By == Wire).
const (
	DHCPDiscover Kind = "DISCOVER"
	DHCPOffer    Kind = "OFFER"
	DHCPRequest  Kind = "REQUEST"
	DHCPDecline  Kind = "DECLINE"
	DHCPAck      Kind = "DHCP ACK"
	DHCPNak      Kind = "NAK"
	DHCPRelease  Kind = "RELEASE"
	DHCPInform   Kind = "INFORM"
	// DHCPForceRenew is RFC 3203, DHCPLeaseQuery the messages of RFC 4388, 6926 and
	// 7724. Number of DHCPOther is the message type.
	DHCPForceRenew Kind = "FORCERENEW"
	DHCPLeaseQuery Kind = "LEASEQUERY"
	DHCPOther      Kind = "DHCP message type"
	// BOOTP is RFC 951, as DHCP without a message type: Message is request or reply.
	BOOTP Kind = "BOOTP"

	// ARPRequest and the others are RFC 826; a probe has sender address 0.0.0.0, an announcement asks
	// for its own address (RFC 5227).
	ARPRequest      Kind = "ARP request"
	ARPReply        Kind = "ARP reply"
	ARPProbe        Kind = "ARP probe"
	ARPAnnouncement Kind = "ARP announcement"

	// TFTPRead and the others are RFC 1350 and 2347. File is set on every event of a transfer.
	TFTPRead  Kind = "RRQ"
	TFTPWrite Kind = "WRQ"
	TFTPData  Kind = "DATA"
	TFTPAck   Kind = "ACK"
	TFTPError Kind = "TFTP error"
	TFTPOAck  Kind = "OACK"

	// TCPTry is the first SYN of a connection that the handset opens, answered or
	// not. TCPOpen is a SYN of the handset to a service port that was answered;
	// TCPGap is a hole in a stream that nothing filled; TCPClosed is the end, by
	// FIN, of one direction that was seen whole: Bytes are all of it.
	// TCPTryAgain is that SYN sent again; TCPRefused is an RST in answer to a SYN,
	// TCPReset one that ends an open connection.
	TCPTry      Kind = "TCP try"
	TCPTryAgain Kind = "TCP SYN again"
	TCPOpen     Kind = "TCP open"
	TCPRefused  Kind = "TCP refused"
	TCPReset    Kind = "TCP reset"
	TCPGap      Kind = "TCP gap"
	TCPClosed   Kind = "TCP closed"

	// TLSClientHello to TLSData are records seen in clear (RFC 5246, 8446).
	// TLSData is the first record of application data in one direction of a
	// connection; Reason of an alert is its name, as in "bad_certificate".
	TLSClientHello Kind = "ClientHello"
	TLSServerHello Kind = "ServerHello"
	TLSCertificate Kind = "Certificate"
	TLSAlert       Kind = "alert"
	TLSData        Kind = "application data"

	// HTTPRequest and HTTPResponse: Message is the method, File the path
	// without its leading slash, Status the status code. Over HTTPS they come
	// from the journal of the service, over HTTP from both.
	HTTPRequest  Kind = "HTTP request"
	HTTPResponse Kind = "HTTP response"

	// SIPRequest and SIPResponse: Message is the method (of the CSeq in a
	// response), Status the status code.
	SIPRequest  Kind = "SIP request"
	SIPResponse Kind = "SIP response"

	SNTPRequest  Kind = "SNTP request"
	SNTPResponse Kind = "SNTP response"
	DNSQuery     Kind = "DNS query"
	DNSResponse  Kind = "DNS response"

	// ICMPUnreachable says that a datagram did not arrive (RFC 792): Message why,
	// File which file it asked for. Its ends are those of the flow that it is about.
	ICMPUnreachable Kind = "ICMP"

	// EAPOL is IEEE 802.1X: Message is the packet type, or the code of EAP.
	EAPOL Kind = "EAPOL"

	// CutShort is a message of which the capture did not keep all: Message is its
	// protocol, Bytes how much of the frame was kept.
	CutShort Kind = "cut by the capture"

	// Malformed is a frame that a decoder could not read; Reason says why.
	Malformed Kind = "malformed"
)

// What the rig's services and controls say of themselves (the journal).
const (
	// Served says that a service finished with one file: File, Transport,
	// Bytes handed over, SHA256 of them, Complete, Status (HTTP).
	Served Kind = "served"
	// Handshake is the outcome of one TLS handshake: Complete, or Reason with
	// the alert or error. Present even when no handshake was possible.
	Handshake Kind = "handshake"
	// ConnClosed ends a TCP connection: Bytes received and sent in Fields.
	ConnClosed Kind = "connection closed"
	// ServiceOddity is something a service met and did not expect.
	ServiceOddity Kind = "oddity"
	// ServiceUp and ServiceDown bracket a service's life.
	ServiceUp   Kind = "service up"
	ServiceDown Kind = "service down"
	// FaultFired is one application of a fault: Reason is its sentence.
	FaultFired Kind = "fault"
	// PowerOff, PowerOn, LinkDown and LinkUp were commanded by the rig.
	PowerOff Kind = "power off"
	PowerOn  Kind = "power on"
	LinkDown Kind = "link down"
	LinkUp   Kind = "link up"
	// LinkLost is a link that went away without a command.
	LinkLost Kind = "link lost"
	// OperatorAsked and OperatorDone bracket an action of a person (or of the
	// script that stands in for one): Message names the verb.
	OperatorAsked Kind = "operator asked"
	OperatorDone  Kind = "operator done"
	// Published says what a file is from now on: File, Bytes, SHA256, Reason.
	Published Kind = "published"
	// Verb is one step of a scenario: Message its name, Number its order in the
	// spec, SHA256 a digest of its arguments. Windows anchor at verbs.
	Verb Kind = "verb"
	// Given is what a scenario set before it acted: Message its name, SHA256 a
	// digest of its arguments, Reason what it is, without secrets.
	Given Kind = "given"
	// Judgement is one verdict on one row; Fields hold what re-judging needs.
	Judgement Kind = "judgement"
	// CarriedState opens each recording: what was known before it began.
	CarriedState Kind = "state"
	// FramesLost and ClockStepped make a recording unfit to judge from.
	FramesLost   Kind = "frames lost"
	ClockStepped Kind = "clock stepped"
	// Stranger is a host that is not in the bench file, or a foreign server.
	Stranger Kind = "stranger"
	// Note is free text for the reader.
	Note Kind = "note"
)

// What the timeline derives from the above (By == Derived).
const (
	// Asked is a request for a file over any transport, seen once however
	// often its packets were sent again: File, Transport, Dst.
	Asked Kind = "asked"
	// Fetched is a file that the handset downloaded whole: File, Transport,
	// Bytes, SHA256.
	Fetched Kind = "fetched"
	// Rebooted is a reboot that nobody commanded; Reason lists its grounds.
	Rebooted Kind = "rebooted"
	// Booted is the first sign of life after a commanded power cycle.
	Booted Kind = "booted"
	// Bound says that the handset holds an address: Dst is the server, Src the
	// address.
	Bound Kind = "bound"
	// Registered is a REGISTER answered 200 with an expiry above zero.
	Registered Kind = "registered"
	// Refused is a certificate the handset did not accept; Reason the alert.
	Refused Kind = "refused"
)

// The authors of events.
const (
	Wire    = "wire"
	Derived = "derived"
	// Impair is the part of the rig that damages frames on purpose. Its FaultFired
	// is the first frame of a flow (Src is the handset's end) that a rule applied
	// to.
	Impair = "impair"
)

// ImpairDid is the field of an Impair's FaultFired that says what was done.
// ImpairAltered there means that the host got other bytes than the cable carried.
const (
	ImpairDid     = "impair.did"
	ImpairAltered = "altered"
)

// FaultUndone is the field of a ServiceOddity that names the effect of a fault that
// the service could not bring about: the fault counts as fired, and nothing may be
// judged from the recording.
const FaultUndone = "fault.undone"

// Transport is how a file travels.
type Transport string

// The transports of the Installer Guide, page F-2.
const (
	TFTP  Transport = "tftp"
	HTTP  Transport = "http"
	HTTPS Transport = "https"
)

// Event is one thing that happened. It is a plain value: what is decoded from
// frames, what services write into the journal (one JSON line each) and what
// the timeline derives are all Events, and a timeline is rebuilt from the
// frames and the journal alone.
type Event struct {
	// Seq is the place in the timeline, from 1, assigned by Timeline.Add.
	Seq int `json:"-"`
	// At is when, on the lane's one clock.
	At time.Time `json:"at"`
	// Frame is the number of the frame that carries or caused the event; 0: none.
	Frame int `json:"frame,omitempty"`
	// After is, for a journal entry, the number of the last frame recorded
	// before it. An entry never sorts before the frame that caused it.
	After int `json:"after"`
	// By is Wire, Derived, or the service or control that says so ("tftpd").
	By   string `json:"by"`
	Kind Kind   `json:"kind"`

	// SrcMAC and DstMAC are lower case with colons.
	SrcMAC string `json:"srcmac,omitempty"`
	DstMAC string `json:"dstmac,omitempty"`
	// Src and Dst are the ends of the flow. A journal entry of a service that
	// was caused by a packet sets Src to the handset's end and Dst to its own,
	// which is how the recorder finds the frame that caused it.
	Src netip.AddrPort `json:"src,omitzero"`
	Dst netip.AddrPort `json:"dst,omitzero"`

	Transport Transport `json:"transport,omitempty"`
	// File is the name as the handset wrote it, without the leading slash.
	File string `json:"file,omitempty"`
	// Message is a method, verb or message name where Kind does not say it all.
	Message string `json:"message,omitempty"`
	// Number is a block, status-independent counter or option number.
	Number int `json:"number,omitempty"`
	// Status is an HTTP, SIP or TFTP error code.
	Status int `json:"status,omitempty"`
	// Bytes is a count of payload bytes.
	Bytes int64 `json:"bytes,omitempty"`
	// SHA256 is a digest in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
	// Complete is set for a whole transfer or handshake, not for a broken one.
	Complete bool `json:"complete,omitempty"`
	// Reason is a human-readable cause, or an alert's name.
	Reason string `json:"reason,omitempty"`
	// Fields holds the rest under Wireshark's field names where it has one
	// ("dhcp.option.request_list", "sip.Call-ID", "http.user_agent"), and is
	// never changed after Add.
	Fields map[string]string `json:"fields,omitempty"`
}
