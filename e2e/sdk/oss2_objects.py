"""Restates what the tests of oss2 assert about objects: copies, conditions, ACLs, appended objects,
symbolic links, images, and signed URLs. Run with the published package."""

import json
import sys
import urllib.error
import urllib.request

import oss2
from oss2.models import PartInfo

import app
from objects import ESCAPED, FUTURE, PAST, encoded, png, raises

E = oss2.exceptions
SECOND = "secondbucket"


def buckets():
    """Yields a client for each signature version."""
    for name, auth in [("v1", oss2.Auth(*app.KEY)), ("v4", oss2.AuthV4(*app.KEY))]:
        yield name, oss2.Bucket(auth, app.OSS_URL, app.BUCKET, region=app.REGION)


def second(bucket):
    return oss2.Bucket(bucket.auth, app.OSS_URL, SECOND, region=app.REGION)


def missing(bucket):
    return oss2.Bucket(bucket.auth, app.OSS_URL, "missingbucket", region=app.REGION)


def copy(bucket, folder):
    source, target = folder + ESCAPED, folder + "target"
    bucket.put_object(source, app.CONTENT, headers={"x-oss-meta-key1": "value1"})
    result = bucket.copy_object(app.BUCKET, source, target)
    assert result.etag == bucket.head_object(source).etag
    found = bucket.get_object(target)
    assert found.read() == app.CONTENT
    assert found.headers["x-oss-meta-key1"] == "value1"
    second(bucket).copy_object(app.BUCKET, source, target)
    assert second(bucket).get_object(target).read() == app.CONTENT
    raises(E.NoSuchKey, bucket.copy_object, app.BUCKET, folder + "none", target)
    raises(E.NoSuchBucket, bucket.copy_object, "missingbucket", source, target)
    headers = {"x-oss-forbid-overwrite": "true"}
    raises(E.ServerError, bucket.copy_object, app.BUCKET, source, target, headers=headers)


def copy_conditions(bucket, folder):
    source, target = folder + "source", folder + "target"
    etag = bucket.put_object(source, app.CONTENT).etag
    for name, value, error in [
        ("if-match", etag, None),
        ("if-match", "foo-bar", E.PreconditionFailed),
        ("if-none-match", "foo-bar", None),
        ("if-none-match", etag, E.NotModified),
        ("if-modified-since", PAST, None),
        ("if-modified-since", FUTURE, E.NotModified),
        ("if-unmodified-since", FUTURE, None),
        ("if-unmodified-since", PAST, E.PreconditionFailed),
    ]:
        headers = {"x-oss-copy-source-" + name: value}
        copying = (app.BUCKET, source, target)
        if error:
            raises(error, bucket.copy_object, *copying, headers=headers)
        else:
            assert bucket.copy_object(*copying, headers=headers).status == 200


def update_meta(bucket, folder):
    key = folder + "meta.txt"
    bucket.put_object(key, app.LARGE, headers={"x-oss-meta-old": "1"})
    bucket.update_object_meta(key, {"Content-Type": "whatever", "x-oss-meta-category": "novel"})
    found = bucket.get_object(key)
    assert found.read() == app.LARGE
    assert found.headers["content-type"] == "whatever"
    assert found.headers["x-oss-meta-category"] == "novel"
    assert "x-oss-meta-old" not in found.headers


def part_copy(bucket, folder):
    source, target = folder + "source", folder + "parts"
    bucket.put_object(source, app.LARGE)
    upload = bucket.init_multipart_upload(target).upload_id
    parts = []
    for number, span in [(1, (0, app.PART - 1)), (2, (app.PART, None))]:
        result = bucket.upload_part_copy(app.BUCKET, source, span, target, upload, number)
        parts.append(PartInfo(number, result.etag))
    bucket.complete_multipart_upload(target, upload, parts)
    assert bucket.get_object(target).read() == app.LARGE
    error = raises(
        E.NoSuchUpload, bucket.upload_part_copy, app.BUCKET, source, None, target, upload, 1
    )
    assert error.ec == "0042-00000311", error.ec


