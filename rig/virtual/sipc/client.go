package sipc

import (
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"
)

// clientTx is a non-INVITE client transaction (RFC 3261, 17.1.2).
type clientTx struct {
	method   string
	raw      []byte
	to       netip.AddrPort
	interval time.Duration
	resend   *alarm
	give     *alarm
	done     func(*sip.Response) // nil for silence
}

// clients are the transactions of our own requests.
type clients struct {
	*endpoint

	open map[string]*clientTx // by branch
}

// start sends a request and repeats it until it is answered, or given up.
func (c *clients) start(method, branch string, raw []byte, to netip.AddrPort, done func(*sip.Response)) {
	tx := &clientTx{method: method, raw: raw, to: to, interval: c.cfg.T1, done: done}
	c.open[branch] = tx
	c.send(to, raw)
	tx.resend = c.after(tx.interval, func() { c.again(tx) })
	tx.give = c.after(timeoutT1s*c.cfg.T1, func() { c.finish(branch, nil) })
}

func (c *clients) again(tx *clientTx) {
	c.send(tx.to, tx.raw)
	tx.interval = min(2*tx.interval, slowestT1s*c.cfg.T1)
	tx.resend = c.after(tx.interval, func() { c.again(tx) })
}

func (c *clients) finish(branch string, res *sip.Response) {
	tx := c.open[branch]
	delete(c.open, branch)
	c.cancel(tx.resend)
	c.cancel(tx.give)
	if tx.done != nil {
		tx.done(res)
	}
}

func (c *clients) response(res *sip.Response) {
	branch, _ := res.Via().Params.Get("branch")
	tx, ok := c.open[branch]
	if !ok || tx.method != string(res.CSeq().MethodName) {
		return
	}
	if res.StatusCode < 200 {
		tx.interval = slowestT1s * c.cfg.T1
		return
	}
	c.finish(branch, res)
}
