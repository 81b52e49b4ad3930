package virtual

import (
	"slices"
	"testing"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
)

func TestTheMenuShowsWhatWasSetInIt(t *testing.T) {
	t.Parallel()
	mask := model.Field{Section: "PROVISION", Name: "verifying_cert"}
	for _, broken := range []defect.Set{nil, {defect.MenuMaskIgnored}} {
		l := newLab(t)
		h := registered(t, l, with(broken...))
		was, err := h.Shown(t.Context(), mask)
		if err != nil || was != "7" {
			t.Errorf("%v: shows %q before, want 7 (%v)", broken, was, err)
		}
		if err := h.SetByHand(t.Context(), mask, "2"); err != nil {
			t.Fatal(err)
		}
		if got, err := h.Shown(t.Context(), mask); err != nil || got != "2" {
			t.Errorf("%v: shows %q, want 2 (%v)", broken, got, err)
		}
	}
}

func TestTheWebManagerListsWhatWasCopied(t *testing.T) {
	t.Parallel()
	for _, broken := range []defect.Set{nil, {defect.UploadReplaces}, {defect.UploadVolatile}} {
		l := newLab(t)
		h := registered(t, l, with(broken...))
		a := newAuthority(t, "C")
		before, err := h.Listed(t.Context())
		if err != nil || slices.Contains(before, a.cert.Subject.CommonName) {
			t.Errorf("%v: lists %q before (%v)", broken, before, err)
		}
		if err := h.UploadAuthority(t.Context(), a.pem); err != nil {
			t.Fatal(err)
		}
		if got, err := h.Listed(t.Context()); err != nil || !slices.Contains(got, a.cert.Subject.CommonName) {
			t.Errorf("%v: lists %q, want %q among them (%v)", broken, got, a.cert.Subject.CommonName, err)
		}
	}
}
