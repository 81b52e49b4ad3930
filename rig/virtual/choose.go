package virtual

import (
	"context"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/flash"
)

// chooser decides where a cycle fetches its files from.
type chooser struct{ transports }

// choose is the guide's choice of the transport: HTTP or HTTPS with the URL of
// the DHCP option, if that is populated; else with the URL held in memory; else
// TFTP. It returns nil when there is no server to ask. What nobody says:
//   - an option that is populated with what is no URL means HTTP all the same,
//     so this cycle asks nobody;
//   - blanks and NULs at its ends do not count, and only they leave it empty;
//   - which of two URLs counts, and what follows when the server cannot be
//     reached, are facts.
func (c *chooser) choose(ctx context.Context) source {
	set, lease := c.settings(), c.net.current()
	number := set.optionNumber()
	if c.has(defect.OptionNumberFixed) {
		number = optURL
	}
	option := strings.Trim(lease.Text(number), " \t\r\n\x00")
	stored := strings.TrimSpace(set.fact(model.StoredURLField, 0))
	if c.has(defect.ForgetsURL) {
		stored = ""
	}
	offered := option != "" && set.enabled(dhcpGetHTTP)
	switch {
	case offered && (stored == "" || c.cfg.Facts.Text(model.URLPrecedence) == "offered"):
		src, err := c.overHTTP(set, option)
		if err != nil {
			c.log.Warn("option cannot be used", "number", number, "error", err)
			if c.has(defect.MalformedURLHangs) {
				<-ctx.Done()
			}
			if c.has(defect.MalformedURLWipes) {
				c.forgetLines()
			}
			return nil
		}
		c.remember(set, option)
		if c.has(defect.RRQBesideURL) && set.fact(model.DownloadFlagFields, 0) != "disable" {
			c.askBeside(ctx, set, lease, defect.RRQBesideURL, c.cfg.Model.GlobalFile())
		}
		return src
	case stored != "":
		src, err := c.overHTTP(set, storedURL(set, stored))
		if err != nil {
			c.log.Warn("stored URL cannot be used", "error", err)
			return nil
		}
		return src
	}
	server, err := c.tftpServer(ctx, set, lease)
	if err != nil {
		c.log.Warn("no TFTP server", "error", err)
		return nil
	}
	if c.has(defect.HTTPAtTFTPServer) && set.fact(model.DownloadFlagFields, 0) != "disable" {
		c.askByHTTP(ctx, set, server)
	}
	return c.overTFTP(server)
}

// remember stores the URL of the DHCP option in memory, where the fact says so.
func (c *chooser) remember(set settings, option string) {
	fields := c.cfg.Facts.Fields(model.StoredURLField)
	if !c.cfg.Facts.Yes(model.OfferedURLRemembered) && !c.has(defect.RemembersOfferedURL) ||
		len(fields) == 0 || set.get(fields[0]) == option {
		return
	}
	c.store(func(s *flash.State) { s.Set(fields[0], option) })
	c.log.Info("offered URL is remembered")
}

// fallback is what a cycle goes on with after a source that was of no use: TFTP
// after an HTTP server that could not be reached, where the fact says so, else
// nothing. A refused certificate leads nowhere.
func (c *chooser) fallback(ctx context.Context, src source) source {
	w, ok := src.(*web)
	if !ok || ctx.Err() != nil {
		return nil
	}
	switch {
	case w.refused && c.has(defect.TFTPAfterRefusal):
	case w.unreached() && w.givesUp():
	default:
		return nil
	}
	server, err := c.tftpServer(ctx, c.settings(), c.net.current())
	if err != nil {
		c.log.Warn("no TFTP server to fall back to", "error", err)
		return nil
	}
	return c.overTFTP(server)
}

// storedURL completes what the memory holds: the field is that of an HTTPS URL
// and has a port beside it (68), so a value without a scheme is https, and one
// without a port has that port.
func storedURL(set settings, stored string) string {
	if !strings.Contains(stored, "://") {
		stored = "https://" + stored
	}
	u, err := url.Parse(stored)
	if err != nil || u.Port() != "" || !strings.EqualFold(u.Scheme, "https") {
		return stored
	}
	if port := set.number(httpsPort); port > 0 && port != 443 {
		u.Host += ":" + strconv.Itoa(port)
	}
	return u.String()
}

// askBeside asks for a file by TFTP too, as a defect has it.
func (c *chooser) askBeside(ctx context.Context, set settings, lease dhcpc.Lease, why defect.Name, file string) {
	server, err := c.tftpServer(ctx, set, lease)
	if err != nil {
		server = netip.AddrPortFrom(lease.Server, 0)
	}
	_, err = c.overTFTP(server).get(ctx, file)
	c.log.Info("defect "+string(why), "error", err)
}

// askByHTTP is the defect http-at-tftp-server.
func (c *chooser) askByHTTP(ctx context.Context, set settings, server netip.AddrPort) {
	w, err := c.overHTTP(set, "http://"+server.Addr().String())
	if err == nil {
		w.client.Tries = 1
		_, err = w.get(ctx, c.cfg.Model.GlobalFile())
		w.close()
	}
	c.log.Info("defect "+string(defect.HTTPAtTFTPServer), "error", err)
}
