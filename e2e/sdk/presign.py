"""Signs URLs with oss2 and alibabacloud-oss-v2, for the test `sdk` of e2e/tests/presign.

Reads one request per line as JSON, and prints the URLs of both SDKs for it, as a list.
"""

import datetime
import functools
import json
import sys
import types

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2._client
import alibabacloud_oss_v2.presigner
import alibabacloud_oss_v2.signer.v4
import oss2
import oss2.auth


class Clock(datetime.datetime):
    """The time of both SDKs."""

    at = None

    @classmethod
    def now(cls, tz=None):
        return cls.at.astimezone(tz)

    @classmethod
    def utcnow(cls):
        return cls.at.replace(tzinfo=None)


oss2.auth.datetime = Clock
alibabacloud_oss_v2.signer.v4.datetime = types.SimpleNamespace(
    datetime=Clock, timezone=datetime.timezone, timedelta=datetime.timedelta
)


def first(case):
    provider = oss2.credentials.StaticCredentialsProvider(case["id"], case["secret"], case["token"])
    bucket = oss2.Bucket(
        oss2.ProviderAuthV4(provider), case["endpoint"], case["bucket"], region=case["region"]
    )
    return bucket.sign_url(
        case["method"],
        case["key"],
        case["seconds"],
        headers=dict(case["headers"]),
        params=dict(case["query"]),
        slash_safe=True,
        additional_headers=set(case["additional"]),
    )


def second(case):
    config = oss.config.load_default()
    key = [case["id"], case["secret"], case["token"]]
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(*key)
    config.region = case["region"]
    config.endpoint = case["endpoint"]
    # 1.4.1 has a setting for additional headers, and does not pass it to its signer.
    alibabacloud_oss_v2._client.SigningContext = functools.partial(
        oss.types.SigningContext, additional_headers=set(case["additional"])
    )
    operation = oss.OperationInput(
        op_name="Any",
        method=case["method"],
        headers=dict(case["headers"]),
        parameters=dict(case["query"]),
        bucket=case["bucket"],
        key=case["key"],
        op_metadata={
            "expiration_time": Clock.at + datetime.timedelta(seconds=case["seconds"])
        },
    )
    # What `Client.presign` calls, which does not have all operations.
    presign = alibabacloud_oss_v2.presigner._presign_kwargs
    done = oss.Client(config)._client.invoke_operation(operation, **presign)
    return done.http_response.request.url


for line in sys.stdin:
    case = json.loads(line)
    Clock.at = datetime.datetime.fromtimestamp(case["at"], datetime.timezone.utc)
    print(json.dumps([first(case), second(case)]), flush=True)