def conditions(bucket, folder):
    key = folder + "conditions"
    etag = bucket.put_object(key, app.CONTENT).etag
    for name, value, error in [
        ("if-match", etag, None),
        ("if-match", "foo-bar", E.PreconditionFailed),
        ("if-none-match", "foo-bar", None),
        ("if-none-match", etag, E.NotModified),
        ("if-modified-since", PAST, None),
        ("if-modified-since", FUTURE, E.NotModified),
        ("if-unmodified-since", FUTURE, None),
        ("if-unmodified-since", PAST, E.PreconditionFailed),
    ]:
        for span in [None, (0, 7)]:
            reading = {"headers": {name: value}, "byte_range": span}
            if error:
                raises(error, bucket.get_object, key, **reading)
            else:
                length = len(app.CONTENT) if span is None else 8
                assert len(bucket.get_object(key, **reading).read()) == length


def overrides(bucket, folder):
    key = folder + "overrides"
    bucket.put_object(key, app.CONTENT)
    params = {
        "response-content-type": "text/x",
        "response-content-disposition": "attachment; filename=a b.txt",
        "response-cache-control": "no-store",
    }
    found = bucket.get_object(key, params=params)
    assert found.headers["content-type"] == "text/x"
    with urllib.request.urlopen(bucket.sign_url("GET", key, 60, params=params)) as answer:
        assert answer.headers["content-disposition"] == "attachment; filename=a b.txt"
        assert answer.headers["cache-control"] == "no-store"


def meta(bucket, folder):
    key = folder + "simplified"
    raises(E.NoSuchBucket, missing(bucket).get_object_meta, key)
    error = raises(E.NoSuchKey, bucket.get_object_meta, key)
    assert error.headers["x-oss-ec"] == "0026-00000001" == error.ec
    bucket.put_object(key, b"hello")
    found = bucket.get_object_meta(key)
    assert found.content_length == 5
    assert found.etag == "5D41402ABC4B2A76B9719D911017C592"
    assert found.last_modified > 1472128796


def acl(bucket, folder):
    key = folder + "acl"
    bucket.put_object(key, app.LARGE)
    assert bucket.get_object_acl(key).acl == oss2.OBJECT_ACL_DEFAULT
    for permission in [
        oss2.OBJECT_ACL_PRIVATE,
        oss2.OBJECT_ACL_PUBLIC_READ,
        oss2.OBJECT_ACL_PUBLIC_READ_WRITE,
        oss2.OBJECT_ACL_DEFAULT,
    ]:
        bucket.put_object_acl(key, permission)
        assert bucket.get_object_acl(key).acl == permission
    assert bucket.get_object(key).read() == app.LARGE


def append(bucket, folder):
    key = folder + "appended"
    first, then = app.LARGE, app.CONTENT
    result = bucket.append_object(key, 0, first, init_crc=0)
    assert result.next_position == len(first) and result.crc is not None
    error = raises(E.PositionNotEqualToLength, bucket.append_object, key, 0, then)
    assert error.next_position == len(first) and error.ec == "0026-00000016"
    # The SDK compares the checksum of the whole object.
    result = bucket.append_object(key, len(first), then, init_crc=result.crc)
    assert result.next_position == len(first) + len(then)
    found = bucket.get_object(key)
    assert found.read() == first + then
    assert found.headers["x-oss-object-type"] == "Appendable"
    wrong = (folder + "wrong", 0, then)
    raises(E.InconsistentError, bucket.append_object, *wrong, init_crc=1)
    bucket.put_object(key, then)
    raises(E.ObjectNotAppendable, bucket.append_object, key, len(then), first)
    raises(E.Conflict, bucket.append_object, key, len(then), first)


