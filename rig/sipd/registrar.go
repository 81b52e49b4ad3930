package sipd

import (
	"context"
	"crypto/md5" //nolint:gosec // the digest of RFC 2617 is made of it
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"ip88rig/capture/timeline"
)

// ErrNotRegistered says that there is no binding of a user.
var ErrNotRegistered = errors.New("not registered")

// Binding is where a user can be reached.
type Binding struct {
	// User is the user part of the address of record, AOR all of it.
	User, AOR string
	// Contact is the URI to send requests to.
	Contact string
	// Src is the end the REGISTER came from, Dst the end of ours it came to.
	Src, Dst netip.AddrPort
	// Expires is when the binding ends, on the lane's clock.
	Expires   time.Time
	CallID    string
	CSeq      uint32
	UserAgent string
}

// maxNonces bounds what is remembered of challenges.
const maxNonces = 1024

// nonce is a challenge that may be answered.
type nonce struct {
	text string
	// count is the highest nonce count seen (RFC 2617 section 3.2.2).
	count int
}

// registrar takes registrations.
type registrar struct {
	*port

	mu       sync.Mutex
	bindings []Binding     // oldest registration first
	changed  chan struct{} // closed at the next change of bindings
	nonces   []nonce       // oldest first
}

// now returns what is registered now, in the order of the last registration.
func (r *registrar) now() []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	return slices.Clone(r.bindings)
}

// await waits until a user is registered.
func (r *registrar) await(ctx context.Context, user string) (Binding, error) {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if b, ok := r.find(user); ok {
			return b, nil
		}
		select {
		case <-changed:
		case <-r.done:
			return Binding{}, fmt.Errorf("user %q: %w: %w", user, ErrNotRegistered, net.ErrClosed)
		case <-ctx.Done():
			return Binding{}, fmt.Errorf("user %q: %w: %w", user, ErrNotRegistered, context.Cause(ctx))
		}
	}
}

// find returns the latest binding of a user.
func (r *registrar) find(user string) (Binding, bool) {
	all := r.now()
	for _, b := range slices.Backward(all) {
		if b.User == user {
			return b, true
		}
	}
	return Binding{}, false
}

// expire forgets bindings whose time is over. mu is held.
func (r *registrar) expire() {
	now := r.cfg.Now()
	r.bindings = slices.DeleteFunc(r.bindings, func(b Binding) bool { return !now.Before(b.Expires) })
}

// register is RFC 3261 section 10.3.
func (r *registrar) register(req *sip.Request, h hop, d *decision) *sip.Response {
	aor := req.To().Address
	user := aor.User
	if user == "" {
		d.then(func() { r.odd(h, "REGISTER", "no user in To") })
		return r.response(req, h, sip.StatusNotFound)
	}
	if res := r.challenge(req, h, user, d); res != nil {
		return res
	}
	var contacts []*sip.ContactHeader
	for _, header := range req.GetHeaders("Contact") {
		if c, ok := header.(*sip.ContactHeader); ok {
			contacts = append(contacts, c)
		}
	}
	unless, hasAll := number(value(req, "Expires"))
	if !hasAll {
		unless = int(r.cfg.Expires / time.Second)
	}
	if slices.ContainsFunc(contacts, func(c *sip.ContactHeader) bool { return c.Address.Wildcard }) {
		if len(contacts) != 1 || !hasAll || unless != 0 {
			d.then(func() { r.odd(h, "REGISTER", `Contact "*" that is not alone or not with Expires 0`) })
			return r.response(req, h, sip.StatusBadRequest)
		}
		d.then(func() { r.bind(user, nil, nil) })
		return r.registered(req, h, user, nil)
	}
	var fresh []Binding
	var gone []string
	for _, c := range contacts {
		seconds := unless
		if v, ok := c.Params.Get("expires"); ok {
			if n, ok := number(v); ok {
				seconds = n
			}
		}
		shortest, longest := int(r.cfg.MinExpires/time.Second), int(r.cfg.MaxExpires/time.Second)
		if seconds > 0 && seconds < shortest {
			res := r.response(req, h, sip.StatusIntervalToBrief)
			res.AppendHeader(sip.NewHeader("Min-Expires", fmt.Sprint(shortest)))
			return res
		}
		if longest > 0 {
			seconds = min(seconds, longest)
		}
		uri := c.Address.String()
		gone = append(gone, uri)
		if seconds == 0 {
			continue
		}
		fresh = append(fresh, Binding{
			User: user, AOR: aor.Addr(), Contact: uri, Src: h.peer, Dst: h.local,
			Expires: r.cfg.Now().Add(time.Duration(seconds) * time.Second),
			CallID:  string(*req.CallID()), CSeq: req.CSeq().SeqNo, UserAgent: value(req, "User-Agent"),
		})
	}
	all := r.now()
	if len(contacts) > 0 {
		d.then(func() {
			r.backwards(req, h, user)
			r.bind(user, gone, fresh)
		})
		all = rebound(all, user, gone, fresh)
	}
	return r.registered(req, h, user, all)
}

