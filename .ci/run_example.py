"""Starts an example server, tests it over HTTP and stops it with SIGTERM and with Ctrl-C.

By default, posts the callbacks of tests/cases to every address that the server prints.

--token    also requests an upload token with GET
--uploads  tests the demo with its emulator instead: uploads a file, and checks that the server
           rejects genuine callbacks that OSS signed for other applications
--metrics  after --uploads, also scrapes /metrics, see scrape.py
--recipe   tests a recipe of examples/frameworks instead: requests a token, and checks that the
           server rejects the same callbacks
--drop-in  runs the two commands of docs/sample-drop-in.md instead, and uploads a file
"""

import argparse
import json
import os
import pathlib
import re
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


def check_token(address):
    with urllib.request.urlopen(address) as answer:
        token = json.load(answer)
    fields = {"accessid", "host", "policy", "signature", "expire", "dir", "callback"}
    assert set(token) == fields, token
    print("token: ok")


def check_callbacks(address):
    cases = json.loads(pathlib.Path("tests/cases/callbacks.json").read_text())
    assert any(case["genuine"] for case in cases)
    for case in cases:
        status, body = post(address, case)
        print(f"{case['name']}: {status} {body.decode()}")
        if case["genuine"]:
            assert (status, body) == (200, b'{"Status":"OK"}'), case["name"]
        else:
            assert status == 403, case["name"]


def changed(text):
    """Returns the text with its middle character changed."""
    at = len(text) // 2
    return text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1:]


def check_changes(address):
    cases = json.loads(pathlib.Path("tests/cases/callbacks.json").read_text())
    for case in (case for case in cases if case["genuine"]):
        path, mark, query = case["path_and_query"].partition("?")
        headers = case["headers"]
        variants = [
            {**case, "body": changed(case["body"])},
            {**case, "path_and_query": changed(path) + mark + query},
            {**case, "path_and_query": path + "?" + changed(query or "ab")},
            {**case, "headers": {**headers, "authorization": changed(headers["authorization"])}},
        ]
        statuses = [post(address, variant)[0] for variant in variants]
        print(f"{case['name']}, tampered: {statuses}")
        assert all(status in (400, 403) for status in statuses)


def form(fields, name, content_type, content):
    """Returns a multipart/form-data body with the file as its last part."""
    parts = [
        (f'form-data; name="{field}"', None, value.encode()) for field, value in fields.items()
    ]
    parts.append((f'form-data; name="file"; filename="{name}"', content_type, content))
    body = b""
    for disposition, kind, value in parts:
        head = f"--limit\r\nContent-Disposition: {disposition}\r\n"
        head += f"Content-Type: {kind}\r\n" if kind else ""
        body += head.encode() + b"\r\n" + value + b"\r\n"
    return body + b"--limit--\r\n"


def get(address):
    with urllib.request.urlopen(address) as answer:
        return answer.read()


def check_uploads(address):
    assert b"<!doctype html>" in get(address + "/").lower()
    content = b"A file for OSS."
    ask = f"/oss/policy?filename=a.txt&size={len(content)}&type=text/plain"
    token = json.loads(get(address + ask))
    body = form(token["fields"], "a.txt", "text/plain", content)
    headers = {"content-type": "multipart/form-data; boundary=limit"}
    upload = urllib.request.Request(token["url"], body, headers)
    with urllib.request.urlopen(upload) as answer:
        print("upload:", answer.status, answer.read().decode())
        assert answer.status == 200
    (listed,) = json.loads(get(address + "/uploads"))
    assert (listed["object"], listed["size"]) == (token["key"], len(content)), listed
    tampered = form({**token["fields"], "callback": "e30="}, "a.txt", "text/plain", content)
    try:
        urllib.request.urlopen(urllib.request.Request(token["url"], tampered, headers))
        sys.exit("error: OSS accepted a tampered form")
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 403, refusal
    check_foreign_callbacks(address)
    assert len(json.loads(get(address + "/uploads"))) == 1
    print("page, upload and tampered form: ok")


def check_foreign_callbacks(address):
    for case in json.loads(pathlib.Path("tests/cases/callbacks.json").read_text()):
        status, _ = post(address, {**case, "path_and_query": "/oss/callback"})
        assert status in (400, 403, 415), case["name"]
    print("foreign callbacks: ok")


