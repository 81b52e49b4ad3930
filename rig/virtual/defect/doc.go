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
	}
	return ""
}
