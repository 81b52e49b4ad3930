package scenarios

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/control"
	"ip88rig/rig/firmware"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
	"ip88rig/rig/publish"
	"ip88rig/rig/sysconf"
)

// Phone is the handset under test, as a scenario sees it: givens change what
// the rig serves, verbs act and return a window on the timeline.
type Phone struct {
	run      *run
	lane     *rig.Lane
	Patience model.Patience
	over     timeline.Transport

	served served
	// changed: something else than golden was served since the claim.
	changed bool
	// fresh and homes count the witnesses used: the spec's, and the way home's.
	fresh, homes int
	// badCells are the texts of cells that failed.
	badCells []string
}

// Config says which of the two configuration files.
type Config int

// The configuration files of the guide.
const (
	Global Config = iota
	Own
)

// served is what the rig offers: golden with the scenario's overrides.
type served struct {
	files    [2]*sysconf.File
	withheld map[string]bool
	sealed   [2]bool
	// keys seal instead of the stored one, raw stands for a whole file, damaged
	// for what a version names; names are in lower case.
	keys    [2]string
	raw     [2]*[]byte
	damaged map[string][]byte
	padding [2]int
	version *firmware.Version
	offer   rig.Offer
}

// Fields that scenarios use by name (phone-facts section 2.3, as the model's
// facts name them where they are in doubt).
func voip(name string) model.Field      { return model.Field{Section: "VOIP", Name: name} }
func provision(name string) model.Field { return model.Field{Section: "PROVISION", Name: name} }
func nettime(name string) model.Field   { return model.Field{Section: "NETTIME", Name: name} }

// Claim gives the phone over to the spec with golden served over the transport
// of the spec and every service well behaved. It spends a cycle of its own only
// if the handset is not known to hold golden.
func (p *Phone) Claim(ctx context.Context) {
	GinkgoHelper()
	p.claim(ctx, p.run.known.needsHome(), false)
}

// ClaimExactly is Claim for rows that a restored setting would disturb, also
// one that rides on a later cycle elsewhere.
func (p *Phone) ClaimExactly(ctx context.Context) {
	GinkgoHelper()
	why := p.run.known.needsHome()
	if why == "" && p.run.known.riding {
		why = "it holds another line name or registration period"
	}
	p.claim(ctx, why, true)
}

func (p *Phone) claim(ctx context.Context, why string, exactly bool) {
	GinkgoHelper()
	if p.run.spec.story.lockout && !p.run.wayBack && !p.run.proving {
		// What may close the way in runs only once another way back was seen.
		p.run.proving = true
		defer func() { p.run.proving = false }()
		p.ProveCheckSync(ctx)
		why = p.run.known.needsHome()
	}
	if why != "" {
		if p.run.known.blocks >= 2 {
			// Blocked specs end at once: the handset was tried twice.
			if k := p.run.known; k.rig != "" || k.by == "" {
				p.run.inconclusive("the handset did not come home: " + cmp.Or(k.rig, k.lost))
			}
			p.run.block(p.run.known.by, p.run.known.lost)
		}
		cycles := p.run.known.wayHome(why, exactly)
		if p.mayHoldURL() {
			cycles++ // comesByURL
		}
		if many := p.run.tooMany(cycles); many != "" {
			p.run.skip(many)
		}
		p.run.verb("go home", why)
		if err := p.home(ctx, exactly); err != nil {
			if ctx.Err() == nil {
				p.run.known.astray(err)
			}
			if b, ok := errors.AsType[blockedError](err); ok {
				p.run.block(b.row, b.reason)
			}
			p.run.inconclusive(err.Error())
		}
	}
	if err := p.serveGolden(); err != nil {
		p.run.inconclusive(err.Error())
	}
	p.OfferOver(p.over)
}

// ClaimAsItIs is Claim for rows that hold whatever a handset holds that nobody
// has seen yet: it spends no cycle, and a handset that never comes home is still
// judged by them. What this run itself has stored is brought home all the same.
func (p *Phone) ClaimAsItIs(ctx context.Context) {
	GinkgoHelper()
	if k := p.run.known; len(k.dirty) > 0 || k.version != "" || k.missing != "" {
		p.claim(ctx, k.needsHome(), false)
		return
	}
	if err := p.serveGolden(); err != nil {
		p.run.inconclusive(err.Error())
	}
	p.OfferOver(p.over)
}

