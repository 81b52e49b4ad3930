package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/model"
	"ip88rig/rig/pki"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sysconf"
	"ip88rig/rig/tftpd"
)

// Givens that serve what is not as it should be.

// String is the file in words.
func (c Config) String() string {
	if c == Own {
		return "phone-specific file"
	}
	return "global file"
}

// ServeGolden takes every override of the files back; what DHCP offers stays.
func (p *Phone) ServeGolden() {
	GinkgoHelper()
	offer := p.served.offer
	if err := p.serveGolden(); err != nil {
		p.run.inconclusive(err.Error())
	}
	p.changed = true
	p.Offer(offer)
}

// Text is a configuration file as it is served now, unencrypted.
func (p *Phone) Text(c Config) string { return string(p.served.files[c].Bytes()) }

// ServeRaw serves these bytes in the place of a configuration file.
func (p *Phone) ServeRaw(c Config, content []byte) {
	GinkgoHelper()
	p.served.raw[c] = &content
	p.mustPublish()
}

// Sealed is a configuration file encrypted with the stored key.
func (p *Phone) Sealed(c Config) []byte {
	GinkgoHelper()
	sealed, err := sysconf.Encrypt(p.lane.Handset.Facts.Text(model.DecryptKeyForm), p.key(), p.served.files[c].Bytes())
	if err != nil {
		p.run.inconclusive(err.Error())
	}
	return sealed
}

// EncryptWith serves the file encrypted with another key than the stored one.
func (p *Phone) EncryptWith(c Config, key string) {
	GinkgoHelper()
	p.served.sealed[c], p.served.keys[c] = true, key
	p.mustPublish()
}

// WithholdFile answers "not found" for a listed file.
func (p *Phone) WithholdFile(name string) {
	GinkgoHelper()
	p.served.withheld[strings.ToLower(name)] = true
	p.mustPublish()
}

// Damage serves other bytes under the name of a listed file or the version
// file. It is for riskBrick stories alone.
func (p *Phone) Damage(name string, content []byte) {
	GinkgoHelper()
	if !p.run.spec.story.brick {
		p.run.inconclusive("damage to " + name + " is declared by a riskBrick story only")
	}
	p.served.damaged[strings.ToLower(name)] = content
	p.mustPublish()
}

// AnySoftware is a step of any listed file of any version that is ever offered.
func (p *Phone) AnySoftware() match.Step {
	names := p.run.software()
	if len(names) == 0 {
		names = []string{"no software is known"}
	}
	return match.Step{Name: "a listed file", Files: names}
}

// PresentVariant shows a certificate of the catalogue from now on.
func (p *Phone) PresentVariant(v pki.Entry) {
	GinkgoHelper()
	p.OfferOver(p.over)
	if v.ByAddress {
		p.Offer(rig.Offer{TFTP: true, SNTP: true, URL: string(p.over) + "://" + p.lane.Addrs.Server.String() + "/"})
	}
	if err := p.lane.PresentVariant(v.Name); err != nil {
		p.run.inconclusive(err.Error())
	}
}

// Silent lets the servers say nothing more once the step's file is asked for.
func (p *Phone) Silent(s match.Step) {
	GinkgoHelper()
	p.Inject(p.silence(s.Files[0], 0))
}

// BreakOff lets the transfer of the step's file end after some bytes, each time.
// Over TFTP that takes a file of more than one block.
func (p *Phone) BreakOff(s match.Step) {
	GinkgoHelper()
	file := s.Files[0]
	switch {
	case p.served.version == nil && slices.Equal(s.Files, p.Version().Files):
		p.Inject(p.silence(file, 0)) // there is none that could end
	case p.over == timeline.TFTP:
		p.lengthen(s)
		p.Inject(fault.On("DATA").Of(file).In("tftpd").Behind(1).Do(tftpd.FallSilent{}))
	default:
		p.Inject(p.silence(file, 16))
	}
}

// lengthen makes a file of the routine longer than any block by comments.
func (p *Phone) lengthen(s match.Step) {
	GinkgoHelper()
	const bytes = 8 << 10
	switch {
	case slices.Equal(s.Files, p.Global().Files):
		p.Pad(Global, bytes)
	case slices.Equal(s.Files, p.Own().Files):
		p.Pad(Own, bytes)
	case slices.Equal(s.Files, p.Version().Files):
		v := *p.served.version
		for len(v.VersionFile) < bytes {
			v = v.Commented(strings.Repeat("-", 60))
		}
		p.Publish(v)
	}
}

func (p *Phone) silence(file string, bytes int64) fault.Rule {
	if p.over == timeline.TFTP {
		return fault.On(file).In("tftpd").Do(tftpd.FallSilent{AfterBytes: int(bytes)})
	}
	return fault.On(file).In("httpd").Do(httpd.FallSilent{AfterBytes: bytes})
}

// flashWrite is so many quarters of the time that a model takes to write its
// main file.
func (p *Phone) flashWrite(quarters int) time.Duration {
	h := p.lane.Handset
	blocks := 1 + len(p.Firmware("next").Files[0].Content)/(64<<10)
	d := h.Facts.Duration(model.FlashWriteTime) * time.Duration(blocks*quarters) / 4
	if h.Simulated && h.Factor > 1 {
		d = time.Duration(float64(d) / h.Factor)
	}
	return d
}

// Pad makes a configuration file longer by so many bytes of comment, so that it
// takes many blocks.
func (p *Phone) Pad(c Config, bytes int) {
	GinkgoHelper()
	p.served.padding[c] = bytes
	p.mustPublish()
}

// SetBackAsterisked changes an asterisked field in the global file and sets it
// back in the phone-specific one.
func (p *Phone) SetBackAsterisked() {
	GinkgoHelper()
	f := p.Field(model.RebootFields, 0)
	value, ok := p.served.files[Global].Get(f.Section, f.Name)
	if !ok {
		p.run.inconclusive("golden does not set " + f.Section + "/" + f.Name)
	}
	p.SetAsterisked(Global)
	p.Set(Own, f, value)
}

// Notices sends NOTIFY requests of any content and returns the window from there
// on. What the handset answers is not this one's to judge.
func (p *Phone) Notices(ctx context.Context, name string, n sipd.Notice, count int) *timeline.Window {
	GinkgoHelper()
	w := p.run.verb("NOTIFY: "+name, fmt.Sprintf("%+v, %d times", n, count))
	if _, err := p.lane.Notices(ctx, n, count, 0, p.Patience.Settle); err != nil {
		p.run.inconclusive(err.Error())
	}
	return w
}
