package defect

// What is wrong with the way in which a handset downloads and installs, where it
// is wrong in one special case only.
const (
	// FetchesUnlisted fetches a boot loader too, which the version file does not list, when it fetches software (ORD-05).
	FetchesUnlisted Name = "fetches-unlisted"
	// VersionByTFTP asks for the version file by TFTP too when it provisions over HTTP or HTTPS (ORD-04).
	VersionByTFTP Name = "version-by-tftp"
	// BlankKeyIsZero decrypts with a key of zeros where none is stored (CFG-04).
	BlankKeyIsZero Name = "blank-key-is-zero"
	// ChecksMainFileOnly looks at the content of the first listed file only (FWU-06).
	ChecksMainFileOnly Name = "checks-main-file-only"
	// TakesAnyModel installs another model's software once its checksums are right (FWU-06).
	TakesAnyModel Name = "takes-any-model"
	// TrailingBytesCount takes blanks and a carriage return behind the version in its line for a part of it (FWU-11).
	TrailingBytesCount Name = "trailing-bytes-count"
	// InstallsConfiguredOnly downloads and reboots for new software, but goes on running the old one where it read no phone-specific file before; it does not reboot for the same version again (FWU-12).
	InstallsConfiguredOnly Name = "installs-configured-only"
)

func downloadDefects() []Name {
	return []Name{FetchesUnlisted, VersionByTFTP, BlankKeyIsZero, ChecksMainFileOnly, TakesAnyModel, TrailingBytesCount, InstallsConfiguredOnly}
}
