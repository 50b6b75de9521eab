"""Tests oss2, Alibaba's first SDK for Python, with signature versions 1 and 4, and with long-term
and temporary keys."""

import sys
import urllib.error
import urllib.request

import oss2
from oss2.models import PartInfo

import app

TYPE = "application/octet-stream"


def buckets():
    """Yields a client for each way to sign."""
    id_, secret = app.KEY
    temporary_id, temporary_secret, token = app.temporary()
    for name, auth in [
        ("v1", oss2.Auth(id_, secret)),
        ("v4", oss2.AuthV4(id_, secret)),
        ("v1 sts", oss2.StsAuth(temporary_id, temporary_secret, token)),
        ("v4 sts", oss2.StsAuth(temporary_id, temporary_secret, token, auth_version="v4")),
    ]:
        yield name, oss2.Bucket(auth, app.OSS_URL, app.BUCKET, region=app.REGION)


def headers(callback):
    value, variables = callback
    return {"x-oss-callback": value, "x-oss-callback-var": variables, "Content-Type": TYPE}


def put(bucket, folder):
    key = folder + "put +&中.bin"
    result = bucket.put_object(key, app.CONTENT, headers=headers(app.granted(key)))
    assert result.status == 200
    app.check_answer(key, result.resp.read())
    app.check_seen(key, "PutObject", len(app.CONTENT))
    # `read` verifies the CRC-64.
    assert bucket.get_object(key).read() == app.CONTENT


def multipart(bucket, folder):
    key = folder + "multipart.bin"
    upload = bucket.init_multipart_upload(key, headers={"Content-Type": TYPE}).upload_id
    parts = []
    for number, at in enumerate(range(0, len(app.LARGE), app.PART), 1):
        data = app.LARGE[at : at + app.PART]
        result = bucket.upload_part(key, upload, number, data)
        parts.append(PartInfo(number, result.etag, size=len(data), part_crc=result.crc))
    listed = bucket.list_parts(key, upload).parts
    assert [(p.part_number, p.etag, p.size) for p in listed] == [
        (p.part_number, p.etag, p.size) for p in parts
    ]
    assert not bucket.object_exists(key)
    callback = headers(app.granted(key))
    del callback["Content-Type"]
    result = bucket.complete_multipart_upload(key, upload, parts, headers=callback)
    app.check_answer(key, result.resp.read())
    app.check_seen(key, "CompleteMultipartUpload", len(app.LARGE))
    read = bucket.get_object(key)
    assert read.read() == app.LARGE
    assert read.headers["x-oss-object-type"] == "Multipart"
    try:
        bucket.complete_multipart_upload(key, upload, parts)
        raise AssertionError("an upload was completed twice")
    except oss2.exceptions.NoSuchUpload:
        pass


def abort(bucket, folder):
    key = folder + "aborted.bin"
    upload = bucket.init_multipart_upload(key).upload_id
    bucket.upload_part(key, upload, 1, app.CONTENT)
    bucket.abort_multipart_upload(key, upload)
    try:
        bucket.list_parts(key, upload)
        raise AssertionError("an aborted upload still exists")
    except oss2.exceptions.NoSuchUpload:
        pass


def failing(bucket, folder):
    """oss2 treats every 2xx as success (oss2/api.py, `_do`): its result has the status 203."""
    key = folder + "failing.bin"
    result = bucket.put_object(key, app.CONTENT, headers=headers(app.without_ticket(key)))
    app.check_failed(result.status, result.resp.read())
    app.check_not_seen(key)
    # OSS keeps the object.
    assert bucket.get_object(key).read() == app.CONTENT


