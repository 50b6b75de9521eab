"""Content for the tests of objects in oss2_objects.py and v2_objects.py."""

import base64
import struct
import time
import zlib
from email.utils import formatdate

PAST = formatdate(time.time() - 3600, usegmt=True)
FUTURE = formatdate(time.time() + 3600, usegmt=True)
# Names from the tests of the SDKs.
ESCAPED = "阿里云/加油/:?;@&=+$, /<>{}[]|/"


def png(width, height):
    """Returns a grey PNG."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def encoded(name):
    """Encodes a name for `sys/saveas`."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def raises(kind, action, *args, **kwargs):
    """Returns the exception that the action raises."""
    try:
        action(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")
