package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ip88rig/rig/model"
)

// Rule says what a field may hold.
type Rule struct {
	// Default is the value in factory state.
	Default string
	// List allows several words without quotes.
	List bool
	// Check refuses a value that is out of range.
	Check func(string) error
}

// Rules is the table of fields: those that the documents of the line name, and
// those that the facts of this handset name besides.
type Rules struct {
	fields   map[model.Field]Rule
	sections []string
}

// MaxLines is the highest line button (68).
const MaxLines = 24

// NewRules returns the table for one handset.
func NewRules(facts model.Facts) Rules {
	r := Rules{fields: make(map[model.Field]Rule, 256)}
	for _, e := range table() {
		r = r.with(e.section, e.name, e.rule)
	}
	r.sections = append(r.sections, "ROUTE", "PROG") // they hold records only
	known := func(f model.Field, rule Rule) {
		if old, ok := r.Rule(f); !ok || old.Check == nil {
			r = r.with(f.Section, f.Name, rule)
		}
	}
	for _, f := range facts.Fields(model.MaskField) {
		r = r.with(f.Section, f.Name, Rule{Default: "7", Check: mask})
	}
	for _, f := range facts.Fields(model.OptionNumberField) {
		known(f, Rule{Check: blankOr(number(1, 254))})
	}
	for _, f := range facts.Fields(model.DownloadFlagFields) {
		known(f, Rule{Default: "enable", Check: words("enable", "disable")})
	}
	for _, name := range []string{model.RebootFields, model.PlainFields, model.WitnessFields, model.StoredURLField, model.CredentialFields} {
		for _, f := range facts.Fields(name) {
			known(f, Rule{Check: text(255)})
		}
	}
	return r
}

func (r Rules) with(section, name string, rule Rule) Rules {
	r.fields[model.Field{Section: section, Name: name}] = rule
	if !slices.Contains(r.sections, section) {
		r.sections = append(r.sections, section)
	}
	return r
}

func (r Rules) hasSection(name string) bool { return slices.Contains(r.sections, name) }

// Rule returns what a field may hold; ok is false for a field that the
// handset does not know.
func (r Rules) Rule(f model.Field) (rule Rule, ok bool) {
	if rule, ok = r.fields[f]; ok {
		return rule, true
	}
	if generic, ok := lineField(f.Name); ok {
		rule, ok = r.fields[model.Field{Section: f.Section, Name: generic}]
		return rule, ok
	}
	key, sub, ok := strings.Cut(f.Name, " ")
	if !ok || sub == "" || len(sub) > 120 {
		return Rule{}, false
	}
	switch {
	case f.Section == "SYSTEM" && key == "function":
		return Rule{Check: words("enable", "disable")}, true
	case f.Section == "DIAL" && key == "vsc":
		return Rule{Check: text(50)}, true
	case f.Section == "PROG" && key == "add":
		if number(3, MaxLines)(sub) != nil {
			return Rule{}, false
		}
		return Rule{List: true, Check: program}, true
	case f.Section == "ROUTE" && key == "add":
		return Rule{Check: blank}, route(sub)
	}
	return Rule{}, false
}

// Default returns a field's value in factory state, blank for one that the
// handset does not know.
func (r Rules) Default(f model.Field) string {
	rule, _ := r.Rule(f)
	return rule.Default
}

// Check refuses a value that the field may not hold, and an unknown field.
func (r Rules) Check(f model.Field, value string) error {
	rule, ok := r.Rule(f)
	if !ok {
		return fmt.Errorf("unknown field %s/%s", f.Section, f.Name)
	}
	if !rule.List && strings.ContainsAny(value, "\"\r\n") {
		return fmt.Errorf("%s/%s: %q cannot be stored", f.Section, f.Name, value)
	}
	if err := rule.Check(value); err != nil {
		return fmt.Errorf("%s/%s: %w", f.Section, f.Name, err)
	}
	return nil
}

// lineField turns line12_name into lineN_name.
func lineField(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "line")
	if !ok {
		return "", false
	}
	digits, field, ok := strings.Cut(rest, "_")
	if !ok || digits == "" || digits[0] == '0' || number(1, MaxLines)(digits) != nil {
		return "", false
	}
	return "lineN_" + field, true
}

