package match

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

type judgeCase struct {
	m      Matcher
	events []timeline.Event
	closed bool
	want   Verdict // OK, Final, Line, Unfit; Problem is a part of it
}

// elsewhere lets a request go to another server.
func elsewhere(e timeline.Event) timeline.Event {
	e.Dst = addr("192.0.2.2:69")
	return e
}

// judgeCases tell a good handset and the ways in which a defective one goes
// wrong, named as in rig/virtual/defect.
func judgeCases() map[string]judgeCase {
	ok, final, pending := Verdict{OK: true}, Verdict{OK: true, Final: true}, Verdict{Problem: "not yet known"}
	wrong := func(line int, problem string) Verdict { return Verdict{Final: true, Line: line, Problem: problem} }
	all3 := AskFor(global(), own(), version())
	image := File{Name: "image", SHA256: "aa", Bytes: 10}
	xml := File{Name: "xml"}
	type events = []timeline.Event
	return map[string]judgeCase{
		"AskFor: look-ups and retries are one":             {m: all3, events: more(routine(), registered("2001")), want: ok},
		"AskFor: not known to be over":                     {m: all3, events: routine(), want: pending},
		"AskFor: over with the window":                     {m: all3, events: routine(), closed: true, want: final},
		"AskFor: a reboot ends the cycle":                  {m: all3, events: more(routine(), rebooted(), asked("sysconf_8830_sip.cfg")), want: final},
		"AskFor: a boot before does not":                   {m: all3, events: more(events{booted()}, more(routine(), registered("2001"))...), want: ok},
		"AskFor: what belongs to no step is no mistake":    {m: all3, events: more(events{asked("logo")}, more(routine(), registered("2001"))...), want: ok},
		"AskFor: still on its way":                         {m: all3, events: routine()[:2], want: Verdict{Line: 3, Problem: "version file was not asked for"}},
		"AskFor: http-asks-global-again":                   {m: all3, events: more(routine(), asked("sysconf_8830_sip.cfg")), want: wrong(4, "once more")},
		"AskFor: own-file-first":                           {m: all3, events: events{asked("00005e005301"), asked("sysconf_8830_sip.cfg")}, want: wrong(1, "where global file was due it asked for own file")},
		"AskFor: skips-own-file":                           {m: all3, events: events{asked("sysconf_8830_sip.cfg"), asked("VER")}, want: wrong(2, "where own file was due")},
		"AskFor: reboots-at-once":                          {m: all3, events: events{asked("sysconf_8830_sip.cfg"), rebooted()}, want: wrong(2, "before it booted")},
		"AskFor: nothing, and nothing asked":               {m: AskFor(), events: events{registered("2001")}, want: ok},
		"AskInOrder: others between":                       {m: AskInOrder(global(), version()), events: routine(), want: final},
		"AskInOrder: version-file-first":                   {m: AskInOrder(global(), own(), version()), events: events{asked("VER"), asked("sysconf_8830_sip.cfg")}, want: wrong(1, "version file before global file")},
		"AskInOrder: a second cycle does not make it good": {m: AskInOrder(global(), own()), events: events{asked("sysconf_8830_sip.cfg"), rebooted(), asked("00005e005301")}, want: wrong(2, "own file was not asked for")},
		"AskInOrder: skips-own-file":                       {m: AskInOrder(global(), own()), events: events{asked("sysconf_8830_sip.cfg"), asked("VER")}, closed: true, want: wrong(2, "own file was not asked for")},
		"AskBefore: in order":                              {m: AskBefore(global(), version()), events: routine(), want: final},
		"AskBefore: the other way":                         {m: AskBefore(version(), own()), events: routine(), want: wrong(1, "own file before version file")},
		"AskFirst: first":                                  {m: AskFirst(global()), events: routine(), want: final},
		"AskFirst: own-file-first":                         {m: AskFirst(global()), events: routine()[1:], want: wrong(1, "the first request was for 00005e005301")},
		"AskFirst: nothing yet":                            {m: AskFirst(global()), events: events{booted()}, want: Verdict{Line: 1, Problem: "nothing was asked for"}},
		"Ask: once":                                        {m: Ask(own()), events: routine(), want: final},
		"Ask: skips-own-file":                              {m: Ask(own()), events: events{asked("VER")}, closed: true, want: wrong(1, "it did not")},
		"Ask: asks-sibling, negated":                       {m: Ask(Step{Name: "another model's files", Files: []string{"sysconf_8820_sip.cfg"}}), events: events{asked("sysconf_8820_sip.cfg")}, want: final},
		"Ask: by plain name":                               {m: Ask(Step{Name: "logo"}), events: events{asked("logo")}, want: final},
		"AskOver: one transport":                           {m: AskOver(timeline.TFTP), events: more(routine(), registered("2001")), want: ok},
		"AskOver: not known to be over":                    {m: AskOver(timeline.TFTP), events: routine(), want: pending},
		"AskOver: rrq-beside-url":                          {m: AskOver(timeline.HTTPS), events: events{askedOver(timeline.HTTPS, "a"), asked("a")}, want: wrong(2, "over tftp")},
		"AskOver: nothing":                                 {m: AskOver(timeline.TFTP), closed: true, want: wrong(1, "nothing was asked for")},
		"AskServer: there":                                 {m: AskServer("192.0.2.1"), events: routine(), want: final},
		"AskServer: forgets-url":                           {m: AskServer("192.0.2.2:69"), events: routine(), closed: true, want: wrong(1, "it asked elsewhere")},

		"AskAlike: there":                {m: AskAlike(own(), version()), events: more(routine(), registered("2001")), want: ok},
		"AskAlike: not known to be over": {m: AskAlike(own(), version()), events: routine(), want: pending},
		"AskAlike: version-by-tftp":      {m: AskAlike(own(), version()), events: events{askedOver(timeline.HTTP, "00005e005301"), askedOver(timeline.HTTP, "VER"), asked("VER")}, want: wrong(3, "at 192.0.2.1:69 over tftp, but for 00005e005301")},
		"AskAlike: another server":       {m: AskAlike(own(), version()), events: events{asked("00005e005301"), elsewhere(asked("VER"))}, want: wrong(2, "it asked for VER at 192.0.2.2:69")},
		"AskAlike: skips the version":    {m: AskAlike(own(), version()), events: more(routine()[:2], rebooted(), asked("VER")), want: wrong(2, "version file was not asked for")},
		"AskAlike: nothing before it":    {m: AskAlike(own(), version()), events: events{asked("VER")}, closed: true, want: wrong(1, "own file was not asked for")},

		"Download: whole":                       {m: Download(image, xml), events: events{asked("image"), fetchedFile("image", "AA", 10), fetchedFile("xml", "bb", 3)}, want: final},
		"Download: skips-xml":                   {m: Download(image, xml), events: events{fetchedFile("image", "aa", 10)}, closed: true, want: wrong(2, "xml was not asked for")},
		"Download: broken off":                  {m: Download(image), events: events{asked("image")}, closed: true, want: wrong(1, "image was not fetched whole")},
		"Download: other content":               {m: Download(image), events: events{fetchedFile("image", "bb", 10)}, want: Verdict{Line: 1, Problem: "its content is another"}},
		"Download: too short":                   {m: Download(image), events: events{fetchedFile("image", "aa", 9)}, want: Verdict{Line: 1, Problem: "10 bytes of it are 9"}},
		"Download: right at last":               {m: Download(image), events: events{fetchedFile("image", "bb", 10), fetchedFile("image", "aa", 10)}, want: final},
		"DownloadOnly: nothing":                 {m: DownloadOnly().Of("image", "xml"), events: more(routine(), registered("2001")), want: ok},
		"DownloadOnly: not over":                {m: DownloadOnly().Of("image", "xml"), events: routine(), want: pending},
		"DownloadOnly: the file":                {m: DownloadOnly(image).Of("image", "xml"), events: events{asked("image"), fetchedFile("image", "aa", 10), rebooted()}, want: ok},
		"DownloadOnly: one too many":            {m: DownloadOnly(image).Of("image", "xml"), events: events{fetchedFile("image", "aa", 10), asked("xml")}, want: wrong(2, "xml was asked for")},
		"DownloadOnly: downloads-same-version":  {m: DownloadOnly().Of("image"), events: more(routine(), asked("image")), want: wrong(1, "image was asked for")},
		"DownloadOnly: the routine beside it":   {m: DownloadOnly(image).Of("image").After(version(), global(), own()), events: more(routine(), asked("sysconf_8830_sip.cfg"), fetchedFile("image", "aa", 10), rebooted(), asked("logo"), registered("2001")), want: ok},
		"DownloadOnly: fetches-unlisted":        {m: DownloadOnly(image).Of("image").After(version(), global(), own()), events: more(routine(), fetchedFile("image", "aa", 10), asked("boot"), rebooted()), want: wrong(2, "boot was asked for")},
		"DownloadOnly: below its MAC's folder":  {m: DownloadOnly(image).Of("image", "xml").After(version(), global(), own()), events: more(routine(), asked("00005e005301/image"), fetchedFile("image", "aa", 10), rebooted()), want: ok},
		"DownloadOnly: unlisted there":          {m: DownloadOnly(image).Of("image").After(version(), global(), own()), events: more(routine(), fetchedFile("image", "aa", 10), asked("00005e005301/boot"), rebooted()), want: wrong(2, "00005e005301/boot was asked for")},
		"DownloadOnly: listed elsewhere there":  {m: DownloadOnly(image).Of("image", "xml").After(version(), global(), own()), events: more(routine(), fetchedFile("image", "aa", 10), asked("00005e005301/xml"), rebooted()), want: wrong(2, "00005e005301/xml was asked for")},
		"DownloadOnly: in another folder":       {m: DownloadOnly(image).Of("image").After(version(), global(), own()), events: more(routine(), asked("00005e005302/image"), fetchedFile("image", "aa", 10), rebooted()), want: wrong(2, "00005e005302/image was asked for")},
		"DownloadOnly: before the version file": {m: DownloadOnly(image).Of("image").After(version(), global(), own()), events: more(events{asked("book")}, more(routine(), fetchedFile("image", "aa", 10), rebooted())...), want: ok},
		"GiveUpOn: goes on":                     {m: GiveUpOn("image"), events: events{asked("image"), asked("image"), registered("2001")}, want: ok},
		"GiveUpOn: hangs":                       {m: GiveUpOn("image"), events: events{asked("image"), asked("image")}, closed: true, want: wrong(2, "it did not go on")},
		"GiveUpOn: fetched after all":           {m: GiveUpOn("image"), events: events{asked("image"), registered("2001"), fetchedFile("image", "aa", 10)}, want: wrong(2, "it fetched it whole")},
		"GiveUpOn: never asked":                 {m: GiveUpOn("image"), events: events{registered("2001")}, closed: true, want: wrong(1, "image was not asked for")},

		"Reboot: seen":                             {m: Reboot(), events: events{rebooted()}, want: final},
		"Reboot: no-reboot-on-asterisk":            {m: Reboot(), events: routine(), closed: true, want: wrong(1, "it did not")},
		"Reboot: a commanded boot is none":         {m: Reboot(), events: events{booted()}, want: Verdict{Line: 1, Problem: "it did not"}},
		"RebootOnce: registered behind":            {m: RebootOnce(), events: events{rebooted(), registered("2001")}, want: ok},
		"RebootOnce: closed behind":                {m: RebootOnce(), events: events{rebooted()}, closed: true, want: final},
		"RebootOnce: not yet known":                {m: RebootOnce(), events: events{registered("2001"), rebooted()}, want: pending},
		"RebootOnce: none":                         {m: RebootOnce(), events: routine(), closed: true, want: wrong(1, "it rebooted not at all")},
		"RebootOnce: reboots-twice-after-software": {m: RebootOnce(), events: events{rebooted(), rebooted()}, want: wrong(2, "it rebooted twice")},
		"RebootOnce: reboots-per-reason":           {m: RebootOnce(), events: events{rebooted(), registered("2001"), rebooted(), rebooted()}, want: wrong(2, "it rebooted 3 times")},
		"RebootAfterAsking: in order":              {m: RebootAfterAsking(version()), events: more(routine(), rebooted()), want: final},
		"RebootAfterAsking: reboots-at-once":       {m: RebootAfterAsking(version()), events: more(routine()[:2], rebooted()), want: wrong(1, "without having asked for version file")},
		"RebootAfterAsking: no reboot":             {m: RebootAfterAsking(version()), events: routine(), closed: true, want: wrong(2, "it did not reboot")},

		"Register: any":             {m: Register(), events: events{registered("2001")}, want: final},
		"Register: never":           {m: Register(), events: routine(), closed: true, want: wrong(1, "it did not register")},
		"RegisterAs: right":         {m: RegisterAs("2002"), events: events{registered("2001"), registered("2002")}, want: final},
		"RegisterAs: global-wins":   {m: RegisterAs("2002"), events: events{registered("2001")}, closed: true, want: wrong(1, "it registered otherwise")},
		"RegisterWith: all":         {m: RegisterWith{User: "2001", Expires: 300, Agent: "LG", Port: 5060, Proxy: "192.0.2.1:5060"}, events: events{registered("2001")}, want: final},
		"RegisterWith: expiry":      {m: RegisterWith{Expires: 60}, events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "otherwise"}},
		"RegisterWith: agent":       {m: RegisterWith{Agent: "Other"}, events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "otherwise"}},
		"RegisterWith: port":        {m: RegisterWith{Port: 5070}, events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "otherwise"}},
		"RegisterWith: proxy":       {m: RegisterWith{Proxy: "192.0.2.2"}, events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "otherwise"}},
		"Run: agent":                {m: Run("1.2.3"), events: events{registeredWith("2001", 60, "LG v1.2.3 SN/1")}, want: final},
		"Run: installs-nothing":     {m: Run("1.2.4"), events: events{registered("2001")}, closed: true, want: wrong(1, "its User-Agent is")},
		"Run: a longer version":     {m: Run("1.2"), events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "its User-Agent is"}},
		"Run: both witnesses":       {m: Run("1.2.3").Asking(version(), "image"), events: more(routine(), registered("2001")), want: ok},
		"Run: registered too early": {m: Run("1.2.3").Asking(version(), "image"), events: events{registered("2001"), asked("VER")}, want: Verdict{Line: 2, Problem: "did not register after that"}},
		"Run: downloads":            {m: Run("1.2.3").Asking(version(), "image"), events: events{asked("VER"), asked("image")}, want: wrong(2, "it downloads software: it asked for image")},
		"Run: whatever agent":       {m: Run("9.9").Asking(version(), "image").WhateverAgent(), events: more(routine(), registered("2001")), want: ok},

		"RefuseCertificate: refused":                      {m: RefuseCertificate(), events: events{refused("3001")}, want: ok},
		"RefuseCertificate: accepts-expired":              {m: RefuseCertificate("expired"), events: events{handshake("3001", "expired", true), request("3001", "a")}, want: wrong(1, "it accepted it and sent a request")},
		"RefuseCertificate: another certificate":          {m: RefuseCertificate("expired"), events: events{handshake("3001", "good", true), request("3001", "a")}, closed: true, want: wrong(1, "no handshake was seen")},
		"RefuseCertificate: request all the same":         {m: RefuseCertificate(), events: events{refused("3001"), request("3001", "a")}, want: wrong(2, "that it had refused")},
		"RefuseCertificate: broken off":                   {m: RefuseCertificate(), events: events{handshake("3001", "good", false)}, closed: true, want: wrong(1, "no handshake was refused because of it")},
		"SendNothingAfterRefusal: silent":                 {m: SendNothingAfterRefusal(), events: events{refused("3001"), refused("3002"), registered("2001")}, want: ok},
		"SendNothingAfterRefusal: not over":               {m: SendNothingAfterRefusal(), events: events{refused("3001")}, want: pending},
		"SendNothingAfterRefusal: requests-after-refusal": {m: SendNothingAfterRefusal(), events: events{refused("3001"), handshake("3002", "bad", true), request("3002", "a")}, want: wrong(2, "it completed a handshake")},
		"SendNothingAfterRefusal: a request":              {m: SendNothingAfterRefusal(), events: events{refused("3001"), request("3001", "a")}, want: wrong(2, "it sent a request")},
		"SendNothingAfterRefusal: accepts":                {m: SendNothingAfterRefusal(), events: events{handshake("3001", "bad", true)}, want: wrong(2, "it completed a handshake")},
		"SendNothingAfterRefusal: nothing":                {m: SendNothingAfterRefusal(), closed: true, want: wrong(1, "it refused nothing")},
		"AcceptCertificate: accepted":                     {m: AcceptCertificate("good"), events: events{handshake("3001", "good", true), request("3001", "a")}, want: final},
		"AcceptCertificate: refuses-under-mask-6":         {m: AcceptCertificate(), events: events{refused("3001"), handshake("3001", "good", false)}, closed: true, want: wrong(1, "it refused it: unknown_ca")},
		"AcceptCertificate: no request":                   {m: AcceptCertificate(), events: events{handshake("3001", "good", true)}, closed: true, want: wrong(2, "no request came over it")},
		"AcceptCertificate: over another connection":      {m: AcceptCertificate(), events: events{handshake("3001", "good", true), request("3002", "a")}, want: Verdict{Line: 2, Problem: "no request"}},
		"OpenTLS: opened":                                 {m: OpenTLS(), events: events{wire(phoneMAC, timeline.TLSClientHello, "192.0.2.10:3001", "192.0.2.1:443")}, want: final},
		"OpenTLS: clear-for-https":                        {m: OpenTLS(), events: events{wire(phoneMAC, timeline.HTTPRequest, "192.0.2.10:3001", "192.0.2.1:80")}, closed: true, want: wrong(1, "it did not")},

		"Authenticate: right":                    {m: Authenticate("Basic", "lab"), events: events{request("3001", "a"), challenge(), request("3001", "a", right("Basic", "lab")...), registered("2001")}, want: ok},
		"Authenticate: not over":                 {m: Authenticate("Basic", "lab"), events: events{request("3001", "a", right("Basic", "lab")...)}, want: pending},
		"Authenticate: basic-without-password":   {m: Authenticate("Basic", "lab"), events: events{request("3001", "a", "auth.scheme", "Basic", "auth.user", "lab", "auth.ok", "false", "auth.problem", "wrong password")}, want: wrong(1, "wrong password")},
		"Authenticate: digest-count-stuck, told": {m: Authenticate("Digest", "lab"), events: events{request("3001", "a", right("Digest", "lab", "auth.nc", "00000001")...), request("3001", "b", "auth.scheme", "Digest", "auth.user", "lab", "auth.ok", "false", "auth.problem", "nc did not count up")}, want: wrong(2, "nc did not count up")},
		"Authenticate: digest-count-stuck, seen": {m: Authenticate("Digest", "lab"), events: events{request("3001", "a", right("Digest", "lab", "auth.nonce", "n", "auth.nc", "00000001")...), request("3001", "b", right("Digest", "lab", "auth.nonce", "n", "auth.nc", "00000001")...)}, want: wrong(2, "did not go up")},
		"Authenticate: a count of each nonce":    {m: Authenticate("Digest", "lab"), events: events{request("3001", "a", right("digest", "lab", "auth.nonce", "n", "auth.nc", "00000001")...), request("3001", "b", right("Digest", "lab", "auth.nonce", "m", "auth.nc", "00000001")...), registered("2001")}, want: ok},
		"Authenticate: another scheme":           {m: Authenticate("Digest", "lab"), events: events{request("3001", "a", right("Basic", "lab")...)}, want: wrong(1, "it used Basic")},
		"Authenticate: another user":             {m: Authenticate("Basic", "lab"), events: events{request("3001", "a", right("Basic", "admin")...)}, want: wrong(1, `"admin"`)},
		"Authenticate: none":                     {m: Authenticate("Basic", "lab"), events: events{request("3001", "a")}, closed: true, want: wrong(1, "no credentials")},
		"Offer: preemptive-basic":                {m: OfferCredentialsUnasked(), events: events{request("3001", "a", right("Basic", "lab")...)}, want: final},
		"Offer: asked for":                       {m: OfferCredentialsUnasked(), events: events{challenge(), request("3001", "a", right("Basic", "lab")...)}, closed: true, want: wrong(1, "it did not")},
		"Offer: the service knows better":        {m: OfferCredentialsUnasked(), events: events{challenge(), request("3001", "a", right("Basic", "lab", "auth.unasked", "true")...)}, want: final},
		"Offer: asked before it booted":          {m: OfferCredentialsUnasked(), events: events{challenge(), rebooted(), request("3001", "a", right("Basic", "lab")...)}, want: final},

		"SendOnlyFrom: the module":            {m: SendOnlyFrom(moduleMAC), events: events{wire(moduleMAC, timeline.TFTPRead, "192.0.2.10:2001", "192.0.2.1:69"), wire(rigMAC, timeline.TFTPData, "192.0.2.1:69", "192.0.2.10:2001"), registered("2001")}, want: ok},
		"SendOnlyFrom: not over":              {m: SendOnlyFrom(moduleMAC), events: events{wire(moduleMAC, timeline.DHCPDiscover, "0.0.0.0:68", "255.255.255.255:67")}, want: pending},
		"SendOnlyFrom: module-sends-as-phone": {m: SendOnlyFrom(moduleMAC), events: events{wire(moduleMAC, timeline.DHCPDiscover, "0.0.0.0:68", "255.255.255.255:67"), wire(phoneMAC, timeline.TFTPRead, "192.0.2.10:2001", "192.0.2.1:69")}, want: wrong(2, "a frame came from "+phoneMAC)},
		"SendOnlyFrom: silence":               {m: SendOnlyFrom(moduleMAC), closed: true, want: wrong(1, "it sent nothing from there")},
		"ContactHost: contacted":              {m: ContactHost("192.0.2.1"), events: events{wire(phoneMAC, timeline.TCPOpen, "192.0.2.10:3001", "192.0.2.1:80")}, want: final},
		"ContactHost: ARP is no contact":      {m: ContactHost("192.0.2.1"), events: events{wire(phoneMAC, timeline.ARPRequest, "192.0.2.10:0", "192.0.2.1:0"), wire(rigMAC, timeline.SIPRequest, "192.0.2.1:5060", "192.0.2.1:5060")}, closed: true, want: wrong(1, "it did not")},
		"AskTime: answered":                   {m: AskTime(), events: events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123"), wire(rigMAC, timeline.SNTPResponse, "192.0.2.1:123", "192.0.2.10:123")}, want: final},
		"AskTime: not answered":               {m: AskTime("192.0.2.1"), events: events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123")}, closed: true, want: wrong(2, "it was not answered")},
		"AskTime: another server":             {m: AskTime("192.0.2.2"), events: events{wire(phoneMAC, timeline.SNTPRequest, "192.0.2.10:123", "192.0.2.1:123"), wire(rigMAC, timeline.SNTPResponse, "192.0.2.1:123", "192.0.2.10:123")}, closed: true, want: wrong(1, "it did not ask")},
		"Fire: seen":                          {m: Fire(timeline.FactBooted()), events: events{booted()}, want: final},
		"Fire: not seen":                      {m: Fire(timeline.FactBooted()), closed: true, want: wrong(1, "it was not seen")},

		"RegisterAsOneOf: the new one":          {m: RegisterAsOneOf(RegisterWith{User: "2001"}).Until(RegisterWith{User: "2002", Expires: 300}), events: events{registered("2001"), registered("2002")}, want: final},
		"RegisterAsOneOf: the old one for now":  {m: RegisterAsOneOf(RegisterWith{User: "2001"}).Until(RegisterWith{User: "2002", Expires: 300}), events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "not yet known"}},
		"RegisterAsOneOf: the old one for good": {m: RegisterAsOneOf(RegisterWith{User: "2001"}).Until(RegisterWith{User: "2002", Expires: 300}), events: events{registered("2001"), registered("2001")}, closed: true, want: final},
		"RegisterAsOneOf: two of them":          {m: RegisterAsOneOf(RegisterWith{User: "2001"}, RegisterWith{User: "2002"}), events: events{registered("2002"), registered("2001")}, closed: true, want: final},
		"RegisterAsOneOf: not yet known":        {m: RegisterAsOneOf(RegisterWith{User: "2001"}), events: events{registered("2001")}, want: Verdict{Line: 1, Problem: "not yet known"}},
		"RegisterAsOneOf: in part, later":       {m: RegisterAsOneOf(RegisterWith{User: "2001"}).Until(RegisterWith{User: "2002", Expires: 300}), events: events{registered("2001"), registeredWith("2002", 60, "LG")}, want: wrong(2, "it registered as 2002 for 60 s")},
		"RegisterAsOneOf: in part, then whole":  {m: RegisterAsOneOf(RegisterWith{User: "2001"}).Until(RegisterWith{User: "2002", Expires: 300}), events: events{registeredWith("2002", 60, "LG"), registered("2002")}, want: wrong(1, "it registered as 2002 for 60 s")},
		"RegisterAsOneOf: applies-partial":      {m: RegisterAsOneOf(RegisterWith{User: "2001"}, RegisterWith{User: "2002", Expires: 300}), events: events{registered("2001"), registered("20")}, closed: true, want: wrong(2, "it registered as 20")},
		"RegisterAsOneOf: in part":              {m: RegisterAsOneOf(RegisterWith{User: "2001", Expires: 60}, RegisterWith{User: "2002", Expires: 90}), events: events{registeredWith("2002", 60, "LG")}, want: wrong(1, "it registered as 2002 for 60 s")},
		"RegisterAsOneOf: never":                {m: RegisterAsOneOf(RegisterWith{User: "2001"}), closed: true, want: wrong(1, "it did not register")},
		"RebootAtMost: not yet known":           {m: RebootAtMost(1), events: events{rebooted(), registered("2001")}, want: Verdict{Problem: "not yet known"}},
		"RebootAtMost: once":                    {m: RebootAtMost(1), events: events{rebooted()}, closed: true, want: final},
		"RebootAtMost: version-loop":            {m: RebootAtMost(1), events: events{rebooted(), rebooted()}, want: wrong(2, "it rebooted twice")},
		"RebootAtMost: not at all":              {m: RebootAtMost(0), events: events{rebooted()}, want: wrong(1, "it rebooted once")},
		"AskAtMost: twice":                      {m: AskAtMost(Step{Name: "a"}, 2), events: events{rrq("a"), rrq("b"), rrq("a")}, closed: true, want: final},
		"AskAtMost: not yet known":              {m: AskAtMost(Step{Name: "a"}, 2), events: events{rrq("a")}, want: Verdict{Line: 1, Problem: "not yet known"}},
		"AskAtMost: retries-forever":            {m: AskAtMost(Step{Name: "a"}, 2), events: events{rrq("a"), rrq("a"), rrq("a")}, want: wrong(3, "it asked 3 times")},
		"AskAtMost: not asked":                  {m: AskAtMost(Step{Name: "a"}, 2), closed: true, want: wrong(1, "it did not ask")},
		"AckOncePerBlock: each once":            {m: AckOncePerBlock("a"), events: events{block(1), acked(1), block(1), acked(1), block(2), acked(2)}, closed: true, want: Verdict{OK: true, Final: true, Line: 0}},
		"AckOncePerBlock: doubles-acks":         {m: AckOncePerBlock("a"), events: events{block(1), acked(1), block(1), acked(1), acked(1)}, want: wrong(1, "block 1 was acknowledged once more than it came")},
		"AckOncePerBlock: not yet known":        {m: AckOncePerBlock("a"), events: events{block(1), acked(1)}, want: Verdict{Line: 1, Problem: "not yet known"}},
		"AckOncePerBlock: never sent":           {m: AckOncePerBlock("a"), closed: true, want: wrong(1, "a was not sent")},
		"AckOncePerBlock: an OACK is number 0":  {m: AckOncePerBlock("a"), events: events{acked(0), block(1), acked(1)}, closed: true, want: final},

		"lost frames spoil what rests on absence":   {m: RebootOnce(), events: events{lost(), rebooted(), registered("2001")}, want: Verdict{Final: true, Unfit: "frames lost"}},
		"lost frames spoil absence":                 {m: Reboot(), events: events{lost()}, closed: true, want: Verdict{Final: true, Line: 1, Problem: "it did not", Unfit: "frames lost"}},
		"lost frames do not spoil what was seen":    {m: Reboot(), events: events{lost(), rebooted()}, want: final},
		"lost frames: what was seen may still come": {m: Reboot(), events: events{lost()}, want: Verdict{Line: 1, Problem: "it did not", Unfit: "frames lost"}},
		"a stepped clock spoils as well":            {m: AskFirst(global()), events: more(events{{By: "recorder", Kind: timeline.ClockStepped}}, routine()...), want: Verdict{Final: true, Unfit: "clock stepped"}},
	}
}

