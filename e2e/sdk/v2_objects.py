"""Restates what the tests of alibabacloud-oss-v2, and of the SDK of version 2 for Go, assert about
objects. Run with the published package."""

import datetime
import json
import sys
import urllib.error
import urllib.request

import alibabacloud_oss_v2 as oss

import app
from objects import ESCAPED, FUTURE, PAST, encoded, png

SECOND = "secondbucket"


def clients():
    """Yields a client for each signature version."""
    for version in ["v1", "v4"]:
        config = oss.config.load_default()
        config.credentials_provider = oss.credentials.StaticCredentialsProvider(*app.KEY)
        config.region = app.REGION
        config.endpoint = app.OSS_URL
        config.signature_version = version
        config.use_path_style = True
        config.retry_max_attempts = 1
        yield version, oss.Client(config)


def refused(status, code, action, request):
    """Returns the error with which OSS refuses a request."""
    try:
        action(request)
    except oss.exceptions.OperationError as error:
        error = error.unwrap()
        assert error.status_code == status, error
        # A response with status 304 has no body.
        assert status == 304 or error.code == code, error
        return error
    raise AssertionError(f"{code} was not raised")


def put(client, key, body, **more):
    return client.put_object(oss.PutObjectRequest(bucket=app.BUCKET, key=key, body=body, **more))


def read(client, key, **more):
    return client.get_object(oss.GetObjectRequest(bucket=app.BUCKET, key=key, **more))


def copy(client, folder):
    source, target = folder + ESCAPED, folder + "target"
    put(client, source, app.CONTENT, metadata={"a": "1"})
    request = oss.CopyObjectRequest(bucket=app.BUCKET, key=target, source_key=source)
    result = client.copy_object(request)
    assert result.status_code == 200 and result.etag
    assert isinstance(result.last_modified, datetime.datetime)
    found = read(client, target)
    assert found.body.content == app.CONTENT and found.metadata["a"] == "1"
    request = oss.CopyObjectRequest(
        bucket=SECOND,
        key=target,
        source_bucket=app.BUCKET,
        source_key=source,
        metadata_directive="REPLACE",
        metadata={"b": "2"},
        acl="private",
        storage_class="IA",
    )
    client.copy_object(request)
    head = client.head_object(oss.HeadObjectRequest(bucket=SECOND, key=target))
    assert dict(head.metadata) == {"b": "2"} and head.storage_class == "IA"
    found = client.get_object_acl(oss.GetObjectAclRequest(bucket=SECOND, key=target))
    assert found.acl == "private"
    request = oss.CopyObjectRequest(bucket=app.BUCKET, key=target, source_key=folder + "none")
    refused(404, "NoSuchKey", client.copy_object, request)


def conditions(client, folder):
    key = folder + "conditions"
    etag = put(client, key, app.CONTENT).etag
    for name, value, status in [
        ("if_match", etag, 200),
        ("if_match", "foo-bar", 412),
        ("if_none_match", "foo-bar", 200),
        ("if_none_match", etag, 304),
        ("if_modified_since", PAST, 200),
        ("if_modified_since", FUTURE, 304),
        ("if_unmodified_since", FUTURE, 200),
        ("if_unmodified_since", PAST, 412),
    ]:
        given = {name: value}
        reading = oss.GetObjectRequest(bucket=app.BUCKET, key=key, **given)
        heading = oss.HeadObjectRequest(bucket=app.BUCKET, key=key, **given)
        copying = oss.CopyObjectRequest(
            bucket=app.BUCKET, key=folder + "copy", source_key=key, **given
        )
        for action, request in [
            (client.get_object, reading),
            (client.head_object, heading),
            (client.copy_object, copying),
        ]:
            if status == 200:
                assert action(request).status_code == 200
                continue
            error = refused(status, "PreconditionFailed", action, request)
            assert status == 304 or error.ec == "0017-00001001", error