// backwards journals a sequence number that does not rise within a Call-ID.
// RFC 3261 would have the REGISTER fail; a rig takes it and says so.
func (r *registrar) backwards(req *sip.Request, h hop, user string) {
	seq := req.CSeq().SeqNo
	for _, b := range r.now() {
		if b.User == user && b.CallID == string(*req.CallID()) && seq <= b.CSeq {
			r.odd(h, "REGISTER", fmt.Sprintf("CSeq %d after %d with the same Call-ID", seq, b.CSeq))
		}
	}
}

// bind takes the contacts that are gone out of a user's bindings (all of them
// if gone is nil) and puts the fresh ones in.
func (r *registrar) bind(user string, gone []string, fresh []Binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	r.bindings = rebound(r.bindings, user, gone, fresh)
	close(r.changed)
	r.changed = make(chan struct{})
}

// rebound is what bind makes of these bindings; they are changed.
func rebound(all []Binding, user string, gone []string, fresh []Binding) []Binding {
	all = slices.DeleteFunc(all, func(b Binding) bool {
		return b.User == user && (gone == nil || slices.Contains(gone, b.Contact))
	})
	return append(all, fresh...)
}

// registered answers 200 with those of all bindings that are the user'r.
func (r *registrar) registered(req *sip.Request, h hop, user string, all []Binding) *sip.Response {
	res := r.response(req, h, sip.StatusOK)
	now := r.cfg.Now()
	for _, b := range all {
		if b.User != user {
			continue
		}
		left := int((b.Expires.Sub(now) + time.Second/2) / time.Second)
		res.AppendHeader(sip.NewHeader("Contact", fmt.Sprintf("<%s>;expires=%d", b.Contact, left)))
	}
	res.AppendHeader(sip.NewHeader("Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")))
	return res
}

// challenge returns what a REGISTER without good credentials is answered, nil
// if it may pass (RFC 3261 section 22, RFC 2617).
func (r *registrar) challenge(req *sip.Request, h hop, user string, d *decision) *sip.Response {
	if r.cfg.Password == nil || (r.cfg.Challenge != nil && !r.cfg.Challenge()) {
		return nil
	}
	var cred *digest.Credentials
	for _, header := range req.GetHeaders("Authorization") {
		c, err := credentials(header.Value())
		if err != nil {
			d.then(func() { r.odd(h, "REGISTER", fmt.Sprintf("user %q: Authorization that cannot be read", user)) })
			continue
		}
		if c.Realm == r.cfg.Realm {
			cred = c
		}
	}
	if cred == nil {
		return r.unauthorized(req, h, false, d)
	}
	why := ""
	password, known := r.cfg.Password(cred.Username)
	switch {
	case !known:
		why = "unknown name"
	case cred.Algorithm != "" && cred.Algorithm != "MD5":
		why = fmt.Sprintf("algorithm %q", cred.Algorithm)
	case cred.QOP != "" && cred.QOP != "auth":
		why = fmt.Sprintf("qop %q", cred.QOP)
	case subtle.ConstantTimeCompare([]byte(expected(cred, string(req.Method), password)), []byte(cred.Response)) != 1:
		why = "wrong digest"
	}
	if why != "" {
		refused := timeline.Event{
			Kind: timeline.ServiceOddity, Src: h.peer, Dst: h.local, Message: "REGISTER",
			Reason: fmt.Sprintf("credentials of %q refused: %s", cred.Username, why),
			Fields: map[string]string{"auth.ok": "false", "auth.user": cred.Username, "auth.realm": cred.Realm, "auth.uri": cred.URI},
		}
		d.then(func() { r.record(refused) })
		return r.response(req, h, sip.StatusForbidden)
	}
	if cred.URI != req.Recipient.String() {
		d.then(func() {
			r.odd(h, "REGISTER", fmt.Sprintf("digest for URI %q, asked for %q", cred.URI, req.Recipient.String()))
		})
	}
	if !r.good(cred) {
		return r.unauthorized(req, h, true, d)
	}
	d.then(func() { r.use(cred) })
	return nil
}