func rrq(file string) timeline.Event {
	e := wire(phoneMAC, timeline.TFTPRead, "192.0.2.10:2001", "192.0.2.1:69")
	e.File = file
	return e
}

func block(n int) timeline.Event {
	e := wire(rigMAC, timeline.TFTPData, "192.0.2.1:3001", "192.0.2.10:2001")
	e.File, e.Number = "a", n
	return e
}

func acked(n int) timeline.Event {
	e := wire(phoneMAC, timeline.TFTPAck, "192.0.2.10:2001", "192.0.2.1:3001")
	e.File, e.Number = "a", n
	return e
}

func TestJudge(t *testing.T) {
	for name, c := range judgeCases() {
		t.Run(name, func(t *testing.T) {
			tl, w := tell(c.events...)
			if c.closed {
				shut(tl)
			}
			v := c.m.Judge(w.View())
			got := Verdict{OK: v.OK, Final: v.Final, Line: v.Line, Problem: v.Problem, Unfit: v.Unfit, NotReached: v.NotReached}
			if strings.Contains(v.Problem, c.want.Problem) && (c.want.Problem != "" || v.OK || v.Unfit != "") {
				got.Problem = c.want.Problem
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: got %+v, want %+v\nof %+v", c.m.Claim(), got, c.want, v)
			}
			if again := c.m.Judge(w.ViewAt(tl.Len(), tl.Watermark())); !reflect.DeepEqual(again, v) {
				t.Errorf("judged again: %+v, want %+v", again, v)
			}
		})
	}
}

