// Package model holds what is known of the IP88xx handsets, as data with its
// source. What a vendor page does not say is an assumption with a tag: the
// simulated handset needs a value for it, a bench replaces it by a measured one
// (facts: in the bench file), and a judgement on a real handset that rests on
// it is inconclusive until somebody has.
package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Model is a handset model by its number.
type Model string

// The models of the Installer Guide.
const (
	IP8820 Model = "8820"
	IP8830 Model = "8830"
	IP8840 Model = "8840"
)

// All returns the models in the guide's order.
func All() []Model { return []Model{IP8820, IP8830, IP8840} }

// Parse reads "IP8830" or "8830".
func Parse(s string) (Model, error) {
	m := Model(strings.TrimPrefix(strings.ToUpper(s), "IP"))
	if !slices.Contains(All(), m) {
		return "", fmt.Errorf("unknown model %q: want IP8820, IP8830 or IP8840", s)
	}
	return m, nil
}

// String returns the model as the guide writes it, "IP8830".
func (m Model) String() string { return "IP" + string(m) }

// GlobalFile is the configuration file shared by all handsets of the model
// (guide F-2).
func (m Model) GlobalFile() string { return "sysconf_" + string(m) + "_sip.cfg" }

// VersionFile names the software version and the files to download (guide F-2).
func (m Model) VersionFile() string { return "IP_" + string(m) + "_VER_SIP2" }

// Source says where a fact comes from: the tags of the vendor documents.
type Source string

// The sources, from the firmest to a guess.
const (
	Guide    Source = "F-2"      // the page of the Installer Guide
	Family   Source = "88"       // another document of the exact family
	Measured Source = "measured" // on the handset itself, by the bench's facts
	Edge     Source = "E5K"      // re-badged IP8830
	IP8802   Source = "8802"     // smaller model of the line
	LIP8002  Source = "8002"     // sibling manual
	LIP68    Source = "68"       // previous generation
	LIP8000E Source = "8000E"    // iPECS handsets of the vendor
	Inferred Source = "inf"      // nobody says so
)

// Settled tells whether a judgement on a real handset may rest on the source.
func (s Source) Settled() bool {
	return s == Guide || s == Family || s == Measured || s == Edge
}

// Fact is one thing that handsets differ in, or that no document promises.
type Fact struct {
	Name   string
	Value  string
	Source Source
	// Doc says what the value means, with its unit and form.
	Doc string
	// Date and Grounds come with a measured value.
	Date    string
	Grounds string

	check func(string) error
}

// Facts is what is held to be true of one handset.
type Facts struct{ facts []Fact }