// blockedError is a given that was not reached.
type blockedError struct{ row, reason string }

func (b blockedError) Error() string { return "blocked by " + b.row + ": " + b.reason }

// home brings the handset to golden over every way it may come. Where the spec
// before has failed, that golden shows says nothing, since one that takes no
// configuration any more shows it too: then it has to take a fresh line name and
// registration period, which ride on, or are restored at once where exactly
// golden is needed.
func (p *Phone) home(ctx context.Context, exactly bool) error {
	if err := p.serveGolden(); err != nil {
		return err
	}
	doubt := p.run.known.doubt
	if doubt {
		// Names of its own, so that those of the spec are the same without it.
		p.homes++
		witness := fmt.Sprintf("home/%s/%d", p.run.spec.result.ID, p.homes)
		p.served.files[Own].Set("VOIP", "line1_name", p.userOf(witness))
		p.served.files[Global].Set("VOIP", "timer_register_expires", strconv.Itoa(p.expiresOf(witness)))
		if err := p.publish(); err != nil {
			return err
		}
	}
	if err := p.toServed(ctx); err != nil || !doubt {
		return err
	}
	p.run.known.showed(exactly)
	if exactly {
		return p.home(ctx, exactly)
	}
	return nil
}

// toServed has the handset take what is served, golden or golden but for its
// witnesses.
func (p *Phone) toServed(ctx context.Context) error {
	p.OfferOver(timeline.TFTP)
	boot, err := p.cycle(ctx)
	if err != nil {
		return err
	}
	bound := boot.Within(p.Patience.Boot)
	golden := p.registersServed()
	_, err = bound.Await(ctx, timeline.FactRegistered())
	view := bound.View()
	if err == nil && p.took(view, golden) {
		return p.arrive(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b := p.diagnose(view)
	if p.comesByURL(ctx, golden) || err == nil && (p.comesByNotify(ctx, golden) ||
		len(p.run.known.dirty) > 0 && p.comesByReset(ctx, "its settings have locked the rig out")) {
		return p.arrive(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = errors.New("it registered, but does not hold golden")
	}
	return blockedError{b, "the handset did not come home to golden: " + firstLine(err.Error())}
}

// arrive ends the way home of a handset that shows golden: what was copied to it
// for a while is forgotten, and what a factory reset has taken is given back.
func (p *Phone) arrive(ctx context.Context) error {
	k := &p.run.known
	if k.guest != "" {
		err := p.toFactory(ctx, k.guest+" was copied to it and is to be forgotten")
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errNotReset):
			p.lane.Note("the handset holds " + k.guest + " for good: " + err.Error())
			k.guest = ""
		case err != nil:
			return err
		}
	}
	if k.missing != "" {
		if err := p.giveBack(ctx); err != nil {
			return fmt.Errorf("the handset lacks %s since a factory reset: %w", k.missing, err)
		}
	}
	k.home()
	return nil
}

// giveBack has authority A copied to the handset again.
func (p *Phone) giveBack(ctx context.Context) error {
	h := p.lane.Handset
	if !slices.Contains(h.Verbs, string(control.UploadAuthority)) {
		return fmt.Errorf("the bench file's verbs lack %s: somebody who copies it", control.UploadAuthority)
	}
	r, err := p.copying("authority "+pki.A, p.lane.AuthorityPEM(pki.A))
	if err != nil {
		return err
	}
	p.run.verb("by hand: "+string(r.Verb), r.Text)
	p.run.hands++
	return p.do(ctx, r)
}

// do has something done by hand and keeps what that makes of the handset.
func (p *Phone) do(ctx context.Context, r control.Request) error {
	h := p.lane.Handset
	r.Handset = h.Name
	if err := p.lane.Do(ctx, r); err != nil {
		return err
	}
	p.run.known.done(r, p.lane.AuthorityPEM(pki.A), h.KnowsAuthority)
	return nil
}

// holdsGolden tells whether the last REGISTER of the recording shows golden's
// settings and version, after a boot in which the version file was asked for.
func (p *Phone) holdsGolden() bool {
	tl := p.lane.Recorder.Timeline()
	shown := false
	for e := range tl.Log().Backward() {
		switch e.Kind {
		case timeline.Registered:
			if shown {
				continue
			}
			v := tl.Since(e.Seq - 1).View()
			golden := match.RegisterWith{User: p.user(), Expires: goldenExpires}
			if !p.shows(v, golden) {
				return false
			}
			shown = true
		case timeline.PowerOff, timeline.Rebooted:
			boot := tl.Since(e.Seq).View()
			return shown && match.Ask(p.Version()).Judge(boot).OK && (!p.mayHoldURL() || p.asksForConfiguration(boot))
		default:
		}
	}
	return false
}

// comesByNotify is the other way home: a handset that does not ask for its
// configuration at power-on may at check-sync (RSY-03).
func (p *Phone) comesByNotify(ctx context.Context, golden match.Matcher) bool {
	w := p.run.verb("NOTIFY, to come home", nil)
	if err := p.lane.Notify(ctx, p.lane.Handset.Facts.Text(model.CheckSyncEvent)); err != nil {
		p.lane.Note(err.Error())
		return false
	}
	return p.comes(ctx, w.Within(p.Patience.Cycle), golden)
}

// comesByURL is the way home of a handset that may hold another stored URL than
// golden's, and goes after it: it is offered a good one.
func (p *Phone) comesByURL(ctx context.Context, golden match.Matcher) bool {
	if !p.mayHoldURL() {
		return false
	}
	p.OfferOver(timeline.HTTP)
	boot, err := p.cycle(ctx)
	if err != nil {
		p.lane.Note(err.Error())
		return false
	}
	if p.comes(ctx, boot.Within(p.Patience.Boot), golden) {
		return true
	}
	p.OfferOver(timeline.TFTP)
	return false
}

// comesByReset is the last way home: factory state, by hand, where settings have
// closed every other way.
func (p *Phone) comesByReset(ctx context.Context, why string) bool {
	if err := p.toFactory(ctx, why); err != nil {
		p.lane.Note(err.Error())
		return false
	}
	return true
}

// registersServed is the registration of a handset that took what is served.
func (p *Phone) registersServed() match.RegisterWith {
	user, _ := p.served.files[Own].Get("VOIP", "line1_name")
	period, _ := p.served.files[Global].Get("VOIP", "timer_register_expires")
	expires, _ := strconv.Atoi(period) // golden always has a number there
	return match.RegisterWith{User: user, Expires: expires}
}

// errNotReset: the handset was not returned to factory state and is as it was.
var errNotReset = errors.New("not reset")

// toFactory has the handset returned to factory state by hand; that it reboots is
// the witness. It then takes golden, which must be served already, and holds
// nothing that was copied to it.
func (p *Phone) toFactory(ctx context.Context, why string) error {
	h := p.lane.Handset
	if !slices.Contains(h.Verbs, string(control.FactoryReset)) || (!h.Simulated && !p.run.AllowLockout) {
		return fmt.Errorf("%w: it needs the verb %s in the bench file and --allow-risk lockout", errNotReset, control.FactoryReset)
	}
	w := p.run.verb("factory reset", why)
	p.run.hands++
	if err := p.do(ctx, control.Request{Verb: control.FactoryReset, Text: "return the handset to factory state: " + why}); err != nil {
		return fmt.Errorf("%w: %w", errNotReset, err)
	}
	golden := p.registersServed()
	if !p.comes(ctx, w.Within(p.Patience.Boot).After(timeline.FactKind(timeline.Rebooted)).Within(p.Patience.Boot), golden) {
		return errors.New("after a factory reset by hand it did not reboot and take golden")
	}
	p.run.known.guest = ""
	return nil
}

// comes waits until the window shows golden's settings and version.
func (p *Phone) comes(ctx context.Context, w *timeline.Window, golden match.Matcher) bool {
	for {
		changed := w.Changed()
		v := w.View()
		if p.took(v, golden) {
			return true
		}
		if v.Closed {
			return false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// took tells whether the handset took golden and the version that is served. Where
// it may go after another stored URL than golden's, that it still shows
// golden says nothing: then it must have asked for a configuration file too.
func (p *Phone) took(v timeline.View, golden match.Matcher) bool {
	return p.shows(v, golden) && (!p.mayHoldURL() || p.asksForConfiguration(v))
}

// shows tells whether the handset shows golden and runs the version that is served.
func (p *Phone) shows(v timeline.View, golden match.Matcher) bool {
	return golden.Judge(v).OK && (p.served.version == nil || p.runs(v, p.served.version.Name))
}

func (p *Phone) asksForConfiguration(v timeline.View) bool {
	return match.Ask(p.Global()).Judge(v).OK || match.Ask(p.Own()).Judge(v).OK
}

// mayHoldURL tells whether the handset may hold another stored URL than golden's.
func (p *Phone) mayHoldURL() bool {
	return slices.ContainsFunc(p.lane.Handset.Facts.Fields(model.StoredURLField), p.run.known.stores)
}

// runs tells whether a REGISTER shows the version, where the model's User-Agent
// is known to show it; elsewhere it does not say no.
func (p *Phone) runs(v timeline.View, version string) bool {
	if !p.agentTells() {
		return match.Register().Judge(v).OK
	}
	return match.RegisterWith{Agent: version}.Judge(v).OK
}

// diagnose names the row whose failure kept a given from being reached.
func (p *Phone) diagnose(v timeline.View) string {
	if given := lapse(p.run.lapsing.Lapses(v.All, v.Watermark), v.Upto); given != nil {
		return given.Given
	}
	asked := func(s match.Step) bool { return match.Ask(s).Judge(v).OK }
	alive, rebooted := false, 0
	for e := range v.Brief.All() {
		alive = alive || e.Kind == timeline.Asked
		if e.Kind == timeline.Rebooted {
			rebooted++
		}
	}
	baseline := "XPT-01"
	if p.served.offer.URL != "" {
		baseline = "XPT-02"
	}
	switch {
	case match.RefuseCertificate("good").Judge(v).OK:
		return "TLS-01"
	case !alive:
		return baseline
	case !asked(p.Global()):
		return "ORD-01"
	case !asked(p.Own()):
		return "ORD-02"
	case rebooted > 2:
		return "RBT-03"
	case !asked(p.Version()):
		return "ORD-04"
	case p.served.version != nil && match.Register().Judge(v).OK && !p.runs(v, p.served.version.Name):
		return "FWU-01"
	}
	return "CFG-01"
}

const goldenExpires = 3600

func (p *Phone) serveGolden() error {
	p.changed = false
	h, a := p.lane.Handset, p.lane.Addrs
	p.lane.Reset()
	p.served = served{withheld: map[string]bool{}, damaged: map[string][]byte{}}
	for i, text := range p.lane.GoldenFiles() {
		f, err := sysconf.Parse("golden", text)
		if err != nil {
			return fmt.Errorf("golden configuration: %w", err)
		}
		p.served.files[i] = f
	}
	set := func(c Config, f model.Field, value string) { p.served.files[c].Set(f.Section, f.Name, value) }
	set(Global, model.Field{Section: "LAN", Name: "tftp_server_address"}, a.Server.String())
	set(Global, voip("timer_register_expires"), strconv.Itoa(goldenExpires))
	for _, f := range h.Facts.Fields(model.RebootFields) {
		if f == voip("local_udp_port") {
			set(Global, f, "5060")
		}
	}
	flags := h.Facts.Fields(model.DownloadFlagFields)
	for _, f := range flags {
		set(Global, f, "enable")
	}
	for _, f := range h.Facts.Fields(model.StoredURLField) {
		set(Global, f, "")
	}
	for _, f := range h.Facts.Fields(model.MaskField) {
		set(Global, f, "7")
	}
	for _, f := range h.Facts.Fields(model.OptionNumberField) {
		set(Global, f, "160")
	}
	for _, f := range h.Facts.Fields(model.NameTemplateField) {
		set(Global, f, "$MAC")
	}
	credentials := h.Facts.Fields(model.CredentialFields)
	if len(credentials) == 2 {
		set(Global, credentials[0], p.httpsID())
		set(Global, credentials[1], p.httpsPassword())
	}
	set(Global, provision("decrypt_key"), p.key())
	set(Global, provision("smartup_use"), "disable")
	set(Global, provision("smartup_confirm"), "disable")
	p.restoreDefaults()
	for _, f := range [][2]string{
		// Where the line registers stands first: a file that is cut leaves it whole.
		{"line1_proxy_address", a.Server.String()},
		{"line1_proxy_port", "5060"},
		{"line1_type", "private"},
		{"line1_registration", "enable"},
		{"line1_authname", p.user()},
		{"line1_password", p.secret("sip", 12)},
		{"line1_displayname", "Rig " + h.Name},
		{"line1_name", p.user()},
	} {
		set(Own, voip(f[0]), f[1])
	}
	p.served.version = p.lane.GoldenFirmware()
	return p.publish()
}

// restoreDefaults serves, of what a spec has stored and golden does not say, the
// zone's defaults (68) and the codecs of a template (88).
func (p *Phone) restoreDefaults() {
	for _, d := range []struct {
		f     model.Field
		value string
	}{
		{nettime("timezone"), "3"},
		{nettime("dst_auto_adjust"), "on"},
		{voip("preferred_codec"), "pcma pcmu g729"},
	} {
		_, global := p.served.files[Global].Get(d.f.Section, d.f.Name)
		_, own := p.served.files[Own].Get(d.f.Section, d.f.Name)
		if p.run.known.stores(d.f) && !global && !own {
			put(p.served.files[Global], d.f, d.value)
		}
	}
}

// put gives a field of a file a value, or a list of values.
func put(file *sysconf.File, f model.Field, value string) {
	if isList(f) {
		file.SetList(f.Section, f.Name, strings.Fields(value)...)
		return
	}
	file.Set(f.Section, f.Name, value)
}

// publish hands what is served to the lane.
func (p *Phone) publish() error {
	h := p.lane.Handset
	var files []publish.File
	add := func(meaning string, content []byte, names ...string) {
		for _, n := range names {
			if other, ok := p.served.damaged[strings.ToLower(n)]; ok {
				meaning, content = meaning+", damaged", other
			}
			if !p.served.withheld[strings.ToLower(n)] {
				files = append(files, publish.File{Name: n, Content: content, Meaning: meaning})
			}
		}
	}
	for c, f := range p.served.files {
		meaning, names := "global configuration", []string{h.Model.GlobalFile()}
		if Config(c) == Own {
			meaning, names = "phone-specific configuration", p.ownNames()
		}
		content := f.Bytes()
		if n := p.served.padding[c]; n > 0 {
			content = padded(content, n)
		}
		if p.served.sealed[c] {
			key := p.key()
			if p.served.keys[c] != "" {
				key = p.served.keys[c]
			}
			sealed, err := sysconf.Encrypt(h.Facts.Text(model.DecryptKeyForm), key, content)
			if err != nil {
				return err
			}
			meaning, content = meaning+", encrypted", sealed
		}
		if raw := p.served.raw[c]; raw != nil {
			meaning, content = meaning+", damaged", *raw
		}
		add(meaning, content, names...)
	}
	if v := p.served.version; v != nil {
		if v.StandIn && !h.Simulated {
			return firmware.ErrStandIn
		}
		add("version file naming "+v.Name, v.VersionFile, h.Model.VersionFile())
		for _, f := range v.Files {
			add(f.Meaning, f.Content, f.Name)
		}
	}
	return p.lane.Tree.Replace(files)
}

func (p *Phone) mustPublish() {
	GinkgoHelper()
	p.changed = true
	if err := p.publish(); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// ownNames are the forms in which a MAC may name a file; which one is asked for
// is recorded, and lower case stands for upper case.
func (p *Phone) ownNames() []string { return macNames(p.lane.Handset.Active()) }

func macNames(mac []byte) []string {
	plain := hex.EncodeToString(mac)
	var pairs []string
	for i := 0; i < len(plain); i += 2 {
		pairs = append(pairs, plain[i:i+2])
	}
	return []string{plain, strings.Join(pairs, "-"), strings.Join(pairs, ":")}
}

// Names, passwords and keys derive from seed and handset, so that a run can be
// repeated; none is a secret of anybody.

func (p *Phone) hash(what string) uint64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%d/%s/%s", p.run.Seed, p.lane.Handset.Name, what)
	return sum.Sum64()
}

func (p *Phone) secret(what string, n int) string {
	return fmt.Sprintf("%016x%016x", p.hash(what), p.hash(what+"'"))[:n]
}

func (p *Phone) user() string          { return "2" + fmt.Sprintf("%04d", p.hash("user")%10000) }
func (p *Phone) httpsID() string       { return "rig-" + p.lane.Handset.Name }
func (p *Phone) httpsPassword() string { return p.secret("https", 16) }
func (p *Phone) key() string           { return p.secret("key", 32) }

// FreshUser is a line name that this spec has not used yet: the witness of a
// change to the phone-specific file.
func (p *Phone) FreshUser() string {
	return p.userOf(p.witness())
}

// FreshExpires is the witness of a change to the global file, in seconds.
func (p *Phone) FreshExpires() int {
	return p.expiresOf(p.witness())
}

// witness names the spec's next one.
func (p *Phone) witness() string {
	p.fresh++
	return fmt.Sprintf("%s/%d", p.run.spec.result.ID, p.fresh)
}

func (p *Phone) userOf(witness string) string {
	return fmt.Sprintf("3%06d", p.hash(witness)%1000000)
}

func (p *Phone) expiresOf(witness string) int { return 1200 + int(p.hash(witness)%2000) }

// Givens.

// Set serves another value of a field in one of the files.
func (p *Phone) Set(c Config, f model.Field, value string) {
	GinkgoHelper()
	put(p.served.files[c], f, value)
	p.run.known.store(f)
	p.mustPublish()
}

// Omit serves neither file with the field, so that what is stored holds.
func (p *Phone) Omit(f model.Field) {
	GinkgoHelper()
	for _, file := range p.served.files {
		file.Remove(f.Section, f.Name)
	}
	p.run.known.store(f)
	p.mustPublish()
}

// SetUser serves a fresh line name and returns it.
func (p *Phone) SetUser() string {
	GinkgoHelper()
	user := p.FreshUser()
	p.Set(Own, voip("line1_name"), user)
	return user
}

// SetExpires serves a fresh registration period in the global file.
func (p *Phone) SetExpires() int {
	GinkgoHelper()
	expires := p.FreshExpires()
	p.Set(Global, voip("timer_register_expires"), strconv.Itoa(expires))
	return expires
}

// Encrypt serves the file encrypted with the stored key.
func (p *Phone) Encrypt(c Config) {
	GinkgoHelper()
	p.served.sealed[c] = true
	p.mustPublish()
}

// Withhold answers "not found" for a configuration file.
func (p *Phone) Withhold(c Config) {
	GinkgoHelper()
	names := []string{p.lane.Handset.Model.GlobalFile()}
	if c == Own {
		names = p.ownNames()
	}
	for _, n := range names {
		p.served.withheld[strings.ToLower(n)] = true
	}
	p.mustPublish()
}

// Give serves a configuration file again that was withheld.
func (p *Phone) Give(c Config) {
	GinkgoHelper()
	names := []string{p.lane.Handset.Model.GlobalFile()}
	if c == Own {
		names = p.ownNames()
	}
	for _, n := range names {
		delete(p.served.withheld, strings.ToLower(n))
	}
	p.mustPublish()
}

// WithholdVersion answers "not found" for the version file.
func (p *Phone) WithholdVersion() {
	GinkgoHelper()
	p.served.version = nil
	p.mustPublish()
}

// Firmware returns a software version: "golden" or "next".
func (p *Phone) Firmware(which string) firmware.Version {
	GinkgoHelper()
	v, err := p.lane.Firmware(which)
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	return v
}

// Publish serves a software version from now on and returns it.
func (p *Phone) Publish(v firmware.Version) firmware.Version {
	GinkgoHelper()
	p.served.version = &v
	if golden := p.lane.GoldenFirmware(); golden == nil || golden.Name != v.Name {
		p.run.known.version = v.Name
	}
	p.mustPublish()
	return v
}

// OfferOver lets DHCP lead the handset to one transport: options 66 and 150
// always, 160 with a URL for HTTP and HTTPS.
func (p *Phone) OfferOver(t timeline.Transport) {
	GinkgoHelper()
	o := rig.Offer{TFTP: true, SNTP: true}
	if t != timeline.TFTP {
		o.URL = p.URL(t)
	}
	p.Offer(o)
}

// Offer sets what DHCP says from the next lease on. A handset may remember a URL
// (XPT-11): after one that does not lead to where golden is served it is not home
// until it was seen to provision again.
func (p *Phone) Offer(o rig.Offer) {
	GinkgoHelper()
	if !p.leadsHome(o) {
		for _, f := range p.lane.Handset.Facts.Fields(model.StoredURLField) {
			p.run.known.store(f)
		}
	}
	p.served.offer = o
	if err := p.lane.Offer(o); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// leadsHome tells whether a handset that remembers the offer's URL finds golden by
// it later.
func (p *Phone) leadsHome(o rig.Offer) bool {
	if o.URL == "" || o.Raw != nil {
		return o.Raw == nil
	}
	a := p.lane.Addrs
	hosts := []string{a.Name, a.SecondName, a.Server.String(), a.Second.String(), p.lane.PublicName()}
	u, err := url.Parse(o.URL)
	return err == nil && u.User == nil && slices.Contains(hosts, u.Host) && strings.Trim(u.Path, "/") == ""
}

// URL is the address to provision from over a transport.
func (p *Phone) URL(t timeline.Transport) string { return string(t) + "://" + p.lane.Addrs.Name + "/" }

// OtherURL leads to a second server.
func (p *Phone) OtherURL(t timeline.Transport) string {
	return string(t) + "://" + p.lane.Addrs.SecondName + "/"
}

// Present shows a certificate in every handshake from now on.
func (p *Phone) Present(flaw pki.Flaw) {
	GinkgoHelper()
	if err := p.lane.Present(flaw); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// PresentFrom shows a good certificate of an authority: pki.A, pki.C or pki.P.
func (p *Phone) PresentFrom(authority string) {
	GinkgoHelper()
	if err := p.lane.PresentFrom(authority); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// Challenge asks for HTTP authentication from now on.
func (p *Phone) Challenge(scheme rig.Scheme) {
	p.lane.Challenge(scheme, p.httpsID(), p.httpsPassword())
}

// Verbs.

// cycle takes the power away and gives it back; the window begins with power.
func (p *Phone) cycle(ctx context.Context) (*timeline.Window, error) {
	p.letInstall(ctx)
	w := p.run.verb("power cycle", nil)
	p.run.spec.result.Cycles++
	operator := p.lane.Handset.Power.Kind == "operator"
	if operator {
		p.run.hands += 2
	}
	if err := control.Cycle(ctx, p.lane.Power, p.Patience.Off); err != nil {
		return nil, err
	}
	w = w.Within(2*p.Patience.Operator + p.Patience.Off + p.Patience.Boot)
	if operator {
		// Between the question and the plug lie minutes: what the handset has to
		// do is counted from its first sign of life.
		return w.After(timeline.FactBooted()), nil
	}
	return w.After(timeline.FactKind(timeline.PowerOn)), nil
}

// PowerCycle takes the power away, gives it back and returns the window from
// there on.
func (p *Phone) PowerCycle(ctx context.Context) *timeline.Window {
	GinkgoHelper()
	w, err := p.cycle(ctx)
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	return w
}

// CheckSync asks the handset by NOTIFY to provision and returns the window from
// there on. A handset that does not answer is the matcher's to judge.
func (p *Phone) CheckSync(ctx context.Context) *timeline.Window {
	GinkgoHelper()
	return p.notify(ctx, p.lane.Handset.Facts.Text(model.CheckSyncEvent))
}

func (p *Phone) notify(ctx context.Context, event string) *timeline.Window {
	GinkgoHelper()
	w := p.run.verb("NOTIFY "+event, nil)
	if err := p.lane.Notify(ctx, event); err != nil {
		p.lane.Note("NOTIFY " + event + ": " + err.Error())
	}
	return w
}

// ByHand asks a person (or the script in his place) for something.
func (p *Phone) ByHand(ctx context.Context, r control.Request) *timeline.Window {
	GinkgoHelper()
	w := p.run.verb("by hand: "+string(r.Verb), r.Text)
	p.run.hands++
	if err := p.do(ctx, r); err != nil {
		p.run.inconclusive(err.Error())
	}
	return w
}

// Reach waits for a fact that a scenario stands on: not reached, the spec is
// blocked by the row, or by what a look at the window names.
func (p *Phone) Reach(ctx context.Context, w *timeline.Window, f timeline.Fact, row string) {
	GinkgoHelper()
	p.run.passPending()
	p.run.note("reach "+f.String(), w)
	if _, err := w.Await(ctx, f); err != nil {
		if ctx.Err() != nil {
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
		if row == "" {
			row = p.diagnose(w.View())
		}
		p.run.block(row, firstLine(err.Error()))
	}
}

// Store stores settings in the handset over the baseline path: TFTP, option 160
// withheld. Each goes into the phone-specific file together with a fresh line
// name, and the given is proven by the REGISTER that shows it.
func (p *Phone) Store(ctx context.Context, settings map[model.Field]string) {
	GinkgoHelper()
	was := p.served.offer
	p.OfferOver(timeline.TFTP)
	for _, f := range slices.SortedFunc(maps.Keys(settings), func(a, b model.Field) int {
		return cmp.Or(cmp.Compare(a.Section, b.Section), cmp.Compare(a.Name, b.Name))
	}) {
		// Once only, so that it does not stand on CFG-02.
		p.served.files[Global].Remove(f.Section, f.Name)
		p.Set(Own, f, settings[f])
	}
	user := p.SetUser()
	boot := p.PowerCycle(ctx).Within(p.Patience.Upgrade)
	for {
		p.Reach(ctx, boot, timeline.FactRegistered(), "")
		if (match.RegisterWith{User: user}).Judge(boot.View()).OK {
			break
		}
		p.run.block(p.diagnose(boot.View()), fmt.Sprintf("the given was not stored: no REGISTER as %s", user))
	}
	p.Offer(was)
}

// Steps of the routine.

// Global is the step of the model's global file.
func (p *Phone) Global() match.Step {
	return match.Step{Name: "global file", Files: []string{p.lane.Handset.Model.GlobalFile()}}
}

// Own is the step of the phone-specific file.
func (p *Phone) Own() match.Step {
	return match.Step{Name: "phone-specific file", Files: anyCase(p.ownNames())}
}

// Version is the step of the version file, with its look-up in a folder named
// by the MAC.
func (p *Phone) Version() match.Step {
	name := p.lane.Handset.Model.VersionFile()
	files := []string{name}
	for _, own := range anyCase(p.ownNames()) {
		files = append(files, own+"/"+name)
	}
	return match.Step{Name: "version file", Files: files}
}

// Listed are the steps of the files that a version lists.
func (p *Phone) Listed(v firmware.Version) []match.Step {
	var steps []match.Step
	for _, f := range v.Files {
		steps = append(steps, match.Step{Name: f.Name, Files: []string{f.Name}})
	}
	return steps
}

// Files are the listed files with their digests.
func (p *Phone) Files(v firmware.Version) []match.File {
	var files []match.File
	for _, f := range v.Files {
		files = append(files, match.File{Name: f.Name, SHA256: publish.SHA256(f.Content), Bytes: int64(len(f.Content))})
	}
	return files
}

// Siblings is a step that no handset of this model may take.
func (p *Phone) Siblings() match.Step {
	var files []string
	for _, m := range model.All() {
		if m != p.lane.Handset.Model {
			files = append(files, m.GlobalFile(), m.VersionFile())
		}
	}
	return match.Step{Name: "another model's file", Files: files}
}

func anyCase(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, n, strings.ToUpper(n))
	}
	return out
}

// padded puts so many bytes of comment before the last line of a text.
func padded(text []byte, n int) []byte {
	at := bytes.LastIndexByte(bytes.TrimRight(text, "\n"), '\n') + 1
	return slices.Concat(text[:at], bytes.Repeat([]byte("; "+strings.Repeat("-", 61)+"\n"), 1+n/64), text[at:])
}
