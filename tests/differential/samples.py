"""How the official sample servers read a callback: the text whose signature each of them verifies.

Restated from the application servers of the "direct upload with callback" pages, with the behaviour of the HTTP server
each of them runs on. A reader gets the raw target (latin-1 text) and the body, and returns the text, or None where the
sample answers with an error. None of them looks at the method, the signature version or the content type.
"""

import base64
import binascii
import posixpath
import re
import urllib.parse

HEX = re.compile(rb"%([0-9A-Fa-f]{2})")


def raw(text):
    return text.encode("latin-1")


def split(target):
    path, mark, query = target.partition("?")
    return path, mark + query


def unquote(path):
    """Decodes escapes, and leaves what is none."""
    return HEX.sub(lambda escape: bytes([int(escape[1], 16)]), raw(path))


def strict(data):
    """Decodes escapes, or returns None if a percent sign starts none."""
    return None if b"%" in HEX.sub(b"", data) else HEX.sub(lambda escape: bytes([int(escape[1], 16)]), data)


def lossy(data):
    """Through a string: what is not UTF-8 becomes a replacement character."""
    return data.decode("utf-8", "replace").encode()


def python2(target, body):
    path, query = split(target)
    return unquote(path) + raw(query) + b"\n" + body


def python3(target, body):
    # The server decodes the request line as latin-1, and merges slashes at its start.
    path, query = split("/" + target.lstrip("/") if target.startswith("//") else target)
    try:
        body.decode()
    except UnicodeDecodeError:
        return None
    return (urllib.parse.unquote(path) + query).encode() + b"\n" + body


def php(target, body):
    path, query = split(target)
    return unquote(path.replace("+", " ")) + raw(query) + b"\n" + body


def java(target, body):
    path, query = split(target)
    # Integer.parseInt takes a sign.
    signed = re.sub(r"%\+([0-9A-Fa-f])", r"%0\1", path).replace("+", " ")
    decoded = strict(raw(signed))
    if decoded is None:
        return None
    return lossy(decoded) + (b"" if query == "?" else raw(query)) + b"\n" + lossy(body)


def go(target, body):
    path, query = split(target)
    decoded = strict(raw(path))
    if decoded is None or re.search(rb"[\0-\x20\x7f]", raw(target)):
        return None
    # The mux redirects paths that are not clean.
    clean = posixpath.normpath(decoded.decode("latin-1")) if decoded != b"//" else "/"
    clean = "/" + clean.lstrip("/")
    if clean + ("/" if decoded.endswith(b"/") and clean != "/" else "") != decoded.decode("latin-1"):
        return None
    # net/http has decoded the path, and the sample decodes it again.
    twice = strict(decoded)
    return None if twice is None else twice + (b"" if query == "?" else raw(query)) + b"\n" + body


def ruby(target, body):
    # The server splits the fragment off.
    path, query = split(target.partition("#")[0])
    decoded = unquote(path.replace("+", " "))
    # Strings of two encodings cannot be joined unless one is ASCII.
    if not decoded.isascii() and not body.isascii():
        return None
    return decoded + (b"" if query == "?" else raw(query)) + b"\n" + body


def csharp(target, body):
    path, mark, query = target.partition("?")
    decoded = unquote(re.sub("%u([0-9A-Fa-f]{4})", lambda escape: wide(escape[1]), path.replace("+", " ")))
    # Only what stands before a second question mark.
    query = raw(mark + query.partition("?")[0])
    return lossy(decoded) + lossy(query) + b"\n" + lossy(body.removeprefix(b"\xef\xbb\xbf"))


def wide(digits):
    return chr(int(digits, 16)).encode("utf-8", "replace").decode("latin-1")


def node(target, body):
    # new URL(req.url, "http://host"), which takes what stands after two slashes for a host.
    target = re.sub("[\t\r\n]", "", target.partition("#")[0])
    path, query = split(target)
    path = path.replace("\\", "/")
    if path.startswith("//"):
        path = "/" + path.lstrip("/").partition("/")[2]
    segments = []
    for segment in path.split("/")[1:]:
        plain = re.sub("%2e", ".", segment, flags=re.I)
        last = plain in (".", "..")
        if plain == "..":
            segments = segments[:-1]
        elif plain != ".":
            segments.append(segment)
    if last:
        segments.append("")
    path = escape("/" + "/".join(segments), "\"<>`{}^ ")
    query = "" if query == "?" else escape(query, "\"<>' ")
    decoded = strict(raw(path))
    try:
        # decodeURIComponent throws what is not UTF-8.
        return None if decoded is None else decoded.decode().encode() + raw(query) + b"\n" + lossy(body)
    except UnicodeDecodeError:
        return None


def escape(text, letters):
    return "".join(f"%{ord(one):02X}" if one in letters or not "\x20" <= one <= "\x7e" else one for one in text)


READERS = {
    "Python 2": python2,
    "Python 3": python3,
    "PHP": php,
    "Java": java,
    "Go": go,
    "Ruby": ruby,
    "C#": csharp,
    "Node.js": node,
}


def signature(reader, authorization):
    """Decodes the header `authorization` as the sample does, or returns None where it fails."""
    if reader == "Go":
        letters = authorization
    elif reader == "C#":
        letters = authorization.replace(" ", "")
    else:
        url_safe = authorization.replace("-", "+").replace("_", "/") if reader in ("Java", "Node.js") else authorization
        letters = re.sub("[^A-Za-z0-9+/=]", "", url_safe)
    if reader in ("Java", "Node.js", "PHP", "Ruby"):
        # Without padding too.
        letters = letters.rstrip("=")
        letters += "=" * (-len(letters) % 4)
    try:
        return base64.b64decode(letters, validate=True)
    except binascii.Error:
        return None
