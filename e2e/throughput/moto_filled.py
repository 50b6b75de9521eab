"""Starts the server of moto with objects that it did not get over HTTP.

Arguments: the port, the buckets with commas, the bucket to fill, how many objects.
"""

import sys

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import main

from names import FILLED_BODY, filled_key

port, buckets, filled, count = sys.argv[1:]
backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
for bucket in buckets.split(","):
    backend.create_bucket(bucket, "us-east-1")
for index in range(int(count)):
    backend.put_object(filled, filled_key(index), FILLED_BODY)
main(["-H", "127.0.0.1", "-p", port])
