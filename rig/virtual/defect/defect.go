// Package defect is the closed list of what can be wrong with a simulated
// handset. Each defect changes what the handset does on the wire, at the one
// place where that behaviour is decided; the self-test runs the suite against
// each to prove that the scenarios can fail.
package defect

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Name names one defect. What each does is written in defects.txt.
type Name string

// What is wrong with the routine of provisioning.
const (
	HTTPAtTFTPServer          Name = "http-at-tftp-server"
	RRQBesideURL              Name = "rrq-beside-url"
	ForgetsURL                Name = "forgets-url"
	OptionNumberFixed         Name = "option-number-fixed"
	ClearForHTTPS             Name = "clear-for-https"
	HTTPAsksGlobalAgain       Name = "http-asks-global-again"
	OwnFileFirst              Name = "own-file-first"
	SkipsOwnFile              Name = "skips-own-file"
	ModuleKeepsPhoneName      Name = "module-keeps-phone-name"
	VersionFileFirst          Name = "version-file-first"
	SkipsXML                  Name = "skips-xml"
	AsksSibling               Name = "asks-sibling"
	DecryptsAll               Name = "decrypts-all"
	GlobalWins                Name = "global-wins"
	OwnFileNotDecrypted       Name = "own-file-not-decrypted"
	GlobalNeedsOwn            Name = "global-needs-own"
	SettingsVolatile          Name = "settings-volatile"
	NoRebootOnAsterisk        Name = "no-reboot-on-asterisk"
	RebootsAtOnce             Name = "reboots-at-once"
	RebootsOnAnyChange        Name = "reboots-on-any-change"
	RebootsOnMention          Name = "reboots-on-mention"
	RebootsTwiceAfterSoftware Name = "reboots-twice-after-software"
	RebootsPerReason          Name = "reboots-per-reason"
	InstallsNothing           Name = "installs-nothing"
	DownloadsSameVersion      Name = "downloads-same-version"
	NewerOnly                 Name = "newer-only"
	CommentsOnlyOnTop         Name = "comments-only-on-top"
	IgnoresSoftwareFlag       Name = "ignores-software-flag"
	IgnoresConfigFlag         Name = "ignores-config-flag"
	RefusesUnderMask6         Name = "refuses-under-mask-6"
	AcceptsUnknownAuthority   Name = "accepts-unknown-authority"
	AcceptsWrongName          Name = "accepts-wrong-name"
	AcceptsExpired            Name = "accepts-expired"
	NameNeedsAuthority        Name = "name-needs-authority"
	FactoryChecksOff          Name = "factory-checks-off"
	UploadReplaces            Name = "upload-replaces"
	UploadVolatile            Name = "upload-volatile"
	RequestsAfterRefusal      Name = "requests-after-refusal"
	NoPublicAuthorities       Name = "no-public-authorities"
	MenuMaskIgnored           Name = "menu-mask-ignored"
	BasicWithoutPassword      Name = "basic-without-password"
	DigestCountStuck          Name = "digest-count-stuck"
	PreemptiveBasic           Name = "preemptive-basic"
	IgnoresCheckSync          Name = "ignores-check-sync"
	ResyncsInCall             Name = "resyncs-in-call"
	ResyncHonoursFlags        Name = "resync-honours-flags"
	ModuleSendsAsPhone        Name = "module-sends-as-phone"
)

// What is wrong with what a handset does with the files that it gets.
const (
	RootVersionOnly        Name = "root-version-only"
	StopsWithoutGlobal     Name = "stops-without-global"
	StopsWithoutOwn        Name = "stops-without-own"
	MissingVersionReboots  Name = "missing-version-reboots"
	IgnoresMacForm         Name = "ignores-mac-form"
	GlobalNotDecrypted     Name = "global-not-decrypted"
	WrongKeyWipes          Name = "wrong-key-wipes"
	ResetsUnmentioned      Name = "resets-unmentioned"
	DamagedFileSticks      Name = "damaged-file-sticks"
	KeepsComment           Name = "keeps-comment"
	FirstOfList            Name = "first-of-list"
	BrokenCipherSticks     Name = "broken-cipher-sticks"
	LateKey                Name = "late-key"
	RebootFlagSticks       Name = "reboot-flag-sticks"
	VersionLoop            Name = "version-loop"
	SetBackReboots         Name = "set-back-reboots"
	BrokenCycleReboots     Name = "broken-cycle-reboots"
	InstallsIncomplete     Name = "installs-incomplete"
	IgnoresChecksum        Name = "ignores-checksum"
	InstallsBroken         Name = "installs-broken"
	SingleBank             Name = "single-bank"
	SingleBankByTFTP       Name = "single-bank-by-tftp"
	RefusesSixthUpgrade    Name = "refuses-sixth-upgrade"
	DamagedVersionReboots  Name = "damaged-version-reboots"
	LosesSettingsOnUpgrade Name = "loses-settings-on-upgrade"
	FetchesTwice           Name = "fetches-twice"
	ReportsOldVersion      Name = "reports-old-version"
	AppliesPartialFile     Name = "applies-partial-file"
)

