package virtual

import (
	"crypto/x509"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

// upload stores the authorities of a PEM text.
func (d *device) upload(text []byte) error {
	certs, err := flash.ParseAuthority(text)
	if err != nil {
		return err
	}
	if err := d.flash.Update(func(s *flash.State) {
		if d.has(defect.UploadReplaces) {
			s.Installed, s.Uploaded = nil, nil
		}
		s.Upload(certs)
	}); err != nil {
		return err
	}
	for _, c := range certs {
		d.log.Info("authority uploaded", "subject", c.Subject.String())
	}
	return nil
}

// authorities are all that the handset trusts.
func (d *device) authorities() []*x509.Certificate {
	own, err := d.flash.Authorities()
	if err != nil {
		d.log.Error("authorities", "error", err) // flash checks them: does not happen
	}
	if d.has(defect.NoPublicAuthorities) {
		return own
	}
	return append(own, d.cfg.PublicAuthorities...)
}
