"""Restates what the integration tests of alibabacloud-oss-v2 assert of buckets, listings, tags and
deletions, and runs it with the published SDK."""

import sys

import alibabacloud_oss_v2 as oss

import app
from cases import Cases, raises

cases = Cases(f"alibabacloud-oss-v2 {oss.__version__}")


class Account:
    """A client, and names of its own for buckets."""

    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.shared = prefix + "shared"

    def create(self, name, **settings):
        name = self.prefix + name
        self.client.put_bucket(oss.PutBucketRequest(bucket=name, **settings))
        return name

    def put(self, bucket, key, body=b"x", **more):
        return self.client.put_object(
            oss.PutObjectRequest(bucket=bucket, key=key, body=body, **more)
        )

    def delete(self, bucket):
        return self.client.delete_bucket(oss.DeleteBucketRequest(bucket=bucket))


def refused(call, request):
    """Asserts that OSS refuses a request, and returns the error of OSS."""
    error = raises(oss.exceptions.OperationError, call, request)
    return error.unwrap()


def missing(call, request):
    error = refused(call, request)
    assert (error.status_code, error.code) == (404, "NoSuchBucket"), error
    assert error.message == "The specified bucket does not exist." and error.request_id
    assert error.ec == "0015-00000101", error


@cases.of("test_bucket_basic.py: put_bucket, delete_bucket")
def a_bucket_is_created_once(account):
    configuration = oss.CreateBucketConfiguration(storage_class="IA")
    bucket = account.create("one", acl="private", create_bucket_configuration=configuration)
    result = account.client.put_bucket(oss.PutBucketRequest(bucket=bucket))
    assert result.status_code == 200
    account.put(bucket, "a")
    request = oss.DeleteBucketRequest(bucket=bucket)
    error = refused(account.client.delete_bucket, request)
    assert (error.status_code, error.code) == (409, "BucketNotEmpty")
    assert error.ec == "0015-00000301", error
    account.client.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="a"))
    assert account.delete(bucket).status_code == 204
    missing(account.client.delete_bucket, request)


@cases.of("test_service.py: list_buckets; the paginator of buckets")
def buckets_are_listed_page_by_page(account):
    names = [account.create(f"page-{at}") for at in range(5)]
    prefix = account.prefix + "page-"
    result = account.client.list_buckets(oss.ListBucketsRequest(prefix=prefix, max_keys=2))
    assert result.is_truncated and result.max_keys == 2 and result.prefix == prefix
    assert result.next_marker == names[1] and result.owner.id
    first = result.buckets[0]
    assert (first.name, first.region) == (names[0], app.REGION)
    assert (first.location, first.storage_class) == ("oss-" + app.REGION, "Standard")
    assert first.creation_date and first.extranet_endpoint and first.intranet_endpoint
    paginator = account.client.list_buckets_paginator(limit=2)
    found = [
        bucket.name
        for page in paginator.iter_page(oss.ListBucketsRequest(prefix=prefix))
        for bucket in page.buckets or []
    ]
    assert found == names, found
    for name in names:
        account.delete(name)


@cases.of("test_bucket_basic.py: put_bucket_acl, get_bucket_acl")
def the_acl_is_that_of_the_last_request(account):
    bucket = account.create("acl")
    for acl in ["private", "public-read", "public-read-write"]:
        request = oss.PutBucketAclRequest(bucket=bucket, acl=acl)
        assert account.client.put_bucket_acl(request).status_code == 200
        result = account.client.get_bucket_acl(oss.GetBucketAclRequest(bucket=bucket))
        assert result.acl == acl and result.owner.id
    account.delete(bucket)
    missing(account.client.get_bucket_acl, oss.GetBucketAclRequest(bucket=bucket))


