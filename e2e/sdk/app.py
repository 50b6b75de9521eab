"""Client for the application server that e2e/sdk/run.sh starts."""

import base64
import http.client
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
# Two parts of at least 100 KiB, the minimum of OSS, and a shorter last part.
PART = 128 * 1024
LARGE = bytes(i * 7 % 251 for i in range(2 * PART + 1234))


def get(path):
    with urllib.request.urlopen(APP_URL + path, timeout=10) as answer:
        return json.load(answer)


def temporary():
    """Requests a temporary key, as issued by STS."""
    sts = get("/sts")
    return sts["AccessKeyId"], sts["AccessKeySecret"], sts["SecurityToken"]


def granted(key):
    """Requests a callback for an upload of this object. Returns it and its variables as Base64."""
    answer = get("/callback?key=" + urllib.parse.quote(key, safe=""))
    return answer["callback"], answer["callback_var"]


def without_ticket(key):
    """Returns a callback without its ticket, which the layer rejects with 403."""
    callback, variables = granted(key)
    parameters = json.loads(base64.b64decode(callback))
    start = parameters["callbackBody"].index(',"x:ticket":')
    parameters["callbackBody"] = parameters["callbackBody"][:start] + "}"
    return base64.b64encode(json.dumps(parameters).encode()).decode(), variables


def presign(ask):
    """Has the application sign an upload in parts, or a download."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(APP_URL + "/presign", json.dumps(ask).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def send(signed, body=b""):
    """Sends a signed request. urllib would add a content type, which breaks the signature."""
    url = urllib.parse.urlsplit(signed["url"])
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    connection.request(signed["method"], f"{url.path}?{url.query}", body, signed["headers"])
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    return content


def begin():
    """Begins an upload of `LARGE` with a signed request."""
    upload = presign(
        {
            "action": "create",
            "filename": "film.bin",
            "size": len(LARGE),
            "type": "application/octet-stream",
        }
    )
    assert (upload["partSize"], upload["partCount"]) == (PART, 3), upload
    answer = send(upload["request"])
    id_ = answer.decode().partition("<UploadId>")[2].partition("</UploadId>")[0]
    return upload["key"], {"handle": upload["handle"], "uploadId": id_}


def check_seen(key, operation, size, granted_to=None):
    """Asserts that the layer accepted exactly one callback for this object, with its claims."""
    seen = [one for one in get("/seen") if one["object"] == key]
    assert len(seen) == 1, (key, seen)
    one = seen[0]
    assert one["operation"] == operation, one
    assert one["size"] == size, one
    assert one["note"] == NOTE, one
    assert one["granted_to"] == (granted_to or "uploader of " + key), one


def check_not_seen(key):
    assert [one for one in get("/seen") if one["object"] == key] == [], key


def check_answer(key, body):
    assert json.loads(body) == {"Status": "OK", "object": key}, body


def check_failed(status, body):
    """Asserts that OSS reported a callback that the layer rejected."""
    text = body.decode() if isinstance(body, bytes) else body
    assert status == 203, (status, text)
    assert "<Code>CallbackFailed</Code>" in text and "<EC>0007-00000203</EC>" in text, text
    assert "<Message>Error status : 403.</Message>" in text, text
