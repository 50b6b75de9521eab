"""Runs the README's command: fetches a token, posts the callbacks of tests/cases, and stops the server with Ctrl-C."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request


def post(address, case):
    headers = {"content-type": "application/json", **case["headers"]}
    body = case["body"].encode()
    request = urllib.request.Request(address + case["path_and_query"], body, headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def exercise(address):
    with urllib.request.urlopen(address) as answer:
        token = json.load(answer)
    assert set(token) == {"accessid", "host", "policy", "signature", "expire", "dir", "callback"}, token
    print("token: ok")
    for case in json.loads(pathlib.Path("tests/cases/callbacks.json").read_text()):
        status, body = post(address, case)
        print(f"{case['name']}: {status} {body.decode()}")
        assert (status == 200 and body == b'{"Status":"OK"}') if case["genuine"] else status == 403


def main(command):
    # In a group of its own, so that the interrupt reaches cargo and the server alike, as from a terminal.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        listening = next((line for line in server.stdout if line.startswith("listening on ")), None)
        if listening is None:
            sys.exit("error: the server said nothing and ended")
        exercise(listening.split()[-1])
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(timeout=30)
    assert "stopped" in server.stdout.read(), "no clean stop"
    print("stopped: ok")


main(sys.argv[1:])
