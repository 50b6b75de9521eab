"""Starts an example server, tests it over HTTP and stops it with Ctrl-C.

By default, posts the callbacks of tests/cases to every address that the server prints.

--token    also requests an upload token with GET
--path     posts only the callbacks to this path
--uploads  tests the demo with its emulator instead: uploads a file, and checks that the server
           rejects genuine callbacks that OSS signed for other applications
"""

import argparse
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


def check_token(address):
    with urllib.request.urlopen(address) as answer:
        token = json.load(answer)
    fields = {"accessid", "host", "policy", "signature", "expire", "dir", "callback"}
    assert set(token) == fields, token
    print("token: ok")


def check_callbacks(address, path):
    cases = json.loads(pathlib.Path("tests/cases/callbacks.json").read_text())
    if path is not None:
        cases = [case for case in cases if case["path_and_query"].partition("?")[0] == path]
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
    for case in json.loads(pathlib.Path("tests/cases/callbacks.json").read_text()):
        status, _ = post(address, {**case, "path_and_query": "/oss/callback"})
        assert status in (400, 403, 415), case["name"]
    assert len(json.loads(get(address + "/uploads"))) == 1
    print("page, upload, tampered form and foreign callbacks: ok")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--uploads", action="store_true")
    parser.add_argument("--token", action="store_true")
    parser.add_argument("--path")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    # In its own process group: the interrupt must reach both cargo and the server, as Ctrl-C does.
    server = subprocess.Popen(
        options.command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        listening = next((line for line in server.stdout if line.startswith("listening on ")), None)
        if listening is None:
            sys.exit("error: the server exited without printing its address")
        for address in (word for word in listening.split() if word.startswith("http://")):
            print(address)
            if options.uploads:
                check_uploads(address)
                continue
            if options.token:
                check_token(address)
            check_callbacks(address, options.path)
            if options.path is None:
                check_changes(address)
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.wait(timeout=30)
    assert "stopped" in server.stdout.read(), "the server did not shut down cleanly"
    print("stopped: ok")


main()