@cases.of("test_bucket_basic.py: get_bucket_info, get_bucket_location, get_bucket_stat")
def a_bucket_describes_itself(account):
    bucket = account.create("info")
    info = account.client.get_bucket_info(oss.GetBucketInfoRequest(bucket=bucket)).bucket_info
    assert (info.name, info.location, info.storage_class) == (bucket, "oss-" + app.REGION, "Standard")
    assert (info.data_redundancy_type, info.acl) == ("LRS", "private")
    assert info.creation_date and info.owner.id and info.access_monitor == "Disabled"
    request = oss.GetBucketLocationRequest(bucket=bucket)
    assert account.client.get_bucket_location(request).location == "oss-" + app.REGION
    request = oss.GetBucketStatRequest(bucket=bucket)
    stat = account.client.get_bucket_stat(request)
    assert (stat.storage, stat.object_count, stat.multi_part_upload_count) == (0, 0, 0)
    assert (stat.live_channel_count, stat.last_modified_time) == (0, 0)
    account.put(bucket, "a", b"hello")
    stat = account.client.get_bucket_stat(request)
    assert (stat.storage, stat.object_count, stat.standard_object_count) == (5, 1, 1)
    account.client.delete_object(oss.DeleteObjectRequest(bucket=bucket, key="a"))
    account.delete(bucket)
    for call, request in [
        (account.client.get_bucket_info, oss.GetBucketInfoRequest(bucket=bucket)),
        (account.client.get_bucket_location, oss.GetBucketLocationRequest(bucket=bucket)),
        (account.client.get_bucket_stat, oss.GetBucketStatRequest(bucket=bucket)),
    ]:
        missing(call, request)


@cases.of("test_bucket_basic.py: list_objects, list_objects_v2; the paginators of objects")
def both_listings_show_the_same(account):
    names = ["list/" + name for name in ["a \f+&", "b/1", "b/2", "中"]]
    for name in names:
        account.put(account.shared, name, b"12345")
    for request, paginator in [
        (oss.ListObjectsRequest, account.client.list_objects_paginator),
        (oss.ListObjectsV2Request, account.client.list_objects_v2_paginator),
    ]:
        one = request(bucket=account.shared, prefix="list/")
        found = [
            (item.key, item.size, item.object_type)
            for page in paginator(limit=1).iter_page(one)
            for item in page.contents or []
        ]
        assert found == [(name, 5, "Normal") for name in names], found
    request = oss.ListObjectsRequest(bucket=account.shared, prefix="list/", delimiter="/")
    result = account.client.list_objects(request)
    assert [one.prefix for one in result.common_prefixes] == ["list/b/"]
    assert result.contents[0].owner.id and not result.is_truncated


@cases.of("test_object_basic.py: delete_multiple_objects")
def many_objects_are_deleted_at_once(account):
    # Every character that XML can only escape.
    strange = "many/" + "".join(chr(at) for at in range(1, 32))
    keys = ["many/a", "many/b &<>\"'", strange, "many/missing"]
    for key in keys[:3]:
        account.put(account.shared, key)
    request = oss.DeleteMultipleObjectsRequest(
        bucket=account.shared,
        encoding_type="url",
        objects=[oss.DeleteObject(key=key) for key in keys],
    )
    result = account.client.delete_multiple_objects(request)
    assert result.status_code == 200
    assert [one.key for one in result.deleted_objects] == keys, result.deleted_objects
    request.quiet = True
    result = account.client.delete_multiple_objects(request)
    assert result.status_code == 200 and not result.deleted_objects
    request.bucket = account.prefix + "missing"
    missing(account.client.delete_multiple_objects, request)


