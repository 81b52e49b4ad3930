#!/bin/bash
# Makes the golden captures anew: programs that nobody here wrote talk to each
# other in two network namespaces, dumpcap listens at the server's end. Needs
# root, the Debian packages dnsmasq, udhcpc, isc-dhcp-client, busybox, tftp-hpa,
# atftp, atftpd (ATFTPD= names its binary when it is not installed), curl,
# nginx, lighttpd, openssl, ntpsec-ntpdate, ntpsec-ntpdig, chrony, sipsak, sipp,
# kamailio, python3 and wireshark-common.
#
#   ./make.sh [name...]      afterwards: go test ./capture/decode -run Golden -update
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=/srv/golden
mkdir "$work" || exit 1
ATFTPD=${ATFTPD:-/usr/sbin/atftpd}
C="ip netns exec golden-c" S="ip netns exec golden-s"
pids=()
chmod 755 "$work"

cleanup() {
	for p in "${pids[@]:-}"; do [ -n "$p" ] && kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	ip netns del golden-c 2>/dev/null
	ip netns del golden-s 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

ip netns add golden-c && ip netns add golden-s || exit 1
ip link add hs netns golden-c type veth peer name sv netns golden-s
$C ip link set lo up && $S ip link set lo up
$C ip link set hs address 00:00:5e:00:53:10
$S ip link set sv address 00:00:5e:00:53:01
$C sysctl -qw net.ipv6.conf.all.disable_ipv6=1
$S sysctl -qw net.ipv6.conf.all.disable_ipv6=1
$C ip link set hs up && $S ip link set sv up
$S ip addr add 192.0.2.1/24 dev sv
static() { $C ip addr replace 192.0.2.10/24 dev hs; }

bg() { "$@" >"$work/log" 2>&1 & pids+=($!); }
say() { echo "$ $*" >>"$txt"; }
run() { say "$@"; $C "$@" >>"$work/out" 2>&1; }

# anonymous <in> <out>: leaves out what dumpcap writes of the machine it ran on
# (the options of section headers and interface descriptions but the resolution).
anonymous() {
	python3 - "$1" "$2" <<-'P'
		import struct, sys
		b, out, i = open(sys.argv[1], 'rb').read(), b'', 0
		while i < len(b):
		    kind, n = struct.unpack('<II', b[i:i+8])
		    body = b[i+8:i+n-4]
		    if kind == 0x0A0D0D0A:
		        body = body[:16]
		    if kind == 1:
		        body = body[:8] + struct.pack('<HHB3xHH', 9, 1, 9, 0, 0)
		    if kind != 5:
		        out += struct.pack('<II', kind, len(body)+12) + body + struct.pack('<I', len(body)+12)
		    i += n
		open(sys.argv[2], 'wb').write(out)
	P
}

# record <name>: starts the capture and the text beside it.
record() {
	name=$1
	txt=$here/$name.txt
	pcap=$here/$name.pcapng
	rm -f "$pcap"
	: >"$txt"
	$S dumpcap -q -i sv -w "$work/$name.pcapng" >/dev/null 2>"$work/dumpcap" &
	dump=$!
	for _ in $(seq 50); do grep -q '^File:' "$work/dumpcap" && break; sleep 0.1; done
	sleep 0.3
}
# stop: ends the capture and the servers of this recording.
stop() {
	sleep 0.5
	kill -INT $dump; wait $dump 2>/dev/null
	for p in "${pids[@]:-}"; do [ -n "$p" ] && kill "$p" 2>/dev/null; done
	pids=()
	anonymous "$work/$name.pcapng" "$pcap"
	chmod 644 "$pcap"
	sed -i "s#$work#.#g" "$txt"
}
version() { echo "$*" >>"$txt"; }
pkg() { dpkg-query -W -f '${Package} ${Version}\n' "$@" >>"$txt"; }

dnsmasq_() { bg $S dnsmasq -k --conf-file=/dev/null --user=root --interface=sv --bind-interfaces --no-resolv --no-hosts --leasefile-ro --pid-file= "$@"; sleep 0.5; }

dhcp_udhcpc() {
	record dhcp-udhcpc
	echo "udhcpc asks dnsmasq for an address, renews, releases it, and asks anew, wanting an address of another network." >>"$txt"
	pkg dnsmasq-base udhcpc
	say dnsmasq --dhcp-range=192.0.2.100,192.0.2.120,2m '(options 42, 66, 150, 160; 00:00:5e:00:53:10 gets 192.0.2.100)'
	dnsmasq_ --dhcp-range=192.0.2.100,192.0.2.120,2m --dhcp-authoritative --dhcp-host=00:00:5e:00:53:10,192.0.2.100 \
		--dhcp-option-force=42,192.0.2.1 --dhcp-option-force=66,tftp.example --dhcp-option-force=150,192.0.2.1 \
		--dhcp-option-force=160,http://192.0.2.1/ --no-ping
	cat >"$work/hook" <<-'H'
		#!/bin/sh
		case $1 in bound|renew) ip addr replace $ip/24 dev $interface;; deconfig) ip addr flush dev $interface;; esac
	H
	chmod +x "$work/hook"
	say udhcpc -f -R -i hs -x hostname:ip8830 -V LGE -O ntpsrv -O tftp -O 150 -O 160
	$C udhcpc -f -R -i hs -s "$work/hook" -x hostname:ip8830 -V LGE -O ntpsrv -O tftp -O 150 -O 160 >/dev/null 2>&1 &
	local p=$!
	sleep 2
	say '(SIGUSR1: renew)'; kill -USR1 $p; sleep 1.5
	say '(SIGTERM: release)'; kill -TERM $p; wait $p 2>/dev/null
	say udhcpc -f -q -n -t 1 -i hs -r 198.51.100.9
	$C udhcpc -f -q -n -t 1 -T 2 -i hs -s "$work/hook" -r 198.51.100.9 >/dev/null 2>&1
	stop
	$C ip addr flush dev hs
}

