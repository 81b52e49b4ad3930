package defect

// What is wrong with what a handset does with the files that it gets.
const (
	// RootVersionOnly looks the version file up at the root only (ORD-06).
	RootVersionOnly Name = "root-version-only"
	// StopsWithoutGlobal ends the cycle when the global file is missing (ORD-08).
	StopsWithoutGlobal Name = "stops-without-global"
	// StopsWithoutOwn ends the cycle when the phone-specific file is missing (ORD-09).
	StopsWithoutOwn Name = "stops-without-own"
	// MissingVersionReboots reboots after a cycle without version file, but not after two running (ORD-10).
	MissingVersionReboots Name = "missing-version-reboots"
	// IgnoresMacForm names the phone-specific file by its MAC whatever https_macform says (ORD-12).
	IgnoresMacForm Name = "ignores-mac-form"
	// GlobalNotDecrypted decrypts the phone-specific file only (CFG-03).
	GlobalNotDecrypted Name = "global-not-decrypted"
	// WrongKeyWipes forgets its lines' settings when a file cannot be decrypted (CFG-04).
	WrongKeyWipes Name = "wrong-key-wipes"
	// ResetsUnmentioned returns what neither file mentions to its factory value, once the phone-specific one was read (CFG-05).
	ResetsUnmentioned Name = "resets-unmentioned"
	// DamagedFileSticks takes no configuration any more after a text that says nothing, has a byte order mark or holds no line that makes sense, until a factory reset (CFG-06).
	DamagedFileSticks Name = "damaged-file-sticks"
	// KeepsComment keeps the comment behind a value as part of it (CFG-07).
	KeepsComment Name = "keeps-comment"
	// FirstOfList takes the first codec of a list for all of it (CFG-07).
	FirstOfList Name = "first-of-list"
	// BrokenCipherSticks takes no encrypted file any more after one that its key opened in part only, until a factory reset (CFG-08).
	BrokenCipherSticks Name = "broken-cipher-sticks"
	// LateKey uses a decrypt_key of the global file from the next cycle on only (CFG-10).
	LateKey Name = "late-key"
	// RebootFlagSticks keeps its reboot flag over the reboot, and reboots once more after the next cycle (RBT-06).
	RebootFlagSticks Name = "reboot-flag-sticks"
	// VersionLoop never finds its version equal after an upgrade: downloads, installs and reboots again, three times (RBT-06).
	VersionLoop Name = "version-loop"
	// SetBackReboots does otherwise than the model's facts say when the phone-specific file sets back what the global file changed; it does not reboot for that twice running (RBT-07).
	SetBackReboots Name = "set-back-reboots"
	// BrokenCycleReboots reboots after a cycle in which a file was broken off, but not after two running (RBT-08).
	BrokenCycleReboots Name = "broken-cycle-reboots"
	// InstallsIncomplete installs the new version although a listed file was missing (FWU-05).
	InstallsIncomplete Name = "installs-incomplete"
	// IgnoresChecksum installs files whose content is not what the version file says, or that are another model's (FWU-06).
	IgnoresChecksum Name = "ignores-checksum"
	// InstallsBroken installs the new version although a transfer broke off (FWU-07).
	InstallsBroken Name = "installs-broken"
	// SingleBank writes over the version that it runs: power cut in the middle leaves a boot loader that takes an address and does nothing more (FWU-08).
	SingleBank Name = "single-bank"
	// SingleBankByTFTP writes what comes over TFTP over the version that it runs: power cut in the middle leaves a boot loader that takes an address and does nothing more (FWU-08).
	SingleBankByTFTP Name = "single-bank-by-tftp"
	// RefusesSixthUpgrade does not install the sixth version in a row, with no two cycles running in which there is nothing to install (FWU-10).
	RefusesSixthUpgrade Name = "refuses-sixth-upgrade"
	// DamagedVersionReboots reboots when it cannot read the version file, but not twice running (FWU-11).
	DamagedVersionReboots Name = "damaged-version-reboots"
	// LosesSettingsOnUpgrade forgets its settings when it installs software (FWU-12).
	LosesSettingsOnUpgrade Name = "loses-settings-on-upgrade"
	// FetchesTwice fetches each listed file twice (FWU-13).
	FetchesTwice Name = "fetches-twice"
	// ReportsOldVersion installs the new version and goes on telling the old one in its User-Agent (FWU-01).
	ReportsOldVersion Name = "reports-old-version"
	// AppliesPartialFile applies what it has of a configuration file that was broken off (NET-03).
	AppliesPartialFile Name = "applies-partial-file"
)

func provisionDefects() []Name {
	return []Name{
		RootVersionOnly, StopsWithoutGlobal, StopsWithoutOwn, MissingVersionReboots, IgnoresMacForm, GlobalNotDecrypted, WrongKeyWipes, ResetsUnmentioned, DamagedFileSticks, KeepsComment, FirstOfList, BrokenCipherSticks, LateKey, RebootFlagSticks, VersionLoop, SetBackReboots, BrokenCycleReboots, InstallsIncomplete, IgnoresChecksum, InstallsBroken, SingleBank, SingleBankByTFTP, RefusesSixthUpgrade, DamagedVersionReboots, LosesSettingsOnUpgrade, FetchesTwice, ReportsOldVersion, AppliesPartialFile,
	}
}
