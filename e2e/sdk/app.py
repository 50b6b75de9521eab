"""The application server that tests/sdk/run.sh has started, as the tests see it."""

import base64
import json
import os
import urllib.parse
import urllib.request

OSS_URL = os.environ["OSS_URL"]
APP_URL = os.environ["APP_URL"]
BUCKET = "examplebucket"
REGION = "cn-hangzhou"
KEY = ("test-id", "test-secret")
NOTE = "a note: +/=中"

CONTENT = bytes(range(256)) * 4
# Two parts of more than 100 KiB, and a rest.
PART = 128 * 1024
LARGE = bytes(i * 7 % 251 for i in range(2 * PART + 1234))


def get(path):
    with urllib.request.urlopen(APP_URL + path, timeout=10) as answer:
        return json.load(answer)


def temporary():
    """The key of STS."""
    sts = get("/sts")
    return sts["AccessKeyId"], sts["AccessKeySecret"], sts["SecurityToken"]


def granted(key):
    """The callback for an upload of this object, as Base64, and its variables."""
    answer = get("/callback?key=" + urllib.parse.quote(key, safe=""))
    return answer["callback"], answer["callback_var"]


def without_ticket(key):
    """A callback that was granted for nobody: the layer refuses it with 403."""
    callback, variables = granted(key)
    parameters = json.loads(base64.b64decode(callback))
    start = parameters["callbackBody"].index(',"x:ticket":')
    parameters["callbackBody"] = parameters["callbackBody"][:start] + "}"
    return base64.b64encode(json.dumps(parameters).encode()).decode(), variables


def check_seen(key, operation, size):
    """The layer has let exactly one callback through for this object, and its claims are those of the grant."""
    seen = [one for one in get("/seen") if one["object"] == key]
    assert len(seen) == 1, (key, seen)
    one = seen[0]
    assert one["operation"] == operation, one
    assert one["size"] == size, one
    assert one["note"] == NOTE, one
    assert one["granted_to"] == "whoever uploads " + key, one


def check_not_seen(key):
    assert [one for one in get("/seen") if one["object"] == key] == [], key


def check_answer(key, body):
    assert json.loads(body) == {"Status": "OK", "object": key}, body


def check_failed(status, body):
    """What OSS relays of a callback that failed."""
    text = body.decode() if isinstance(body, bytes) else body
    assert status == 203, (status, text)
    assert "<Code>CallbackFailed</Code>" in text and "<EC>0007-00000203</EC>" in text, text
    assert "<Message>Error status : 403.</Message>" in text, text
