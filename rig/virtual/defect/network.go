package defect

// What is wrong with how a handset gets on the network: DHCP, SNTP, TFTP, SIP and its links.
const (
	// NoVendorClass leaves option 60 out of its DHCP messages (DHC-01).
	NoVendorClass Name = "no-vendor-class"
	// IgnoresNAK goes on with the address that it asked for although it was answered NAK (DHC-02).
	IgnoresNAK Name = "ignores-nak"
	// IgnoresConflict uses an offered address although somebody answers its ARP probe (DHC-02).
	IgnoresConflict Name = "ignores-conflict"
	// TakesAnyServer takes the ACK of another server than the one whose offer it asked for (DHC-02).
	TakesAnyServer Name = "takes-any-server"
	// LeaseEndReboots reboots when its lease ends (DHC-03).
	LeaseEndReboots Name = "lease-end-reboots"
	// NeverRenews never renews, and keeps the address when the lease has ended (DHC-03).
	NeverRenews Name = "never-renews"
	// RenewsByBroadcast asks all servers for more of its lease at T1, not its own (DHC-03).
	RenewsByBroadcast Name = "renews-by-broadcast"
	// NeverRebinds goes on asking its own server for more of its lease until that has ended (DHC-03).
	NeverRebinds Name = "never-rebinds"
	// KeepsDeclined declines an address that somebody else has, and uses it all the same (DHC-02).
	KeepsDeclined Name = "keeps-declined"
	// AsksTimeLate asks for the time only after its first request for a file (TIM-01).
	AsksTimeLate Name = "asks-time-late"
	// NoTimeNoCycle waits without end for the time where there is a time server (TIM-02).
	NoTimeNoCycle Name = "no-time-no-cycle"
	// BelievesUnsynchronised sets its clock by an unsynchronised answer (leap indicator 3 or stratum 16), and goes by it ever after, over power cycles (TIM-02).
	BelievesUnsynchronised Name = "believes-unsynchronised"
	// AnyEventResyncs provisions at a NOTIFY of any event (RSY-04).
	AnyEventResyncs Name = "any-event-resyncs"
	// FloodReboots reboots when a NOTIFY comes while it provisions because of another (RSY-04).
	FloodReboots Name = "flood-reboots"
	// UnregisteredNotifyReboots reboots at a NOTIFY while no line of it is registered (RSY-04).
	UnregisteredNotifyReboots Name = "unregistered-notify-reboots"
	// RefusedRegistrationReboots reboots when the registrar refuses it (RSY-04).
	RefusedRegistrationReboots Name = "refused-registration-reboots"
	// NoPeriodicResync never provisions on its own, whatever smartup_use says (RSY-05).
	NoPeriodicResync Name = "no-periodic-resync"
	// NeverRetries sends no TFTP packet twice: one loss ends the transfer (NET-01).
	NeverRetries Name = "never-retries"
	// TiresOfRepeats takes a TFTP file for whole when it has sent a fifth packet of its transfer again (NET-03).
	TiresOfRepeats Name = "tires-of-repeats"
	// GapsEndFile takes what has come of a file over HTTP or HTTPS for the whole of it at the second gap in its TCP segments, as a stack does that has no room to put them in order (NET-03).
	GapsEndFile Name = "gaps-end-file"
	// RetriesForever asks again without end for a file that a TFTP server does not answer for (ORD-11).
	RetriesForever Name = "retries-forever"
	// DoublesAcks answers each duplicate of a block with its ACK twice, so that a careless server doubles every block from there on (NET-01).
	DoublesAcks Name = "doubles-acks"
	// RestartsTransfer starts a TFTP transfer that broke off again from the first block, without end (NET-01).
	RestartsTransfer Name = "restarts-transfer"
	// BlockWrapStops takes block 0 after 65535 for an error and ends the transfer (NET-01).
	BlockWrapStops Name = "block-wrap-stops"
	// AnyTransferID takes DATA from any transfer id (NET-01).
	AnyTransferID Name = "any-transfer-id"
	// LinkLossSticks provisions no more after its link was down, until it is powered again (NET-03).
	LinkLossSticks Name = "link-loss-sticks"
	// BootsSlowly spends five times as long as it should in the boot loader (NET-04).
	BootsSlowly Name = "boots-slowly"
	// DeauthSticks does not come back to the access point after a de-authentication (WIF-02).
	DeauthSticks Name = "deauth-sticks"
	// RoamSticks does not come back when only another access point of its network is within reach (WIF-02).
	RoamSticks Name = "roam-sticks"
	// WrongPassphraseSticks gives its network up for good once the access point has wanted another passphrase, until it is powered again (WIF-02).
	WrongPassphraseSticks Name = "wrong-passphrase-sticks"
	// ModuleHangs hangs when its WiFi module loses the access point in the middle of a cycle: it stays away until power is cut, and over the next power-on too, as the module is fed on over the cut (WIF-02).
	ModuleHangs Name = "module-hangs"
	// ModuleNameSticks keeps naming the phone-specific file by the WiFi module's MAC when the module is gone (ORD-02).
	ModuleNameSticks Name = "module-name-sticks"
	// AssociatesSlowly takes ten times as long as it should to associate (WIF-03).
	AssociatesSlowly Name = "associates-slowly"
	// Refuses8021X has a setting for 802.1X in its WiFi module, and does not associate with it (WIF-03).
	Refuses8021X Name = "refuses-802.1x"
	// BothLinksUp gets an address for the cable beside its WiFi module too (WIF-03).
	BothLinksUp Name = "both-links-up"
)

func networkDefects() []Name {
	return []Name{
		NoVendorClass, IgnoresNAK, IgnoresConflict, TakesAnyServer, LeaseEndReboots, NeverRenews, RenewsByBroadcast, NeverRebinds, KeepsDeclined, AsksTimeLate, NoTimeNoCycle, BelievesUnsynchronised, AnyEventResyncs, FloodReboots, RefusedRegistrationReboots, UnregisteredNotifyReboots, NoPeriodicResync, NeverRetries, TiresOfRepeats, GapsEndFile, RetriesForever, DoublesAcks, RestartsTransfer, BlockWrapStops, AnyTransferID, LinkLossSticks, BootsSlowly, DeauthSticks, RoamSticks, WrongPassphraseSticks, ModuleHangs, ModuleNameSticks, AssociatesSlowly, Refuses8021X, BothLinksUp,
	}
}
