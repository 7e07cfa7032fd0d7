#!/usr/bin/env python3
"""Publishes one message, with the standard library alone: TRIDENT_TOKEN=… ./publish.py CHANNEL JSON"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

# These pass; whatever else is refused would be refused again.
PASSING = {429, 502, 503, 504}


class Refused(Exception):
    """The server will not publish this, and says why."""


def publish(base, token, channel, data, *, event=None, patience=30.0):
    """Publishes `data` to `channel` and gives the message's id.

    Tries for `patience` seconds. The idempotency key is the same each time, so the message is published once, also when an
    answer got lost.
    """
    query = {"channel": channel} | ({"event": event} if event else {})
    request = urllib.request.Request(
        f"{base}/events?{urllib.parse.urlencode(query)}",
        data=json.dumps(data).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid.uuid4()),
        },
    )
    until = time.monotonic() + patience
    wait = 0.5
    while True:
        asked = 0.0
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["id"]
        except urllib.error.HTTPError as error:
            reason = f"{error.code}: {error.read().decode(errors='replace')}"
            if error.code not in PASSING:
                raise Refused(reason) from None
            asked = seconds(error.headers.get("Retry-After"))
        except OSError as error:  # no connection, a cut one, or no answer in time
            reason = str(error)
        pause = asked + wait * random.uniform(0.5, 1.0)
        if time.monotonic() + pause > until:
            raise TimeoutError(f"not published after {patience:.0f} s: {reason}")
        time.sleep(pause)
        wait = min(wait * 2, 8.0)


def seconds(text):
    """A Retry-After in seconds; nothing when there is none, or when it is a date, which Trident never sends."""
    return float(text) if text and text.isdigit() else 0.0


if __name__ == "__main__":
    base, token = os.environ.get("TRIDENT_URL", "http://localhost:8080"), os.environ.get("TRIDENT_TOKEN")
    if token is None or len(sys.argv) != 3:
        print("usage: TRIDENT_TOKEN=… publish.py CHANNEL JSON", file=sys.stderr)
        sys.exit(2)
    try:
        data = json.loads(sys.argv[2])
    except ValueError as error:
        print(f"invalid JSON: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        print(publish(base, token, sys.argv[1], data))
    except (Refused, TimeoutError) as error:
        sys.exit(str(error))
