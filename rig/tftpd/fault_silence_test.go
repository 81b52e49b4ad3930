package tftpd_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestSilence(t *testing.T) {
	t.Run("silence holds until the host asks anew", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["image.rom"] = content(4000)
			b.faults.Add(fault.On("image.rom").Do(tftpd.FallSilent{AfterBytes: 1024}).Times(2))
			b.start()
			for i := range 2 {
				c := b.client(fmt.Sprintf("192.0.2.7:%d", 2001+i))
				c.ask(rrq("image.rom", "octet"))
				for n := 1; n <= 2; n++ {
					c.expect("before the silence", data(n, content(4000)[(n-1)*512:n*512]))
					c.send(ack(n))
				}
				c.expectNothing(time.Hour)
				transfer := c.peer
				c.send(ack(2))
				c.expectNothing(time.Hour)
				if !b.net.Open(transfer) {
					t.Error("the silent transfer's port is closed, which a client may notice")
				}
			}
			got, err := b.client("192.0.2.7:2003").fetch("image.rom")
			if err != nil || len(got) != 4000 {
				t.Errorf("third try: %d bytes, %v", len(got), err)
			}
			synctest.Wait()
			served := b.of(timeline.Served)
			if len(served) != 3 || served[1].Bytes != 1024 || served[1].Reason != "block 3: fell silent, as told" || !served[2].Complete {
				t.Errorf("journal has %+v, want two silent transfers and a complete one", served)
			}
			if n := b.net.Ports(); n != 4 {
				t.Errorf("%d ports are open, want those of server and clients", n)
			}
		})
	})
	t.Run("silence from the start swallows the same request only for a lifetime", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = []byte("x")
			b.faults.Add(fault.On("RRQ").Do(tftpd.FallSilent{}).Once())
			b.start()
			c := b.client(handset)
			for range 5 {
				c.ask(rrq("own", "octet", "tsize", "0"))
				c.expectNothing(time.Second)
			}
			c.ask(rrq("own", "octet", "tsize", "0"))
			c.expect("OACK", oack("tsize", "1"))
		})
	})
}

// TestSilenceBeyondTheFileIsNone serves a file that ends where the silence would
// begin, or before: the rule has no occasion.
func TestSilenceBeyondTheFileIsNone(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		after int
		on    fault.Rule
		fires bool
	}{
		{"a byte after", 600, 599, fault.On("own"), true},
		{"at the end", 600, 600, fault.On("own"), false},
		{"behind it", 600, 601, fault.On("own"), false},
		{"at the end of whole blocks, before the empty one", 1024, 1024, fault.On("own"), false},
		{"at the end, on a block", 600, 600, fault.On("DATA").During("block 2"), false},
		{"an empty file has a block", 0, 0, fault.On("own"), true},
		{"of an empty file", 0, 1, fault.On("own"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(c.size)
				b.faults.Add(c.on.Do(tftpd.FallSilent{AfterBytes: c.after}))
				b.start()
				cl := b.client(handset)
				if c.fires {
					cl.begin()
					if c.size > 512 {
						cl.take(c.size, 1)
					}
					cl.expectNothing(time.Hour)
				} else if got, err := cl.fetch("own"); err != nil || len(got) != c.size {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				synctest.Wait()
				fired := b.faults.Ledger()[0].Fired
				if (fired == 1) != c.fires || fired > 1 || len(b.of(timeline.FaultFired)) != fired {
					t.Errorf("fired %d times, want %t", fired, c.fires)
				}
				if odd := b.of(timeline.ServiceOddity); odd != nil {
					t.Errorf("oddities %+v", odd)
				}
			})
		})
	}
}

// TestSilenceOfARefusal has no file to fall silent in.
func TestSilenceOfARefusal(t *testing.T) {
	for _, c := range []struct {
		name  string
		after int
		on    string
		want  []byte
	}{
		{"from the start, on the request", 0, "RRQ", nil},
		{"from the start, on the ERROR", 0, "ERROR", nil},
		{"from the start, on the file", 0, "nothing", nil},
		{"after bytes that do not come", 7, "nothing", failure(1, "file not found")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.faults.Add(fault.On(c.on).Do(tftpd.FallSilent{AfterBytes: c.after}).Once())
				b.start()
				cl := b.client(handset)
				cl.ask(rrq("nothing", "octet"))
				if c.want == nil {
					cl.expectNothing(time.Hour)
				} else {
					cl.expect("ERROR", c.want)
				}
				if got, want := b.faults.Ledger()[0].Fired == 1, c.want == nil; got != want {
					t.Errorf("fired %t, want %t", got, want)
				}
				if got, want := strings.HasSuffix(b.served().Reason, "as told"), c.want == nil; got != want {
					t.Errorf("journal has %+v", b.served())
				}
			})
		})
	}
}

// TestSilenceThatAnotherFaultForestalls cannot come any more: the run knows.
func TestSilenceThatAnotherFaultForestalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(2000)
		b.faults.Add(fault.On("own").Do(tftpd.FallSilent{AfterBytes: 1500}).Once())
		b.faults.Add(fault.On("DATA").During("block 2").Do(tftpd.Resize{To: 10}).Once())
		b.start()
		c := b.client(handset)
		c.begin()
		c.take(2000, 1)
		c.expect("a short block 2", data(2, content(2000)[512:522]))
		c.send(ack(2))
		c.expectNothing(time.Minute)
		odd := b.of(timeline.ServiceOddity)
		if len(odd) != 1 || odd[0].Fields[timeline.FaultUndone] != "falls silent after 1500 bytes" || odd[0].Reason != "the client had all of the file after 522 bytes" {
			t.Errorf("oddities %+v, want the fault that was not done", odd)
		}
	})
}

// TestSilenceThatNeverCame: the fault counts as fired from the request on, so
// that a transfer that ends before says that there was none.
func TestSilenceThatNeverCame(t *testing.T) {
	for _, c := range []struct {
		name string
		last []byte // what the client says at block 2
		want string
	}{
		{"the client gives up", failure(0, "enough"), `the transfer ended after 512 bytes: block 2: the client sent ERROR 0 "enough"`},
		{"the client is gone", nil, "the transfer ended after 512 bytes: block 2: timeout after 5 tries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(2000)
				b.faults.Add(fault.On("own").Do(tftpd.FallSilent{AfterBytes: 1500}).Once())
				b.start()
				cl := b.client(handset)
				cl.begin()
				cl.take(2000, 1)
				if c.last != nil {
					cl.send(c.last)
				}
				<-time.After(time.Hour)
				odd := b.of(timeline.ServiceOddity)
				if len(odd) != 1 || odd[0].Fields[timeline.FaultUndone] != "falls silent after 1500 bytes" || odd[0].Reason != c.want {
					t.Errorf("oddities %+v, want the fault that was not done", odd)
				}
			})
		})
	}
}
