package scenarios

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/control"
	"ip88rig/rig/firmware"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
)

// Field is the n-th field that a fact names.
func (p *Phone) Field(fact string, n int) model.Field {
	GinkgoHelper()
	fields := p.lane.Handset.Facts.Fields(fact)
	if n >= len(fields) {
		p.run.inconclusive(fmt.Sprintf("assumption %s names %d fields, %d are needed", fact, len(fields), n+1))
	}
	return fields[n]
}

// AskedOver is a request for any file over a transport.
func (p *Phone) AskedOver(t timeline.Transport) timeline.Fact {
	f := timeline.FactAsked()
	f.Transport, f.Name = t, "asked for a file over "+string(t)
	return f
}

// VersionAskedOver is a request for the version file over a transport.
func (p *Phone) VersionAskedOver(t timeline.Transport) timeline.Fact {
	f := timeline.FactAsked(p.Version().Files...)
	f.Transport, f.Name = t, "asked for the version file over "+string(t)
	return f
}

// RegisteredAs is the fact that shows a line name.
func (p *Phone) RegisteredAs(user string) timeline.Fact { return timeline.FactRegisteredAs(user) }

// Quiet is the window from the same anchor until quiet has lasted as long as it
// must to be believed, counted from now.
func (p *Phone) Quiet(w *timeline.Window) *timeline.Window { return fromNow(w, p.Patience.Settle) }

// fromNow is the window from the same anchor until so long from now.
func fromNow(w *timeline.Window, d time.Duration) *timeline.Window {
	v := w.View()
	from := v.Watermark
	if n := v.All.Len(); n > 0 && v.All.At(n-1).At.After(from) {
		from = v.All.At(n - 1).At // the watermark lags where the rig had to wait for the CPU
	}
	return w.Within(max(from.Sub(v.Anchor), 0) + d)
}

// Finish waits for the end of a boot: the handset registers.
func (p *Phone) Finish(ctx context.Context, w *timeline.Window) {
	GinkgoHelper()
	p.Reach(ctx, w.Within(p.Patience.Boot), timeline.FactRegistered(), "")
}