// Names of facts, for those who read them.
const (
	OwnFileCase          = "own-file-case"
	VersionInFolder      = "version-file-in-mac-folder"
	VersionSyntax        = "version-file-syntax"
	RebootFields         = "reboot-fields"
	PlainFields          = "plain-fields"
	OptionNumberField    = "option-number-field"
	DecryptKeyForm       = "decrypt-key-form"
	DHCPRequestList      = "dhcp-parameter-request-list"
	DHCPVendorClass      = "dhcp-vendor-class"
	DHCPHostName         = "dhcp-host-name"
	UserAgent            = "sip-user-agent"
	HTTPUserAgent        = "http-user-agent"
	MaskField            = "certificate-mask-field"
	DownloadFlagFields   = "download-flag-fields"
	StoredURLField       = "stored-url-field"
	CredentialFields     = "credential-fields" //nolint:gosec // the name of a fact, not a credential
	WitnessFields        = "witness-fields"
	CheckSyncReboots     = "check-sync-reboots"
	CheckSyncEvent       = "check-sync-event"
	TFTPOptions          = "tftp-options"
	TLSVersions          = "tls-versions"
	BootLoaderTime       = "boot-loader-time"
	ShutdownTime         = "shutdown-time"
	FlashWriteTime       = "flash-write-time-per-64KiB"
	TFTPTimeout          = "tftp-timeout"
	TFTPTries            = "tftp-tries"
	HTTPTimeout          = "http-timeout"
	HTTPTries            = "http-tries"
	DHCPTimeout          = "dhcp-timeout"
	DHCPTries            = "dhcp-tries"
	ARPProbeTime         = "arp-probe-time"
	SNTPTimeout          = "sntp-timeout"
	SNTPTries            = "sntp-tries"
	SIPT1                = "sip-t1"
	WiFiAssociationTime  = "wifi-association-time"
	WiFiScanTime         = "wifi-scan-time"
	WiFiRetryTime        = "wifi-retry-time"
	WiFiSecurities       = "wifi-security-modes"
	WiredBesideWiFi      = "wired-beside-wifi"
	PublicAuthorities    = "public-authorities"
	DHCPDefaultLease     = "dhcp-default-lease"
	LinkUpDHCP           = "link-up-dhcp"
	RetryCycle           = "retry-cycle"
	SNTPLateAnswer       = "sntp-late-answer"
	SmartUpdateShortest  = "smart-update-shortest-interval"
	TFTPFileLimit        = "tftp-file-limit"
	NameTemplateField    = "name-template-field"
	NameTemplateOver     = "name-template-over"
	KeyInCycle           = "key-in-cycle"
	SetBackReboots       = "set-back-reboots"
	FileTries            = "file-tries"
	FileRetryTime        = "file-retry-time"
	ImageModelCheck      = "image-model-check"
	UnreachableFallback  = "unreachable-fallback"
	OfferedURLRemembered = "offered-url-remembered"
	URLPrecedence        = "url-precedence"
	URLUserInfo          = "url-user-info"
	URLMACExpansion      = "url-mac-expansion"
	HTTPRedirects        = "http-redirects"
	HTTPRetryStatuses    = "http-retry-statuses"
	HTTPRetryAfterLimit  = "http-retry-after-limit"
	HTTPSlowest          = "http-slowest"
	HTTPFileTime         = "http-file-time"
	HTTPUnaskedEncoding  = "http-unasked-encoding"
	HTTPDigest           = "http-digest"
	HTTPSchemePreferred  = "http-scheme-preferred"
	HTTPAuthTries        = "http-auth-tries"
	HTTPNoCredentials    = "http-no-credentials" //nolint:gosec // the name of a fact, not a credential
	ExpiredWithoutTime   = "expired-without-time"
	CertificateTakes     = "certificate-takes"
	CertificateDepth     = "certificate-depth"
	CertificateBytes     = "certificate-bytes"
	RefusalAlerts        = "refusal-alerts"
)

