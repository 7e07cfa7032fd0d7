#!/bin/sh
# Starts the gateway of docker-compose.yml and lets it find replicas as they come and go.
#
#   nginx.conf ─▶ one `server` line for each address behind a name ─▶ /run/trident/nginx.conf ─▶ nginx, reloaded on change
#
# nginx takes a name with several addresses for one place in the ring by which it chooses a session's replica, and looks
# names up only when it starts: so the names are looked up here. Reloading touches no answer that is under way.
#
#   gateway.sh [nginx.conf [folder to write to]]
set -eu

source=${1:-/etc/nginx/nginx.conf}
folder=${2:-/run/trident}
services="comet-svc:8081 chat-svc:8082 sse-svc:8083"
nginx=$$ # what this shell becomes in the end

# The replicas of a service that are to be asked: those known, as long as their name is there, and new ones as soon as they
# are ready. A service without any keeps the ones it had until it has others: nginx cannot be without.
replicas_of() { # name:port
  known=$(cat "$folder/$1" 2>/dev/null || true)
  for address in $(getent ahostsv4 "${1%:*}" | cut -d ' ' -f 1 | sort -u); do
    case " $known " in
      *" $address:${1#*:} "*) echo "$address:${1#*:}" ;;
      *) if curl -fs -o /dev/null -m 1 "http://$address:${1#*:}/readyz"; then echo "$address:${1#*:}"; fi ;;
    esac
  done | tr '\n' ' '
}

# Looks every service up; fails while one has no replica at all.
look() {
  for service in $services; do
    found=$(replicas_of "$service")
    [ -z "$found" ] || printf %s "$found" >"$folder/$service"
    [ -s "$folder/$service" ] || return 1
  done
}

# nginx.conf with the replicas that are known, and with the pages that may read our own errors (TRIDENT_ORIGINS).
configuration() {
  for service in $services; do
    echo "replicas $service $(cat "$folder/$service")"
  done | awk -v origins="${TRIDENT_ORIGINS:-}" '
    function quoted(text) { gsub(/[.+\[\]]/, "\\\\&", text); return text }
    # A line of the map for an entry of TRIDENT_ORIGINS, or nothing for what is none.
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
    $1 == "replicas" { for (at = 3; at <= NF; at++) list[$2] = list[$2] " " $at; next }
    $1 == "server" && ($2 in list) {
      count = split(list[$2], addresses, " ")
      for (at = 1; at <= count; at++) { line = $0; sub(/server [^ ]+/, "server " addresses[at], line); print line }
      next
    }
    /# TRIDENT_ORIGINS$/ && origins != "" {
      # Everybody comes last: who is named may also bring cookies. nginx refuses what is said twice.
      count = split(tolower(origins), entries, ",")
      for (round = 0; round < 2; round++)
        for (at = 1; at <= count; at++) {
          gsub(/[ \t]|\/+$/, "", entries[at])
          if ((entries[at] == "*") == round && (line = origin(entries[at])) != "" && !said[line]++) print "        " line
        }
      next
    }
    { print }
  ' - "$source"
}

mkdir -p "$folder"
until look; do sleep 0.5; done
configuration >"$folder/nginx.conf"

(
  while sleep 1 && kill -0 "$nginx"; do
    look && configuration >"$folder/next" || continue
    cmp -s "$folder/next" "$folder/nginx.conf" && continue
    mv "$folder/next" "$folder/nginx.conf"
    kill -HUP "$nginx"
    for service in $services; do echo "gateway: ${service%:*} at $(cat "$folder/$service")"; done
  done
) &
exec nginx -c "$folder/nginx.conf" -g 'daemon off;'
