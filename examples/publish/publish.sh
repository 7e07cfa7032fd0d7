#!/bin/sh
# Publishes one message: TRIDENT_TOKEN=… ./publish.sh CHANNEL JSON
#
# curl tries again by itself when the server cannot be reached, and after 429 and 503 waits as long as Retry-After says. The key
# is the same each time, so whatever got lost on the way, the message is published once.
set -eu

url=${TRIDENT_URL:-http://localhost:8080}
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The token goes in by stdin: command lines show in process lists.
code=0
printf 'Authorization: Bearer %s\n' "$TRIDENT_TOKEN" | curl --silent --show-error --fail-with-body --output "$answer" \
  --retry 5 --retry-connrefused --retry-max-time 30 --max-time 10 \
  --header @- --header "Idempotency-Key: $key" --header 'Content-Type: application/json' \
  --data-binary "$2" "$url/events?channel=$1" || code=$?
if [ "$code" -ne 0 ]; then
  cat "$answer" >&2
  exit "$code"
fi
# {"id":"1763800000000-0"}
cut -d '"' -f 4 "$answer"