def presigned(bucket, folder):
    key = folder + "presigned +&.bin"
    callback, variables = app.granted(key)
    parameters = {"callback": callback, "callback-var": variables}
    url = bucket.sign_url(
        "PUT", key, 600, headers={"Content-Type": TYPE}, params=parameters, slash_safe=True
    )
    request = urllib.request.Request(url, app.CONTENT, {"Content-Type": TYPE}, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        app.check_answer(key, answer.read())
    app.check_seen(key, "PutObject", len(app.CONTENT))
    # The signature covers the content type.
    request = urllib.request.Request(url, app.CONTENT, {"Content-Type": "text/html"}, method="PUT")
    try:
        urllib.request.urlopen(request, timeout=10)
        raise AssertionError("a request with another content type was accepted")
    except urllib.error.HTTPError as error:
        assert error.code == 403 and b"SignatureDoesNotMatch" in error.read()


def presigned_parts(bucket, _):
    """oss2 sends parts to signed URLs, and downloads from them."""
    key, upload = app.begin()
    signed = app.presign({"action": "parts", "parts": [1, 2, 3], **upload})["parts"]
    parts = []
    for one in signed:
        at = (one["partNumber"] - 1) * app.PART
        data = app.LARGE[at : at + app.PART]
        assert len(data) == one["size"]
        url, extra = one["request"]["url"], one["request"]["headers"]
        # The length is signed.
        try:
            bucket.put_object_with_url(url, data + b"x", headers=extra)
            raise AssertionError("a longer part was accepted")
        except oss2.exceptions.SignatureDoesNotMatch:
            pass
        # It compares the CRC-64.
        result = bucket.put_object_with_url(url, data, headers=extra)
        parts.append(PartInfo(one["partNumber"], result.etag, size=len(data), part_crc=result.crc))
    listed = bucket.list_parts(key, upload["uploadId"]).parts
    assert [(p.part_number, p.etag) for p in listed] == [(p.part_number, p.etag) for p in parts]
    signed = app.presign({"action": "complete", **upload})["request"]
    answer = app.send(signed, oss2.xml_utils.to_complete_upload_request(parts))
    app.check_answer(key, answer)
    app.check_seen(key, "CompleteMultipartUpload", len(app.LARGE), "any client")
    signed = app.presign({"action": "get", "key": key})["request"]
    read = bucket.get_object_with_url(signed["url"])
    assert read.read() == app.LARGE


def refused(bucket, folder):
    key = folder + "refused.bin"
    callback, _ = app.granted(key)
    try:
        bucket.put_object(key, b"x", headers={"x-oss-callback": callback + "!"})
        raise AssertionError("invalid Base64 was accepted")
    except oss2.exceptions.InvalidArgument as error:
        assert error.details["EC"] == "0007-00000002", error.details
    assert not bucket.object_exists(key)


def listing(bucket, folder):
    names = [folder + "list/" + name for name in ["a b+&.txt", "deep/1", "deep/2", "z"]]
    for name in names:
        bucket.put_object(name, b"")
    found = oss2.ObjectIteratorV2(bucket, prefix=folder + "list/", max_keys=1)
    assert [one.key for one in found] == names
    page = bucket.list_objects_v2(prefix=folder + "list/", delimiter="/")
    assert [one.key for one in page.object_list] == [names[0], names[3]]
    assert page.prefix_list == [folder + "list/deep/"]
    for name in names:
        assert bucket.delete_object(name).status == 204
    assert bucket.list_objects_v2(prefix=folder + "list/").object_list == []


def cors(bucket, _):
    before = bucket.get_bucket_cors().rules
    rule = oss2.models.CorsRule(["http://*.example"], ["PUT", "GET"], ["x-oss-*"], ["ETag"], 60)
    bucket.put_bucket_cors(oss2.models.BucketCors([rule]))
    found = bucket.get_bucket_cors().rules
    assert [vars(one) for one in found] == [vars(rule)], [vars(one) for one in found]
    bucket.delete_bucket_cors()
    try:
        bucket.get_bucket_cors()
        raise AssertionError("the CORS rules still exist")
    except oss2.exceptions.NoSuchCors:
        pass
    bucket.put_bucket_cors(oss2.models.BucketCors(before))


def strangers():
    auth = oss2.AuthV4(app.KEY[0], "another-secret")
    for stranger in [auth, oss2.Auth(app.KEY[0], "another-secret")]:
        bucket = oss2.Bucket(stranger, app.OSS_URL, app.BUCKET, region=app.REGION)
        try:
            bucket.put_object("stranger", b"x")
            raise AssertionError("a signature with another secret was accepted")
        except oss2.exceptions.SignatureDoesNotMatch:
            pass


for way, client in buckets():
    for test in [put, multipart, abort, failing, presigned, presigned_parts, refused, listing, cors]:
        try:
            test(client, "oss2 " + way + "/")
        except Exception:
            print("oss2", oss2.__version__, way, test.__name__, "FAILED", file=sys.stderr)
            raise
        print("oss2", oss2.__version__, way, test.__name__, "ok")
strangers()
print("oss2", oss2.__version__, "strangers ok")
