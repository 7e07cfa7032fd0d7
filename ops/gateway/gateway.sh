#!/bin/sh
# Starts the gateway of docker-compose.yml and lets it find replicas as they are added and removed.
#
#   nginx.conf ─▶ one `server` line per address behind a name ─▶ /run/trident/nginx.conf ─▶ nginx, reloaded on change
#   front.conf ─▶ /run/trident/front.conf ─▶ the nginx in front of it, to which clients connect
#
# nginx treats a name with several addresses as one position in the hash ring that selects a session's replica, and resolves
# names only when it starts. So this script resolves the names. A reload does not interrupt any response, but it closes idle
# connections. So clients connect to an nginx that is not reloaded for new replicas.
#
# The limits are those of the services: TRIDENT_MAX_CONNECTIONS_PER_ADDRESS, TRIDENT_MAX_CONNECTIONS, TRIDENT_CONNECT_RATE.
#
# With TRIDENT_TLS=on it serves TLS, with fullchain.pem and privkey.pem, which are read again when they change; without these files,
# with a test certificate. TRIDENT_TLS_GATEWAY is the address of another gateway with TLS: while its name resolves to that address,
# this one redirects visitors there.
#
#   gateway.sh [nginx.conf [folder to write to [folder of fullchain.pem and privkey.pem [front.conf]]]]
set -eu

source=${1:-/etc/nginx/nginx.conf}
folder=${2:-/run/trident}
certificates=${3:-/etc/trident/tls}
front_source=${4:-/etc/nginx/front.conf}
services="comet-svc:8081 chat-svc:8082 sse-svc:8083 streams-svc:8084"
front=$$ # what this shell becomes in the end

# Whether a replica answers at all, ready or not. A replica that has not answered three times in a row hangs.
lives() { # address:port
  if curl -fs -o /dev/null -m 2 "http://$1/healthz"; then rm -f "$folder/silent-$1"; return; fi
  echo >>"$folder/silent-$1"
  [ "$(wc -l <"$folder/silent-$1")" -lt 3 ]
}

# The replicas of a service to use: known ones as long as their name resolves and they answer, and new ones as soon as they are
# ready. A service without any keeps the previous ones until it has others: nginx needs at least one.
replicas_of() { # name:port
  known=$(cat "$folder/$1" 2>/dev/null || true)
  for address in $(getent ahostsv4 "${1%:*}" | cut -d ' ' -f 1 | sort -u); do
    case " $known " in
      *" $address:${1#*:} "*) if lives "$address:${1#*:}"; then echo "$address:${1#*:}"; fi ;;
      *) if curl -fs -o /dev/null -m 1 "http://$address:${1#*:}/readyz"; then rm -f "$folder/silent-$address:${1#*:}"; echo "$address:${1#*:}"; fi ;;
    esac
  done | tr '\n' ' '
}

# Resolves every service; fails if one has no replica at all.
look() {
  for service in $services; do
    found=$(replicas_of "$service")
    [ -z "$found" ] || printf %s "$found" >"$folder/$service"
    [ -s "$folder/$service" ] || return 1
  done
}

# If there are fewer descriptors than a configuration asks for, they are divided in the same proportion: two per connection of a worker.
files=$(ulimit -n)
fitting='
  $1 ~ /^worker_(rlimit_nofile|connections)$/ && files ~ /^[0-9]+$/ {
    fit = $1 == "worker_connections" ? int(files / 2) : files
    if ($2 + 0 > fit) sub(/[0-9]+;/, fit ";")
  }
'

# The folder of the certificate, or nothing without TLS. The test certificate is in memory, and removed on exit.
certificate() {
  [ "${TRIDENT_TLS:-}" = on ] || return 0
  if [ -e "$certificates/fullchain.pem" ]; then echo "$certificates"; return; fi
  if [ ! -e "$folder/fullchain.pem" ]; then
    command -v openssl >/dev/null || { echo "gateway: no $certificates/fullchain.pem, and no openssl to create a test certificate" >&2; return 1; }
    echo "gateway: no $certificates/fullchain.pem: using a test certificate, which no browser trusts" >&2
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=localhost \
      -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" -keyout "$folder/privkey.pem" -out "$folder/next.pem" 2>/dev/null
    mv "$folder/next.pem" "$folder/fullchain.pem"
  fi
  echo "$folder"
}

# The port of the gateway with TLS, from the moment its name resolves until this script restarts.
tls_port() {
  [ -n "${TRIDENT_TLS_GATEWAY:-}" ] || return 0
  if [ ! -e "$folder/tls-gateway" ] && getent ahostsv4 gateway-tls | grep -q "^$TRIDENT_TLS_GATEWAY "; then : >"$folder/tls-gateway"; fi
  [ ! -e "$folder/tls-gateway" ] || echo "${TRIDENT_TLS_PORT:-8443}" | sed 's/.*://'
}

# front.conf with our paths, and with TLS.
front_configuration() {
  tls=$(certificate) || return 1
  # So that a new certificate changes the configuration.
  [ -z "$tls" ] || echo "# $(cat "$tls/fullchain.pem" "$tls/privkey.pem" 2>/dev/null | cksum)"
  awk -v files="$files" -v tls="$tls" -v folder="$folder" "$fitting"'
    { gsub("/run/trident", folder) }
    tls != "" && /^ *#(listen|ssl_certificate)/ { sub("#", ""); sub("/etc/trident/tls", tls) }
    { print }
  ' "$front_source"
}