// What is wrong with how a handset finds, trusts and asks its HTTP server.
const (
	Option66Wins            Name = "option-66-wins"
	MalformedURLHangs       Name = "malformed-url-hangs"
	MalformedURLWipes       Name = "malformed-url-wipes"
	UnresolvedNameHangs     Name = "unresolved-name-hangs"
	TLSToHTTPURL            Name = "tls-to-http-url"
	NoFallback              Name = "no-fallback"
	DropsURLPath            Name = "drops-url-path"
	IgnoresURLPort          Name = "ignores-url-port"
	RemembersOfferedURL     Name = "remembers-offered-url"
	AcceptsExpiredUntimed   Name = "accepts-expired-untimed"
	LateTimeAcceptsExpired  Name = "late-time-accepts-expired"
	NameCheckedOnce         Name = "name-checked-once"
	AlwaysChecksName        Name = "always-checks-name"
	TrustsSeenLeaf          Name = "trusts-seen-leaf"
	TFTPAfterRefusal        Name = "tftp-after-refusal"
	AcceptsNotYetValid      Name = "accepts-not-yet-valid"
	AcceptsIssuerWithoutCA  Name = "accepts-issuer-without-ca"
	NoServerName            Name = "no-server-name"
	WrongAlert              Name = "wrong-alert"
	HandshakeHangs          Name = "handshake-hangs"
	ClockSticks             Name = "clock-sticks"
	AuthenticatesForever    Name = "authenticates-forever"
	DigestNeedsQOP          Name = "digest-needs-qop"
	IgnoresStale            Name = "ignores-stale"
	AnswersBlank            Name = "answers-blank"
	CredentialsToRefused    Name = "credentials-to-refused"
	CredentialsToOtherHost  Name = "credentials-to-other-host"
	TakesShortBody          Name = "takes-short-body"
	AppliesErrorPage        Name = "applies-error-page"
	FollowsRedirectsForever Name = "follows-redirects-forever"
)

// What is wrong with how a handset gets on the network: DHCP, SNTP, TFTP, SIP and its links.
const (
	NoVendorClass              Name = "no-vendor-class"
	IgnoresNAK                 Name = "ignores-nak"
	IgnoresConflict            Name = "ignores-conflict"
	TakesAnyServer             Name = "takes-any-server"
	LeaseEndReboots            Name = "lease-end-reboots"
	NeverRenews                Name = "never-renews"
	RenewsByBroadcast          Name = "renews-by-broadcast"
	NeverRebinds               Name = "never-rebinds"
	KeepsDeclined              Name = "keeps-declined"
	AsksTimeLate               Name = "asks-time-late"
	NoTimeNoCycle              Name = "no-time-no-cycle"
	BelievesUnsynchronised     Name = "believes-unsynchronised"
	AnyEventResyncs            Name = "any-event-resyncs"
	FloodReboots               Name = "flood-reboots"
	UnregisteredNotifyReboots  Name = "unregistered-notify-reboots"
	RefusedRegistrationReboots Name = "refused-registration-reboots"
	NoPeriodicResync           Name = "no-periodic-resync"
	NeverRetries               Name = "never-retries"
	TiresOfRepeats             Name = "tires-of-repeats"
	GapsEndFile                Name = "gaps-end-file"
	RetriesForever             Name = "retries-forever"
	DoublesAcks                Name = "doubles-acks"
	RestartsTransfer           Name = "restarts-transfer"
	BlockWrapStops             Name = "block-wrap-stops"
	AnyTransferID              Name = "any-transfer-id"
	LinkLossSticks             Name = "link-loss-sticks"
	BootsSlowly                Name = "boots-slowly"
	DeauthSticks               Name = "deauth-sticks"
	RoamSticks                 Name = "roam-sticks"
	WrongPassphraseSticks      Name = "wrong-passphrase-sticks"
	ModuleHangs                Name = "module-hangs"
	ModuleNameSticks           Name = "module-name-sticks"
	AssociatesSlowly           Name = "associates-slowly"
	Refuses8021X               Name = "refuses-802.1x"
	BothLinksUp                Name = "both-links-up"
)

// What is wrong with the way in which a handset downloads and installs, where it
// is wrong in one special case only.
const (
	FetchesUnlisted        Name = "fetches-unlisted"
	VersionByTFTP          Name = "version-by-tftp"
	BlankKeyIsZero         Name = "blank-key-is-zero"
	ChecksMainFileOnly     Name = "checks-main-file-only"
	TakesAnyModel          Name = "takes-any-model"
	TrailingBytesCount     Name = "trailing-bytes-count"
	InstallsConfiguredOnly Name = "installs-configured-only"
)

// Set is the defects of one handset. The zero value is a healthy one.
type Set []Name

// Has reports whether the handset carries the defect.
func (s Set) Has(n Name) bool { return slices.Contains(s, n) }

