package match

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source is the code of the package without its tests.
func source(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// typesOf are the types of a registry.
func typesOf[T any](r registry[T]) []string {
	var types []string
	for _, zero := range r {
		types = append(types, strings.TrimPrefix(fmt.Sprintf("%T", zero), "match."))
	}
	slices.Sort(types)
	return types
}

// TestEverythingIsRegistered compares the registries with the constructors: what
// is not registered cannot be read from a journal.
func TestEverythingIsRegistered(t *testing.T) {
	found := func(pattern string) []string {
		var types []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(source(t), -1) {
			types = append(types, m[1])
		}
		slices.Sort(types)
		return types
	}
	constructed := append(found(`return (?:claims\(|\w+\{claim\[)(\w+)[{\]]`), "RegisterWith") // which is made without a constructor
	slices.Sort(constructed)
	if got := typesOf(matchers()); !slices.Equal(got, constructed) {
		t.Errorf("registered are the matchers\n%v, and there are constructors of\n%v", got, constructed)
	}
	if got, want := typesOf(observations()), found(`\(m (\w+)\) Measure\(`); !slices.Equal(got, want) {
		t.Errorf("registered are the observations\n%v, and there are\n%v", got, want)
	}
}

// TestJournalsOfBefore reads of each matcher what earlier versions of the rig
// wrote.
func TestJournalsOfBefore(t *testing.T) {
	written := map[string]string{
		"AskFor":                  `{"steps":[{"name":"global file","files":["sysconf_8830_sip.cfg"]}]}`,
		"AskInOrder":              `{"steps":[{"name":"a"}]}`,
		"AskBefore":               `{"first":{"name":"a"},"then":{"name":"b"}}`,
		"AskFirst":                `{"step":{"name":"a"}}`,
		"Ask":                     `{"step":{"name":"a"}}`,
		"AskOver":                 `{"transport":"tftp"}`,
		"AskServer":               `{"server":"192.0.2.1"}`,
		"AskAlike":                `{"like":{"name":"a"},"step":{"name":"b"}}`,
		"Download":                `{"files":[{"name":"a","sha256":"aa","bytes":3}]}`,
		"DownloadOnly":            `{"files":[{"name":"a"}],"listed":["b"],"version":{"name":"v"},"routine":[{"name":"r"}]}`,
		"GiveUpOn":                `{"file":"a"}`,
		"Reboot":                  `{}`,
		"RebootOnce":              `{}`,
		"RebootAfterAsking":       `{"step":{"name":"a"}}`,
		"RegisterWith":            `{"user":"2001","expires":60,"agent":"x","port":5060,"proxy":"192.0.2.1"}`,
		"Run":                     `{"version":"1.2","anyagent":true,"step":{"name":"v"},"listed":["a"]}`,
		"RefuseCertificate":       `{"certs":["expired"]}`,
		"SendNothingAfterRefusal": `{}`,
		"AcceptCertificate":       `{"certs":["good"]}`,
		"OpenTLS":                 `{}`,
		"Authenticate":            `{"scheme":"Basic","user":"rig"}`,
		"OfferCredentialsUnasked": `{}`,
		"SendOnlyFrom":            `{"mac":"00:00:5e:00:53:01"}`,
		"ContactHost":             `{"addr":"192.0.2.1:80"}`,
		"AskTime":                 `{"server":"192.0.2.1"}`,
		"Renew":                   `{}`,
		"Rebind":                  `{"rebind":true}`,
		"BeginAnew":               `{"anew":true}`,
		"RegisterFromLease":       `{}`,
		"RegisterAsOneOf":         `{"lines":[{"user":"2001"}],"end":{"user":"2002"}}`,
		"RebootAtMost":            `{"times":2}`,
		"AskAtMost":               `{"step":{"name":"a"},"times":2}`,
		"AckOncePerBlock":         `{"file":"a"}`,
		"Fire":                    `{"fact":{"name":"booted","kinds":["booted","rebooted"]}}`,
	}
	for name := range matchers() {
		args, ok := written[name]
		if !ok {
			t.Errorf("what was written of %s is missing", name)
			continue
		}
		m, err := Decode(name, json.RawMessage(args))
		if err != nil {
			t.Error(err)
			continue
		}
		if again, b := Encode(m); again != name || string(b) != args {
			t.Errorf("%s %s is written again as %s %s", name, args, again, b)
		}
	}
}

// TestEveryObservationIsMeasured holds the table of the other tests complete.
func TestEveryObservationIsMeasured(t *testing.T) {
	measured := map[string]bool{}
	for _, c := range observationCases() {
		name, _ := EncodeObservation(c.o)
		measured[name] = true
	}
	for name := range observations() {
		if !measured[name] {
			t.Errorf("%s is not measured in any test", name)
		}
	}
}