func defaults() []Fact {
	return []Fact{
		{Name: OwnFileCase, Value: "lower", Source: IP8802, Doc: "letter case of the MAC that names the phone-specific file: lower or upper", check: oneOf("lower", "upper")},
		{Name: VersionInFolder, Value: "yes", Source: LIP8002, Doc: "the version file is looked up as <mac>/IP_88x0_VER_SIP2 first, then at the root: yes or no", check: oneOf("yes", "no")},
		{Name: VersionSyntax, Value: "version-tag-file-crc32", Source: LIP8000E, Doc: "form of the version file: version-tag-file-crc32 is 'version <string>', then '<tag> <file> <CRC-32 as 8 hex digits>' lines", check: oneOf("version-tag-file-crc32")},
		{Name: RebootFields, Value: "VOIP/local_udp_port", Source: Inferred, Doc: "fields held to be asterisked in Table D-1, as SECTION/name, blank-separated", check: fields},
		{Name: PlainFields, Value: "VOIP/line1_name", Source: Family, Doc: "fields shown without asterisk in Table D-1 (page D-8), as SECTION/name", check: fields},
		{Name: OptionNumberField, Value: "PROVISION/dhcp_http_option", Source: Inferred, Doc: "field that changes the number of the HTTPS DHCP option, as SECTION/name; blank when unknown", check: fieldsOrBlank},
		{Name: DecryptKeyForm, Value: "3des-2key-hex-cbc-zero-iv-zero-pad", Source: Inferred, Doc: "cipher of encrypted configuration files: 32 hex digits as two-key 3DES (EDE), CBC, zero IV, zero bytes up to the block", check: oneOf("3des-2key-hex-cbc-zero-iv-zero-pad", "3des-2key-hex-ecb-zero-pad")},
		{Name: DHCPRequestList, Value: "1 2 3 6 42 66 150 160", Source: LIP8002, Doc: "DHCP option 55 in its order", check: numbers},
		{Name: DHCPVendorClass, Value: "LGE", Source: Inferred, Doc: "DHCP option 60", check: text},
		{Name: DHCPHostName, Value: "$MODEL-$MAC", Source: Inferred, Doc: "DHCP option 12; $MODEL and $MAC are replaced", check: text},
		{Name: UserAgent, Value: "LG-Ericsson $MODEL v$VERSION SN/$MAC", Source: LIP68, Doc: "User-Agent of REGISTER; $MODEL, $VERSION and $MAC (upper case) are replaced", check: text},
		{Name: HTTPUserAgent, Value: "LG-Ericsson $MODEL", Source: Inferred, Doc: "User-Agent of the downloader", check: text},
		{Name: MaskField, Value: "PROVISION/verifying_cert", Source: LIP68, Doc: "bit mask of the certificate checks: 1 authority, 2 server name, 4 expiry", check: fields},
		{Name: DownloadFlagFields, Value: "PROVISION/cfg_download PROVISION/sw_download", Source: LIP68, Doc: "fields that allow the download of configuration and of software: enable or disable", check: fields},
		{Name: StoredURLField, Value: "PROVISION/https_url", Source: LIP68, Doc: "field that holds the stored URL", check: fields},
		{Name: CredentialFields, Value: "PROVISION/https_id PROVISION/https_password", Source: LIP68, Doc: "fields that hold HTTPS ID and Password", check: fields},
		{Name: WitnessFields, Value: "VOIP/line1_name VOIP/timer_register_expires", Source: Family, Doc: "fields whose value shows in the next REGISTER: user of From, Expires", check: fields},
		{Name: CheckSyncReboots, Value: "no", Source: Inferred, Doc: "a plain NOTIFY check-sync reboots the handset before the cycle: yes or no", check: oneOf("yes", "no")},
		{Name: CheckSyncEvent, Value: "check-sync", Source: LIP68, Doc: "value of the Event header of a re-sync NOTIFY", check: text},
		{Name: TFTPOptions, Value: "tsize blksize=1428", Source: Inferred, Doc: "options of a read request, blank-separated; blank for none", check: text},
		{Name: TLSVersions, Value: "1.0 1.2", Source: Inferred, Doc: "lowest and highest TLS version of the ClientHello", check: text},
		{Name: BootLoaderTime, Value: "6s", Source: Inferred, Doc: "from power to the first frame", check: duration},
		{Name: ShutdownTime, Value: "2s", Source: Inferred, Doc: "from the decision to reboot to the boot loader", check: duration},
		{Name: FlashWriteTime, Value: "500ms", Source: Inferred, Doc: "to write 64 KiB into flash", check: duration},
		{Name: TFTPTimeout, Value: "4s", Source: Inferred, Doc: "until a TFTP packet is sent again", check: duration},
		{Name: TFTPTries, Value: "5", Source: Inferred, Doc: "how often a TFTP packet is sent", check: numbers},
		{Name: HTTPTimeout, Value: "20s", Source: Inferred, Doc: "until a silent HTTP server is given up", check: duration},
		{Name: HTTPTries, Value: "2", Source: Inferred, Doc: "how often an HTTP request is tried", check: numbers},
		{Name: DHCPTimeout, Value: "4s", Source: Inferred, Doc: "until a DHCP message is sent again, doubling (RFC 2131, 4.1)", check: duration},
		{Name: DHCPTries, Value: "4", Source: Inferred, Doc: "how often a DHCP message is sent before starting over", check: numbers},
		{Name: ARPProbeTime, Value: "1s", Source: Inferred, Doc: "how long an offered address is probed", check: duration},
		{Name: SNTPTimeout, Value: "4s", Source: Inferred, Doc: "until an SNTP request is sent again", check: duration},
		{Name: SNTPTries, Value: "3", Source: Inferred, Doc: "how often the time is asked before going on without", check: numbers},
		{Name: SIPT1, Value: "500ms", Source: Family, Doc: "SIP timer T1", check: duration},
		{Name: WiFiAssociationTime, Value: "3s", Source: Inferred, Doc: "from the boot loader's end to the first frame over the WiFi module", check: duration},
		{Name: WiFiScanTime, Value: "2s", Source: Inferred, Doc: "how long the WiFi module looks for its network when the access point is not where it was: another one, or another channel", check: duration},
		{Name: WiFiRetryTime, Value: "10s", Source: Inferred, Doc: "until the WiFi module tries a network again whose passphrase is not its own, or whose security mode", check: duration},
		{Name: WiFiSecurities, Value: securities(), Source: Inferred, Doc: "security modes that the WiFi module has a setting for, of " + securities() + ": no document names its settings", check: eachOf(strings.Fields(securities())...)},
		{Name: WiredBesideWiFi, Value: "module", Source: Inferred, Doc: "what is used when the phone is powered on with a cable in beside its WiFi module: module or cable alone, or both: the cable then has an address of its own, and all else goes over the module", check: oneOf("module", "cable", "both")},
		{Name: NameTemplateField, Value: "PROVISION/https_macform", Source: LIP68, Doc: "field that holds the template of the phone-specific file's name; blank when unknown", check: fieldsOrBlank},
		{Name: NameTemplateOver, Value: "http https", Source: LIP68, Doc: "transports over which https_macform names the phone-specific file: tftp, http, https; none for a handset that disregards it", check: eachOf("tftp", "http", "https", "none")},
		{Name: KeyInCycle, Value: "yes", Source: Inferred, Doc: "a decrypt_key that the global file sets is used for the phone-specific file of the same cycle: yes or no", check: oneOf("yes", "no")},
		{Name: SetBackReboots, Value: "no", Source: Inferred, Doc: "an asterisked field that the global file changes and the phone-specific file sets back reboots the handset: yes or no", check: oneOf("yes", "no")},
		{Name: FileTries, Value: "1", Source: Inferred, Doc: "how often a file is asked for in one cycle whose transfer fails each time; one that the server does not have is asked for once", check: numbers},
		{Name: FileRetryTime, Value: "5s", Source: Inferred, Doc: "until a file is asked for again whose transfer failed", check: duration},
		{Name: ImageModelCheck, Value: "yes", Source: Inferred, Doc: "a software file that names another model in its first 256 bytes is not installed: yes or no", check: oneOf("yes", "no")},
		{Name: DHCPDefaultLease, Value: "1h", Source: Inferred, Doc: "lease time that counts when a server names none, or 0 seconds; whole seconds on the wire, so not divided", check: duration},
		{Name: LinkUpDHCP, Value: "renew", Source: Inferred, Doc: "what becomes of the lease when the link is back: renew (a REQUEST to its server), init-reboot (a broadcast REQUEST for the address) or nothing", check: oneOf("renew", "init-reboot", "nothing")},
		{Name: RetryCycle, Value: "0", Source: Inferred, Doc: "how often a cycle is run again that the loss of the link has broken off, once the link is back", check: numbers},
		{Name: SNTPLateAnswer, Value: "2h", Source: Inferred, Doc: "how long after the last request an answer to it is still taken", check: duration},
		{Name: SmartUpdateShortest, Value: "1h", Source: LIP68, Doc: "shortest interval of the periodic re-sync; shorter ones are rounded up to it", check: duration},
		{Name: TFTPFileLimit, Value: "67108864", Source: Inferred, Doc: "longest file that is taken over TFTP, in bytes", check: numbers},
		{Name: UnreachableFallback, Value: "none", Source: Inferred, Doc: "over what a cycle goes on when no connection to the HTTP server can be opened: none or tftp", check: oneOf("none", "tftp")},
		{Name: OfferedURLRemembered, Value: "no", Source: Inferred, Doc: "the URL of the HTTPS DHCP option is stored in memory when it is used: yes or no", check: oneOf("yes", "no")},
		{Name: URLPrecedence, Value: "offered", Source: Inferred, Doc: "which URL counts when both are there: offered (by DHCP) or stored", check: oneOf("offered", "stored")},
		{Name: URLUserInfo, Value: "ignored", Source: Inferred, Doc: "what becomes of user:password@ in the URL: ignored, or used to answer challenges in place of the stored credentials", check: oneOf("ignored", "used")},
		{Name: URLMACExpansion, Value: "yes", Source: Inferred, Doc: "$MAC in the URL is replaced by the MAC: yes or no", check: oneOf("yes", "no")},
		{Name: HTTPRedirects, Value: "3", Source: Inferred, Doc: "how many redirections are followed for one file", check: numbers},
		{Name: HTTPRetryStatuses, Value: "408 429 503", Source: Inferred, Doc: "statuses after which a request is sent again while http-tries last: after the seconds of Retry-After, or at once for 408, and not at all for the others without one; blank for none", check: numbersOrBlank},
		{Name: HTTPRetryAfterLimit, Value: "1s", Source: Inferred, Doc: "longest Retry-After that is waited for; a longer one is not. Never divided, as whole seconds on the wire are not", check: duration},
		{Name: HTTPSlowest, Value: "64", Source: Inferred, Doc: "bytes of an answer that must come within http-timeout, or the server is given up", check: numbers},
		{Name: HTTPFileTime, Value: "30m", Source: Inferred, Doc: "longest time for one file with all its tries", check: duration},
		{Name: HTTPUnaskedEncoding, Value: "refused", Source: Inferred, Doc: "what becomes of a body with a Content-Encoding, which was not asked for: refused, or as-it-is: its bytes are the file", check: oneOf("refused", "as-it-is")},
		{Name: HTTPDigest, Value: "MD5 auth", Source: Inferred, Doc: "digest algorithms and qualities of protection that can be answered, of MD5 SHA-256 auth auth-int", check: eachOf("MD5", "SHA-256", "auth", "auth-int")},
		{Name: HTTPSchemePreferred, Value: "digest", Source: Inferred, Doc: "scheme that is answered when both are offered: digest or basic", check: oneOf("digest", "basic")},
		{Name: HTTPAuthTries, Value: "1", Source: Inferred, Doc: "how often the credentials are sent for one file that answers 401 each time, fresh nonces for stale ones aside", check: numbers},
		{Name: HTTPNoCredentials, Value: "silent", Source: Inferred, Doc: "a challenge while ID and password are blank: silent, or sent: answered with blank ones", check: oneOf("silent", "sent")},
		{Name: ExpiredWithoutTime, Value: "accept", Source: Inferred, Doc: "an expired certificate while the time is not known, with check 4 on: accept (the guide has expiry verifiable only with SNTP), or refuse, as any whose dates cannot be verified", check: oneOf("accept", "refuse")},
		{Name: CertificateTakes, Value: "wrong-order cn-only wildcard ip-san sha-1 rsa-1024 rsa-4096 ecdsa", Source: Inferred, Doc: "what the three checks let pass, of wrong-order cn-only wildcard ip-san sha-1 rsa-1024 rsa-4096 ecdsa (known to be usable) and not-yet-valid no-ca-flag wrong-eku self-signed expired-intermediate expired-root (not to be expected); none for nothing of it", check: eachOf("wrong-order", "cn-only", "wildcard", "ip-san", "sha-1", "rsa-1024", "rsa-4096", "ecdsa", "not-yet-valid", "no-ca-flag", "wrong-eku", "self-signed", "expired-intermediate", "expired-root", "none")},
		{Name: CertificateDepth, Value: "10", Source: Inferred, Doc: "certificates above the server's own in the longest chain that is followed, the authority's included", check: numbers},
		{Name: CertificateBytes, Value: "102400", Source: Inferred, Doc: "largest chain that is looked at, in bytes of DER; a larger one fails the check of the authority", check: numbers},
		{Name: RefusalAlerts, Value: "48 45 42", Source: Inferred, Doc: "TLS alerts at the refusal of a certificate: for the authority, for expiry and for the server name, the first that fits", check: alerts},
		{Name: "row-FWU-09", Value: "promised", Source: LIP8002, Doc: "whether FWU-09, a sibling manual's promise, was seen to be meant for this model: promised or measured", check: oneOf("promised", "measured")},
		{Name: "row-RSY-01", Value: "promised", Source: LIP8002, Doc: "the same for RSY-01", check: oneOf("promised", "measured")},
		{Name: "row-RSY-02", Value: "promised", Source: LIP8002, Doc: "the same for RSY-02", check: oneOf("promised", "measured")},
		{Name: "row-RSY-03", Value: "promised", Source: LIP8002, Doc: "the same for RSY-03", check: oneOf("promised", "measured")},
		{Name: PublicAuthorities, Value: "Verisign", Source: Guide, Doc: "built-in public authorities known by name", check: text},
	}
}

