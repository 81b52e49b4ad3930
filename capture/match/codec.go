package match

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Encode writes a matcher down: its name, and what it was made with as JSON.
func Encode(m Matcher) (name string, args json.RawMessage) {
	b, err := json.Marshal(m)
	if err != nil {
		b = []byte("null") // cannot happen: matchers hold strings and numbers only
	}
	return m.Name(), b
}

// Decode reads what Encode wrote. A field that the matcher does not have is an
// error: the recording is then of another version of the rig.
func Decode(name string, args json.RawMessage) (Matcher, error) {
	switch name {
	case "AskFor":
		return read[askFor](name, args)
	case "AskInOrder":
		return read[askInOrder](name, args)
	case "AskBefore":
		return read[askBefore](name, args)
	case "AskFirst":
		return read[askFirst](name, args)
	case "Ask":
		return read[ask](name, args)
	case "AskOver":
		return read[askOver](name, args)
	case "AskServer":
		return read[askServer](name, args)
	case "AskAlike":
		return read[askAlike](name, args)
	case "Download":
		return read[download](name, args)
	case "DownloadOnly":
		return read[Downloading](name, args)
	case "GiveUpOn":
		return read[giveUpOn](name, args)
	case "Reboot":
		return read[reboot](name, args)
	case "RebootOnce":
		return read[rebootOnce](name, args)
	case "RebootAfterAsking":
		return read[rebootAfterAsking](name, args)
	case "RegisterWith":
		return read[RegisterWith](name, args)
	case "Run":
		return read[Running](name, args)
	case "RefuseCertificate":
		return read[refuseCertificate](name, args)
	case "SendNothingAfterRefusal":
		return read[sendNothingAfterRefusal](name, args)
	case "AcceptCertificate":
		return read[acceptCertificate](name, args)
	case "OpenTLS":
		return read[openTLS](name, args)
	case "Authenticate":
		return read[authenticate](name, args)
	case "OfferCredentialsUnasked":
		return read[offerCredentialsUnasked](name, args)
	case "SendOnlyFrom":
		return read[sendOnlyFrom](name, args)
	case "ContactHost":
		return read[contactHost](name, args)
	case "AskTime":
		return read[askTime](name, args)
	case "Fire":
		return read[fire](name, args)
	case "Renew", "Rebind", "BeginAnew":
		return read[extend](name, args)
	case "RegisterFromLease":
		return read[registerFromLease](name, args)
	case "RegisterAsOneOf":
		return read[OneOf](name, args)
	case "RebootAtMost":
		return read[rebootAtMost](name, args)
	case "AskAtMost":
		return read[askAtMost](name, args)
	case "AckOncePerBlock":
		return read[ackOncePerBlock](name, args)
	}
	return nil, fmt.Errorf("unknown matcher %q", name)
}

func read[M Matcher](name string, args json.RawMessage) (Matcher, error) {
	var m M
	if err := readInto(name, args, &m); err != nil {
		return nil, err
	}
	return m, nil
}

func readInto(name string, args json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("arguments of %s: %v", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("arguments of %s: more than one value", name)
	}
	return nil
}
