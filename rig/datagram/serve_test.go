package datagram_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/datagram"
	"ip88rig/rig/datagram/memnet"
)

func TestServeAnswersInOrderAndLateOnesBesides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		conn, client := network.MustListen(t, asked), network.MustListen(t, handset)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var did []string
		served := make(chan error, 1)
		go func() { // ends with ctx
			served <- datagram.Upgrade(conn).Serve(ctx, func(b []byte, from, to netip.AddrPort) datagram.Reply {
				if from.String() != handset || to.String() != asked {
					t.Errorf("from %v to %v", from, to)
				}
				word := string(b)
				send := func(context.Context) {
					mu.Lock()
					defer mu.Unlock()
					did = append(did, word)
				}
				switch word {
				case "nothing":
					return datagram.Reply{}
				case "late":
					return datagram.Reply{Delay: time.Minute, Send: send}
				case "never":
					return datagram.Reply{Delay: time.Hour, Send: send}
				}
				return datagram.Reply{Send: send}
			})
		}()
		for _, word := range []string{"never", "late", "nothing", "at once"} {
			if _, err := client.WriteTo([]byte(word), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(asked))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Minute) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if want := []string{"at once", "late"}; !slices.Equal(did, want) {
			t.Errorf("sent %q, want %q", did, want)
		}
	})
}

func TestReleaseSendsWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		conn, client := network.MustListen(t, asked), network.MustListen(t, handset)
		ctx, cancel := context.WithCancel(t.Context())
		socket := datagram.Upgrade(conn)
		began := time.Now()
		var sent []time.Duration
		served := make(chan error, 1)
		go func() { // ends with ctx
			served <- socket.Serve(ctx, func([]byte, netip.AddrPort, netip.AddrPort) datagram.Reply {
				return datagram.Reply{Delay: time.Hour, Send: func(context.Context) { sent = append(sent, time.Since(began)) }}
			})
		}()
		ask := func() {
			if _, err := client.WriteTo([]byte("late"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(asked))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		ask()
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble's time
		socket.Release()
		synctest.Wait()
		ask()                     // is not released by what came before it
		time.Sleep(2 * time.Hour) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if want := []time.Duration{time.Minute, time.Hour + time.Minute}; !slices.Equal(sent, want) {
			t.Errorf("sent after %v, want %v", sent, want)
		}
	})
}

func TestServeSaysThatItsSocketFailed(t *testing.T) {
	conn := memnet.New().MustListen(t, asked)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	err := datagram.Upgrade(conn).Serve(t.Context(), nil)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that the socket is closed", err)
	}
}