def symlink(bucket, folder):
    key, link = folder + "target +&中", folder + "link"
    raises(E.NoSuchBucket, missing(bucket).get_symlink, link)
    raises(E.NoSuchKey, bucket.get_symlink, link)
    bucket.put_object(key, b"hello")
    bucket.put_symlink(key, link, headers={"X-Oss-Meta-Key2": "value2"})
    assert bucket.get_symlink(link).target_key == key
    head = bucket.head_object(link)
    assert head.content_length == 5
    assert head.etag == "5D41402ABC4B2A76B9719D911017C592"
    assert head.headers["x-oss-meta-key2"] == "value2"
    assert bucket.get_object(link).read() == b"hello"
    bucket.delete_object(key)
    error = raises(E.ServerError, bucket.get_object, link)
    assert (error.status, error.code) == (404, "SymlinkTargetNotExist"), error


def image(bucket, folder):
    key = folder + "a.png"
    content = png(200, 100)
    bucket.put_object(key, content)

    def info(key):
        found = json.loads(bucket.get_object(key, process="image/info").read())
        return [found[name]["value"] for name in ["ImageWidth", "ImageHeight", "Format"]]

    assert info(key) == ["200", "100", "png"]
    for process, expected in [
        ("image/resize,m_fixed,w_100,h_100", ["100", "100", "png"]),
        ("image/crop,w_50,h_50,x_100,y_20,r_1", ["50", "50", "png"]),
        ("image/format,jpg", ["200", "100", "jpg"]),
    ]:
        made = bucket.get_object(key, process=process).read()
        bucket.put_object(folder + "made", made)
        assert info(folder + "made") == expected, process
    saved = folder + "saved.png"
    process = "image/resize,w_100|sys/saveas,o_" + encoded(saved)
    result = bucket.process_object(key, process)
    assert (result.status, result.bucket, result.object) == (200, "", saved)
    assert info(saved) == ["100", "50", "png"]
    result = bucket.process_object(key, process + ",b_" + encoded(app.BUCKET))
    assert (result.bucket, result.object) == (app.BUCKET, saved)


def expired(bucket, folder):
    key = folder + "expired"
    bucket.put_object(key, app.CONTENT)
    if isinstance(bucket.auth, oss2.AuthV4):
        # The SDK of version 4 signs with its own clock, and refuses no time.
        return
    url = bucket.sign_url("GET", key, -1)
    error = raises(urllib.error.HTTPError, urllib.request.urlopen, url)
    text = error.read().decode()
    assert error.code == 403, text
    assert "<Code>AccessDenied</Code><Message>Request has expired.</Message>" in text, text
    assert "<EC>0002-00000069</EC>" in text and "<ServerTime>" in text, text


def additional_headers(bucket, folder):
    """Version 4 signs headers that the URL names, and their values count."""
    key = folder + "additional"
    if not isinstance(bucket.auth, oss2.AuthV4):
        return
    headers = {"Content-Type": "text/x", "x-other": "one"}
    url = bucket.sign_url(
        "PUT", key, 60, headers=dict(headers), additional_headers=["x-other"]
    )
    assert "x-oss-additional-headers=x-other" in url, url
    request = urllib.request.Request(url, app.CONTENT, headers, method="PUT")
    assert urllib.request.urlopen(request).status == 200
    for value in ["two", None]:
        other = {"Content-Type": "text/x"} | ({"x-other": value} if value else {})
        request = urllib.request.Request(url, app.CONTENT, other, method="PUT")
        error = raises(urllib.error.HTTPError, urllib.request.urlopen, request)
        assert error.code in (400, 403), error.code


TESTS = [
    copy,
    copy_conditions,
    update_meta,
    part_copy,
    conditions,
    overrides,
    meta,
    acl,
    append,
    symlink,
    image,
    expired,
    additional_headers,
]

for way, client in buckets():
    for test in TESTS:
        name = f"oss2 {oss2.__version__} objects {way} {test.__name__}"
        try:
            test(client, f"oss2 objects {way}/")
        except Exception:
            print(name, "FAILED", file=sys.stderr)
            raise
        print(name, "ok")
