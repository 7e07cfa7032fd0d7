#!/usr/bin/env bash
# Upgrades an installation of docker-compose.yml without losing anything: each replica is replaced by a new one that the gateway uses
# before the old one is stopped.
#
#   TRIDENT_TAG=1.2.0 docker compose build && TRIDENT_TAG=1.2.0 ops/rolling.sh [service…]
#
# If a new replica does not become healthy, it is removed, the old ones keep running, and the script exits with 1.
set -euo pipefail
cd "$(dirname "$0")/.."

compose=(docker-compose)
if docker compose version >/dev/null 2>&1; then compose=(docker compose); fi

running() { # service
  for id in $("${compose[@]}" ps -q "$1"); do
    if [ "$(docker inspect -f '{{.State.Running}}' "$id")" = true ]; then echo "$id"; fi
  done
}

mapfile -t gateways < <(running gateway; "${compose[@]}" --profile tls ps -q gateway-tls)

# Healthy, and used by every gateway.
serves() { # container
  [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ] || return 1
  local gateway address asked
  for gateway in "${gateways[@]}"; do
    asked=no
    for address in $(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$1"); do
      if docker exec "$gateway" grep -qF "server $address:" /run/trident/nginx.conf; then asked=yes; fi
    done
    [ "$asked" = yes ] || return 1
  done
}

[ $# -gt 0 ] || set -- comet-svc chat-svc sse-svc streams-svc
for service; do
  mapfile -t old < <(running "$service")
  for one in "${old[@]}"; do
    before=$(running "$service")
    "${compose[@]}" up -d --no-deps --no-build --no-recreate --scale "$service=$((${#old[@]} + 1))" "$service"
    new=$(comm -13 <(sort <<<"$before") <(running "$service" | sort))
    [ -n "$new" ] || { echo "no new replica of $service was started" >&2; exit 1; }
    for _ in {1..120}; do
      if serves "$new"; then break; fi
      sleep 0.5
    done
    if ! serves "$new"; then
      docker logs --tail 20 "$new" >&2
      docker rm -f "$new" >/dev/null
      echo "the new replica of $service did not serve within a minute and is removed; the old replicas keep running" >&2
      exit 1
    fi
    # It asks its clients to reconnect, and they reach the other replicas.
    docker stop -t 15 "$one" >/dev/null
    docker rm "$one" >/dev/null
    echo "$service: ${one:0:12} replaced by ${new:0:12}"
  done
done