// credentials reads an Authorization header, whatever is in it.
func credentials(header string) (c *digest.Credentials, err error) {
	defer func() {
		if why := recover(); why != nil { // a library's parser, as in parse
			c, err = nil, fmt.Errorf("the parser failed: %v", why)
		}
	}()
	return digest.ParseCredentials(header)
}

// expected is the response that the right password gives (RFC 2617 section
// 3.2.2.1; without qop as in RFC 2069).
func expected(c *digest.Credentials, method, password string) string {
	hash := func(text string) string {
		sum := md5.Sum([]byte(text)) //nolint:gosec // RFC 2617
		return hex.EncodeToString(sum[:])
	}
	secret, subject := hash(c.Username+":"+c.Realm+":"+password), hash(method+":"+c.URI)
	if c.QOP == "" {
		return hash(secret + ":" + c.Nonce + ":" + subject)
	}
	return hash(fmt.Sprintf("%s:%s:%08x:%s:%s:%s", secret, c.Nonce, c.Nc, c.Cnonce, c.QOP, subject))
}

// good reports a nonce that may be used: it must be one of ours, and its count must
// rise. Without qop there is no count.
func (r *registrar) good(c *digest.Credentials) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.nonces, func(n nonce) bool { return n.text == c.Nonce && (c.QOP == "" || c.Nc > n.count) })
}

// use takes the count of a good nonce.
func (r *registrar) use(c *digest.Credentials) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.nonces, func(n nonce) bool { return n.text == c.Nonce }); i >= 0 {
		r.nonces[i].count = c.Nc
	}
}

// spend forgets the nonces that a request came with.
func (r *registrar) spend(req *sip.Request) {
	for _, header := range req.GetHeaders("Authorization") {
		cred, err := credentials(header.Value())
		if err != nil {
			continue // nothing of ours
		}
		r.mu.Lock()
		r.nonces = slices.DeleteFunc(r.nonces, func(n nonce) bool { return n.text == cred.Nonce })
		r.mu.Unlock()
	}
}

func (r *registrar) unauthorized(req *sip.Request, h hop, stale bool, d *decision) *sip.Response {
	return r.challenged(req, h, terms{Stale: stale}, d)
}

// terms are those of a challenge; empty ones are what they should be.
type terms struct {
	Stale                   bool
	Nonce, Realm, Algorithm string
}

// challenged answers 401 with a fresh nonce, where c has no other.
func (r *registrar) challenged(req *sip.Request, h hop, c terms, d *decision) *sip.Response {
	if c.Nonce == "" {
		c.Nonce = r.cfg.Text()
		d.then(func() { r.giveOut(c.Nonce) })
	}
	if c.Realm == "" {
		c.Realm = r.cfg.Realm
	}
	if c.Algorithm == "" {
		c.Algorithm = "MD5"
	}
	res := r.response(req, h, sip.StatusUnauthorized)
	challenge := fmt.Sprintf(`Digest realm=%q, nonce=%q, algorithm=%s, qop="auth"`, c.Realm, c.Nonce, c.Algorithm)
	if c.Stale {
		challenge += ", stale=true"
	}
	res.AppendHeader(sip.NewHeader("WWW-Authenticate", challenge))
	return res
}

// giveOut remembers a nonce that a handset is challenged with.
func (r *registrar) giveOut(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.nonces) == maxNonces {
		r.nonces = slices.Delete(r.nonces, 0, 1)
	}
	r.nonces = append(r.nonces, nonce{text: text})
}

// reach says where requests to a binding go: to the address in its contact, or
// to the source of its REGISTER if that is a name.
func (b Binding) reach() (target sip.Uri, h hop, err error) {
	if err := sip.ParseUri(b.Contact, &target); err != nil {
		return target, h, fmt.Errorf("contact %q: %w", b.Contact, err)
	}
	h = hop{b.Src, b.Dst}
	if addr, err := netip.ParseAddr(target.Host); err == nil && !addr.IsUnspecified() {
		h.peer = withPort(addr.Unmap(), target.Port)
	}
	return target, h, nil
}

// decision is what a request of a handset comes to: its answer, and what else
// the server does then. Until commit nothing has changed.
type decision struct {
	answer *sip.Response
	acts   []func()
}

// then adds what is to be done if the answer is given.
func (d *decision) then(act func()) { d.acts = append(d.acts, act) }

// commit does what goes with the answer, in the order in which it was decided.
func (d *decision) commit() {
	for _, act := range d.acts {
		act()
	}
}