@cases.of("test_object_multipart.py: list_multipart_uploads; the paginator of uploads")
def uploads_in_progress_are_listed(account):
    bucket = account.create("uploads")
    request = oss.ListMultipartUploadsRequest(bucket=bucket)
    result = account.client.list_multipart_uploads(request)
    assert not result.uploads and result.max_uploads == 1000 and not result.is_truncated
    expected = []
    for key in ["a \f\v\n", "b", "b"]:
        initiate = oss.InitiateMultipartUploadRequest(bucket=bucket, key=key)
        expected.append((key, account.client.initiate_multipart_upload(initiate).upload_id))
    expected.sort()
    result = account.client.list_multipart_uploads(request)
    assert result.bucket == bucket and not result.key_marker
    assert [(one.key, one.upload_id) for one in result.uploads] == expected
    assert all(one.initiated for one in result.uploads)
    found = [
        (one.key, one.upload_id)
        for page in account.client.list_multipart_uploads_paginator(limit=1).iter_page(request)
        for one in page.uploads or []
    ]
    assert found == expected, found
    for key, upload in expected:
        account.client.abort_multipart_upload(
            oss.AbortMultipartUploadRequest(bucket=bucket, key=key, upload_id=upload)
        )
    account.delete(bucket)
    missing(account.client.list_multipart_uploads, request)


def tagging(**tags):
    tags = [oss.Tag(key=key, value=value) for key, value in tags.items()]
    return oss.Tagging(tag_set=oss.TagSet(tags=tags))


def tags(result):
    return {tag.key: tag.value for tag in result.tag_set.tags or []}


@cases.of("test_object_tagging.py: put_, get_ and delete_object_tagging")
def objects_have_tags(account):
    place = {"bucket": account.shared, "key": "tagged"}
    account.put(account.shared, "tagged", tagging="k0=v0")
    get = oss.GetObjectTaggingRequest(**place)
    assert tags(account.client.get_object_tagging(get)) == {"k0": "v0"}
    put = oss.PutObjectTaggingRequest(**place, tagging=tagging(k1="v1", k2="v2"))
    assert account.client.put_object_tagging(put).status_code == 200
    assert tags(account.client.get_object_tagging(get)) == {"k1": "v1", "k2": "v2"}
    head = account.client.head_object(oss.HeadObjectRequest(**place))
    assert head.tagging_count == 2
    delete = oss.DeleteObjectTaggingRequest(**place)
    assert account.client.delete_object_tagging(delete).status_code == 204
    assert tags(account.client.get_object_tagging(get)) == {}
    many = tagging(**{f"k{at}": "v" for at in range(11)})
    put = oss.PutObjectTaggingRequest(**place, tagging=many)
    error = refused(account.client.put_object_tagging, put)
    assert (error.status_code, error.code) == (400, "InvalidTag"), error


@cases.of("test_bucket_tags.py: put_, get_ and delete_bucket_tags")
def buckets_have_tags(account):
    bucket = account.create("tags")
    put = oss.PutBucketTagsRequest(bucket=bucket, tagging=tagging(key1="1", key2="2", key3="3"))
    assert account.client.put_bucket_tags(put).status_code == 200
    get = oss.GetBucketTagsRequest(bucket=bucket)
    found = tags(account.client.get_bucket_tags(get).tagging)
    assert found == {"key1": "1", "key2": "2", "key3": "3"}
    listed = account.client.list_buckets(oss.ListBucketsRequest(tag_key="key2", tag_value="2"))
    assert [one.name for one in listed.buckets] == [bucket]
    # This version does not send the names of the tags, so it deletes all.
    delete = oss.DeleteBucketTagsRequest(bucket=bucket, tagging="key1,key3")
    assert account.client.delete_bucket_tags(delete).status_code == 204
    account.delete(bucket)
    for call, request in [
        (account.client.put_bucket_tags, put),
        (account.client.get_bucket_tags, get),
        (account.client.delete_bucket_tags, delete),
    ]:
        missing(call, request)


