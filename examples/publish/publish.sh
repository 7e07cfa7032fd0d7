#!/bin/sh
# Publishes one message: TRIDENT_TOKEN=… ./publish.sh CHANNEL JSON
#
# curl tries again by itself when the server cannot be reached, and after 429 and 503 waits as long as Retry-After says. The key
# is the same each time, so whatever got lost on the way, the message is published once.
set -eu

if [ "$#" -ne 2 ] || [ -z "${TRIDENT_TOKEN+set}" ]; then
  echo "usage: TRIDENT_TOKEN=… publish.sh CHANNEL JSON" >&2
  exit 2
fi
url=${TRIDENT_URL:-http://localhost:8080}
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
answer=$(mktemp)
errors=$(mktemp)
trap 'rm -f "$answer" "$errors"' EXIT

# The token goes in by stdin: command lines show in process lists.
code=0
status=$(printf 'Authorization: Bearer %s\n' "$TRIDENT_TOKEN" | curl --silent --show-error --fail-with-body --output "$answer" \
  --write-out '%{http_code}' --retry 5 --retry-connrefused --retry-max-time 30 --max-time 10 \
  --header @- --header "Idempotency-Key: $key" --header 'Content-Type: application/json' \
  --data-binary "$2" "$url/events?channel=$1" 2>"$errors") || code=$?
if [ "$code" -ne 0 ]; then
  if [ -s "$answer" ]; then
    printf '%s: %s\n' "$status" "$(cat "$answer")" >&2
  else
    cat "$errors" >&2
  fi
  # A shell has no JSON parser: the server reports what is wrong with the body.
  ! grep -q '"code":"bad_body"' "$answer" || exit 2
  exit "$code"
fi
# {"id":"1763800000000-0"}
cut -d '"' -f 4 "$answer"