dhcp_dhclient() {
	record dhcp-dhclient
	echo "dhclient asks dnsmasq for an address, starts again with what it remembers (INIT-REBOOT), is refused after the server changed its range (NAK), and releases." >>"$txt"
	pkg dnsmasq-base isc-dhcp-client
	say dnsmasq --dhcp-range=192.0.2.100,192.0.2.120,1h
	dnsmasq_ --dhcp-range=192.0.2.100,192.0.2.120,1h --dhcp-authoritative --dhcp-host=00:00:5e:00:53:10,192.0.2.101 --no-ping
	cat >"$work/script" <<-'H'
		#!/bin/sh
		case $reason in BOUND|REBOOT|RENEW) ip addr replace $new_ip_address/24 dev $interface;; esac
	H
	chmod +x "$work/script"
	local args="-d -1 -sf $work/script -lf $work/leases -pf $work/pid -cf /dev/null hs"
	touch "$work/leases"
	for _ in 1 2; do
		say dhclient -1 hs
		$C timeout 4 dhclient $args >/dev/null 2>&1
	done
	kill "${pids[@]}"; pids=()
	sleep 0.3
	say dnsmasq --dhcp-range=192.0.2.140,192.0.2.150,1h
	dnsmasq_ --dhcp-range=192.0.2.140,192.0.2.150,1h --dhcp-authoritative --no-ping
	say dhclient -1 hs
	$C timeout 6 dhclient $args >/dev/null 2>&1
	say dhclient -r hs
	$C timeout 4 dhclient -r $args >/dev/null 2>&1
	stop
	$C ip addr flush dev hs
}

files() {
	mkdir -p "$work/tree"
	# The same bytes every time.
	openssl enc -aes-128-ctr -K 00000000000000000000000000000000 -iv 00000000000000000000000000000000 -in /dev/zero 2>/dev/null | head -c 70000 >"$work/tree/image"
	head -c 5000 "$work/tree/image" >"$work/tree/small"
	head -c 1024 "$work/tree/image" >"$work/tree/even"
	: >"$work/tree/empty"
	printf '[VOIP]\nline1_name "alice" ;name\n' >"$work/tree/sysconf_8830_sip.cfg"
	chmod -R a+rX "$work/tree"
}

