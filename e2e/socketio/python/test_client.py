"""The Socket.IO server with python-socketio's client: in each of its transports and with both parsers.

    pip install -r requirements.txt
    cargo build -p socketio --examples
    python -m unittest discover -s e2e/socketio/python

The server is the example `e2e`, started here, or the one at SOCKETIO_E2E_URL.
"""

import os
import pathlib
import queue
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import engineio.payload
import socketio

# By default this client gives up when a poll brings more than 16 packets, which servers in general do not know.
engineio.payload.Payload.max_decode_packets = 1_000

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
PATIENCE = 10


class Server:
    """The server under test."""

    def __init__(self):
        self.process = None
        self.url = os.environ.get("SOCKETIO_E2E_URL")
        if self.url:
            return
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        binary = TARGET / "debug" / "examples" / "e2e"
        if not binary.exists():
            raise RuntimeError(f"{binary} is missing: cargo build -p socketio --examples")
        self.process = subprocess.Popen([binary], env={**os.environ, "PORT": str(port)})
        self.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not answer")
            time.sleep(0.02)

    def answers(self):
        try:
            urllib.request.urlopen(self.url, timeout=1)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def setUpModule():
    global server
    server = Server()


def tearDownModule():
    server.stop()


class Heard:
    """The events of one name, in the order in which they come."""

    def __init__(self, client, event, namespace="/"):
        self.events = queue.Queue()
        client.on(event, self.hear, namespace=namespace)

    def hear(self, *args):
        self.events.put(list(args))

    def next(self):
        return self.events.get(timeout=PATIENCE)


class EveryKind:
    """What holds in every way to connect."""

    transports = None
    serializer = "default"
    transport = None

    def connect(self, namespaces=("/",), **options):
        client = socketio.Client(reconnection=False, serializer=self.serializer)
        self.addCleanup(client.disconnect)
        client.connect(
            server.url, transports=self.transports, namespaces=list(namespaces), wait_timeout=PATIENCE, **options
        )
        return client

    def test_transport(self):
        client = self.connect()
        self.assertEqual(client.transport(), self.transport)
        who = client.call("whoami", timeout=PATIENCE)
        self.assertEqual(who["id"], client.get_sid())

    def test_events(self):
        client = self.connect()
        echo = Heard(client, "echo")
        values = [0, -1, 1.5, 2**53, "", "héllo \U0001f680", "\u2028\n\"\\", True, None, [], {}, {"a": [{"b": None}]}]
        for value in values:
            if value is None:
                continue  # says "no argument" to this client
            client.emit("echo", value)
            self.assertEqual(echo.next()[0], value)
        client.emit("echo", tuple(values))
        self.assertEqual(echo.next()[: len(values)], values)
        for n in range(100):
            client.emit("echo", n)
        # This client hands each event to a thread of its own, so that their order is lost there.
        self.assertEqual(sorted(echo.next()[0] for _ in range(100)), list(range(100)))

    def test_acknowledgements(self):
        client = self.connect()
        self.assertEqual(client.call("echo", "one", timeout=PATIENCE), "one")
        self.assertEqual(list(client.call("echo", ("one", 2, {"three": 3}), timeout=PATIENCE)), ["one", 2, {"three": 3}])
        answered = Heard(client, "answered")
        client.on("question", lambda what: (what, "yes"))
        client.emit("ask me", (5000, {"n": 1}))
        self.assertEqual(answered.next()[:2], [{"n": 1}, "yes"])
        with self.assertRaises(socketio.exceptions.TimeoutError):
            client.call("nobody listens", timeout=0.1)

    def test_buffers(self):
        client = self.connect()
        echo = Heard(client, "echo")
        for value in [b"\0\1\2\xff", b"", b"0123456789" * 10_000, {"deep": [b"a", {"deeper": b"b"}]}]:
            client.emit("echo", value)
            self.assertEqual(echo.next()[0], value)
            self.assertEqual(client.call("echo", value, timeout=PATIENCE), value)
        answered = Heard(client, "answered")
        client.on("question", lambda buffer: buffer + buffer)
        client.emit("ask me", (5000, b"ab"))
        self.assertEqual(answered.next()[0], b"abab")

    def test_rooms(self):
        speaker, listener = self.connect(), self.connect()
        room = f"python {self.id()}"
        for client in (speaker, listener):
            self.assertTrue(client.call("join", room, timeout=PATIENCE))
        members = speaker.call("who", room, timeout=PATIENCE)
        self.assertEqual(sorted(members), sorted([speaker.get_sid(), listener.get_sid()]))
        said, echo = Heard(listener, "said"), Heard(speaker, "said")
        speaker.call("say", (room, {"text": "hi", "file": b"x"}), timeout=PATIENCE)
        self.assertEqual(said.next()[0], {"text": "hi", "file": b"x"})
        self.assertTrue(echo.events.empty())

    def test_namespaces(self):
        client = self.connect(namespaces=["/", "/admin", "/tenant-7"])
        self.assertEqual(client.call("echo", "root", timeout=PATIENCE), "root")
        self.assertEqual(client.call("echo", "admin", namespace="/admin", timeout=PATIENCE), "admin")
        self.assertEqual(client.call("where", namespace="/tenant-7", timeout=PATIENCE), "/tenant-7")
        self.assertNotEqual(client.get_sid("/"), client.get_sid("/admin"))

    def test_refusals(self):
        for namespace in ["/nowhere", "/guarded"]:
            with self.assertRaises(socketio.exceptions.ConnectionError):
                self.connect(namespaces=[namespace], auth={"token": "guess"})
        guest = self.connect(namespaces=["/guarded"], auth={"token": "open sesame"})
        self.assertTrue(guest.connected)

    def test_handshake(self):
        client = self.connect(auth={"token": "t"}, headers={"x-custom": "yes"})
        handshake = client.call("handshake", timeout=PATIENCE)
        self.assertEqual(handshake["auth"], {"token": "t"})
        self.assertEqual(handshake["headers"]["x-custom"], "yes")

    def test_ends(self):
        client = self.connect()
        gone = Heard(client, "disconnect")
        client.emit("leave")
        gone.next()

    def test_heartbeats(self):
        client = self.connect()
        gone = Heard(client, "disconnect")
        # The server asks every second, and waits two for the answer.
        with self.assertRaises(queue.Empty):
            gone.events.get(timeout=3.5)
        self.assertEqual(client.call("echo", "still here", timeout=PATIENCE), "still here")


class Polling(EveryKind, unittest.TestCase):
    transports = ["polling"]
    transport = "polling"


class WebSocket(EveryKind, unittest.TestCase):
    transports = ["websocket"]
    transport = "websocket"


class Upgrade(EveryKind, unittest.TestCase):
    transport = "websocket"


class MsgPackPolling(Polling):
    serializer = "msgpack"


class MsgPackWebSocket(WebSocket):
    serializer = "msgpack"


if __name__ == "__main__":
    unittest.main()
