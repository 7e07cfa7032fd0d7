"""Streams with the official Python client, as it comes: created, appended to, read in each of its modes, resumed and deleted.

    pip install -r requirements.txt
    cargo build -p standalone
    python -m unittest discover -s e2e/streams/python

The server is standalone, started here.
"""

import asyncio
import os
import pathlib
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

from durable_streams import (
    DurableStream,
    DurableStreamError,
    SeqConflictError,
    StreamExistsError,
    StreamNotFoundError,
    astream,
    stream,
)

ROOT = pathlib.Path(__file__).resolve().parents[3]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
SECRET = "only-for-tests-0123456789abcdef-0123456789abcdef"
PATIENCE = 20


class Server:
    """standalone on a free port."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = TARGET / "debug/standalone"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TRIDENT_")}
        env = {**clean, "TRIDENT_SECRET": SECRET, "TRIDENT_LISTEN": f"127.0.0.1:{port}", "TRIDENT_DEMO": "off"}
        self.process = subprocess.Popen([program], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}/streams"
        grant = [program, "token", "--publish", "*", "--subscribe", "*", "--ttl", "1h"]
        self.token = subprocess.run(grant, env=env, check=True, capture_output=True, text=True).stdout.strip()
        end = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
                return
            except urllib.error.URLError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.headers = {"Authorization": f"Bearer {cls.server.token}"}
        cls.count = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def create(self, content_type="application/json", **options):
        """A new stream, and its address."""
        Client.count += 1
        url = f"{self.server.url}/python/{Client.count}"
        handle = DurableStream.create(url, content_type=content_type, headers=self.headers, **options)
        self.addCleanup(handle.close)
        return handle, url

    def test_json_is_appended_and_read(self):
        handle, url = self.create(ttl_seconds=3600)
        first = handle.append({"n": 1})
        handle.append({"n": 2, "text": "时间"})
        with stream(url, live=False, headers=self.headers) as read:
            self.assertEqual(read.read_json(), [{"n": 1}, {"n": 2, "text": "时间"}])
        with stream(url, offset=first.next_offset, live=False, headers=self.headers) as read:
            self.assertEqual(read.read_json(), [{"n": 2, "text": "时间"}])
        head = handle.head()
        self.assertEqual(head.content_type, "application/json")

    def test_appends_of_many_threads_are_all_there_in_batches(self):
        handle, url = self.create()
        threads = [threading.Thread(target=handle.append, args=({"n": n},)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        with stream(url, live=False, headers=self.headers) as read:
            self.assertEqual(sorted(one["n"] for one in read.read_json()), list(range(50)))

    def live(self, mode):
        handle, url = self.create()
        handle.append(0)
        seen, offsets = [], []

        def write():
            for n in range(1, 20):
                handle.append(n)

        writer = threading.Thread(target=write)
        # Without an offset this client sends none, which the protocol forbids for live reads.
        with stream(url, offset="-1", live=mode, headers=self.headers) as read:
            for event in read.iter_events(mode="json"):
                seen.extend(event.data)
                offsets.append(event.next_offset)
                if not writer.ident:
                    writer.start()
                if len(seen) == 20:
                    break
        writer.join(PATIENCE)
        self.assertEqual(seen, list(range(20)))
        self.assertEqual(offsets, sorted(offsets))

    def test_new_messages_come_by_long_polls(self):
        self.live("long-poll")

    def test_new_messages_come_as_events(self):
        self.live("sse")

    def test_text_and_bytes(self):
        handle, url = self.create("text/plain")
        handle.append("hello, ")
        handle.append("世界\r\n")
        with stream(url, live=False, headers=self.headers) as read:
            self.assertEqual(read.read_text(), "hello, 世界\r\n")
        handle, url = self.create("application/octet-stream", body=b"\x00\xff")
        with stream(url, live=False, headers=self.headers) as read:
            self.assertEqual(read.read_bytes(), b"\x00\xff")

    def test_the_asynchronous_client_reads_the_same(self):
        handle, url = self.create()
        for n in range(5):
            handle.append(n)

        async def read():
            async with astream(url, live=False, headers=self.headers) as response:
                return await response.read_json()

        self.assertEqual(asyncio.run(read()), list(range(5)))

    def test_errors_are_those_of_the_client(self):
        handle, url = self.create()
        handle.append(1, seq="b")
        with self.assertRaises(SeqConflictError):
            handle.append(2, seq="a")
        with self.assertRaises(StreamExistsError):
            DurableStream.create(url, content_type="text/plain", headers=self.headers)
        handle.delete()
        with self.assertRaises(StreamNotFoundError):
            handle.head()
        with self.assertRaises(StreamNotFoundError):
            stream(url, live=False, headers=self.headers)
        with self.assertRaises(DurableStreamError) as refused:
            DurableStream.create(f"{self.server.url}/python/no-token", content_type="application/json")
        self.assertEqual(refused.exception.status, 401)


if __name__ == "__main__":
    unittest.main()