def ranges(client, folder):
    key = folder + "ranges"
    put(client, key, b"0123456789")
    found = read(client, key, range_header="bytes=5-20", range_behavior="standard")
    assert (found.status_code, found.body.content) == (206, b"56789")
    found = read(client, key, range_header="bytes=5-20")
    assert (found.status_code, found.body.content) == (200, b"0123456789")
    request = oss.GetObjectRequest(
        bucket=app.BUCKET, key=key, range_header="bytes=10-20", range_behavior="standard"
    )
    refused(416, "InvalidRange", client.get_object, request)


def overrides(client, folder):
    key = folder + "overrides"
    put(client, key, app.CONTENT)
    found = read(
        client,
        key,
        response_content_type="text/x",
        response_cache_control="no-store",
        response_content_disposition="attachment; filename=a.txt",
    )
    assert found.content_type == "text/x" and found.cache_control == "no-store"
    assert found.content_disposition == "attachment; filename=a.txt"


def meta(client, folder):
    key = folder + "meta"
    put(client, key, b"hello")
    found = client.get_object_meta(oss.GetObjectMetaRequest(bucket=app.BUCKET, key=key))
    assert found.content_length == 5 and found.hash_crc64
    assert found.etag == '"5D41402ABC4B2A76B9719D911017C592"'
    request = oss.GetObjectMetaRequest(bucket=app.BUCKET, key=folder + "none")
    error = refused(404, "NoSuchKey", client.get_object_meta, request)
    assert error.ec == "0026-00000001", error


def acl(client, folder):
    key = folder + "acl"
    put(client, key, app.CONTENT)

    def found(key):
        return client.get_object_acl(oss.GetObjectAclRequest(bucket=app.BUCKET, key=key)).acl

    assert found(key) == "default"
    for value in ["private", "public-read", "public-read-write", "default"]:
        client.put_object_acl(oss.PutObjectAclRequest(bucket=app.BUCKET, key=key, acl=value))
        assert found(key) == value
    link = folder + "acl link"
    client.put_symlink(
        oss.PutSymlinkRequest(
            bucket=app.BUCKET, key=link, object_acl="private", symlink_target=key
        )
    )
    assert found(link) == "private"


def append(client, folder):
    key = folder + "appended"

    def request(position, body, **more):
        return oss.AppendObjectRequest(
            bucket=app.BUCKET, key=key, position=position, body=body, **more
        )

    first = client.append_object(request(0, b"hello", acl="private"))
    assert first.status_code == 200 and first.next_position == 5
    # The SDK compares the checksum of the whole object.
    then = client.append_object(
        request(5, app.LARGE, init_hash_crc64=first.hash_crc64)
    )
    assert then.next_position == 5 + len(app.LARGE)
    assert read(client, key).body.content == b"hello" + app.LARGE
    error = refused(409, "PositionNotEqualToLength", client.append_object, request(0, b"x"))
    assert error.ec == "0026-00000016", error
    assert error.message == "Position is not equal to file length", error
    put(client, key, b"normal")
    error = refused(409, "ObjectNotAppendable", client.append_object, request(6, b"x"))
    assert error.message == "The object is not appendable", error
    with client.append_file(bucket=app.BUCKET, key=folder + "file") as file:
        file.write(b"one")
        file.write(b"two")
    assert read(client, folder + "file").body.content == b"onetwo"


def symlink(client, folder):
    # The SDK does not encode the name of the target.
    key, link = folder + "target", folder + "link"
    put(client, key, b"hello")
    client.put_symlink(
        oss.PutSymlinkRequest(bucket=app.BUCKET, key=link, symlink_target=key)
    )
    found = client.get_symlink(oss.GetSymlinkRequest(bucket=app.BUCKET, key=link))
    assert found.target == key, found.target
    found = read(client, link)
    assert found.body.content == b"hello" and found.object_type == "Symlink"
    client.delete_object(oss.DeleteObjectRequest(bucket=app.BUCKET, key=key))
    request = oss.GetObjectRequest(bucket=app.BUCKET, key=link)
    error = refused(404, "SymlinkTargetNotExist", client.get_object, request)
    assert error.ec == "0026-00000012", error
    client.put_symlink(
        oss.PutSymlinkRequest(bucket=app.BUCKET, key=link, symlink_target=link)
    )
    request = oss.HeadObjectRequest(bucket=app.BUCKET, key=link)
    error = refused(400, "InvalidTargetType", client.head_object, request)
    assert error.ec == "0026-00000011", error
    assert error.message == "The symbolic's target file type is invalid", error