// Default returns what is held to be true of a model before anything was
// measured. The three models differ in names only as far as documents tell.
func Default(Model) Facts { return Facts{facts: defaults()} }

// All returns the facts in a fixed order.
func (f Facts) All() []Fact { return slices.Clone(f.facts) }

// Get returns one fact; ok is false when there is no such name.
func (f Facts) Get(name string) (fact Fact, ok bool) {
	i := slices.IndexFunc(f.facts, func(x Fact) bool { return x.Name == name })
	if i < 0 {
		return Fact{}, false
	}
	return f.facts[i], true
}

// Override returns the facts with one replaced by a measured value. date is
// YYYY-MM-DD; grounds says how it was measured.
func (f Facts) Override(name, value, date, grounds string) (Facts, error) {
	i := slices.IndexFunc(f.facts, func(x Fact) bool { return x.Name == name })
	if i < 0 {
		return f, fmt.Errorf("unknown fact %q; \"ip88rig check\" lists the names", name)
	}
	if err := f.facts[i].check(value); err != nil {
		return f, fmt.Errorf("fact %s: %w (%s)", name, err, f.facts[i].Doc)
	}
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return f, fmt.Errorf("fact %s: date %q is not of the form 2006-01-02", name, date)
	}
	if strings.TrimSpace(grounds) == "" {
		return f, fmt.Errorf("fact %s: grounds are missing: say how it was measured", name)
	}
	out := Facts{facts: slices.Clone(f.facts)}
	out.facts[i].Value, out.facts[i].Source = value, Measured
	out.facts[i].Date, out.facts[i].Grounds = date, grounds
	return out, nil
}

