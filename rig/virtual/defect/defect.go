// Package defect is the closed list of what can be wrong with a simulated
// handset. Each defect changes what the handset does on the wire, at the one
// place where that behaviour is decided; the self-test runs the suite against
// each to prove that the scenarios can fail.
package defect

import (
	"fmt"
	"slices"
	"strings"
)

// Name names one defect.
type Name string

// The defects, with the row of the requirements that each one breaks.
const (
	// HTTPAtTFTPServer asks the TFTP server of DHCP by HTTP first when neither option 160 nor a URL is there (XPT-01).
	HTTPAtTFTPServer Name = "http-at-tftp-server"
	// RRQBesideURL asks for the global file by TFTP too although option 160 is populated (XPT-02).
	RRQBesideURL Name = "rrq-beside-url"
	// ForgetsURL does not contact the URL stored in memory (XPT-03).
	ForgetsURL Name = "forgets-url"
	// OptionNumberFixed always reads the URL from option 160 (XPT-04).
	OptionNumberFixed Name = "option-number-fixed"
	// ClearForHTTPS speaks HTTP in clear to an https URL (XPT-05).
	ClearForHTTPS Name = "clear-for-https"
	// HTTPAsksGlobalAgain asks for the global file once more after the version file, over HTTP and HTTPS only (XPT-06).
	HTTPAsksGlobalAgain Name = "http-asks-global-again"
	// OwnFileFirst asks for the phone-specific file before the global one (ORD-01).
	OwnFileFirst Name = "own-file-first"
	// SkipsOwnFile never asks for the phone-specific file (ORD-02).
	SkipsOwnFile Name = "skips-own-file"
	// ModuleKeepsPhoneName names the phone-specific file by the phone's MAC although a WiFi module is installed (ORD-03).
	ModuleKeepsPhoneName Name = "module-keeps-phone-name"
	// VersionFileFirst asks for the version file before the phone-specific one (ORD-04).
	VersionFileFirst Name = "version-file-first"
	// SkipsXML fetches every listed file but the last (ORD-05).
	SkipsXML Name = "skips-xml"
	// AsksSibling asks for another model's global file when it has its own (ORD-07).
	AsksSibling Name = "asks-sibling"
	// DecryptsAll decrypts every file once a key is stored, readable or not (CFG-01).
	DecryptsAll Name = "decrypts-all"
	// GlobalWins keeps what the global file set against the phone-specific file (CFG-02).
	GlobalWins Name = "global-wins"
	// OwnFileNotDecrypted decrypts the global file only (CFG-03).
	OwnFileNotDecrypted Name = "own-file-not-decrypted"
	// GlobalNeedsOwn drops the global file's changes when the phone-specific file is missing (CFG-09).
	GlobalNeedsOwn Name = "global-needs-own"
	// SettingsVolatile loses at power-off what files have set since it was powered on (CFG-11).
	SettingsVolatile Name = "settings-volatile"
	// NoRebootOnAsterisk applies a changed asterisked field without the reboot (RBT-01).
	NoRebootOnAsterisk Name = "no-reboot-on-asterisk"
	// RebootsAtOnce reboots as soon as a file has changed an asterisked field, before the version file (RBT-01).
	RebootsAtOnce Name = "reboots-at-once"
	// RebootsOnAnyChange reboots for a changed field without asterisk too (RBT-02).
	RebootsOnAnyChange Name = "reboots-on-any-change"
	// RebootsOnMention reboots when both files give an asterisked field the value that it has, but not at the boot after (RBT-03).
	RebootsOnMention Name = "reboots-on-mention"
	// RebootsTwiceAfterSoftware reboots a second time after installing software (RBT-04).
	RebootsTwiceAfterSoftware Name = "reboots-twice-after-software"
	// RebootsPerReason reboots once for the configuration and once for the software of one cycle (RBT-05).
	RebootsPerReason Name = "reboots-per-reason"
	// InstallsNothing downloads, reboots and goes on running the old version; it downloads the same version again after that, but does not reboot for it again (FWU-01).
	InstallsNothing Name = "installs-nothing"
	// DownloadsSameVersion downloads the listed files although the version is the running one, without rebooting (FWU-02).
	DownloadsSameVersion Name = "downloads-same-version"
	// NewerOnly installs only a version that sorts after the running one (FWU-03).
	NewerOnly Name = "newer-only"
	// CommentsOnlyOnTop takes a comment that stands below the version line for a file to fetch (FWU-04).
	CommentsOnlyOnTop Name = "comments-only-on-top"
	// IgnoresSoftwareFlag downloads software although sw_download is disabled (FWU-09).
	IgnoresSoftwareFlag Name = "ignores-software-flag"
	// IgnoresConfigFlag asks for configuration although cfg_download is disabled (FWU-09).
	IgnoresConfigFlag Name = "ignores-config-flag"
	// RefusesUnderMask6 refuses a good chain when only name and expiry are checked (TLS-01).
	RefusesUnderMask6 Name = "refuses-under-mask-6"
	// AcceptsUnknownAuthority never checks the authority (TLS-02).
	AcceptsUnknownAuthority Name = "accepts-unknown-authority"
	// AcceptsWrongName never checks the server name (TLS-03).
	AcceptsWrongName Name = "accepts-wrong-name"
	// AcceptsExpired never checks the dates (TLS-04).
	AcceptsExpired Name = "accepts-expired"
	// NameNeedsAuthority checks the name only when the authority is checked as well (TLS-06).
	NameNeedsAuthority Name = "name-needs-authority"
	// FactoryChecksOff has all three checks off after a factory reset (TLS-07).
	FactoryChecksOff Name = "factory-checks-off"
	// UploadReplaces lets an uploaded authority replace those that were there (TLS-08).
	UploadReplaces Name = "upload-replaces"
	// UploadVolatile forgets an uploaded authority at power-off (TLS-08).
	UploadVolatile Name = "upload-volatile"
	// RequestsAfterRefusal finds the certificate bad, and sends its request and uses the answer all the same (TLS-09).
	RequestsAfterRefusal Name = "requests-after-refusal"
	// NoPublicAuthorities knows none of the built-in public authorities (TLS-14).
	NoPublicAuthorities Name = "no-public-authorities"
	// MenuMaskIgnored keeps all checks on whatever is set by hand (TLS-15).
	MenuMaskIgnored Name = "menu-mask-ignored"
	// BasicWithoutPassword answers a Basic challenge with the ID and an empty password (AUT-01).
	BasicWithoutPassword Name = "basic-without-password"
	// DigestCountStuck sends nc=00000001 with every request of one nonce (AUT-02).
	DigestCountStuck Name = "digest-count-stuck"
	// PreemptiveBasic sends its credentials before it is challenged (AUT-04).
	PreemptiveBasic Name = "preemptive-basic"
	// IgnoresCheckSync answers NOTIFY check-sync and does nothing (RSY-01).
	IgnoresCheckSync Name = "ignores-check-sync"
	// ResyncsInCall starts the cycle in the middle of a call (RSY-02).
	ResyncsInCall Name = "resyncs-in-call"
	// ResyncHonoursFlags downloads nothing at check-sync that the download flags forbid (RSY-03).
	ResyncHonoursFlags Name = "resync-honours-flags"
	// ModuleSendsAsPhone sends its TFTP and HTTP frames from the phone's MAC although the WiFi module is installed (WIF-01).
	ModuleSendsAsPhone Name = "module-sends-as-phone"
)

