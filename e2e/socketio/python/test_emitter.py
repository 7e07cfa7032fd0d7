"""python-socketio's RedisManager on the Redis of a Trident server, as docs/MIGRATING.md describes it; and its alternative.

Needs redis-server, and the server that `make build` builds.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import socket
import subprocess
import time
import unittest
import urllib.parse
import urllib.request
import uuid

import redis
import socketio

from test_client import PATIENCE, TARGET, Heard

SECRET = "only-for-tests-0123456789abcdef-0123456789abcdef"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, condition):
    """Waits until a condition holds, also one that raises OSError or a Redis error for now."""
    deadline = time.monotonic() + 2 * PATIENCE
    while True:
        try:
            if condition():
                return
        except (OSError, redis.RedisError):
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited for {what}")
        time.sleep(0.02)


def token():
    """A token that may publish to every channel for an hour."""
    claims = {"exp": int(time.time()) + 3600, "sub": "python", "trident": {"publish": ["*"], "subscribe": ["*"]}}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(SECRET.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


class Emitter(unittest.TestCase):
    def start(self, *command, **environment):
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    def setUp(self):
        port = free_port()
        self.redis_url = f"redis://127.0.0.1:{port}/0"
        self.start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.redis = redis.Redis(port=port)
        self.addCleanup(self.redis.close)
        until("Redis", self.redis.ping)
        listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{listen}"
        settings = {"TRIDENT_LISTEN": listen, "TRIDENT_BUS": self.redis_url, "TRIDENT_SECRET": SECRET, "TRIDENT_DEMO": "off"}
        self.start(TARGET / "debug" / "standalone", **settings)
        until("the server", self.is_well)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
            return response.read().decode()

    def is_well(self):
        return json.loads(self.get("/readyz"))["degraded"] == []

    def publish(self, channel, event, data):
        query = urllib.parse.urlencode({"channel": channel, "event": event})
        headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/events?{query}", json.dumps(data).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            self.assertEqual(response.status, 201)

    def test_case_12_6_the_manager_is_not_heard_and_publishing_over_http_is(self):
        """Case 12.6: what the manager emits reaches nobody and breaks nothing; POST /events reaches the room."""
        room = f"python-{uuid.uuid4().hex}"
        client = socketio.Client(reconnection=False)
        self.addCleanup(client.disconnect)
        heard = Heard(client, "chat message")
        client.connect(self.url, wait_timeout=PATIENCE)
        self.assertTrue(client.call("join", room, timeout=PATIENCE)["ok"])

        manager = socketio.RedisManager(self.redis_url, write_only=True)
        listener = self.redis.pubsub(ignore_subscribe_messages=True)
        self.addCleanup(listener.close)
        listener.subscribe("socketio")
        until("the subscription", lambda: self.redis.pubsub_numsub("socketio") == [(b"socketio", 1)])
        for name in (room, f"chat.{room}"):
            manager.emit("chat message", "by the manager", room=name)
        # They were published, and this test alone listens to that channel.
        published = []

        def has_both():
            published.extend(filter(None, [listener.get_message(timeout=0.1)]))
            return len(published) == 2

        until("both", has_both)
        self.assertEqual(self.redis.pubsub_numsub("socketio"), [(b"socketio", 1)])

        self.publish(f"chat.{room}", "chat message", "over HTTP")
        self.assertEqual(heard.next()[0], "over HTTP")
        self.assertTrue(heard.events.empty())
        self.assertTrue(client.call("chat message", "still here", timeout=PATIENCE)["ok"])
        self.assertEqual(heard.next()[0], "still here")
        self.assertTrue(self.is_well())
        self.assertIn("trident_socketio_cluster_ignored_total 0\n", self.get("/metrics"))


if __name__ == "__main__":
    unittest.main()
