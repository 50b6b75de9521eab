"""Tests alibabacloud-oss-v2, Alibaba's second SDK for Python, with signature versions 1 and 4, and
with long-term and temporary keys."""

import datetime
import sys
import tempfile
import urllib.parse
import urllib.request

import alibabacloud_oss_v2 as oss

import app

TYPE = "application/octet-stream"


def clients():
    """Yields a client for each way to sign."""
    for version in ["v1", "v4"]:
        for kind, key in [("", app.KEY), (" sts", app.temporary())]:
            config = oss.config.load_default()
            config.credentials_provider = oss.credentials.StaticCredentialsProvider(*key)
            config.region = app.REGION
            config.endpoint = app.OSS_URL
            config.signature_version = version
            config.use_path_style = True
            config.retry_max_attempts = 1
            yield version + kind, oss.Client(config)


def put(client, folder):
    key = folder + "put +&中.bin"
    callback, variables = app.granted(key)
    result = client.put_object(
        oss.PutObjectRequest(
            bucket=app.BUCKET,
            key=key,
            body=app.CONTENT,
            content_type=TYPE,
            callback=callback,
            callback_var=variables,
        )
    )
    assert result.status_code == 200
    app.check_answer(key, result.callback_result)
    app.check_seen(key, "PutObject", len(app.CONTENT))
    read = client.get_object(oss.GetObjectRequest(bucket=app.BUCKET, key=key))
    assert read.body.content == app.CONTENT


def multipart(client, folder):
    key = folder + "multipart +&中.bin"
    upload = client.initiate_multipart_upload(
        oss.InitiateMultipartUploadRequest(bucket=app.BUCKET, key=key, content_type=TYPE)
    ).upload_id
    parts = []
    for number, at in enumerate(range(0, len(app.LARGE), app.PART), 1):
        result = client.upload_part(
            oss.UploadPartRequest(
                bucket=app.BUCKET,
                key=key,
                upload_id=upload,
                part_number=number,
                body=app.LARGE[at : at + app.PART],
            )
        )
        parts.append(oss.UploadPart(part_number=number, etag=result.etag))
    listed = client.list_parts(oss.ListPartsRequest(bucket=app.BUCKET, key=key, upload_id=upload))
    assert listed.key == key
    assert [(p.part_number, p.etag) for p in listed.parts] == [
        (p.part_number, p.etag) for p in parts
    ]
    callback, variables = app.granted(key)
    result = client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket=app.BUCKET,
            key=key,
            upload_id=upload,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=parts),
            callback=callback,
            callback_var=variables,
        )
    )
    app.check_answer(key, result.callback_result)
    app.check_seen(key, "CompleteMultipartUpload", len(app.LARGE))
    read = client.get_object(oss.GetObjectRequest(bucket=app.BUCKET, key=key))
    assert read.body.content == app.LARGE


def complete_all(client, folder):
    key = folder + "all.bin"
    upload = client.initiate_multipart_upload(
        oss.InitiateMultipartUploadRequest(bucket=app.BUCKET, key=key)
    ).upload_id
    client.upload_part(
        oss.UploadPartRequest(
            bucket=app.BUCKET, key=key, upload_id=upload, part_number=7, body=app.CONTENT
        )
    )
    result = client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket=app.BUCKET, key=key, upload_id=upload, complete_all="yes"
        )
    )
    assert result.key == key and result.bucket == app.BUCKET
    assert result.etag.endswith('-1"'), result.etag


def uploader(client, folder):
    """Uploads with the manager that splits a file into parts."""
    key = folder + "uploader.bin"
    callback, variables = app.granted(key)
    with tempfile.NamedTemporaryFile() as file:
        file.write(app.LARGE)
        file.flush()
        result = client.uploader(part_size=app.PART).upload_file(
            oss.PutObjectRequest(
                bucket=app.BUCKET,
                key=key,
                content_type=TYPE,
                callback=callback,
                callback_var=variables,
            ),
            filepath=file.name,
        )
    assert result.status_code == 200
    app.check_seen(key, "CompleteMultipartUpload", len(app.LARGE))


def failing(client, folder):
    """The SDK treats every 2xx as success.

    See `service_error_response_handler` in alibabacloud_oss_v2/_client.py.
    """
    key = folder + "failing.bin"
    callback, variables = app.without_ticket(key)
    result = client.put_object(
        oss.PutObjectRequest(
            bucket=app.BUCKET,
            key=key,
            body=app.CONTENT,
            content_type=TYPE,
            callback=callback,
            callback_var=variables,
        )
    )
    app.check_failed(result.status_code, result.callback_result)
    app.check_not_seen(key)
    assert client.is_object_exist(bucket=app.BUCKET, key=key)