// Parse reads a comma-separated list of names.
func Parse(list string) (Set, error) {
	var s Set
	for name := range strings.SplitSeq(list, ",") {
		n := Name(strings.TrimSpace(name))
		if n == "" {
			continue
		}
		if _, ok := Find(n); !ok {
			return nil, fmt.Errorf("unknown defect %q; \"ip88rig defects\" lists them", n)
		}
		s = append(s, n)
	}
	return s, nil
}

// Entry is one defect in the table.
type Entry struct {
	Name Name
	// WiFi: the defect shows on a handset with a WiFi module only.
	WiFi bool
	// Row is the requirement that it breaks, Does what it does.
	Row, Does string
	// Fails are the rows that a judgement fails, Drifts those that differ from the
	// golden record.
	Fails, Drifts []string
	// Blocks are the rows that are blocked somewhere and failed nowhere, Unjudged
	// those that are inconclusive somewhere.
	Blocks, Unjudged []string
}

// TableFile is where the table is kept, below the project's folder.
const TableFile = "rig/virtual/defect/defects.txt"

//go:embed defects.txt
var table string

// entries is the table, read once.
var entries = sync.OnceValue(func() []Entry { //nolint:gochecknoglobals // a constant in all but name
	list, err := ParseTable(table)
	if err != nil {
		panic(err) // a test reads the table
	}
	return list
})

// Table returns all defects, in the order of the table.
func Table() []Entry { return slices.Clone(entries()) }

// Find returns the entry of a defect.
func Find(n Name) (Entry, bool) {
	i := slices.IndexFunc(entries(), func(e Entry) bool { return e.Name == n })
	if i < 0 {
		return Entry{}, false
	}
	return entries()[i], true
}

// list is one list of rows of an entry, with its name in the table.
type list struct {
	name string
	rows *[]string
}

func lists(e *Entry) []list {
	return []list{{"fails", &e.Fails}, {"drifts", &e.Drifts}, {"blocks", &e.Blocks}, {"unjudged", &e.Unjudged}}
}

// ParseTable reads a table: a line with the defect's name, followed by "(wifi)" where
// it shows with a WiFi module only, and below it, indented, "row", "does", and each
// list of rows that is not empty. Lines that begin with # are comments.
func ParseTable(text string) ([]Entry, error) {
	var out []Entry
	row := regexp.MustCompile(`^[A-Z]{3}-\d\d$`)
	for i, line := range strings.Split(text, "\n") {
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("defects.txt:%d: "+format, append([]any{i + 1}, args...)...)
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
			continue
		case !strings.HasPrefix(line, " "):
			if slices.ContainsFunc(out, func(e Entry) bool { return string(e.Name) == words[0] }) {
				return nil, wrong("%s stands here twice", words[0])
			}
			wifi := slices.Equal(words[1:], []string{"(wifi)"})
			if len(words) > 1 && !wifi {
				return nil, wrong("%q after the name of a defect", words[1:])
			}
			out = append(out, Entry{Name: Name(words[0]), WiFi: wifi})
			continue
		case len(out) == 0:
			return nil, wrong("a line without a defect above it")
		case len(words) == 1:
			return nil, wrong("%s: nothing follows", words[0])
		}
		e := &out[len(out)-1]
		if words[0] == "does" && e.Does == "" {
			e.Does = strings.Join(words[1:], " ")
			continue
		}
		for _, r := range words[1:] {
			if !row.MatchString(r) {
				return nil, wrong("%q is no row: want one as RBT-04", r)
			}
		}
		lists := lists(e)
		n := slices.IndexFunc(lists, func(l list) bool { return l.name == words[0] })
		switch {
		case words[0] == "row" && e.Row == "" && len(words) == 2:
			e.Row = words[1]
		case n >= 0 && len(*lists[n].rows) == 0:
			*lists[n].rows = words[1:]
		default:
			return nil, wrong("%q: want row (one), does, fails, drifts, blocks or unjudged, each once", line)
		}
	}
	return out, nil
}

// FormatTable writes a table as ParseTable reads it.
func FormatTable(table []Entry) string {
	var b strings.Builder
	b.WriteString(head)
	for _, e := range table {
		b.WriteString("\n" + string(e.Name))
		if e.WiFi {
			b.WriteString(" (wifi)")
		}
		fmt.Fprintf(&b, "\n  row      %s\n  does     %s\n", e.Row, e.Does)
		for _, l := range lists(&e) {
			if len(*l.rows) > 0 {
				fmt.Fprintf(&b, "  %-8s %s\n", l.name, strings.Join(*l.rows, " "))
			}
		}
	}
	return b.String()
}

const head = `# The defects that a simulated handset can have, one after the other: the row of the
# requirements that it breaks, what it does, and what that does to the suite: the rows
# that it fails, those that drift from the golden record, those that are blocked, and
# those that cannot be judged. "(wifi)": it shows with a WiFi module only. A run in
# virtual time is the same each time, so the lists are exact. "make mutants
# ARGS=--update" writes them anew: read the diff before you commit it.
`
