// Package dnsc looks up IPv4 addresses as the simulated handset does: a stub
// resolver after RFC 1034, 5.3.1 and RFC 1035 over UDP, on sockets that are
// handed in.
package dnsc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Errors that a caller may decide on.
var (
	// ErrNotFound is returned when the name, or an address of it, does not exist.
	ErrNotFound = errors.New("dns: no such name")
	// ErrTimeout is returned when no server gave a usable answer.
	ErrTimeout = errors.New("dns: no server answered")
)

const (
	port           = 53
	longest        = 4096 // of an answer, in bytes: nobody is asked for more than 512 (RFC 1035, 4.2.1)
	maxAliases     = 8
	defaultTimeout = 5 * time.Second
	defaultTries   = 2
)

// Config says whom to ask.
type Config struct {
	// Listen opens a socket for one question.
	Listen func(ctx context.Context) (net.PacketConn, error)
	// Servers are asked in their order.
	Servers []netip.Addr
	// Timeout is waited for each answer; 5 s when 0.
	Timeout time.Duration
	// Tries is how often the whole list is gone through; 2 when 0.
	Tries int
	// Seed makes the query numbers repeatable; 0 is different each time.
	Seed uint64
}

// Lookup returns the first IPv4 address of a name, following aliases within an
// answer and by asking again. A literal address is returned as it is.
func Lookup(ctx context.Context, cfg Config, name string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr, nil
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return netip.Addr{}, fmt.Errorf("%w: %q is not a domain name", ErrNotFound, name)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Tries <= 0 {
		cfg.Tries = defaultTries
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64() //nolint:gosec // a stub resolver on a test wire
	}
	random := rand.New(rand.NewPCG(cfg.Seed, hash(name))) //nolint:gosec // repeatable on purpose
	asked := dns.Fqdn(name)
	for range maxAliases {
		addr, alias, err := resolve(ctx, cfg, random, asked)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("%w (name %s)", err, name)
		}
		if alias == "" {
			return addr, nil
		}
		asked = alias
	}
	return netip.Addr{}, fmt.Errorf("%w (name %s): too many aliases", ErrNotFound, name)
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(s) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// resolve asks one name, server after server, until one of them knows.
func resolve(ctx context.Context, cfg Config, random *rand.Rand, name string) (addr netip.Addr, alias string, err error) {
	var errs []error
	for range cfg.Tries {
		for _, server := range cfg.Servers {
			reply, err := ask(ctx, cfg, server, uint16(random.Uint32()), name) //nolint:gosec // truncated on purpose
			switch {
			case ctx.Err() != nil:
				return netip.Addr{}, "", ctx.Err()
			case err != nil:
				errs = append(errs, fmt.Errorf("%v: %w", server, err))
			case reply.Rcode == dns.RcodeNameError:
				return netip.Addr{}, "", ErrNotFound
			case reply.Rcode == dns.RcodeSuccess:
				addr, alias, err := pick(reply, name)
				if err == nil || !reply.Truncated {
					return addr, alias, err
				}
				errs = append(errs, fmt.Errorf("%v: answer cut off before an address", server))
			default:
				errs = append(errs, fmt.Errorf("%v: %s", server, dns.RcodeToString[reply.Rcode]))
			}
		}
	}
	return netip.Addr{}, "", errors.Join(append([]error{ErrTimeout}, errs...)...)
}

// pick follows the aliases of an answer to an address, or to an alias that has
// none in this answer.
func pick(reply *dns.Msg, name string) (addr netip.Addr, alias string, err error) {
	current := name
	for range maxAliases {
		next := ""
		for _, rr := range reply.Answer {
			if !strings.EqualFold(rr.Header().Name, current) || rr.Header().Class != dns.ClassINET {
				continue
			}
			switch rr := rr.(type) {
			case *dns.A:
				if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
					return a, "", nil
				}
			case *dns.CNAME:
				next = rr.Target
			}
		}
		if next == "" {
			break
		}
		current = next
	}
	if strings.EqualFold(current, name) {
		return netip.Addr{}, "", ErrNotFound
	}
	return netip.Addr{}, current, nil
}

// ask sends one question and waits for its answer, passing over packets that
// are not one.
func ask(ctx context.Context, cfg Config, server netip.Addr, id uint16, name string) (*dns.Msg, error) {
	conn, err := cfg.Listen(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()                                      //nolint:errcheck // nothing was written that could be lost
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck,gosec // it only wakes the reader
	defer stop()

	question := new(dns.Msg)
	question.SetQuestion(name, dns.TypeA)
	question.Id = id
	wire, err := question.Pack()
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(cfg.Timeout)); err != nil {
		return nil, err
	}
	to := netip.AddrPortFrom(server, port)
	if _, err := conn.WriteTo(wire, net.UDPAddrFromAddrPort(to)); err != nil {
		return nil, err
	}
	buf := make([]byte, longest)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return nil, err
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok || udp.AddrPort().Addr().Unmap() != server.Unmap() || udp.Port != port {
			continue
		}
		if reply := parse(buf[:n]); reply != nil && belongs(reply, question) {
			return reply, nil
		}
	}
}

func parse(p []byte) *dns.Msg {
	m := new(dns.Msg)
	if m.Unpack(p) != nil {
		return nil
	}
	return m
}

func belongs(reply, question *dns.Msg) bool {
	return reply.Response && reply.Id == question.Id && reply.Opcode == dns.OpcodeQuery && len(reply.Question) == 1 &&
		strings.EqualFold(reply.Question[0].Name, question.Question[0].Name) && reply.Question[0].Qtype == dns.TypeA
}