tftp_() {
	files; static
	record tftp
	echo "tftp-hpa, busybox, curl and atftp fetch from dnsmasq: without options, with blksize and tsize, in netascii, a length that is a multiple of the block, an empty file, a missing one." >>"$txt"
	pkg dnsmasq-base tftp-hpa busybox curl atftp
	dnsmasq_ --port=0 --enable-tftp --tftp-root="$work/tree" --tftp-no-fail
	cd "$work"
	say tftp -m octet 192.0.2.1 -c get small; $C tftp -m octet 192.0.2.1 -c get small
	say tftp -m octet 192.0.2.1 -c get even; $C tftp -m octet 192.0.2.1 -c get even
	say tftp -m octet 192.0.2.1 -c get missing; $C tftp -m octet 192.0.2.1 -c get missing >/dev/null
	run busybox tftp -g -b 1432 -r /image -l image 192.0.2.1
	run busybox tftp -g -r sysconf_8830_sip.cfg -l cfg 192.0.2.1
	run curl -s -o c tftp://192.0.2.1/small
	run atftp --option "tsize 0" -g -r empty -l empty 192.0.2.1
	run atftp --option "mode netascii" -g -r sysconf_8830_sip.cfg -l cfg 192.0.2.1
	cd - >/dev/null
	cmp "$work/image" "$work/tree/image" || echo "image differs"
	stop
}

tftp_window() {
	files; static
	record tftp-window
	echo "atftp fetches from atftpd with windowsize 4 and 3, with blocks past the MTU (IP fragments), and stores a file there." >>"$txt"
	pkg atftp; version "atftpd $(dpkg-query -W -f '${Version}' atftp)"
	mkdir -p "$work/put"; cp "$work/tree/small" "$work/put/"; cp "$work/tree/image" "$work/put/"; chmod -R 777 "$work/put"
	bg $S "$ATFTPD" --daemon --no-fork --user root.root --logfile - --bind-address 192.0.2.1 "$work/put"
	sleep 1
	cd "$work"
	run atftp --option "windowsize 4" --option "blksize 1024" -g -r image -l image 192.0.2.1
	run atftp --option "windowsize 3" -g -r small -l small2 192.0.2.1
	run atftp --option "blksize 8192" --option "tsize 0" -g -r image -l image 192.0.2.1
	run atftp -p -l "$work/tree/even" -r stored 192.0.2.1
	cd - >/dev/null
	cmp "$work/image" "$work/tree/image" || echo "image differs"
	stop
}

certs() {
	cd "$work"
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj "/CN=Authority A" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj "/CN=server.example" 2>/dev/null
	printf 'subjectAltName=DNS:server.example,IP:192.0.2.1\n' >ext
	openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile ext -out leaf.pem 2>/dev/null
	openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -extfile ext -out expired.pem 2>/dev/null
	cat leaf.pem ca.pem >chain.pem
	cd - >/dev/null
}