// Text returns a fact's value, blank for an unknown name.
func (f Facts) Text(name string) string {
	fact, _ := f.Get(name)
	return fact.Value
}

// Yes tells whether a yes-or-no fact is yes.
func (f Facts) Yes(name string) bool { return f.Text(name) == "yes" }

// List returns a blank-separated value.
func (f Facts) List(name string) []string { return strings.Fields(f.Text(name)) }

// Int returns the first number of a value, 0 when there is none.
func (f Facts) Int(name string) int {
	list := f.List(name)
	if len(list) == 0 {
		return 0
	}
	n, err := strconv.Atoi(list[0])
	if err != nil {
		return 0
	}
	return n
}

// Duration returns a time on a real handset; a simulated one divides it.
func (f Facts) Duration(name string) time.Duration {
	d, err := time.ParseDuration(f.Text(name))
	if err != nil {
		return 0
	}
	return d
}

// Field splits "SECTION/name".
type Field struct{ Section, Name string }

// Fields returns the fields a fact names.
func (f Facts) Fields(name string) []Field {
	var out []Field
	for _, s := range f.List(name) {
		section, field, ok := strings.Cut(s, "/")
		if ok {
			out = append(out, Field{section, field})
		}
	}
	return out
}

func oneOf(values ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(values, s) {
			return fmt.Errorf("%q is none of %s", s, strings.Join(values, ", "))
		}
		return nil
	}
}

