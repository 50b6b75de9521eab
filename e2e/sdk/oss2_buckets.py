"""Restates what the test suite of oss2 asserts of buckets, listings, tags and deletions, and runs it
with the published oss2."""

import sys

import oss2
from oss2.models import Tagging, TaggingRule

import app
from cases import Cases, raises

cases = Cases(f"oss2 {oss2.__version__}")
errors = oss2.exceptions


class Account:
    """A client for the service, and for any bucket."""

    def __init__(self, auth, prefix):
        self.auth = auth
        self.prefix = prefix
        self.service = oss2.Service(auth, app.OSS_URL, region=app.REGION)
        self.shared = self.bucket("shared")

    def bucket(self, name):
        return oss2.Bucket(self.auth, app.OSS_URL, self.prefix + name, region=app.REGION)

    def names(self, **query):
        return [one.name for one in self.service.list_buckets(**query).buckets]


@cases.of("test_bucket.py: test_bucket")
def a_bucket_is_listed_and_deleted_when_it_is_empty(account):
    bucket = account.bucket("one")
    bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE)
    assert bucket.bucket_name in account.names(prefix=bucket.bucket_name)
    bucket.put_object("a.txt", "content")
    error = raises(errors.BucketNotEmpty, bucket.delete_bucket)
    assert error.status == 409 and error.ec == "0015-00000301", error.details
    bucket.delete_object("a.txt")
    bucket.delete_bucket()
    error = raises(errors.NoSuchBucket, bucket.delete_bucket)
    assert error.ec == "0015-00000101", error.details


@cases.of("test_bucket.py: test_bucket_with_storage_class")
def objects_inherit_the_storage_class(account):
    bucket = account.bucket("class")
    config = oss2.models.BucketCreateConfig(oss2.BUCKET_STORAGE_CLASS_IA)
    bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE, config)
    bucket.put_object("a.txt", "content")
    (listed,) = bucket.list_objects().object_list
    assert listed.storage_class == "IA"
    bucket.delete_object("a.txt")
    bucket.delete_bucket()


@cases.of("test_bucket.py: test_bucket_with_data_redundancy_type")
def the_redundancy_type_is_kept(account):
    for redundancy in [oss2.BUCKET_DATA_REDUNDANCY_TYPE_LRS, oss2.BUCKET_DATA_REDUNDANCY_TYPE_ZRS]:
        bucket = account.bucket("redundancy")
        config = oss2.models.BucketCreateConfig(oss2.BUCKET_STORAGE_CLASS_IA, redundancy)
        bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE, config)
        assert bucket.get_bucket_info().data_redundancy_type == redundancy
        bucket.delete_bucket()


@cases.of("test_bucket.py: test_acl")
def the_acl_is_that_of_the_last_request(account):
    bucket = account.bucket("acl")
    bucket.create_bucket(oss2.BUCKET_ACL_PUBLIC_READ)
    assert bucket.get_bucket_acl().acl == oss2.BUCKET_ACL_PUBLIC_READ
    for acl in [oss2.BUCKET_ACL_PRIVATE, oss2.BUCKET_ACL_PUBLIC_READ_WRITE]:
        bucket.put_bucket_acl(acl)
        assert bucket.get_bucket_acl().acl == acl
    bucket.delete_bucket()


@cases.of("test_bucket.py: test_bucket_stat, test_bucket_stat_all_param")
def the_statistics_count_at_once(account):
    bucket = account.bucket("stat")
    bucket.create_bucket()
    bucket.put_object("b.txt", "content")
    stat = bucket.get_bucket_stat()
    assert (stat.object_count, stat.multi_part_upload_count) == (1, 0)
    assert (stat.storage_size_in_bytes, stat.live_channel_count) == (7, 0)
    assert stat.last_modified_time is not None
    assert (stat.standard_storage, stat.standard_object_count) == (7, 1)
    for name in [
        "infrequent_access_storage",
        "infrequent_access_real_storage",
        "infrequent_access_object_count",
        "archive_storage",
        "archive_real_storage",
        "archive_object_count",
        "cold_archive_storage",
        "cold_archive_real_storage",
        "cold_archive_object_count",
    ]:
        assert getattr(stat, name) == 0, name
    bucket.delete_object("b.txt")
    bucket.delete_bucket()


