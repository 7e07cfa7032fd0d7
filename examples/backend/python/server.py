#!/usr/bin/env python3
"""A backend of Trident: it says who clients are and what they may read, answers their events, and reads the event feed. Needs Python 3.9 and no package."""
import base64, hashlib, hmac, http.server, itertools, json, os, re, threading, time, urllib.request

TRIDENT_URL = os.environ.get("TRIDENT_URL", "http://localhost:8080")
TOKEN, KEY = os.environ.get("TRIDENT_TOKEN"), base64.b64decode(os.environ["TRIDENT_HOOK_SECRET"].removeprefix("whsec_"))
answered, orders = {}, itertools.count(1)  # By id: a repeated call gets the first answer, and no second order.


def trident(path, body=None):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(TRIDENT_URL + path, data, headers)) as response:
        return json.load(response)


def connect(call):
    user = re.search(r"(?:^|; )user=(\w+)", call["headers"].get("cookie", ""))
    if not user:
        return {"refuse": "log in first"}
    trident(f"/v1/users/{user[1]}/messages?event=greeting", f"Hello {user[1]}")
    return {"user": user[1], "data": {"since": time.time()}}


def subscribe(call):
    may_read = lambda channel: channel == f"orders.{call['user']}" or channel.startswith("chat.")
    return {"allow": True} if all(map(may_read, call["channels"])) else {"allow": False, "code": "not_yours"}


def event(call):
    if call["event"] != "order.create":
        return {"ack": [{"ok": False, "error": {"code": "unknown_event"}}]}
    order = {"number": next(orders), **call["args"][0]}
    channel = f"orders.{call['socket']['user']}"
    return {"ack": [{"ok": True, "order": order}], "publish": [{"channel": channel, "event": "created", "data": order}]}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def is_signed(self, body):
        at = self.headers.get("webhook-timestamp", "0")
        text = f"{self.headers.get('webhook-id')}.{at}.".encode() + body
        signature = "v1," + base64.b64encode(hmac.digest(KEY, text, hashlib.sha256)).decode()
        given = self.headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(one, signature) for one in given) and abs(time.time() - int(at)) < 300

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.is_signed(body):
            return self.send_error(401)
        call = json.loads(body)
        if call["id"] not in answered:
            kinds = {"connect": connect, "subscribe": subscribe, "event": event}
            answered[call["id"]] = json.dumps(kinds[call["kind"]](call)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answered[call["id"]])))
        self.end_headers()
        self.wfile.write(answered[call["id"]])

    def log_message(self, *_):
        pass


def read_feed():
    since = ""  # Store it with what you have handled, and a restart misses nothing.
    while True:
        try:
            batch = trident("/data?channel=$events" + since)
            for message in batch["messages"]:
                print(f"feed: {message['event']} {message['data'].get('user', '')}", flush=True)
            since = f"&since={batch['cursor']}"
        except OSError as error:
            print(error, flush=True)
            time.sleep(1)


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 3000))), Handler)
print(f"listening on {server.server_port}", flush=True)
threading.Thread(target=read_feed, daemon=True).start()
server.serve_forever()