def presigned(client, folder):
    key = folder + "presigned +&.bin"
    callback, variables = app.granted(key)
    # The callback in headers, which the user of the URL must send.
    signed = client.presign(
        oss.PutObjectRequest(
            bucket=app.BUCKET,
            key=key,
            content_type=TYPE,
            callback=callback,
            callback_var=variables,
        ),
        expires=datetime.timedelta(minutes=10),
    )
    request = urllib.request.Request(signed.url, app.CONTENT, signed.signed_headers, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        app.check_answer(key, answer.read())
    app.check_seen(key, "PutObject", len(app.CONTENT))

    # The callback in the query of the URL.
    key = folder + "presigned query.bin"
    callback, variables = app.granted(key)
    signed = client.presign(
        oss.PutObjectRequest(
            bucket=app.BUCKET,
            key=key,
            content_type=TYPE,
            parameters={"callback": callback, "callback-var": variables},
        ),
        expires=datetime.timedelta(minutes=10),
    )
    assert "callback" in urllib.parse.parse_qs(urllib.parse.urlsplit(signed.url).query)
    request = urllib.request.Request(signed.url, app.CONTENT, signed.signed_headers, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        app.check_answer(key, answer.read())
    app.check_seen(key, "PutObject", len(app.CONTENT))


def refused(client, folder):
    key = folder + "refused.bin"
    callback, _ = app.granted(key)
    try:
        client.put_object(
            oss.PutObjectRequest(
                bucket=app.BUCKET,
                key=key,
                body=b"x",
                callback=callback,
                parameters={"callback": callback},
            )
        )
        raise AssertionError("a callback in header and query was accepted")
    except oss.exceptions.OperationError as error:
        error = error.unwrap()
        assert error.status_code == 400 and error.code == "InvalidArgument", error
        assert error.message == (
            "Either the callback query string parameter or the x-oss-callback header "
            "should be specified, not both."
        ), error
    assert not client.is_object_exist(bucket=app.BUCKET, key=key)


def listing(client, folder):
    names = [folder + "list/" + name for name in ["a b+&.txt", "deep/1", "deep/2", "z"]]
    for name in names:
        client.put_object(oss.PutObjectRequest(bucket=app.BUCKET, key=name, body=b""))
    pages = client.list_objects_v2_paginator().iter_page(
        oss.ListObjectsV2Request(bucket=app.BUCKET, prefix=folder + "list/", max_keys=1)
    )
    assert [one.key for page in pages for one in page.contents or []] == names
    page = client.list_objects_v2(
        oss.ListObjectsV2Request(bucket=app.BUCKET, prefix=folder + "list/", delimiter="/")
    )
    assert [one.key for one in page.contents] == [names[0], names[3]]
    assert [one.prefix for one in page.common_prefixes] == [folder + "list/deep/"]
    for name in names:
        result = client.delete_object(oss.DeleteObjectRequest(bucket=app.BUCKET, key=name))
        assert result.status_code == 204


def cors(client, _):
    before = client.get_bucket_cors(oss.GetBucketCorsRequest(bucket=app.BUCKET)).cors_configuration
    rule = oss.CORSRule(
        allowed_origins=["http://*.example"],
        allowed_methods=["PUT", "GET"],
        allowed_headers=["x-oss-*"],
        expose_headers=["ETag"],
        max_age_seconds=60,
    )
    for configuration in [oss.CORSConfiguration(cors_rules=[rule], response_vary=False), before]:
        client.put_bucket_cors(
            oss.PutBucketCorsRequest(bucket=app.BUCKET, cors_configuration=configuration)
        )
        found = client.get_bucket_cors(oss.GetBucketCorsRequest(bucket=app.BUCKET))
        found = found.cors_configuration.cors_rules
        assert [vars(one) for one in found] == [vars(one) for one in configuration.cors_rules]


def presigned_parts(client, _):
    """The SDK sends nothing to URLs. It shares an upload with a client that does."""
    key, upload = app.begin()
    id_ = upload["uploadId"]
    signed = app.presign({"action": "parts", "parts": [1, 3], **upload})["parts"]
    for one in signed:
        at = (one["partNumber"] - 1) * app.PART
        app.send(one["request"], app.LARGE[at : at + app.PART])
    client.upload_part(
        oss.UploadPartRequest(
            bucket=app.BUCKET,
            key=key,
            upload_id=id_,
            part_number=2,
            body=app.LARGE[app.PART : 2 * app.PART],
        )
    )
    listed = client.list_parts(oss.ListPartsRequest(bucket=app.BUCKET, key=key, upload_id=id_))
    assert [part.part_number for part in listed.parts] == [1, 2, 3]
    parts = "".join(
        f"<Part><PartNumber>{part.part_number}</PartNumber><ETag>{part.etag}</ETag></Part>"
        for part in listed.parts
    )
    xml = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    answer = app.send(app.presign({"action": "complete", **upload})["request"], xml)
    app.check_answer(key, answer)
    app.check_seen(key, "CompleteMultipartUpload", len(app.LARGE), "any client")
    read = client.get_object(oss.GetObjectRequest(bucket=app.BUCKET, key=key))
    assert read.body.content == app.LARGE


TESTS = [
    put,
    multipart,
    complete_all,
    uploader,
    failing,
    presigned,
    presigned_parts,
    refused,
    listing,
    cors,
]

for way, sdk in clients():
    for test in TESTS:
        name = f"alibabacloud-oss-v2 {oss.__version__} {way} {test.__name__}"
        try:
            test(sdk, "v2 " + way + "/")
        except Exception:
            print(name, "FAILED", file=sys.stderr)
            raise
        print(name, "ok")