type entry struct {
	section, name string
	rule          Rule
}

// table is section 2.3 of the facts: what the reference file of the family
// (88), the smaller IP8802 and the previous generation (68) name. Ranges and
// defaults of the previous generation may differ on the family.
func table() []entry {
	onoff := func(d string) Rule { return Rule{Default: d, Check: words("on", "off")} }
	able := func(d string) Rule { return Rule{Default: d, Check: words("enable", "disable")} }
	num := func(low, high int, d string) Rule { return Rule{Default: d, Check: number(low, high)} }
	txt := func(n int, d string) Rule { return Rule{Default: d, Check: text(n)} }
	bit := func(d string) Rule { return num(0, 1, d) }
	return []entry{
		{"LAN", "network_mode", Rule{Default: "dhcp", Check: words("dhcp", "static")}},
		{"LAN", "ipAddress", Rule{Check: blankOr(address)}},
		{"LAN", "subnetMask", Rule{Check: blankOr(address)}},
		{"LAN", "defaultGateway", Rule{Check: blankOr(address)}},
		{"LAN", "dns1_address", Rule{Check: blankOr(address)}},
		{"LAN", "dns2_address", Rule{Check: blankOr(address)}},
		{"LAN", "domain_name", txt(255, "")},
		{"LAN", "tftp_server_address", txt(255, "")},
		{"LAN", "tos", Rule{Default: "b8", Check: hexByte}},
		{"LAN", "phone_vlan_id", num(0, 4094, "0")},
		{"LAN", "pc_vlan_id", num(0, 4094, "0")},
		{"LAN", "phone_802_priority", num(-1, 7, "5")},
		{"LAN", "pc_802_priority", num(-1, 7, "3")},

		{"NETTIME", "sntp_server_address", txt(255, "")},
		{"NETTIME", "interval", num(0, 120, "24")},
		{"NETTIME", "timezone", num(1, 68, "3")},
		{"NETTIME", "dst_auto_adjust", onoff("on")},
		{"NETTIME", "dst_start_month", num(1, 12, "4")},
		{"NETTIME", "dst_stop_month", num(1, 12, "10")},
		{"NETTIME", "dst_start_day", num(0, 31, "0")},
		{"NETTIME", "dst_stop_day", num(0, 31, "0")},
		{"NETTIME", "dst_start_day_of_week", num(1, 7, "1")},
		{"NETTIME", "dst_stop_day_of_week", num(1, 7, "1")},
		{"NETTIME", "dst_start_week_of_month", num(1, 7, "1")},
		{"NETTIME", "dst_stop_week_of_month", num(1, 7, "7")},
		{"NETTIME", "dst_start_time", num(0, 23, "2")},
		{"NETTIME", "dst_stop_time", num(0, 23, "2")},
		{"NETTIME", "time_format", num(0, 2, "2")},

		{"VOIP", "lineN_name", txt(50, "")},
		{"VOIP", "lineN_authname", txt(50, "")},
		{"VOIP", "lineN_password", txt(50, "")},
		{"VOIP", "lineN_type", Rule{Default: "private", Check: words("private", "shared", "madn", "dss", "blf", "service", "DSS/BLF")}},
		{"VOIP", "lineN_dn", txt(50, "")},
		{"VOIP", "lineN_extension", txt(50, "")},
		{"VOIP", "lineN_displayname", txt(50, "")},
		{"VOIP", "lineN_proxy_address", txt(255, "10.1.1.250")},
		{"VOIP", "lineN_proxy_port", num(1024, 32000, "5060")},
		{"VOIP", "lineN_registration", able("enable")},
		{"VOIP", "lineN_bla_prim", txt(50, "")},
		{"VOIP", "lineN_acd_activity", txt(50, "")},
		{"VOIP", "lineN_acdgroupid", txt(50, "")},
		{"VOIP", "max_line_num", num(2, MaxLines, "")},
		{"VOIP", "preferred_codec", Rule{List: true, Check: each(words("g729", "pcmu", "pcma", "g723", "g722"))}},
		{"VOIP", "rtp_port", num(16300, 32700, "23000")},
		{"VOIP", "local_udp_port", num(1024, 32000, "5060")},
		{"VOIP", "timer_register_expires", num(0, 86400, "3600")},
		{"VOIP", "timer_subscribe_expires", num(0, 86400, "3600")},
		{"VOIP", "timer_t1", num(100, 640, "500")},
		{"VOIP", "timer_t2", num(641, 6400, "4000")},
		{"VOIP", "centralized_conference", able("disable")},
		{"VOIP", "supported_itsp", txt(50, "")},
		{"VOIP", "ippbx_server_type", txt(50, "")},
		{"VOIP", "options_timer", num(0, 86400, "0")},
		{"VOIP", "de_register", able("disable")},
		{"VOIP", "outbound_proxy_server", txt(255, "")},
		{"VOIP", "outbound_proxy_port", num(1024, 32000, "5060")},
		{"VOIP", "backup_proxy_server", txt(255, "")},
		{"VOIP", "backup_proxy_port", num(1024, 32000, "5060")},
		{"VOIP", "SIP_service_domain", txt(255, "")},
		{"VOIP", "moh_url", txt(255, "")},
		{"VOIP", "message_url", txt(255, "")},
		{"VOIP", "stun_server", txt(255, "")},
		{"VOIP", "prack_mode", able("disable")},
		{"VOIP", "user_param", able("disable")},
		{"VOIP", "replaces_mode", able("enable")},
		{"VOIP", "timer_session", num(0, 640, "0")},
		{"VOIP", "broadsoft_blf", able("disable")},
		{"VOIP", "blf_url", txt(255, "")},

		{"DSP", "ringer_off", onoff("on")},
		{"DSP", "VAD", onoff("off")},
		{"DSP", "dtmf_payload", num(96, 255, "101")},
		{"DSP", "frame_duration", num(10, 100, "20")},
		{"DSP", "headset_mode", able("disable")},
		{"DSP", "dtmf", Rule{Default: "nego", Check: words("inband", "nego", "rfc2833", "info")}},
		{"DSP", "ringtype0", Rule{Default: "425 440", List: true, Check: each(number(0, 20000))}},
		{"DSP", "ringtype1", Rule{Default: "530 555", List: true, Check: each(number(0, 20000))}},
		{"DSP", "cadence0", Rule{List: true, Check: each(number(0, 60000))}},
		{"DSP", "cadence1", Rule{List: true, Check: each(number(0, 60000))}},
		{"DSP", "cadence2", Rule{List: true, Check: each(number(0, 60000))}},
		{"DSP", "cadence3", Rule{List: true, Check: each(number(0, 60000))}},
		{"DSP", "cadence4", Rule{List: true, Check: each(number(0, 60000))}},
		{"DSP", "jitterbuffer_min_delay", num(0, 150, "30")},
		{"DSP", "jitterbuffer_nom_delay", num(0, 150, "60")},
		{"DSP", "jitterbuffer_max_delay", num(0, 150, "120")},

		{"FWRD", "condition", num(-1, 4, "-1")},
		{"FWRD", "forwarding_address", txt(60, "")},
		{"FWRD", "noanswer_time", num(1, 30, "10")},

		{"DIAL", "end_of_digit", Rule{Default: "#", Check: words("none", "*", "#")}},
		{"DIAL", "dial_mode", Rule{Default: "number", Check: words("number", "ip", "url")}},
		{"DIAL", "pause_timer", num(1, 30, "3")},
		{"DIAL", "inter_digit_timer", num(1, 30, "6")},
		{"DIAL", "dialplan", Rule{Default: "routing", Check: words("routing", "digitmap")}},
		{"DIAL", "digitmap", txt(512, "x.T|x+#")},
		{"DIAL", "digitmap_tone", txt(512, "")},

		{"CALL", "anonymous_call_blk", able("disable")},
		{"CALL", "caller_id_blk", able("disable")},
		{"CALL", "call_waiting", able("enable")},
		{"CALL", "call_waiting_tone", able("enable")},
		{"CALL", "call_hold_ringback", able("enable")},
		{"CALL", "msg_waiting_tone", able("disable")},
		{"CALL", "auto_answer", able("disable")},
		{"CALL", "intercom_noti", able("enable")},
		{"CALL", "acd_active", able("disable")},
		{"CALL", "acd_primary_line", txt(50, "")},
		{"CALL", "acd_unavail_completed", able("enable")},
		{"CALL", "acd_unavail_missed", able("enable")},
		{"CALL", "acd_unavail_time_completed", num(0, 999, "60")},
		{"CALL", "call_direct", able("disable")},
		{"CALL", "call_direct_number", txt(50, "")},
		{"CALL", "call_direct_timer", num(0, 10, "5")},

		{"SNMP", "snmp_function", onoff("off")},
		{"SNMP", "snmp_manager_address", txt(255, "")},
		{"SNMP", "snmp_read_community", txt(31, "")},
		{"SNMP", "snmp_write_community", txt(31, "")},

		{"SYSTEM", "lang", num(0, 3, "0")},
		{"SYSTEM", "phone_password", Rule{Check: blankOr(password)}},
		{"SYSTEM", "lock_outgoing_call", bit("0")},
		{"SYSTEM", "use_speed_number", bit("1")},
		{"SYSTEM", "web_server", bit("1")},
		{"SYSTEM", "telnet_server", bit("1")},

		{"PROVISION", "type", bit("0")},
		{"PROVISION", "cfg_download", able("enable")},
		{"PROVISION", "sw_download", able("enable")},
		{"PROVISION", "dhcp_get_tftp", able("enable")},
		{"PROVISION", "dhcp_get_http", able("enable")},
		{"PROVISION", "https_url", txt(255, "")},
		{"PROVISION", "https_port", num(1, 65534, "443")},
		{"PROVISION", "https_id", txt(50, "")},
		{"PROVISION", "https_password", txt(50, "")},
		{"PROVISION", "https_macform", txt(50, "$MAC")},
		{"PROVISION", "verifying_cert", Rule{Default: "7", Check: mask}},
		{"PROVISION", "smartup_use", able("enable")},
		{"PROVISION", "smartup_type", num(1, 2, "2")},
		{"PROVISION", "smartup_interval", num(0, 86400, "3600")},
		{"PROVISION", "smartup_time", num(0, 23, "0")},
		{"PROVISION", "smartup_confirm", able("enable")},
		{"PROVISION", "decrypt_key", txt(64, "")},
	}
}

