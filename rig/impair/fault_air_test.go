package impair_test

import (
	"testing"
	"time"

	"ip88rig/rig/impair"
)

func TestAirSaysWhatItDoes(t *testing.T) {
	const s = time.Second
	says(t, []said{
		{impair.Air{Does: impair.Deauth, Back: s}, "de-authenticates the module, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Restart, For: s, Back: s}, "takes the access point away for 1s, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.WrongPassphrase, For: s, Back: s}, "has the access point want another passphrase for 1s, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Roam, Back: s}, "leaves the module another access point, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Channel, Back: s}, "moves the access point to another channel, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Roam}, "", "more than 0 to come back"},
		{impair.Air{Does: impair.Roam, For: s, Back: s}, "", "what does not 0"},
		{impair.Air{Does: impair.Restart, Back: s}, "", "what lasts needs more than 0"},
		{impair.Air{Does: "passphrase-right", For: s, Back: s}, "", "an access point does no"},
	})
}
