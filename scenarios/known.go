package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
	"ip88rig/rig/report"
)

// known is what the handset is known to hold when no spec runs.
type known struct {
	// lost says why nothing is known; blank when the rest holds.
	lost string
	// doubt: a spec has failed, or broken off, since the handset was seen to take
	// a setting.
	doubt bool
	// rig is the trouble of the rig that made it so; blank: none.
	rig string
	// by is the row that kept the handset from coming home, blocks how often in
	// a row it did.
	by     string
	blocks int
	// dirty are settings stored that golden does not have.
	dirty map[string]bool
	// riding: a setting that any later cycle restores differs from golden.
	riding bool
	// guest is an authority that was copied to it and is to be forgotten.
	guest string
	// missing is what it held on this bench and lacks since a factory reset,
	// until a look at the handset shows that it was copied to it again.
	missing string
	// version is the running one where it is not golden's.
	version string
}

// spoil forgets what was known.
func (k *known) spoil(why string) { k.lost = why }

// failed notes that a spec did not end well, at whatever: one that takes nothing
// any more fails also at what is blocked, inconclusive or an assumption.
func (k *known) failed() {
	if k.lost == "" {
		k.spoil("the spec before did not end well")
	}
	k.doubt = true
}

// astray notes why the handset did not come home, and which row kept it, if one did.
func (k *known) astray(err error) {
	k.blocks++
	k.by, k.lost = "", err.Error()
	if b, ok := errors.AsType[blockedError](err); ok {
		k.by, k.lost = b.row, b.reason
	}
}

// wayHome is how many power cycles the way home takes, if there is a reason why.
func (k *known) wayHome(why string, exactly bool) int {
	switch {
	case why == "":
		return 0
	case exactly && k.doubt:
		return 2
	}
	return 1
}

// showed notes that the handset took golden but for fresh witnesses, which ride on
// the next cycle; where exactly golden is needed, it is not home yet.
func (k *known) showed(exactly bool) {
	k.riding = true
	if exactly {
		k.spoil("it holds another line name and registration period")
	}
}

// store notes a setting that a cycle may have stored.
func (k *known) store(f model.Field) {
	if rides(f) {
		k.riding = true
		return
	}
	if k.dirty == nil {
		k.dirty = map[string]bool{}
	}
	k.dirty[f.Section+"/"+f.Name] = true
}

// stores tells whether a cycle may have stored another value of a setting that
// does not ride.
func (k *known) stores(f model.Field) bool { return k.dirty[f.Section+"/"+f.Name] }

// isList tells fields whose value is a list of words, without quotes.
func isList(f model.Field) bool { return f == voip("preferred_codec") }

// rides tells fields that any later cycle restores without a reboot and that
// change neither the way the handset provisions nor what it accepts.
func rides(f model.Field) bool {
	return f.Section == "VOIP" && (strings.HasPrefix(f.Name, "line1_") || f.Name == "timer_register_expires")
}

// done notes what an action by hand has made of the handset: authority is A's,
// held whether the handset was given it before the run.
func (k *known) done(r control.Request, authority []byte, held bool) {
	switch {
	case r.Verb == control.FactoryReset && held:
		k.missing = "authority " + pki.A
	case r.Verb == control.UploadAuthority && r.ReadBack != "" && bytes.Equal(r.PEM, authority):
		k.missing = ""
	}
}

// needsHome says why the next claim must spend a cycle of its own; blank when
// restoring can ride on the next spec's first one.
func (k *known) needsHome() string {
	why := k.differs()
	switch {
	case k.missing == "":
		return why
	case why == "":
		return "it lacks " + k.missing
	}
	return why + "; it lacks " + k.missing
}

// differs is needsHome but for what is missing.
func (k *known) differs() string {
	switch {
	case k.lost != "":
		return k.lost
	case k.version != "":
		return "it runs " + k.version
	case k.guest != "":
		return "it holds " + k.guest
	case len(k.dirty) > 0:
		return "it may hold another " + slices.Min(slices.Collect(maps.Keys(k.dirty)))
	}
	return ""
}

// home notes that the handset holds golden. Settings do not show what was copied
// to it: that stays as it was.
func (k *known) home() { *k = known{guest: k.guest, missing: k.missing} }

// restsOn names the facts that a judgement of the row rests on: as long as one
// of them is an assumption, a real handset does not fail it.
func restsOn(row string) []string {
	switch row {
	case "XPT-03":
		return []string{model.StoredURLField, model.WitnessFields}
	case "XPT-04":
		return []string{model.OptionNumberField, model.WitnessFields}
	case "CFG-01", "CFG-02", "CFG-09", "CFG-11", "RBT-02":
		return []string{model.WitnessFields}
	case "CFG-03", "CFG-04", "CFG-08":
		return []string{model.WitnessFields, model.DecryptKeyForm}
	case "RBT-01", "RBT-03", "RBT-05", "RBT-06":
		return []string{model.RebootFields}
	case "FWU-09":
		return []string{model.DownloadFlagFields}
	case "FWU-11":
		return []string{model.VersionSyntax}
	case "TLS-01", "TLS-02", "TLS-03", "TLS-04", "TLS-06", "TLS-08", "TLS-09":
		return []string{model.MaskField}
	case "AUT-01", "AUT-02", "AUT-03", "AUT-04":
		return []string{model.CredentialFields}
	case "RSY-01", "RSY-02": // RSY-04 where it sends check-sync: it stands on RSY-01 there
		return []string{model.CheckSyncEvent}
	case "RSY-03":
		return []string{model.CheckSyncEvent, model.DownloadFlagFields}
	}
	return nil
}

// assumes says on which unmeasured fact, or promise of a sibling's manual, a
// judgement of the row on this handset would rest; blank: on none.
func assumes(h bench.Handset, row string) string {
	if h.Simulated {
		return ""
	}
	if promisedElsewhere(row) {
		if fact, ok := h.Facts.Get("row-" + row); !ok || !fact.Source.Settled() {
			return row + " is promised by a sibling's manual only"
		}
	}
	return unsettled(h, restsOn(row))
}

// unsettled says which of the facts nobody has measured on this handset yet;
// blank: none.
func unsettled(h bench.Handset, facts []string) string {
	if h.Simulated {
		return ""
	}
	for _, name := range facts {
		if fact, ok := h.Facts.Get(name); ok && !fact.Source.Settled() {
			return fmt.Sprintf("%s = %q, %s", fact.Name, fact.Value, fact.Source)
		}
	}
	return ""
}

// promisedElsewhere tells a row that only a sibling's manual promises.
func promisedElsewhere(row string) bool {
	req, err := Find(row)
	return err == nil && req.PromisedBySiblingOnly()
}

// byAssumption is how the reason of a judgement begins that would be a failure,
// did it not rest on an assumption.
const byAssumption = "inconclusive: assumption "

// breaks tells whether a judgement leaves nothing for others to stand on: it has
// failed, whether or not that is held against the handset.
func breaks(j report.Judgement) bool {
	return j.Verdict == report.Fail || j.Verdict == report.Known ||
		j.Verdict == report.Inconclusive && strings.HasPrefix(j.Reason, byAssumption)
}