func number(low, high int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high || s[0] == '+' {
			return fmt.Errorf("%.20q is not a number from %d to %d", s, low, high)
		}
		return nil
	}
}

func words(allowed ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(allowed, s) {
			return fmt.Errorf("%.20q is none of %s", s, strings.Join(allowed, ", "))
		}
		return nil
	}
}

func text(limit int) func(string) error {
	return func(s string) error {
		if len(s) > limit {
			return fmt.Errorf("%d characters are more than %d", len(s), limit)
		}
		return nil
	}
}

func each(check func(string) error) func(string) error {
	return func(s string) error {
		for w := range strings.FieldsSeq(s) {
			if err := check(w); err != nil {
				return err
			}
		}
		return nil
	}
}

func blankOr(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func blank(s string) error {
	if s != "" {
		return fmt.Errorf("%.20q is too much", s)
	}
	return nil
}

func address(s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return fmt.Errorf("%.20q is not a dotted quad", s)
	}
	return nil
}

func hexByte(s string) error {
	if _, err := strconv.ParseUint(s, 16, 8); err != nil || len(s) > 2 {
		return fmt.Errorf("%.20q is not two hex digits", s)
	}
	return nil
}

func mask(s string) error {
	if n, err := strconv.ParseUint(s, 16, 8); err != nil || n > 7 {
		return fmt.Errorf("%.20q is not a mask from 0 to 7", s)
	}
	return nil
}

func password(s string) error {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return fmt.Errorf("password holds more than letters and digits")
		}
	}
	if len(s) != 4 {
		return fmt.Errorf("password has %d characters, not 4", len(s))
	}
	return nil
}

func program(s string) error {
	w := strings.Fields(s)
	if len(w) == 0 || len(w) > 2 {
		return fmt.Errorf("button wants a function and at most one number")
	}
	if err := number(0, 16)(w[0]); err != nil {
		return err
	}
	return text(50)(strings.Join(w[1:], " "))
}

// route reports whether a record of [ROUTE] has an address at its end and SIP
// for an interface; a host name there is an invalid configuration.
func route(record string) bool {
	w := strings.Fields(record)
	return len(w) >= 4 && w[0] == "SIP" && address(w[len(w)-1]) == nil
}