@cases.of("test_bucket.py: test_bucket_info, test_location")
def the_information_has_every_element(account):
    bucket = account.bucket("info")
    raises(errors.NoSuchBucket, bucket.get_bucket_info)
    bucket.create_bucket(oss2.BUCKET_ACL_PRIVATE)
    info = bucket.get_bucket_info()
    assert info.name == bucket.bucket_name
    assert info.storage_class == oss2.BUCKET_STORAGE_CLASS_STANDARD
    assert info.creation_date and info.intranet_endpoint and info.extranet_endpoint
    assert info.owner.id and info.acl.grant == oss2.BUCKET_ACL_PRIVATE
    assert info.data_redundancy_type is not None and info.comment is not None
    assert info.bucket_encryption_rule.sse_algorithm is None
    assert info.versioning_status is None
    assert bucket.get_bucket_location().location == "oss-" + app.REGION
    bucket.delete_bucket()


@cases.of("test_bucket.py: test_bucket_tagging, test_bucket_tagging_with_specify_label")
def buckets_have_tags(account):
    bucket = account.bucket("tags")
    bucket.create_bucket()
    tagging = Tagging()
    rules = {"%@abc": "abc", "123++": "++123%", "test": "abc"}
    tagging.tag_set.tagging_rule.update(rules)
    bucket.put_bucket_tagging(tagging)
    assert bucket.get_bucket_tagging().tag_set.tagging_rule == rules
    assert bucket.delete_bucket_tagging({"tagging": "test"}).status == 204
    del rules["test"]
    assert bucket.get_bucket_tagging().tag_set.tagging_rule == rules
    assert bucket.delete_bucket_tagging().status == 204
    assert bucket.get_bucket_tagging().tag_set.len() == 0
    bucket.delete_bucket()


@cases.of("test_bucket.py: test_list_bucket_with_tagging")
def buckets_are_listed_by_tag(account):
    for name, tag in [("tag-1", "key-1"), ("tag-2", "key-2")]:
        bucket = account.bucket(name)
        bucket.create_bucket()
        rule = TaggingRule()
        rule.add(tag, "value1")
        bucket.put_bucket_tagging(Tagging(rule))
    found = account.service.list_buckets(params={"tag-key": "key-1", "tag-value": "value1"})
    assert [one.name for one in found.buckets] == [account.prefix + "tag-1"]
    assert len(account.names()) > 1
    for name in ["tag-1", "tag-2"]:
        account.bucket(name).delete_bucket()


@cases.of("test_iterator.py: test_bucket_iterator")
def all_buckets_are_found_page_by_page(account):
    names = [account.prefix + "page-" + str(at) for at in range(5)]
    for name in names:
        oss2.Bucket(account.auth, app.OSS_URL, name, region=app.REGION).create_bucket()
    prefix = account.prefix + "page-"
    found = [one.name for one in oss2.BucketIterator(account.service, prefix, max_keys=2)]
    assert found == names, found
    for name in names:
        oss2.Bucket(account.auth, app.OSS_URL, name, region=app.REGION).delete_bucket()


@cases.of("test_iterator.py: test_object_iterator, test_object_iterator_chinese")
def objects_are_listed_page_by_page_with_version_1(account):
    bucket = account.shared
    objects = ["list/中+文 " + str(at) for at in range(7)]
    folders = ["list/" + str(at) + "/" for at in range(3)]
    for key in objects + [folder + "a" for folder in folders]:
        bucket.put_object(key, "12345")
    found = list(oss2.ObjectIterator(bucket, "list/", delimiter="/", max_keys=2))
    assert [one.key for one in found if not one.is_prefix()] == objects
    assert [one.key for one in found if one.is_prefix()] == folders
    for one in found:
        if not one.is_prefix():
            head = bucket.head_object(one.key)
            assert head.last_modified == one.last_modified
            assert (one.type, one.size, one.etag) == ("Normal", 5, head.etag)
            assert one.owner.id and one.owner.display_name
    raises(errors.InvalidArgument, bucket.list_objects, max_keys=1001)


@cases.of("test_iterator.py: test_upload_iterator, test_upload_iterator_chinese")
def uploads_are_listed_page_by_page(account):
    bucket = account.shared
    uploads = sorted(bucket.init_multipart_upload("up/中+文").upload_id for _ in range(7))
    for at in range(4):
        bucket.init_multipart_upload(f"up/{at}/a")
    found = list(oss2.MultipartUploadIterator(bucket, prefix="up/", delimiter="/", max_uploads=2))
    assert [one.upload_id for one in found if not one.is_prefix()] == uploads
    assert [one.key for one in found if one.is_prefix()] == [f"up/{at}/" for at in range(4)]


@cases.of("test_iterator.py: test_object_upload_iterator")
def uploads_of_one_object_are_found(account):
    bucket = account.shared
    wanted = sorted(bucket.init_multipart_upload("of-one").upload_id for _ in range(5))
    for _ in range(5):
        bucket.init_multipart_upload("of-one-and-more")
    for page in [5, 3]:
        found = oss2.ObjectUploadIterator(bucket, "of-one", max_uploads=page)
        assert [one.upload_id for one in found] == wanted
    error = raises(errors.BucketNotEmpty, account.shared.delete_bucket)
    assert error.status == 409


