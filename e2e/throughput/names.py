"""Buckets and objects of the measurement."""

SMALL, LARGE, FILLED = "small-objects", "large-objects", "many-objects"
FILLED_BODY = b"sixteen bytes..."


def filled_key(index):
    return f"object-{index:06}"
