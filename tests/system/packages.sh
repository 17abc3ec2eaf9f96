#!/bin/sh
# Installs the real servers that tests/system starts (Debian's packages), if any is missing.
# Without root it says what to install and goes on: the tests that need a missing server fail and say so.
set -eu

missing=""
for pair in nginx:nginx-light pebble:pebble pebble-challtestsrv:pebble openssl:openssl \
    lego:lego caddy:caddy prometheus:prometheus prometheus-blackbox-exporter:prometheus-blackbox-exporter \
    keytool:default-jre-headless mariadbd:mariadb-server slapd:slapd dovecot:dovecot-core \
    postfix:postfix apache2:apache2 haproxy:haproxy named:bind9 sshd:openssh-server \
    softhsm2-util:softhsm2 pkcs11-tool:opensc certbot:certbot; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
# These have no program of their own on the path.
[ -d /usr/lib/postgresql ] || missing="$missing postgresql"
[ -d /usr/lib/dovecot/modules ] && [ -x /usr/lib/dovecot/imap-login ] || missing="$missing dovecot-imapd dovecot-pop3d"
for engine in /usr/lib/*/engines-3/pkcs11.so; do
    [ -e "$engine" ] || missing="$missing libengine-pkcs11-openssl"
done
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ]; then
    echo "installing:$missing"
    # Debian would start nginx on port 80 after installing it; the tests start their own on free ports.
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.certforecast
    chmod +x /usr/sbin/policy-rc.d.certforecast
    [ -e /usr/sbin/policy-rc.d ] || ln -s policy-rc.d.certforecast /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d.certforecast; [ -L /usr/sbin/policy-rc.d ] && rm -f /usr/sbin/policy-rc.d || true' EXIT
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "tests/system needs:$missing (sudo apt-get install --no-install-recommends$missing)" >&2
fi