@cases.of("test_object.py: test_batch_delete_objects, test_batch_delete_objects_empty")
def many_objects_are_deleted_at_once(account):
    bucket = account.shared
    keys = ["many/" + name for name in ["a", "中 文", "b&<>", "c\n"]]
    for key in keys:
        bucket.put_object(key, "x")
    result = bucket.batch_delete_objects(keys + ["many/missing"])
    assert sorted(result.deleted_keys) == sorted(keys + ["many/missing"]), result.deleted_keys
    assert len(result.delete_versions) == len(keys) + 1
    assert not any(bucket.object_exists(key) for key in keys)
    raises(errors.ClientError, bucket.batch_delete_objects, [])
    raises(errors.MalformedXml, bucket.batch_delete_objects, [str(at) for at in range(1001)])


@cases.of("test_object.py: test_object_tagging")
def objects_have_tags(account):
    bucket = account.shared
    bucket.put_object("tagged", "x")
    assert bucket.get_object_tagging("tagged").tag_set.len() == 0
    rule = TaggingRule()
    rule.add(128 * "a", 256 * "a")
    rule.add("+-.:", "_/")
    assert bucket.put_object_tagging("tagged", Tagging(rule)).status == 200
    tags = bucket.get_object_tagging("tagged").tag_set
    assert tags.len() == 2
    assert tags.tagging_rule[128 * "a"] == 256 * "a" and tags.tagging_rule["+-.:"] == "_/"
    assert bucket.delete_object_tagging("tagged").status == 204
    assert bucket.get_object_tagging("tagged").tag_set.len() == 0


@cases.of("test_object.py: test_put_object_with_tagging")
def an_upload_has_tags(account):
    headers = {oss2.headers.OSS_OBJECT_TAGGING: "k1=v1&k2=v2&k3=v3"}
    assert account.shared.put_object("put-tagged", "x", headers=headers).status == 200
    tags = account.shared.get_object_tagging("put-tagged").tag_set.tagging_rule
    assert tags == {"k1": "v1", "k2": "v2", "k3": "v3"}


@cases.of("test_object.py: test_object_tagging_wrong_key, _wrong_value, _wrong_rule_num")
def tags_have_limits(account):
    bucket = account.shared
    bucket.put_object("tagged", "x")
    eleven = {str(at): "x" for at in range(11)}
    for rules in [
        {129 * "a": "test"},
        {"%@abc": "abc"},
        {"": "abc"},
        {"test": 257 * "a"},
        {"test": "%abc"},
        eleven,
    ]:
        tagging = Tagging()
        tagging.tag_set.tagging_rule.update(rules)
        error = raises(errors.OssError, bucket.put_object_tagging, "tagged", tagging)
        assert (error.status, error.code) == (400, "InvalidTag"), error.details
    tagging = Tagging()
    tagging.tag_set.tagging_rule["test"] = ""
    assert bucket.put_object_tagging("tagged", tagging).status == 200


@cases.of("test_exception_ec.py: test_1_exception_normal, test_2_exception_head")
def errors_have_their_ec(account):
    for call in [account.shared.get_object, account.shared.get_object_meta]:
        error = raises(errors.OssError, call, "missing")
        assert error.ec == error.headers["x-oss-ec"] == "0026-00000001", error.details


@cases.of("the operations that the suites test and the emulator does not implement")
def what_is_not_implemented_changes_nothing(account):
    bucket = account.shared
    bucket.put_object("kept", "x")
    for call in [
        bucket.get_bucket_lifecycle,
        bucket.delete_bucket_lifecycle,
        bucket.get_bucket_website,
        bucket.delete_bucket_website,
        bucket.get_bucket_logging,
        bucket.get_bucket_policy,
        bucket.delete_bucket_policy,
        bucket.get_bucket_worm,
        bucket.list_bucket_style,
        bucket.get_bucket_resource_group,
        bucket.list_bucket_inventory_configurations,
    ]:
        error = raises(errors.OssError, call)
        assert (error.status, error.code) == (400, "NotImplemented"), error.details
    assert bucket.get_object("kept").read() == b"x"


def accounts():
    """Yields an account for each way to sign."""
    for way, kind in [("v1", oss2.Auth), ("v4", oss2.AuthV4)]:
        yield way, Account(kind(*app.KEY), f"oss2-{way}-")
    temporary = app.temporary()
    yield "v4 sts", Account(oss2.StsAuth(*temporary, auth_version="v4"), "oss2-v4-sts-")


for way, account in accounts():
    account.shared.create_bucket()
    cases.run(way, account)
if not cases.cases:
    sys.exit("error: no cases")
