package defect

// Doc says in one line what a handset with the defect does, and the row it
// breaks; blank for an unknown name.
func Doc(n Name) string {
	switch n {
	case HTTPAtTFTPServer:
		return "asks the TFTP server of DHCP by HTTP first when neither option 160 nor a URL is there (XPT-01)."
	case RRQBesideURL:
		return "asks for the global file by TFTP too although option 160 is populated (XPT-02)."
	case ForgetsURL:
		return "does not contact the URL stored in memory (XPT-03)."
	case OptionNumberFixed:
		return "always reads the URL from option 160 (XPT-04)."
	case ClearForHTTPS:
		return "speaks HTTP in clear to an https URL (XPT-05)."
	case HTTPAsksGlobalAgain:
		return "asks for the global file once more after the version file, over HTTP and HTTPS only (XPT-06)."
	case OwnFileFirst:
		return "asks for the phone-specific file before the global one (ORD-01)."
	case SkipsOwnFile:
		return "never asks for the phone-specific file (ORD-02)."
	case ModuleKeepsPhoneName:
		return "names the phone-specific file by the phone's MAC although a WiFi module is installed (ORD-03)."
	case VersionFileFirst:
		return "asks for the version file before the phone-specific one (ORD-04)."
	case FetchesUnlisted:
		return "fetches a boot loader too, which the version file does not list, when it fetches software (ORD-05)."
	case VersionByTFTP:
		return "asks for the version file by TFTP too when it provisions over HTTP or HTTPS (ORD-04)."
	case BlankKeyIsZero:
		return "decrypts with a key of zeros where none is stored (CFG-04)."
	case ChecksMainFileOnly:
		return "looks at the content of the first listed file only (FWU-06)."
	case TakesAnyModel:
		return "installs another model's software once its checksums are right (FWU-06)."
	case TrailingBytesCount:
		return "takes blanks and a carriage return behind the version in its line for a part of it (FWU-11)."
	case InstallsConfiguredOnly:
		return "downloads and reboots for new software, but goes on running the old one where it read no phone-specific file before; it does not reboot for the same version again (FWU-12)."
	case SkipsXML:
		return "fetches every listed file but the last (ORD-05)."
	case AsksSibling:
		return "asks for another model's global file when it has its own (ORD-07)."
	case DecryptsAll:
		return "decrypts every file once a key is stored, readable or not (CFG-01)."
	case GlobalWins:
		return "keeps what the global file set against the phone-specific file (CFG-02)."
	case OwnFileNotDecrypted:
		return "decrypts the global file only (CFG-03)."
	case GlobalNeedsOwn:
		return "drops the global file's changes when the phone-specific file is missing (CFG-09)."
	case SettingsVolatile:
		return "loses at power-off what files have set since it was powered on (CFG-11)."
	case NoRebootOnAsterisk:
		return "applies a changed asterisked field without the reboot (RBT-01)."
	case RebootsAtOnce:
		return "reboots as soon as a file has changed an asterisked field, before the version file (RBT-01)."
	case RebootsOnAnyChange:
		return "reboots for a changed field without asterisk too (RBT-02)."
	case RebootsOnMention:
		return "reboots when both files give an asterisked field the value that it has, but not at the boot after (RBT-03)."
	case RebootsTwiceAfterSoftware:
		return "reboots a second time after installing software (RBT-04)."
	case RebootsPerReason:
		return "reboots once for the configuration and once for the software of one cycle (RBT-05)."
	case InstallsNothing:
		return "downloads, reboots and goes on running the old version; it downloads the same version again after that, but does not reboot for it again (FWU-01)."
	case DownloadsSameVersion:
		return "downloads the listed files although the version is the running one, without rebooting (FWU-02)."
	case NewerOnly:
		return "installs only a version that sorts after the running one (FWU-03)."
	case CommentsOnlyOnTop:
		return "takes a comment that stands below the version line for a file to fetch (FWU-04)."
	case IgnoresSoftwareFlag:
		return "downloads software although sw_download is disabled (FWU-09)."
	case IgnoresConfigFlag:
		return "asks for configuration although cfg_download is disabled (FWU-09)."
	case RefusesUnderMask6:
		return "refuses a good chain when only name and expiry are checked (TLS-01)."
	case AcceptsUnknownAuthority:
		return "never checks the authority (TLS-02)."
	case AcceptsWrongName:
		return "never checks the server name (TLS-03)."
	case AcceptsExpired:
		return "never checks the dates (TLS-04)."
	case NameNeedsAuthority:
		return "checks the name only when the authority is checked as well (TLS-06)."
	case FactoryChecksOff:
		return "has all three checks off after a factory reset (TLS-07)."
	case UploadReplaces:
		return "lets an uploaded authority replace those that were there (TLS-08)."
	case UploadVolatile:
		return "forgets an uploaded authority at power-off (TLS-08)."
	case RequestsAfterRefusal:
		return "finds the certificate bad, and sends its request and uses the answer all the same (TLS-09)."
	case NoPublicAuthorities:
		return "knows none of the built-in public authorities (TLS-14)."
	case MenuMaskIgnored:
		return "keeps all checks on whatever is set by hand (TLS-15)."
	case BasicWithoutPassword:
		return "answers a Basic challenge with the ID and an empty password (AUT-01)."
	case DigestCountStuck:
		return "sends nc=00000001 with every request of one nonce (AUT-02)."
	case PreemptiveBasic:
		return "sends its credentials before it is challenged (AUT-04)."
	case IgnoresCheckSync:
		return "answers NOTIFY check-sync and does nothing (RSY-01)."
	case ResyncsInCall:
		return "starts the cycle in the middle of a call (RSY-02)."
	case ResyncHonoursFlags:
		return "downloads nothing at check-sync that the download flags forbid (RSY-03)."
	case ModuleSendsAsPhone:
		return "sends its TFTP and HTTP frames from the phone's MAC although the WiFi module is installed (WIF-01)."
	case NoVendorClass:
		return "leaves option 60 out of its DHCP messages (DHC-01)."
	case IgnoresNAK:
		return "goes on with the address that it asked for although it was answered NAK (DHC-02)."
	case IgnoresConflict:
		return "uses an offered address although somebody answers its ARP probe (DHC-02)."
	case TakesAnyServer:
		return "takes the ACK of another server than the one whose offer it asked for (DHC-02)."
	case LeaseEndReboots:
		return "reboots when its lease ends (DHC-03)."
	case NeverRenews:
		return "never renews, and keeps the address when the lease has ended (DHC-03)."
	case RenewsByBroadcast:
		return "asks all servers for more of its lease at T1, not its own (DHC-03)."
	case NeverRebinds:
		return "goes on asking its own server for more of its lease until that has ended (DHC-03)."
	case KeepsDeclined:
		return "declines an address that somebody else has, and uses it all the same (DHC-02)."
	case AsksTimeLate:
		return "asks for the time only after its first request for a file (TIM-01)."
	case NoTimeNoCycle:
		return "waits without end for the time where there is a time server (TIM-02)."
	case BelievesUnsynchronised:
		return "sets its clock by an unsynchronised answer (leap indicator 3 or stratum 16), and goes by it ever after, over power cycles (TIM-02)."
	case AnyEventResyncs:
		return "provisions at a NOTIFY of any event (RSY-04)."
	case FloodReboots:
		return "reboots when a NOTIFY comes while it provisions because of another (RSY-04)."
	case RefusedRegistrationReboots:
		return "reboots when the registrar refuses it (RSY-04)."
	case NoPeriodicResync:
		return "never provisions on its own, whatever smartup_use says (RSY-05)."
	case NeverRetries:
		return "sends no TFTP packet twice: one loss ends the transfer (NET-01)."
	case TiresOfRepeats:
		return "takes a TFTP file for whole when it has sent a fifth packet of its transfer again (NET-03)."
	case GapsEndFile:
		return "takes what has come of a file over HTTP or HTTPS for the whole of it at the second gap in its TCP segments, as a stack does that has no room to put them in order (NET-03)."
	case RetriesForever:
		return "asks again without end for a file that a TFTP server does not answer for (ORD-11)."
	case DoublesAcks:
		return "answers each duplicate of a block with its ACK twice, so that a careless server doubles every block from there on (NET-01)."
	case RestartsTransfer:
		return "starts a TFTP transfer that broke off again from the first block, without end (NET-01)."
	case BlockWrapStops:
		return "takes block 0 after 65535 for an error and ends the transfer (NET-01)."
	case AnyTransferID:
		return "takes DATA from any transfer id (NET-01)."
	case LinkLossSticks:
		return "provisions no more after its link was down, until it is powered again (NET-03)."
	case BootsSlowly:
		return "spends five times as long as it should in the boot loader (NET-04)."
	case DeauthSticks:
		return "does not come back to the access point after a de-authentication (WIF-02)."
	case RoamSticks:
		return "does not come back when only another access point of its network is within reach (WIF-02)."
	case WrongPassphraseSticks:
		return "gives its network up for good once the access point has wanted another passphrase, until it is powered again (WIF-02)."
	case ModuleHangs:
		return "hangs when its WiFi module loses the access point in the middle of a cycle: it stays away until power is cut, and over the next power-on too, as the module is fed on over the cut (WIF-02)."
	case ModuleNameSticks:
		return "keeps naming the phone-specific file by the WiFi module's MAC when the module is gone (ORD-02)."
	case AssociatesSlowly:
		return "takes ten times as long as it should to associate (WIF-03)."
	case Refuses8021X:
		return "has a setting for 802.1X in its WiFi module, and does not associate with it (WIF-03)."
	case BothLinksUp:
		return "gets an address for the cable beside its WiFi module too (WIF-03)."
	case Option66Wins:
		return "takes the TFTP server of option 66 although option 150 names one too (XPT-07)."
	case MalformedURLHangs:
		return "stops before it registers when option 160 holds no URL that it can read (XPT-08)."
	case MalformedURLWipes:
		return "forgets its lines' settings when option 160 holds no URL that it can read (XPT-08)."
	case UnregisteredNotifyReboots:
		return "reboots at a NOTIFY while no line of it is registered (RSY-04)."
	case AnswersBlank:
		return "does otherwise than the model's facts say with a challenge while its ID and password are blank (AUT-05)."
	case UnresolvedNameHangs:
		return "asks without end for the address of its server while its name server does not answer (XPT-08)."
	case IgnoresURLPort:
		return "goes to the scheme's own port whatever port the URL names (XPT-10)."
	case TLSToHTTPURL:
		return "tries TLS at an http URL too, and speaks in clear only for the rest of a cycle in which the server did not understand that (XPT-05)."
	case NoFallback:
		return "does otherwise than the model's facts say when the HTTP server cannot be reached (XPT-09)."
	case DropsURLPath:
		return "leaves out the path of the URL (XPT-10)."
	case RemembersOfferedURL:
		return "stores the URL of option 160 and goes there when the option is withheld (XPT-11)."
	case AcceptsExpiredUntimed:
		return "does otherwise than the model's facts say with an expired certificate while it has no time (TLS-05)."
	case LateTimeAcceptsExpired:
		return "waits for a late answer with the time, but does not set its clock by it, and takes an expired certificate then (TLS-04)."
	case NameCheckedOnce:
		return "checks the server name on the first connection after power only (TLS-03)."
	case AlwaysChecksName:
		return "checks the server name whatever the mask says (TLS-06)."
	case TrustsSeenLeaf:
		return "trusts whatever certificate comes from a server that it has accepted once since power (TLS-02)."
	case TFTPAfterRefusal:
		return "provisions over TFTP after it has refused a certificate, and takes what it gets there (XPT-02)."
	case AcceptsNotYetValid:
		return "takes a certificate that is not valid yet (TLS-10)."
	case AcceptsIssuerWithoutCA:
		return "takes a chain whose intermediate is not an authority (TLS-10)."
	case NoServerName:
		return "sends no server_name extension (TLS-11)."
	case WrongAlert:
		return "refuses every certificate with the alert certificate_unknown, whatever is wrong with it (TLS-11)."
	case HandshakeHangs:
		return "waits without end for an answer to its ClientHello (TLS-12)."
	case ClockSticks:
		return "never sets its clock back: a time that was too late once stays, over power cycles (TLS-13)."
	case AuthenticatesForever:
		return "answers each 401 anew without end (AUT-03)."
	case DigestNeedsQOP:
		return "takes a Digest challenge without qop for one that it cannot answer (AUT-02)."
	case IgnoresStale:
		return "gives up when a nonce is stale (AUT-05)."
	case CredentialsToRefused:
		return "comes again to a server whose certificate it has just refused, over another connection, and sends a request with its credentials (AUT-04)."
	case CredentialsToOtherHost:
		return "takes its credentials along to another host when redirected (AUT-04)."
	case TakesShortBody:
		return "takes a body that ended before its Content-Length for the whole file (NET-02)."
	case AppliesErrorPage:
		return "applies the body of an error response to a request for a configuration file as if it were the file (NET-02)."
	case FollowsRedirectsForever:
		return "follows redirects without end (NET-02)."
	case RootVersionOnly:
		return "looks the version file up at the root only (ORD-06)."
	case StopsWithoutGlobal:
		return "ends the cycle when the global file is missing (ORD-08)."
	case StopsWithoutOwn:
		return "ends the cycle when the phone-specific file is missing (ORD-09)."
	case MissingVersionReboots:
		return "reboots after a cycle without version file, but not after two running (ORD-10)."
	case IgnoresMacForm:
		return "names the phone-specific file by its MAC whatever https_macform says (ORD-12)."
	case GlobalNotDecrypted:
		return "decrypts the phone-specific file only (CFG-03)."
	case WrongKeyWipes:
		return "forgets its lines' settings when a file cannot be decrypted (CFG-04)."
	case ResetsUnmentioned:
		return "returns what neither file mentions to its factory value, once the phone-specific one was read (CFG-05)."
	case DamagedFileSticks:
		return "takes no configuration any more after a text that says nothing, has a byte order mark or holds no line that makes sense, until a factory reset (CFG-06)."
	case KeepsComment:
		return "keeps the comment behind a value as part of it (CFG-07)."
	case FirstOfList:
		return "takes the first codec of a list for all of it (CFG-07)."
	case BrokenCipherSticks:
		return "takes no encrypted file any more after one that its key opened in part only, until a factory reset (CFG-08)."
	case LateKey:
		return "uses a decrypt_key of the global file from the next cycle on only (CFG-10)."
	case RebootFlagSticks:
		return "keeps its reboot flag over the reboot, and reboots once more after the next cycle (RBT-06)."
	case VersionLoop:
		return "never finds its version equal after an upgrade: downloads, installs and reboots again, three times (RBT-06)."
	case SetBackReboots:
		return "does otherwise than the model's facts say when the phone-specific file sets back what the global file changed; it does not reboot for that twice running (RBT-07)."
	case BrokenCycleReboots:
		return "reboots after a cycle in which a file was broken off, but not after two running (RBT-08)."
	case InstallsIncomplete:
		return "installs the new version although a listed file was missing (FWU-05)."
	case IgnoresChecksum:
		return "installs files whose content is not what the version file says, or that are another model's (FWU-06)."
	case InstallsBroken:
		return "installs the new version although a transfer broke off (FWU-07)."
	case SingleBank:
		return "writes over the version that it runs: power cut in the middle leaves a boot loader that takes an address and does nothing more (FWU-08)."
	case SingleBankByTFTP:
		return "writes what comes over TFTP over the version that it runs: power cut in the middle leaves a boot loader that takes an address and does nothing more (FWU-08)."
	case RefusesSixthUpgrade:
		return "does not install the sixth version in a row, with no two cycles running in which there is nothing to install (FWU-10)."
	case DamagedVersionReboots:
		return "reboots when it cannot read the version file, but not twice running (FWU-11)."
	case LosesSettingsOnUpgrade:
		return "forgets its settings when it installs software (FWU-12)."
	case FetchesTwice:
		return "fetches each listed file twice (FWU-13)."
	case ReportsOldVersion:
		return "installs the new version and goes on telling the old one in its User-Agent (FWU-01)."
	case AppliesPartialFile:
		return "applies what it has of a configuration file that was broken off (NET-03)."
	}
	return ""
}