// All returns every defect in the order of the list.
func All() []Name {
	return slices.Concat(shallDefects(), networkDefects(), webDefects(), provisionDefects(), downloadDefects())
}

// shallDefects break what a vendor document promises.
func shallDefects() []Name {
	return []Name{
		HTTPAtTFTPServer, RRQBesideURL, ForgetsURL, OptionNumberFixed, ClearForHTTPS, HTTPAsksGlobalAgain,
		OwnFileFirst, SkipsOwnFile, ModuleKeepsPhoneName, VersionFileFirst, SkipsXML, AsksSibling,
		DecryptsAll, GlobalWins, OwnFileNotDecrypted, GlobalNeedsOwn, SettingsVolatile,
		NoRebootOnAsterisk, RebootsAtOnce, RebootsOnAnyChange, RebootsOnMention, RebootsTwiceAfterSoftware, RebootsPerReason,
		InstallsNothing, DownloadsSameVersion, NewerOnly, CommentsOnlyOnTop, IgnoresSoftwareFlag, IgnoresConfigFlag,
		RefusesUnderMask6, AcceptsUnknownAuthority, AcceptsWrongName, AcceptsExpired, NameNeedsAuthority, FactoryChecksOff,
		UploadReplaces, UploadVolatile, RequestsAfterRefusal, NoPublicAuthorities, MenuMaskIgnored,
		BasicWithoutPassword, DigestCountStuck, PreemptiveBasic,
		IgnoresCheckSync, ResyncsInCall, ResyncHonoursFlags, ModuleSendsAsPhone,
	}
}

// Set is the defects of one handset. The zero value is a healthy one.
type Set []Name

// Has tells whether the handset carries the defect.
func (s Set) Has(n Name) bool { return slices.Contains(s, n) }

// Parse reads a comma-separated list of names.
func Parse(list string) (Set, error) {
	var s Set
	for name := range strings.SplitSeq(list, ",") {
		n := Name(strings.TrimSpace(name))
		if n == "" {
			continue
		}
		if !slices.Contains(All(), n) {
			return nil, fmt.Errorf("unknown defect %q; \"ip88rig defects\" lists them", n)
		}
		s = append(s, n)
	}
	return s, nil
}