// TestAFinalVerdictStands plays each story event by event: once a verdict was
// final, nothing that comes may change it.
func TestAFinalVerdictStands(t *testing.T) {
	for name, c := range judgeCases() {
		t.Run(name, func(t *testing.T) {
			tl, w := tell(more(c.events, rebooted(), asked("VER"), registered("2001"), handshake("3001", "good", true), request("3001", "x"))...)
			var final *Verdict
			for upto := range tl.Len() + 1 {
				v := c.m.Judge(w.ViewAt(upto, start()))
				if final != nil && v.Unfit == "" && (v.OK != final.OK || !v.Final) {
					t.Fatalf("with %d events %+v, before it was final as %+v", upto, v, *final)
				}
				if v.Final && final == nil {
					final = &v
				}
			}
		})
	}
}

func TestAWindowThatNeverBegan(t *testing.T) {
	tl, w := tell(registered("2001"))
	up := w.After(timeline.FactRebooted()).Within(time.Minute)
	m := RegisterAs("2001")

	v := m.Judge(up.View())
	if v.OK || v.Final || v.NotReached != "" || !strings.Contains(v.Problem, "waiting for rebooted") {
		t.Errorf("before the window closed: %+v", v)
	}
	shut(tl)
	v = m.Judge(up.View())
	if v.OK || !v.Final || v.NotReached != "rebooted (within 1m0s)" || len(v.Expected) == 0 {
		t.Errorf("after the window closed: %+v", v)
	}
}

func TestHoldsVersion(t *testing.T) {
	for text, want := range map[string]bool{
		"LG-Ericsson IP8830 v1.2.3 SN/00": true, "1.2.3": true, "fw-1.2.3,x": true, "1.2.3.": true, "x11.2.3 1.2.3": true,
		"1.2.34": false, "1.2.3.4": false, "11.2.3": false, "0.1.2.3": false, "1.2.3b": false, "": false, "1.2": false,
	} {
		if got := holdsVersion(text, "1.2.3"); got != want {
			t.Errorf("holdsVersion(%q): %v, want %v", text, got, want)
		}
	}
	if holdsVersion("anything", "") {
		t.Error("the empty version is held by nothing")
	}
}
