"""The chat with python-socketio's client, at SOCKETIO_CHAT_URL; `test/chat.test.js` runs it."""

import os
import unittest
import uuid

import socketio

from test_client import PATIENCE, Heard

URL = os.environ.get("SOCKETIO_CHAT_URL")

KINDS = {
    "polling": {"transports": ["polling"]},
    "WebSocket": {"transports": ["websocket"]},
    "upgrade": {},
    "msgpack, polling": {"transports": ["polling"], "serializer": "msgpack"},
    "msgpack, WebSocket": {"transports": ["websocket"], "serializer": "msgpack"},
}


@unittest.skipUnless(URL, "SOCKETIO_CHAT_URL is not set")
class Chat(unittest.TestCase):
    def connect(self, transports=None, serializer="default"):
        client = socketio.Client(reconnection=False, serializer=serializer)
        self.addCleanup(client.disconnect)
        heard = Heard(client, "chat message")
        client.connect(URL, transports=transports, wait_timeout=PATIENCE)
        return client, heard

    def test_everybody_hears_everybody(self):
        room = f"python-{uuid.uuid4().hex}"
        members = [self.connect(**options) for options in KINDS.values()]
        for client, _ in members:
            joined = client.call("join", room, timeout=PATIENCE)
            self.assertTrue(joined["ok"], joined)
        messages = ["héllo \U0001f680", {"deep": [1, 2.5, None, {"yes": True}]}, b"\0\1\xff", {"file": b"x"}]
        said = []
        for client, _ in members:
            for message in messages:
                answer = client.call("chat message", message, timeout=PATIENCE)
                self.assertTrue(answer["ok"], answer)
                said.append((message, answer["id"]))
        for _, heard in members:
            # This client hands each event to a thread of its own, so that their order is lost there.
            events = [heard.next() for _ in said]
            self.assertEqual({meta["id"]: data for data, meta, *_ in events}, {number: message for message, number in said})
            self.assertEqual({meta["room"] for _, meta, *_ in events}, {room})

    def test_subscriptions(self):
        client, _ = self.connect()
        heard = Heard(client, "message")
        answer = client.call("subscribe", {"channels": ["chat.lobby"]}, timeout=PATIENCE)
        self.assertTrue(answer["ok"], answer)
        answer = client.call("subscribe", {"channels": ["no such/name"]}, timeout=PATIENCE)
        self.assertFalse(answer["ok"], answer)
        self.assertTrue(heard.events.empty())


if __name__ == "__main__":
    unittest.main()