func eachOf(values ...string) func(string) error {
	return func(s string) error {
		if strings.TrimSpace(s) == "" {
			return fmt.Errorf("no value; want some of %s", strings.Join(values, ", "))
		}
		for x := range strings.FieldsSeq(s) {
			if err := oneOf(values...)(x); err != nil {
				return err
			}
		}
		return nil
	}
}

func text(s string) error {
	if strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Errorf("%q holds control characters", s)
	}
	return nil
}

func duration(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration such as 4s", s)
	}
	return nil
}

func numbers(s string) error {
	if len(strings.Fields(s)) == 0 {
		return fmt.Errorf("%q holds no number", s)
	}
	for x := range strings.FieldsSeq(s) {
		if n, err := strconv.Atoi(x); err != nil || n < 0 {
			return fmt.Errorf("%q is not a number", x)
		}
	}
	return nil
}

func numbersOrBlank(s string) error {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return numbers(s)
}

// alerts are one for each of three reasons, as numbers of RFC 5246, 7.2.
func alerts(s string) error {
	if n := len(strings.Fields(s)); n != 3 {
		return fmt.Errorf("%q holds %d alerts, want 3", s, n)
	}
	for x := range strings.FieldsSeq(s) {
		if _, err := strconv.ParseUint(x, 10, 8); err != nil {
			return fmt.Errorf("%q is not the number of an alert", x)
		}
	}
	return nil
}

