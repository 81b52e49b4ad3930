package virtual

// Marks of defects that concern software; a factory reset leaves them.
const (
	// markTried holds the version that installs-nothing has rebooted for.
	markTried = "tried"
	// markLoops is how often version-loop will install its version again.
	markLoops = "loops"
	// markRow is how often in a row refuses-sixth-upgrade has installed, markIdle how
	// often since then it had nothing to install.
	markRow  = "in a row"
	markIdle = "idle"
	// markHalf says that single-bank was writing over what it runs.
	markHalf = "half written"
	// markWas is the version that reports-old-version goes on telling.
	markWas = "was"
)

// markModule holds the module's name for the defect module-name-sticks.
const markModule = "module"

// markBelieved holds the time of an unsynchronised server, as an offset of the
// real one (believes-unsynchronised).
const markBelieved = "believed"

// markClock holds the first time that a handset with the defect clock-sticks was
// told, as an offset of the real one.
const markClock = "clock"