// quiesce waits until a cycle has nothing more to do: after power until the
// handset registers, after NOTIFY until the version file was asked for or the
// certificate refused.
func (p *Phone) quiesce(ctx context.Context, w *timeline.Window, power bool) {
	GinkgoHelper()
	if power {
		p.Reach(ctx, w, timeline.FactRegistered(), "")
		return
	}
	done := timeline.Fact{Name: "the cycle's end", Kinds: []timeline.Kind{timeline.Asked, timeline.Refused}}
	for {
		changed := w.Changed()
		v := w.View()
		for e := range v.Brief.All() {
			if e.Kind == timeline.Refused || timeline.FactAsked(p.Version().Files...).Is(e) {
				return
			}
		}
		if v.Closed {
			p.run.block(p.diagnose(v), "not reached: "+done.Name)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

// SetAsterisked serves a changed value of a field held to be asterisked.
func (p *Phone) SetAsterisked(c Config) {
	GinkgoHelper()
	f := p.Field(model.RebootFields, 0)
	p.fresh++
	port := 5100 + p.hash(p.run.spec.result.ID+strconv.Itoa(p.fresh))%800
	p.served.files[Global].Remove(f.Section, f.Name)
	p.Set(c, f, strconv.FormatUint(port, 10))
}

// RepeatAsterisked serves the same field in the phone-specific file too, with
// the value that it has.
func (p *Phone) RepeatAsterisked() {
	GinkgoHelper()
	f := p.Field(model.RebootFields, 0)
	value, ok := p.served.files[Global].Get(f.Section, f.Name)
	if !ok {
		p.run.inconclusive("golden does not set " + f.Section + "/" + f.Name)
	}
	p.served.files[Own].Set(f.Section, f.Name, value)
	p.mustPublish()
}

// NamedByPhone is the step that a handset with a WiFi module may not take.
func (p *Phone) NamedByPhone() match.Step {
	return match.Step{Name: "file named by the phone's MAC", Files: anyCase(macNames(p.lane.Handset.MAC))}
}

// ListedNames are the names of all files that versions list.
func (p *Phone) ListedNames(vs ...firmware.Version) []string {
	var out []string
	for _, v := range vs {
		for _, f := range v.Files {
			if !slices.Contains(out, f.Name) {
				out = append(out, f.Name)
			}
		}
	}
	return out
}

// letInstall waits until no software is being taken or written any more: power is
// never cut before the reboot that follows, or the time that writing may take.
func (p *Phone) letInstall(ctx context.Context) {
	GinkgoHelper()
	tl := p.lane.Recorder.Timeline()
	for {
		changed := tl.Changed()
		last := p.run.installs(tl.Log())
		if last.IsZero() || !tl.Watermark().Before(last.Add(p.Patience.Flash)) {
			p.run.installing = time.Time{}
			return
		}
		tl.WakeAt(last.Add(p.Patience.Flash))
		if p.run.Waiting != nil {
			p.run.Waiting("not cutting the power: software may be being written")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

// ReachTime makes the judgement of an expiry stand on a clock: since it booted
// the handset was told the time before it said its first ClientHello in w.
func (p *Phone) ReachTime(ctx context.Context, w *timeline.Window) {
	GinkgoHelper()
	p.Reach(ctx, w, timeline.FactKind(timeline.TLSClientHello), "XPT-05")
	if told, _ := told(w.View()); !told {
		p.run.block("TIM-01", "the handset was not told the time before its handshake")
	}
}

// told tells whether the handset was told the time between its boot and its first
// ClientHello in the view, and whether that has one. What answers a request that
// it had given up tells it nothing.
func told(v timeline.View) (told, seen bool) {
	var asked *timeline.Event
	for e := range v.All.All() {
		switch {
		case e.Kind == timeline.Booted || e.Kind == timeline.Rebooted:
			told, asked = false, nil
		case e.Kind == timeline.SNTPRequest && e.By == timeline.Wire:
			asked = e
		case e.Kind == timeline.SNTPResponse && e.By == timeline.Wire:
			told = told || asked != nil && answersTime(asked, e)
		case e.Kind == timeline.TLSClientHello && e.By == timeline.Wire && e.Seq > v.From:
			return told, true
		}
	}
	return told, false
}

// answersTime tells whether an SNTP answer is that to a request: it goes to the
// same port, and its origin stamp is when that was sent (RFC 4330, section 5),
// where the handset says so.
func answersTime(request, answer *timeline.Event) bool {
	if answer.Dst != request.Src {
		return false
	}
	switch sent := request.Fields["ntp.xmt"]; sent {
	case "", "0x0000000000000000":
		return true
	default:
		return answer.Fields["ntp.org"] == sent
	}
}

// HoldKey makes a handset of which nothing is known take golden once, so that a
// decrypt_key is stored before the cycle that is judged.
func (p *Phone) HoldKey(ctx context.Context) {
	GinkgoHelper()
	if p.run.known.lost == "" {
		return
	}
	boot := p.PowerCycle(ctx)
	p.Reach(ctx, boot.Within(p.Patience.Boot), timeline.FactFetched(p.Global().Files...), "")
	p.Reach(ctx, boot.Within(p.Patience.Boot), timeline.FactAsked(p.Version().Files...), "")
}

// Accepted stops what is judged over HTTPS where the handset refuses a good
// certificate: that is TLS-01's, not the routine's.
func (p *Phone) Accepted(ctx context.Context, w *timeline.Window) {
	GinkgoHelper()
	if p.over != timeline.HTTPS {
		return
	}
	either := timeline.Fact{Name: "asked, or refused the certificate", Kinds: []timeline.Kind{timeline.Asked, timeline.Refused}}
	e, err := w.Within(p.Patience.Boot).Await(ctx, either)
	if err == nil && e.Kind == timeline.Refused {
		p.run.block("TLS-01", "it refused a good certificate: "+e.Reason)
	}
}

// AnyListed is a step of any listed file.
func (p *Phone) AnyListed(v firmware.Version) match.Step {
	return match.Step{Name: "a listed file of " + v.Name, Files: p.ListedNames(v)}
}

// CommentedNames are what a handset would ask for that takes the comments of
// FWU-04 for lines.
func (p *Phone) CommentedNames() match.Step {
	return match.Step{Name: "a file that stands in a comment", Files: []string{"img", "#image.rom", "image.rom", "00000000", "#"}}
}

// Runs claims that the handset runs a version, by both witnesses where the
// model's User-Agent is known to tell.
func (p *Phone) Runs(v firmware.Version, others ...firmware.Version) match.Matcher {
	m := match.Run(v.Name).Asking(p.Version(), p.ListedNames(append(others, v)...)...)
	if !p.agentTells() {
		m = m.WhateverAgent()
	}
	return m
}

// agentTells: a simulated handset has an assumed User-Agent, a real one counts
// once it was measured.
func (p *Phone) agentTells() bool {
	fact, ok := p.lane.Handset.Facts.Get(model.UserAgent)
	return ok && (p.lane.Handset.Simulated || fact.Source.Settled())
}

// RunsGolden notes that golden's version runs: it is back, or another one was
// published and not installed.
func (p *Phone) RunsGolden() { p.run.known.version = "" }

// ProveCheckSync claims the phone and, once a run, proves that NOTIFY brings it
// to provision: the way back that riskLockout stories stand on.
func (p *Phone) ProveCheckSync(ctx context.Context) {
	GinkgoHelper()
	p.Claim(ctx)
	if p.run.wayBack {
		return
	}
	p.Finish(ctx, p.PowerCycle(ctx))
	cycle := p.CheckSync(ctx)
	p.Reach(ctx, cycle.Within(p.Patience.Cycle), timeline.FactAsked(p.Global().Files...), "RSY-01")
	p.quiesce(ctx, cycle.Within(p.Patience.Cycle), false)
	p.run.wayBack = true
}

// HomeByCheckSync brings golden back to a handset that a power cycle alone does
// not move to ask for its configuration.
func (p *Phone) HomeByCheckSync(ctx context.Context) {
	GinkgoHelper()
	p.run.passPending()
	if err := p.serveGolden(); err != nil {
		p.run.inconclusive(err.Error())
	}
	cycle := p.CheckSync(ctx).Within(p.Patience.Upgrade)
	p.Reach(ctx, cycle, p.RegisteredAs(p.user()), "RSY-03")
}

// UploadAuthority has an authority copied to the handset.
func (p *Phone) UploadAuthority(ctx context.Context, name string) {
	GinkgoHelper()
	p.copyTo(ctx, "authority "+name, p.lane.AuthorityPEM(name))
}

// PresentOwnRoot shows a certificate of the catalogue that comes with an authority
// of its own from now on, as it is or with its one thing put right, and returns
// that authority.
func (p *Phone) PresentOwnRoot(name string, mended bool) *pki.Authority {
	GinkgoHelper()
	p.OfferOver(p.over)
	root, err := p.lane.PresentOwnRoot(name, mended)
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	return root
}

// UploadRoot has an authority copied to the handset that is to be forgotten again.
func (p *Phone) UploadRoot(ctx context.Context, what string, root *pki.Authority) {
	GinkgoHelper()
	p.run.known.guest = what
	p.copyTo(ctx, what, root.ExportPEM())
}

// copyTo has an authority copied to the handset; its file lies beside the
// recording. That the Web Manager lists it is the witness: without it nobody could
// tell a handset that does not trust what was copied to it from one to which
// nothing was copied.
func (p *Phone) copyTo(ctx context.Context, what string, text []byte) {
	GinkgoHelper()
	r, err := p.copying(what, text)
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	p.ByHand(ctx, r)
}

// copying is the request for copyTo.
func (p *Phone) copying(what string, text []byte) (control.Request, error) {
	folder := p.run.spec.result.Folder
	if folder == "" {
		folder = filepath.Join(p.run.Folder, "between") // on the way home after the last spec
	}
	file := filepath.Join(folder, strings.ReplaceAll(what, " ", "-")+".pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return control.Request{}, fmt.Errorf("the file to be copied to the handset: %w", err)
	}
	r := control.Request{Verb: control.UploadAuthority, PEM: text, File: file, Text: "copy " + what + " to the handset with its Web Manager"}
	if block, _ := pem.Decode(text); block != nil {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			r.ReadBack = fmt.Sprintf("its Web Manager lists %q", c.Subject.CommonName)
		}
	}
	return r, nil
}

// Forget has the handset returned to factory state, in which it no longer holds
// what was uploaded, authority A included, and brings it to golden.
func (p *Phone) Forget(ctx context.Context) {
	GinkgoHelper()
	p.run.passPending()
	err := p.serveGolden()
	p.OfferOver(timeline.TFTP)
	if err == nil {
		err = p.toFactory(ctx, "what was uploaded to it is to be forgotten")
	}
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	p.run.known.home()
}

// Accepts is a given: the handset accepts what is presented.
func (p *Phone) Accepts(ctx context.Context, w *timeline.Window, row string) {
	GinkgoHelper()
	p.Reach(ctx, w, timeline.FactAsked(p.Version().Files...), row)
	p.Reach(ctx, w, timeline.FactRegistered(), row)
}

// ChallengeFirstOnly challenges at the first server and not at the second.
func (p *Phone) ChallengeFirstOnly(scheme rig.Scheme) {
	p.lane.ChallengeFirstOnly(scheme, p.httpsID(), p.httpsPassword())
}

// ChallengeSIP lets the registrar ask for the password that golden gives to the
// first line: who registers then holds that too.
func (p *Phone) ChallengeSIP() { p.lane.ChallengeSIP(p.user(), p.secret("sip", 12)) }

// Call makes the handset busy: the rig calls it and it is answered by hand. The
// window is that of the call; the function ends it and gives the window from there
// on.
func (p *Phone) Call(ctx context.Context) (*timeline.Window, func(context.Context) *timeline.Window) {
	GinkgoHelper()
	called := p.run.verb("call", nil)
	call, err := p.lane.Call(ctx)
	if err != nil {
		p.run.inconclusive("the call did not ring: " + err.Error())
	}
	p.ByHand(ctx, control.Request{Verb: control.Answer, Text: "answer the call"})
	if err := call.Answered(ctx); err != nil {
		p.run.inconclusive("the call was not answered: " + err.Error())
	}
	return called, func(ctx context.Context) *timeline.Window {
		GinkgoHelper()
		w := p.run.verb("hang up", nil)
		if err := call.Hangup(ctx); err != nil {
			p.run.inconclusive("the call did not end: " + err.Error())
		}
		return w
	}
}

// coverRest says for rows of a mask's spec that have no cell of their own under
// this depth that they are judged elsewhere.
func (p *Phone) coverRest(cells []pki.Flaw) {
	seen := map[string]bool{}
	for _, f := range cells {
		seen[cellRow(f)] = true
	}
	for _, row := range []string{"TLS-01", "TLS-02", "TLS-03", "TLS-04", "TLS-06"} {
		if !seen[row] {
			p.run.spec.excused[row] = true
		}
	}
}

// RestsOn says on which facts the judgements of the spec rest from here on,
// besides those of their rows.
func (p *Phone) RestsOn(facts ...string) {
	p.run.passPending()
	p.run.spec.rests = append(p.run.spec.rests, facts...)
}

// Elsewhere says that under these options a row of the spec is judged elsewhere.
func (p *Phone) Elsewhere(row string) { p.run.spec.excused[row] = true }
