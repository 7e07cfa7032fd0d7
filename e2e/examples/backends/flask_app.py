"""A backend in Flask: `python3 flask_app.py PORT`."""

import logging
import re
import sys

from flask import Flask, request

app = Flask(__name__)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
answered = {}  # By id: a repeated call gets the first answer.


def answer(call):
    if call["kind"] == "connect":
        user = re.search(r"(?:^|; )user=(\w+)", call["headers"].get("cookie", ""))
        return {"user": user[1]} if user else {"refuse": "log in first"}
    event, args = call["event"], call["args"]
    if event == "echo":
        return {"ack": args}
    if event == "enter":
        return {"join": [args[0]], "ack": [{"ok": True}]}
    if event == "shout":
        return {"emit": [{"to": {"room": args[0]}, "event": "heard", "args": args[1:]}], "ack": [{"ok": True}]}
    return {"ack": [{"ok": True, "order": args[0], "user": call["socket"]["user"]}]}


@app.post("/calls")
def calls():
    call = request.get_json()
    return answered.setdefault(call["id"], answer(call))


app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