http_() {
	files; static
	record http
	echo "curl and busybox wget fetch from nginx and lighttpd: kept connections, HEAD, 404, 301, chunked, Basic and Digest, until close, a range, a body sent by the client." >>"$txt"
	pkg nginx curl lighttpd busybox
	mkdir -p "$work/tree/private"; cp "$work/tree/small" "$work/tree/private/"; cp "$work/tree/small" "$work/tree/page.shtml"
	chmod -R a+rX "$work/tree"
	cat >"$work/nginx.conf" <<-H
		daemon off; user root; pid $work/nginx.pid; error_log /dev/null; events {}
		http { access_log off; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
		types { text/html shtml; }
		server { listen 192.0.2.1:80; root $work/tree; location ~ shtml { ssi on; }
		location /old { return 301 http://192.0.2.1/small; } location /put { dav_methods PUT; } } }
	H
	bg $S nginx -c "$work/nginx.conf"
	printf 'alice:secret\n' >"$work/plain"
	printf 'alice:lab:%s\n' "$(printf 'alice:lab:secret' | md5sum | cut -d' ' -f1)" >"$work/digest"
	cat >"$work/lighttpd.conf" <<-H
		server.document-root = "$work/tree"
		server.port = 8080
		server.bind = "192.0.2.1"
		server.modules = ("mod_auth", "mod_authn_file")
		auth.backend = "htdigest"
		auth.backend.htdigest.userfile = "$work/digest"
		auth.require = ("/private" => ("method" => "digest", "realm" => "lab", "require" => "valid-user"))
	H
	bg $S lighttpd -D -f "$work/lighttpd.conf"
	sed 's/8080/8081/; s/htdigest/plain/g; s/plain"$/plain"/; s#digest"$#plain"#; s/"method" => "digest"/"method" => "basic"/' "$work/lighttpd.conf" >"$work/basic.conf"
	bg $S lighttpd -D -f "$work/basic.conf"
	sleep 1
	run curl -s -A 'IP8830/1.0' http://192.0.2.1/sysconf_8830_sip.cfg http://192.0.2.1/small http://192.0.2.1/missing -o "$work/o1" -o "$work/o2" -o "$work/o3"
	run curl -s -I http://192.0.2.1/image
	run curl -s -L http://192.0.2.1/old -o "$work/o4"
	run curl -s http://192.0.2.1/page.shtml?model=8830 -o "$work/o5"
	run curl -s -r 100-199 http://192.0.2.1/image -o "$work/o6"
	run curl -s http://192.0.2.1/image -o "$work/o7"
	run curl -s --digest -u alice:secret http://192.0.2.1:8080/private/small -o "$work/o8"
	run curl -s -u alice:secret http://192.0.2.1:8081/private/small -o "$work/o9"
	run curl -s -u alice:wrong http://192.0.2.1:8081/private/small -o "$work/o10"
	run busybox wget -q -O "$work/o11" http://192.0.2.1/small
	run curl -s -0 -H 'Connection: close' http://192.0.2.1/page.shtml -o "$work/o12"
	run curl -s -H 'Transfer-Encoding: chunked' -T "$work/tree/small" http://192.0.2.1/put -o "$work/o13"
	cmp "$work/o7" "$work/tree/image" || echo "image differs"
	cmp "$work/o8" "$work/tree/small" || echo "digest failed"
	cmp "$work/o9" "$work/tree/small" || echo "basic failed"
	stop
}

tls_() {
	files; certs; static
	record tls
	echo "curl and openssl s_client against openssl s_server: TLS 1.2 and 1.3 accepted, an unknown authority, an expired certificate and a wrong name refused, no common version, HTTPS on an odd port." >>"$txt"
	pkg curl openssl
	local srv="openssl s_server -www -quiet -key $work/leaf.key"
	bg $S $srv -accept 192.0.2.1:443 -cert "$work/leaf.pem" -cert_chain "$work/ca.pem" -cipher 'ALL:@SECLEVEL=0'
	bg $S $srv -accept 192.0.2.1:8443 -cert "$work/expired.pem" -cipher 'ALL:@SECLEVEL=0'
	bg $S $srv -accept 192.0.2.1:9443 -cert "$work/leaf.pem" -tls1_2
	sleep 1
	local r="--resolve server.example:443:192.0.2.1 --resolve server.example:8443:192.0.2.1 --resolve other.example:443:192.0.2.1 --resolve server.example:9443:192.0.2.1"
	run curl -s $r --tls-max 1.2 --cacert "$work/ca.pem" https://server.example/ -o "$work/o1"
	run curl -s $r --cacert "$work/ca.pem" https://server.example/ -o "$work/o2"
	run curl -s $r --tls-max 1.2 https://server.example/
	run curl -s $r https://server.example/
	run curl -s $r --tls-max 1.2 --cacert "$work/ca.pem" https://server.example:8443/
	run curl -s $r --tls-max 1.2 --cacert "$work/ca.pem" https://other.example/
	run curl -s $r --tlsv1.3 --cacert "$work/ca.pem" https://server.example:9443/
	run curl -s $r --cacert "$work/ca.pem" https://server.example:9443/ -o "$work/o3"
	say openssl s_client -connect 192.0.2.1:443 -tls1_2 -verify_return_error
	$C openssl s_client -connect 192.0.2.1:443 -tls1_2 -verify_return_error </dev/null >/dev/null 2>&1
	say openssl s_client -connect 192.0.2.1:443 -tls1 -cipher ALL:@SECLEVEL=0
	$C openssl s_client -connect 192.0.2.1:443 -tls1 -cipher ALL:@SECLEVEL=0 </dev/null >/dev/null 2>&1
	say openssl s_client -connect 192.0.2.1:443 -max_send_frag 512 -servername server.example
	$C openssl s_client -connect 192.0.2.1:443 -max_send_frag 512 -servername server.example </dev/null >/dev/null 2>&1
	stop
}

sip_() {
	static
	record sip
	echo "sipsak registers at kamailio with digest authentication, asks OPTIONS, removes the registration, sends a NOTIFY check-sync; sipp makes one call to sipp." >>"$txt"
	pkg sipsak kamailio sip-tester
	cat >"$work/kamailio.cfg" <<-'H'
		#!KAMAILIO
		debug=0
		log_stderror=yes
		children=1
		disable_tcp=yes
		auto_aliases=no
		listen=udp:192.0.2.1:5060
		mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
		loadmodule "kex.so"
		loadmodule "sl.so"
		loadmodule "pv.so"
		loadmodule "textops.so"
		loadmodule "usrloc.so"
		loadmodule "registrar.so"
		loadmodule "auth.so"
		request_route {
			if (is_method("REGISTER")) {
				if (!pv_www_authenticate("example.org", "secret", "0")) {
					www_challenge("example.org", "0");
					exit;
				}
				save("location");
				exit;
			}
			if (is_method("ACK")) { exit; }
			sl_send_reply("200", "OK");
		}
	H
	bg $S kamailio -f "$work/kamailio.cfg" -DD -E -m 16 -M 2 -P "$work/kam.pid" -Y "$work"
	bg $S sipp -sn uas -i 192.0.2.1 -p 5080 -m 1 -nostdin
	sleep 2
	run sipsak -U -C sip:alice@192.0.2.10:5062 -l 5062 -x 120 -u alice -a secret -s sip:alice@192.0.2.1
	run sipsak -s sip:alice@192.0.2.1 -l 5062
	run sipsak -U -C '*' -x 0 -l 5062 -u alice -a secret -s sip:alice@192.0.2.1
	printf 'NOTIFY sip:alice@192.0.2.1 SIP/2.0\r\nf: <sip:alice@192.0.2.1>;tag=1\r\nt: <sip:alice@192.0.2.1>\r\ni: notify-1@192.0.2.10\r\nCSeq: 7 NOTIFY\r\nm: <sip:alice@192.0.2.10:5062>\r\no: check-sync;reboot=true\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n' >"$work/notify"
	run sipsak -f "$work/notify" -l 5062 -s sip:alice@192.0.2.1
	run sipp -sn uac 192.0.2.1:5080 -i 192.0.2.10 -p 5070 -m 1 -d 100 -nostdin
	stop
}

ntp_dns() {
	static
	record ntp-dns
	echo "ntpdate and ntpdig ask chronyd the time; busybox nslookup asks dnsmasq for names." >>"$txt"
	pkg chrony ntpsec-ntpdate ntpsec-ntpdig dnsmasq-base busybox
	printf 'local stratum 3\nallow all\nbindaddress 192.0.2.1\ncmdport 0\npidfile %s/c.pid\n' "$work" >"$work/chrony.conf"
	bg $S chronyd -d -x -u root -f "$work/chrony.conf"
	dnsmasq_ --address=/server.example/192.0.2.1 --address=/example/
	sleep 1
	run ntpdate -q 192.0.2.1
	run ntpdig 192.0.2.1
	run busybox nslookup server.example 192.0.2.1
	run busybox nslookup other.example 192.0.2.1
	stop
}

all="dhcp_udhcpc dhcp_dhclient tftp_ tftp_window http_ tls_ sip_ ntp_dns"
for one in ${*:-$all}; do $one; done