# nginx.conf behind the front, with the known replicas, with the pages that may read the gateway's own errors (TRIDENT_ORIGINS),
# and with limits.
configuration() {
  for service in $services; do
    echo "replicas $service $(cat "$folder/$service")"
  done | awk -v files="$files" -v origins="${TRIDENT_ORIGINS:-}" -v folder="$folder" -v tls_port="$(tls_port)" \
    -v per_address="${TRIDENT_MAX_CONNECTIONS_PER_ADDRESS:-}" -v in_all="${TRIDENT_MAX_CONNECTIONS:-}" -v rate="${TRIDENT_CONNECT_RATE:-}" "$fitting"'
    function quoted(text) { gsub(/[.+\[\]]/, "\\\\&", text); return text }
    # A line of the map for an entry of TRIDENT_ORIGINS, or nothing for an invalid entry.
    function origin(text) {
      if (text == "*") return "\"~.\" \"*\";"
      if (text == "null") return "\"null\" \"*\";"
      if (text !~ /^[a-z][a-z0-9+.-]*:\/\/[][a-z0-9.:_-]+(:\*)?$/) return ""
      if (sub(/:\*$/, "", text) || text ~ /:\/\/([^:]*\.)?localhost$|:\/\/127(\.[0-9]+)+$|:\/\/\[::1\]$/)
        return "\"~^" quoted(text) "(:[0-9]+)?$\" $http_origin;"
      if (text ~ /^https:/) sub(/:443$/, "", text)
      if (text ~ /^http:/) sub(/:80$/, "", text)
      return "\"" text "\" $http_origin;"
    }
    # The limit of all replicas together, or 0 if there is no limit or it is invalid.
    function together(setting) { sub("/s$", "", setting); return setting ~ /^[0-9]+$/ ? setting * most : 0 }
    # The line with this number, and without its #.
    function limit(line, number) {
      sub(/ # .*/, "", line)
      sub("#", "", line)
      sub(/ [0-9]+;/, " " number ";", line)
      sub(/burst=[0-9]+/, "burst=" number, line)
      sub(/rate=[0-9]+/, "rate=" number, line)
      return line
    }
    $1 == "replicas" && NF - 2 > most { most = NF - 2 }
    $1 == "replicas" { for (at = 3; at <= NF; at++) list[$2] = list[$2] " " $at; next }
    $1 == "server" && ($2 in list) {
      count = split(list[$2], addresses, " ")
      for (at = 1; at <= count; at++) { line = $0; sub(/server [^ ]+/, "server " addresses[at], line); print line }
      next
    }
    /# TRIDENT_ORIGINS$/ && origins != "" {
      # `*` is last: named origins may also send cookies. nginx rejects duplicate entries.
      count = split(tolower(origins), entries, ",")
      for (round = 0; round < 2; round++)
        for (at = 1; at <= count; at++) {
          gsub(/[ \t]|\/+$/, "", entries[at])
          if ((entries[at] == "*") == round && (line = origin(entries[at])) != "" && !said[line]++) print "        " line
        }
      next
    }
    /# "true" where TRIDENT_ORIGINS is set$/ && origins != "" { print "        default \"true\";"; next }
    # nginx counts connections with 16 bits.
    /# TRIDENT_MAX_CONNECTIONS_PER_ADDRESS$/ && (number = together(per_address)) && number < 65536 { print limit($0, number); next }
    /# TRIDENT_MAX_CONNECTIONS$/ && (number = together(in_all)) && number < 65536 { print limit($0, number); next }
    /# TRIDENT_CONNECT_RATE$/ && (number = together(rate)) { print limit($0, number); next }
    # The front reports the client and its scheme.
    $1 == "listen" { print "        listen unix:" folder "/nginx.sock default_server backlog=4096;"; next }
    /^ *map \$scheme \$client_scheme \{$/ {
      sub(/\$scheme/, "$http_x_forwarded_proto")
      print "    set_real_ip_from unix:;"
      print "    real_ip_header X-Forwarded-For;"
    }
    tls_port != "" && /# TRIDENT_TLS_PORT$/ { print "        http " tls_port ";"; next }
    { print }
  ' - "$source"
}

mkdir -p "$folder"
until look; do sleep 0.5; done
configuration >"$folder/nginx.conf"
front_configuration >"$folder/front.conf"

# Installs what a function writes, if it is new and valid, and reloads its nginx.
renew() { # function, name, process
  "$1" >"$folder/next" || return 0
  if cmp -s "$folder/next" "$folder/$2" || cmp -s "$folder/next" "$folder/refused-$2"; then return 0; fi
  # For example a certificate without its key: the previous configuration remains.
  if ! nginx -t -q -c "$folder/next"; then
    mv "$folder/next" "$folder/refused-$2"
    echo "gateway: the new configuration is invalid and is ignored"
    return 0
  fi
  mv "$folder/next" "$folder/$2"
  kill -HUP "$3"
  for service in $services; do echo "gateway: ${service%:*} at $(cat "$folder/$service")"; done
}

# Left by a process that was killed.
rm -f "$folder/nginx.sock"

# One process starts the nginx in the back, watches it and ends it, so that it ends with the front whenever that is stopped, even
# before it has started.
(
  nginx -c "$folder/nginx.conf" -g 'daemon off;' &
  back=$!
  while sleep 1 && kill -0 "$front" 2>/dev/null; do
    # Neither is of use without the other.
    kill -0 "$back" 2>/dev/null || { kill "$front"; break; }
    look || continue
    renew configuration nginx.conf "$back"
    renew front_configuration front.conf "$front"
  done
  kill "$back" 2>/dev/null || true
) &
exec nginx -c "$folder/front.conf" -g 'daemon off;'