@cases.of("test_client.py: list_object_versions of a bucket without versions; clean_versions")
def objects_have_one_version(account):
    bucket = account.create("versions")
    for key in ["a", "b", "c"]:
        account.put(bucket, key)
    found = account.client.get_bucket_versioning(oss.GetBucketVersioningRequest(bucket=bucket))
    assert found.version_status is None
    request = oss.ListObjectVersionsRequest(bucket=bucket)
    pages = account.client.list_object_versions_paginator(limit=1).iter_page(request)
    found = [(one.key, one.version_id, one.is_latest) for page in pages for one in page.version]
    assert found == [("a", "null", True), ("b", "null", True), ("c", "null", True)]
    objects = [oss.DeleteObject(key=key, version_id=version) for key, version, _ in found]
    account.client.delete_multiple_objects(
        oss.DeleteMultipleObjectsRequest(bucket=bucket, objects=objects)
    )
    assert not account.client.list_object_versions(request).version
    account.delete(bucket)
    missing(account.client.list_object_versions, request)


@cases.of("test_bucket_public_access_block_client.py, and test_bucket_acl of test_client.py")
def public_access_can_be_blocked(account):
    bucket = account.create("public")
    get = oss.GetBucketPublicAccessBlockRequest(bucket=bucket)
    for block in [True, False]:
        configuration = oss.PublicAccessBlockConfiguration(block_public_access=block)
        account.client.put_bucket_public_access_block(
            oss.PutBucketPublicAccessBlockRequest(
                bucket=bucket, public_access_block_configuration=configuration
            )
        )
        found = account.client.get_bucket_public_access_block(get)
        assert found.public_access_block_configuration.block_public_access is block
        acl = oss.PutBucketAclRequest(bucket=bucket, acl="public-read-write")
        if block:
            error = refused(account.client.put_bucket_acl, acl)
            assert (error.status_code, error.code) == (403, "AccessDenied"), error
        else:
            assert account.client.put_bucket_acl(acl).status_code == 200
    delete = oss.DeleteBucketPublicAccessBlockRequest(bucket=bucket)
    assert account.client.delete_bucket_public_access_block(delete).status_code == 204
    account.delete(bucket)


@cases.of("the operations that the tests cover and the emulator does not implement")
def what_is_not_implemented_changes_nothing(account):
    account.put(account.shared, "kept")
    bucket = {"bucket": account.shared}
    for call, request in [
        (account.client.get_bucket_lifecycle, oss.GetBucketLifecycleRequest(**bucket)),
        (account.client.delete_bucket_lifecycle, oss.DeleteBucketLifecycleRequest(**bucket)),
        (account.client.get_bucket_policy, oss.GetBucketPolicyRequest(**bucket)),
        (account.client.get_bucket_policy_status, oss.GetBucketPolicyStatusRequest(**bucket)),
        (account.client.get_bucket_website, oss.GetBucketWebsiteRequest(**bucket)),
        (account.client.get_bucket_logging, oss.GetBucketLoggingRequest(**bucket)),
        (account.client.get_bucket_worm, oss.GetBucketWormRequest(**bucket)),
        (account.client.list_style, oss.ListStyleRequest(**bucket)),
        (account.client.list_bucket_inventory, oss.ListBucketInventoryRequest(**bucket)),
        (account.client.get_bucket_access_monitor, oss.GetBucketAccessMonitorRequest(**bucket)),
        (account.client.describe_regions, oss.DescribeRegionsRequest()),
    ]:
        error = refused(call, request)
        assert (error.status_code, error.code) == (400, "NotImplemented"), error
    read = account.client.get_object(oss.GetObjectRequest(**bucket, key="kept"))
    assert read.body.content == b"x"


def accounts():
    """Yields an account for each way to sign."""
    for version in ["v1", "v4"]:
        for kind, key in [("", app.KEY), (" sts", app.temporary())]:
            config = oss.config.load_default()
            config.credentials_provider = oss.credentials.StaticCredentialsProvider(*key)
            config.region = app.REGION
            config.endpoint = app.OSS_URL
            config.signature_version = version
            config.use_path_style = True
            config.retry_max_attempts = 1
            way = version + kind
            yield way, Account(oss.Client(config), f"v2-{way.replace(' ', '-')}-")


for way, account in accounts():
    account.create("shared")
    cases.run(way, account)
if not cases.cases:
    sys.exit("error: no cases")