def check_recipe(address):
    token = json.loads(get(address + "/oss/policy?filename=a.png&size=5&type=image/png"))
    assert token["key"].startswith("user/7/") and token["fields"]["x-oss-signature"], token
    print("token: ok")
    check_foreign_callbacks(address)


def check_drop_in(address):
    content = b"A file for OSS."
    token = json.loads(get(address))
    key = token["dir"] + "a.txt"
    fields = {
        "key": key,
        "success_action_status": "200",
        "policy": token["policy"],
        "callback": token["callback"],
        "x-oss-signature-version": token["x_oss_signature_version"],
        "x-oss-credential": token["x_oss_credential"],
        "x-oss-date": token["x_oss_date"],
        "x-oss-signature": token["signature"],
    }
    headers = {"content-type": "multipart/form-data; boundary=limit"}
    body = form(fields, "a.txt", "text/plain", content)
    with urllib.request.urlopen(urllib.request.Request(token["host"], body, headers)) as answer:
        relayed = answer.status, answer.read()
    print("upload:", *relayed)
    assert relayed == (200, b'{"Status":"OK"}')


def drop_in_commands():
    """Returns the commands of the guide that start the emulator and the server, as printed."""
    guide = pathlib.Path("docs/sample-drop-in.md").read_text()
    section = guide.partition("## Try it on one machine")[2].partition("\n## ")[0]
    commands = re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)
    assert len(commands) == 2, commands
    return [["bash", "-c", command] for command in commands]


class Example:
    """A server in a process group of its own: a signal must reach both cargo and the server, as
    Ctrl-C does."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        lines = (line for line in self.process.stdout if line.startswith("listening on "))
        listening = next(lines, None)
        if listening is None:
            sys.exit("error: the server exited without printing its address")
        self.addresses = [word for word in listening.split() if word.startswith("http://")]

    def stop(self, number):
        os.killpg(self.process.pid, number)
        self.process.wait(timeout=30)
        return self.process.stdout.read()


def check_arguments(command):
    """The server explains its arguments, and a port that is in use."""
    if command[0] == "bash":
        asking = [*command[:-1], command[-1].rstrip() + " --help"]
    else:
        asking = [*command, *(["--help"] if "--" in command else ["--", "--help"])]
    usage = subprocess.run(asking, capture_output=True, text=True, check=True)
    assert re.search(r"^usage: ", usage.stdout, re.I | re.M), usage
    busy = subprocess.run(command, capture_output=True, text=True)
    assert busy.returncode == 1, busy
    assert re.search(r"^error: .*in use; stop the other program", busy.stderr, re.M), busy.stderr
    print("help and busy port: ok")


def run(command, check):
    """Starts a server twice, and ends it with each signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        server = Example(command)
        try:
            if number == signal.SIGINT:
                for address in server.addresses:
                    print(address)
                    check(address)
                check_arguments(command)
        finally:
            rest = server.stop(number)
        assert "stopped" in rest, f"the server did not shut down cleanly on {number.name}"
        print(f"stopped on {number.name}: ok")


def post_json(address, value):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(address, json.dumps(value).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def check_metrics(address):
    """Checks the metrics after `check_uploads`, a request for a signed URL and a recovery."""
    sys.dont_write_bytecode = True
    # Here, because no other check needs its packages.
    import scrape

    large = {"action": "create", "filename": "a.png", "size": 50_000_000, "type": "image/png"}
    assert "handle" in post_json(address + "/oss/presign", large)
    # The switch of the page, which recovers when the callback server is back.
    post_json(address + "/demo/callback-server", {"stopped": False})
    scrape.check(get(address + "/metrics").decode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--uploads", action="store_true")
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--recipe", action="store_true")
    parser.add_argument("--drop-in", action="store_true")
    parser.add_argument("--token", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    if options.drop_in:
        emulator, server = drop_in_commands()
        oss = Example(emulator)
        try:
            check_arguments(emulator)
            run(server, check_drop_in)
        finally:
            assert "stopped" in oss.stop(signal.SIGTERM)
        return

    def check(address):
        if options.uploads:
            check_uploads(address)
            if options.metrics:
                check_metrics(address)
        elif options.recipe:
            check_recipe(address)
        else:
            if options.token:
                check_token(address)
            check_callbacks(address)
            check_changes(address)

    run(options.command, check)


main()