func fields(s string) error {
	if strings.TrimSpace(s) == "" {
		return fmt.Errorf("no field named")
	}
	return fieldsOrBlank(s)
}

func fieldsOrBlank(s string) error {
	for x := range strings.FieldsSeq(s) {
		section, name, ok := strings.Cut(x, "/")
		if !ok || section == "" || name == "" {
			return fmt.Errorf("%q is not SECTION/name", x)
		}
	}
	return nil
}

// Patience is how long the rig waits for a handset, by what it waits for. The
// bench may replace each; a simulated handset divides them like its own timers.
type Patience struct {
	// Boot is from power to registered, without a download.
	Boot time.Duration
	// Cycle is one provisioning cycle of a running handset, to its end.
	Cycle time.Duration
	// Upgrade is from power to the last file of an upgrade.
	Upgrade time.Duration
	// Flash is how long a handset may write software after the last file of it
	// was taken; until then, or its reboot, its power is not cut.
	Flash time.Duration
	// Settle is how long quiet must last to be believed.
	Settle time.Duration
	// Off is how long power stays cut.
	Off time.Duration
	// Operator is how long a person may take.
	Operator time.Duration
}

// DefaultPatience is generous for handsets nobody has measured (inferred).
func DefaultPatience() Patience {
	return Patience{
		Boot:     4 * time.Minute,
		Cycle:    3 * time.Minute,
		Upgrade:  20 * time.Minute,
		Flash:    5 * time.Minute,
		Settle:   45 * time.Second,
		Off:      5 * time.Second,
		Operator: 15 * time.Minute,
	}
}

// Scale divides every wait by factor (at least 1), with a floor each so that a
// busy machine breeds no false alarms: positive waits end at the event, so a
// generous floor costs nothing.
func (p Patience) Scale(factor float64) Patience {
	if factor <= 1 {
		return p
	}
	div := func(d, floor time.Duration) time.Duration {
		return max(time.Duration(float64(d)/factor), min(d, floor))
	}
	return Patience{
		Boot:     div(p.Boot, 8*time.Second),
		Cycle:    div(p.Cycle, 8*time.Second),
		Upgrade:  div(p.Upgrade, 12*time.Second),
		Flash:    div(p.Flash, 150*time.Millisecond),
		Settle:   div(p.Settle, 150*time.Millisecond),
		Off:      div(p.Off, 5*time.Millisecond),
		Operator: div(p.Operator, 15*time.Second),
	}
}
