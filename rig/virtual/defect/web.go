package defect

// What is wrong with how a handset finds, trusts and asks its HTTP server.
const (
	// Option66Wins takes the TFTP server of option 66 although option 150 names one too (XPT-07).
	Option66Wins Name = "option-66-wins"
	// MalformedURLHangs stops before it registers when option 160 holds no URL that it can read (XPT-08).
	MalformedURLHangs Name = "malformed-url-hangs"
	// MalformedURLWipes forgets its lines' settings when option 160 holds no URL that it can read (XPT-08).
	MalformedURLWipes Name = "malformed-url-wipes"
	// UnresolvedNameHangs asks without end for the address of its server while its name server does not answer (XPT-08).
	UnresolvedNameHangs Name = "unresolved-name-hangs"
	// TLSToHTTPURL tries TLS at an http URL too, and speaks in clear only for the rest of a cycle in which the server did not understand that (XPT-05).
	TLSToHTTPURL Name = "tls-to-http-url"
	// NoFallback does otherwise than the model's facts say when the HTTP server cannot be reached (XPT-09).
	NoFallback Name = "no-fallback"
	// DropsURLPath leaves out the path of the URL (XPT-10).
	DropsURLPath Name = "drops-url-path"
	// IgnoresURLPort goes to the scheme's own port whatever port the URL names (XPT-10).
	IgnoresURLPort Name = "ignores-url-port"
	// RemembersOfferedURL stores the URL of option 160 and goes there when the option is withheld (XPT-11).
	RemembersOfferedURL Name = "remembers-offered-url"
	// AcceptsExpiredUntimed does otherwise than the model's facts say with an expired certificate while it has no time (TLS-05).
	AcceptsExpiredUntimed Name = "accepts-expired-untimed"
	// LateTimeAcceptsExpired waits for a late answer with the time, but does not set its clock by it, and takes an expired certificate then (TLS-04).
	LateTimeAcceptsExpired Name = "late-time-accepts-expired"
	// NameCheckedOnce checks the server name on the first connection after power only (TLS-03).
	NameCheckedOnce Name = "name-checked-once"
	// AlwaysChecksName checks the server name whatever the mask says (TLS-06).
	AlwaysChecksName Name = "always-checks-name"
	// TrustsSeenLeaf trusts whatever certificate comes from a server that it has accepted once since power (TLS-02).
	TrustsSeenLeaf Name = "trusts-seen-leaf"
	// TFTPAfterRefusal provisions over TFTP after it has refused a certificate, and takes what it gets there (XPT-02).
	TFTPAfterRefusal Name = "tftp-after-refusal"
	// AcceptsNotYetValid takes a certificate that is not valid yet (TLS-10).
	AcceptsNotYetValid Name = "accepts-not-yet-valid"
	// AcceptsIssuerWithoutCA takes a chain whose intermediate is not an authority (TLS-10).
	AcceptsIssuerWithoutCA Name = "accepts-issuer-without-ca"
	// NoServerName sends no server_name extension (TLS-11).
	NoServerName Name = "no-server-name"
	// WrongAlert refuses every certificate with the alert certificate_unknown, whatever is wrong with it (TLS-11).
	WrongAlert Name = "wrong-alert"
	// HandshakeHangs waits without end for an answer to its ClientHello (TLS-12).
	HandshakeHangs Name = "handshake-hangs"
	// ClockSticks never sets its clock back: a time that was too late once stays, over power cycles (TLS-13).
	ClockSticks Name = "clock-sticks"
	// AuthenticatesForever answers each 401 anew without end (AUT-03).
	AuthenticatesForever Name = "authenticates-forever"
	// DigestNeedsQOP takes a Digest challenge without qop for one that it cannot answer (AUT-02).
	DigestNeedsQOP Name = "digest-needs-qop"
	// IgnoresStale gives up when a nonce is stale (AUT-05).
	IgnoresStale Name = "ignores-stale"
	// AnswersBlank does otherwise than the model's facts say with a challenge while its ID and password are blank (AUT-05).
	AnswersBlank Name = "answers-blank"
	// CredentialsToRefused comes again to a server whose certificate it has just refused, over another connection, and sends a request with its credentials (AUT-04).
	CredentialsToRefused Name = "credentials-to-refused"
	// CredentialsToOtherHost takes its credentials along to another host when redirected (AUT-04).
	CredentialsToOtherHost Name = "credentials-to-other-host"
	// TakesShortBody takes a body that ended before its Content-Length for the whole file (NET-02).
	TakesShortBody Name = "takes-short-body"
	// AppliesErrorPage applies the body of an error response to a request for a configuration file as if it were the file (NET-02).
	AppliesErrorPage Name = "applies-error-page"
	// FollowsRedirectsForever follows redirects without end (NET-02).
	FollowsRedirectsForever Name = "follows-redirects-forever"
)

func webDefects() []Name {
	return []Name{
		Option66Wins, MalformedURLHangs, UnresolvedNameHangs, MalformedURLWipes, TLSToHTTPURL, NoFallback, DropsURLPath, IgnoresURLPort, RemembersOfferedURL, AcceptsExpiredUntimed, LateTimeAcceptsExpired, NameCheckedOnce, AlwaysChecksName, TrustsSeenLeaf, TFTPAfterRefusal, AcceptsNotYetValid, AcceptsIssuerWithoutCA, NoServerName, WrongAlert, HandshakeHangs, ClockSticks, AuthenticatesForever, DigestNeedsQOP, IgnoresStale, AnswersBlank, CredentialsToRefused, CredentialsToOtherHost, TakesShortBody, AppliesErrorPage, FollowsRedirectsForever,
	}
}