def part_copy(client, folder):
    source, target = folder + "source", folder + "parts"
    put(client, source, app.LARGE)
    begun = client.initiate_multipart_upload(
        oss.InitiateMultipartUploadRequest(bucket=app.BUCKET, key=target)
    )
    parts = []

    def request(number, **more):
        return oss.UploadPartCopyRequest(
            bucket=app.BUCKET,
            key=target,
            part_number=number,
            upload_id=begun.upload_id,
            source_key=source,
            **more,
        )

    for number, span in [(1, f"bytes=0-{app.PART - 1}"), (2, f"bytes={app.PART}-")]:
        result = client.upload_part_copy(request(number, source_range=span))
        assert isinstance(result.last_modified, datetime.datetime)
        parts.append(oss.UploadPart(part_number=number, etag=result.etag))
    client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket=app.BUCKET,
            key=target,
            upload_id=begun.upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts),
        )
    )
    assert read(client, target).body.content == app.LARGE
    error = refused(404, "NoSuchUpload", client.upload_part_copy, request(1))
    assert error.ec == "0042-00000311", error
    # The manager copies in parts, or as a whole.
    for size in [app.PART, 1 << 30]:
        result = client.copier(part_size=size, multipart_copy_threshold=size).copy(
            oss.CopyObjectRequest(bucket=app.BUCKET, key=folder + "copier", source_key=source)
        )
        assert result.status_code == 200
        assert read(client, folder + "copier").body.content == app.LARGE


def image(client, folder):
    key = folder + "a.png"
    put(client, key, png(200, 100))
    info = json.loads(read(client, key, process="image/resize,w_50/info").body.content)
    assert info["ImageWidth"]["value"] == "50" and info["ImageHeight"]["value"] == "25"
    saved = folder + "saved.png"
    process = "image/resize,w_100|sys/saveas,o_" + encoded(saved)
    result = client.process_object(
        oss.ProcessObjectRequest(bucket=app.BUCKET, key=key, process=process)
    )
    assert result.status_code == 200
    assert read(client, saved).content_type == "image/png"


def presigned(client, folder):
    """`test_presign.py`, and URLs whose signature covers further headers."""
    key = folder + "presigned"
    signed = client.presign(
        oss.PutObjectRequest(bucket=app.BUCKET, key=key, content_type="text/x"),
        expires=datetime.timedelta(minutes=1),
    )
    request = urllib.request.Request(
        signed.url, app.CONTENT, signed.signed_headers, method=signed.method
    )
    assert urllib.request.urlopen(request).status == 200
    signed = client.presign(
        oss.GetObjectRequest(bucket=app.BUCKET, key=key),
        expiration=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2),
    )
    assert urllib.request.urlopen(signed.url).read() == app.CONTENT


TESTS = [
    copy,
    conditions,
    ranges,
    overrides,
    meta,
    acl,
    append,
    symlink,
    part_copy,
    image,
    presigned,
]

for way, sdk in clients():
    for test in TESTS:
        # With version 1 the SDK leaves `x-oss-process` unsigned, which OSS does not accept.
        if way == "v1" and test is image:
            continue
        name = f"alibabacloud-oss-v2 {oss.__version__} objects {way} {test.__name__}"
        try:
            test(sdk, f"v2 objects {way}/")
        except Exception:
            print(name, "FAILED", file=sys.stderr)
            raise
        print(name, "ok")
