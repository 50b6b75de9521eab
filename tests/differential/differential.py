"""Compares the verifier with OpenSSL (RSA), with a model of its own (the signed text), and with the official samples.

    python3 tests/differential/differential.py JUDGE [CASES]

JUDGE is the path of the built example `judge`. CASES is the number of cases of each kind, 1,000,000
by default. All cases come from a fixed seed, so failures are reproducible. Requires only Python and
libcrypto.

What a sample accepts and the verifier rejects falls into a class with a reason, or the script fails. The verdicts of
the samples are restated in `samples.py`.
"""

import base64
import collections
import ctypes
import ctypes.util
import hashlib
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import textwrap
import urllib.parse

import samples

KEY = pathlib.Path(__file__).parent.parent / "keys" / "rsa_512.pem"
BATCH = 20_000


def der(pem):
    return base64.b64decode("".join(line for line in pem.splitlines() if "-" not in line))


def integers(data):
    """Yields the integers of a PKCS #1 private key: version, n, e, d, ..."""

    def element(data):
        length, at = data[1], 2
        if length & 0x80:
            at += length & 0x7F
            length = int.from_bytes(data[2:at], "big")
        return data[at : at + length], data[at + length :]

    rest, _ = element(data)
    while rest:
        value, rest = element(rest)
        yield int.from_bytes(value, "big")


_, N, E, D, *_ = integers(der(KEY.read_text()))
LEN = (N.bit_length() + 7) // 8
MD5 = bytes.fromhex("3020300c06082a864886f70d020505000410")
MD5_WITHOUT_NULL = bytes.fromhex("301e300a06082a864886f70d02050410")
SHA1 = bytes.fromhex("3021300906052b0e03021a05000414")


def public_pem():
    def tlv(tag, value):
        length = len(value)
        head = bytes([length]) if length < 128 else bytes([0x81, length])
        return bytes([tag]) + head + value

    def number(value):
        return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    key = tlv(0x30, number(N) + number(E))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    spki = tlv(0x30, algorithm + tlv(3, b"\0" + key))
    text = "".join(line + "\n" for line in textwrap.wrap(base64.b64encode(spki).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"


class OpenSsl:
    """RSASSA-PKCS1-v1_5 with MD5, computed by libcrypto."""

    def __init__(self, pem):
        c = self.c = ctypes.CDLL(ctypes.util.find_library("crypto"))
        for name in ["BIO_new_mem_buf", "PEM_read_bio_PUBKEY", "EVP_PKEY_CTX_new", "EVP_md5"]:
            getattr(c, name).restype = ctypes.c_void_p
        bio = ctypes.c_void_p(c.BIO_new_mem_buf(pem.encode(), -1))
        key = ctypes.c_void_p(c.PEM_read_bio_PUBKEY(bio, None, None, None))
        assert key, "OpenSSL cannot read the key"
        self.context = ctypes.c_void_p(c.EVP_PKEY_CTX_new(key, None))
        assert c.EVP_PKEY_verify_init(self.context) == 1
        # EVP_PKEY_CTX_set_rsa_padding and EVP_PKEY_CTX_set_signature_md are functions since OpenSSL 3.
        assert c.EVP_PKEY_CTX_set_rsa_padding(self.context, 1) == 1
        assert c.EVP_PKEY_CTX_set_signature_md(self.context, ctypes.c_void_p(c.EVP_md5())) == 1

    def verifies(self, signature, text):
        digest = hashlib.md5(text).digest()
        arguments = (signature, ctypes.c_size_t(len(signature)), digest, ctypes.c_size_t(16))
        good = self.c.EVP_PKEY_verify(self.context, *arguments) == 1
        self.c.ERR_clear_error()
        return good


def judged(judge, key, cases):
    """A case is `authorization`, target and body, and optionally the path of `only_path` and further headers."""
    lines = "".join(
        "\t".join([authorization, target, body.hex(), *more]) + "\n" for authorization, target, body, *more in cases
    )
    answer = subprocess.run([judge, key], input=lines, capture_output=True, text=True, check=True)
    assert len(answer.stdout) == len(cases), "one letter per case"
    return answer.stdout


def rsa(message):
    return pow(int.from_bytes(message, "big"), D, N).to_bytes(LEN, "big")


def padded(prefix, digest, fill=0xFF, start=b"\0\1", end=b""):
    body = prefix + digest + end
    return start + bytes([fill]) * (LEN - 3 - len(body)) + b"\0" + body


def sign(text):
    return rsa(padded(MD5, hashlib.md5(text).digest()))


def mutations(rng, signature, text):
    """Yields a valid signature and damaged variants, each with its text."""
    digest = hashlib.md5(text).digest()
    number = int.from_bytes(signature, "big")

    def flipped(data):
        at = rng.randrange(len(data) * 8)
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        return bytes(changed)

    yield signature, text
    for _ in range(6):
        yield flipped(signature), text
        yield signature, flipped(text)
    yield (N - number).to_bytes(LEN, "big"), text
    if number + N < 1 << (8 * LEN):
        yield (number + N).to_bytes(LEN, "big"), text
    yield signature[:-1], text
    yield signature + b"\0", text
    yield b"\0" + signature, text
    yield signature[::-1], text
    yield bytes(LEN), text
    yield rng.randbytes(LEN), text
    kind = rng.randrange(7)
    forged = [
        lambda: padded(SHA1, hashlib.sha1(text).digest()),
        lambda: padded(MD5, digest, fill=rng.randrange(1, 255)),
        lambda: padded(MD5, digest, start=b"\0\2"),
        lambda: padded(MD5, digest, end=b"\0"),
        lambda: padded(b"", digest),
        lambda: padded(MD5, flipped(digest)),
        lambda: b"\0\1\xff\xff\xff\xff\xff\xff\xff\xff\0" + MD5 + digest + bytes(LEN - 11 - len(MD5) - 16),
    ][kind]
    yield rsa(forged()), text


def against_openssl(judge, key, openssl, count):
    rng = random.Random(1)
    done = good = 0
    while done < count:
        cases, expected = [], []
        while len(cases) < BATCH:
            body = rng.randbytes(rng.randrange(1, 60))
            for signature, text in mutations(rng, sign(b"/cb\n" + body), b"/cb\n" + body):
                if not text.startswith(b"/cb\n"):
                    continue
                cases.append((base64.b64encode(signature).decode(), "/cb", text[4:]))
                expected.append(openssl.verifies(signature, text))
        for case, theirs, ours in zip(cases, expected, judged(judge, key, cases)):
            assert theirs == (ours == "y"), f"OpenSSL: {theirs}, judge: {ours}: {case}"
            good += theirs
        done += len(cases)
    # OpenSSL accepts a DigestInfo without NULL. OSS never sends one, and the verifier rejects it.
    text = b"/cb\nx"
    bare = rsa(padded(MD5_WITHOUT_NULL, hashlib.md5(text).digest()))
    assert judged(judge, key, [(base64.b64encode(bare).decode(), "/cb", b"x")]) == "n"
    print(f"OpenSSL: {done} signatures, {good} of them valid, all verdicts equal")


PIECES = (
    ["/", "/", "/a", "/index.php", "/oss/callback", ".", "..", "/.", "/..", "//", "/...", "/a.", ":", "@", "~", "-_"]
    + ["!$&'()*,;=", "+", "%20", "%2F", "%2f", "%41", "%7E", "%00", "%0A", "%3F", "%25", "%", "%4", "%G0", "%E4%B8%AD", "%e4%b8%ad"]
    + ["%7C", "%7c", "%5C", "%2e", "%2E%2e", "%5B", "%40"]
    + ["%E4%B8", "%80", "%C3%A9", "%F0%9F%98%80", "%ED%A0%80", "%C0%AF", "[", "]", "|", "^", "\\", '"', "<", "{", "x"]
    + ["?", "?id=1", "?id=1&index=2", "?%2F+%zz", "?a?b", "?/../", "??"]
)
# The raw bytes, and the decoded bytes of escapes, that an unambiguous path consists of.
RAW = re.compile(rb"[A-Za-z0-9._~!$&'()*,;=:@/-]")
ESCAPED = re.compile(rb"[A-Za-z0-9._~\x80-\xff \"<>`{}|^\\-]")


def signed(target):
    """Returns the text that OSS signs for an unambiguous target, or None for any other target."""
    path, mark, query = target.partition("?")
    raw = path.encode()
    if not raw.startswith(b"/") or RAW.sub(b"", re.sub(rb"%[0-9A-Fa-f]{2}", b"", raw)):
        return None
    if ESCAPED.sub(b"", bytes(int(escape, 16) for escape in re.findall("%(..)", path))):
        return None
    decoded = urllib.parse.unquote_to_bytes(path)
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return None
    segments = decoded.decode().split("/")[1:]
    if "" in segments[:-1] or {".", ".."} & set(re.split(r"[/\\]", decoded.decode())):
        return None
    # The `http` crate rejects these in a query.
    if any(letter in query for letter in '"<>'):
        return None
    return decoded + (mark + query).encode() + b"\n"


# Absolute form, as sent to a proxy. The `http` crate decides which authorities are valid; OSS signs
# only the rest.
ABSOLUTE = re.compile("[^/?]*://[^/?]*")


def against_model(judge, key, count):
    rng = random.Random(2)
    done = taken = 0
    while done < count:
        cases, expected = [], []
        for _ in range(BATCH):
            pieces = [rng.choice(PIECES) for _ in range(rng.randrange(1, 6))]
            target = ("/" if rng.random() < 0.7 else "") + "".join(pieces)
            body = rng.randbytes(3)
            authority = ABSOLUTE.match(target)
            # An absent path means the root.
            rest = target[authority.end() :] or "/" if authority else target
            text = signed(rest)
            # For a rejected target, sign the naively decoded text, which must not verify.
            path, mark, query = rest.partition("?")
            naive = urllib.parse.unquote_to_bytes(path) + (mark + query).encode() + b"\n"
            signature = sign((naive if text is None else text) + body)
            cases.append((base64.b64encode(signature).decode(), target, body))
            expected.append("r" if text is None else "yr" if authority else "y")
        for case, theirs, ours in zip(cases, expected, judged(judge, key, cases)):
            assert (ours if ours in "yn" else "r") in theirs, f"model: {theirs}, judge: {ours}: {case}"
            taken += ours == "y"
        done += len(cases)
    print(f"model: {done} targets, {taken} of them accepted, all verdicts equal")


UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
# What a URI holds only as an escape, and no sub-delimiter.
UNSAFE = " \"<>`{}|^\\"
# Whether a callback that OSS really makes can fall into the class, why it is refused, the letters of the judge, and the
# samples that it explains, or None for all. In the order of the table that is printed.
CLASSES = {
    "plus": (True, "decoders disagree; a warning, unless a ticket or only_path names it", "p", None),
    "escaped reserved": (True, "%2F is not /, %3F no query, %25 no escape; a warning, unless named", "e", None),
    "raw character": (True, "a URI cannot hold it raw; a warning, unless named; some refused by the server", "ch", None),
    "empty segment": (True, "routers merge slashes; a warning, unless named", "s", None),
    "fragment": (True, "parsers drop it; if OSS signed it, a mismatch and its warning", "n", None),
    "control byte": (True, "%0A moves the boundary between path and body; always, with a warning", "k", None),
    "not UTF-8": (True, "decoders disagree; always, with a warning", "u", None),
    "broken escape": (True, "decoders disagree; always, with a warning", "x", None),
    "dot segment": (True, "servers and routers resolve it; always, with a warning", "d", None),
    "raw query": (True, "quotes and angle brackets; the server refuses the request line before any layer", "h", None),
    "bare ?": (False, "the sample drops a ? with nothing after it", "n", {"Java", "Go", "Ruby", "Node.js"}),
    "second ?": (False, "the sample drops what stands after a second ?", "n", {"C#"}),
    "rewritten query": (False, "the sample escapes characters of the query", "n", {"Node.js"}),
    "lossy body": (False, "the sample reads the body as text", "n", {"Java", "C#", "Node.js"}),
    "lossy Base64": (False, "OSS sends strict Base64, and the sample skips other letters", "i", None),
    "signature version": (False, "the formula of 2.0 is not published, and the sample ignores the header", "v", None),
    "content type": (False, "OSS sends one of two types, and the sample ignores the header", "t", None),
    "key URL": (False, "OSS names one of a closed table, and the sample takes any file of the host", "l", None),
}


def broken(path):
    """Returns the classes that a raw path falls into; none if it is unambiguous."""
    classes = set()
    plain = re.sub("%[0-9A-Fa-f]{2}", "", path)
    escapes = "".join(chr(int(digits, 16)) for digits in re.findall("%([0-9A-Fa-f]{2})", path))
    decoded = samples.unquote(path)
    if "+" in plain:
        classes.add("plus")
    if re.search(r"[!#$%&'()*+,/:;=?@\[\]]", escapes):
        classes.add("escaped reserved")
    if re.search(r"[^A-Za-z0-9._~!$&'()*+,;=:@/%-]", plain):
        classes.add("raw character")
    if "" in path.split("/")[1:-1]:
        classes.add("empty segment")
    if re.search("[\0-\x1f\x7f]", plain + escapes):
        classes.add("control byte")
    if "%" in plain:
        classes.add("broken escape")
    if {b".", b".."} & set(re.split(rb"[/\\]", decoded)):
        classes.add("dot segment")
    try:
        decoded.decode()
    except UnicodeDecodeError:
        classes.add("not UTF-8")
    return classes


def canonical(target):
    """The target without its fragment, in the one spelling of all that are equivalent."""
    path, query = samples.split(target.partition("#")[0])
    spell = lambda one: chr(int(one[1], 16)) if UNRESERVED.fullmatch(chr(int(one[1], 16))) else one[0].upper()
    return re.sub("%([0-9A-Fa-f]{2})", spell, path) + query


PATHS = ["/", "/cb", "/oss/callback", "/index.php", "/api/v1/up/", "/a/b/c.d"]
ODD = (
    ["%0A", "%0a", "%3F", "%3f", "%25", "%2525", "%2541", "+", "//", "[", "]", "%5B", "%5d", "|", "%7C", "%7c", "%20"]
    + ["%2B", "%2F", "%2f", "%41", "%61", "%2e", "%2E", "%e4%b8%ad", "%E4%B8%AD", "%E4%b8%aD", "\xe4\xb8\xad", "%D6%D0"]
    + ["%FF", "%", "%u4e2d", "%+1", "%zz", "/./", "/../", "/.", "%2E%2E", "\\", "%5C", '"', "{x}", "^", "%00", "%7F"]
    + ["#", "#/", "%23", "%40", "%3A", "%3D", "%7E", "@", ":", "=", "~", "!", "'", "(", "*", ";", "%27"]
)
QUERIES = ["?", "?id=1", "?id=1&index=2", "?a=%2F+%20", "??", "?a?b", "?a=b?c=d", "?q='x'", "?q=%27x%27", "?a=|"]
QUERIES += ['?a="', "?a#x"]
BODIES = [b"", b"a=b", b"bucket=b&object=a%2Fb", b'{"a":"b"}', b"x=1\ny", b"\n", b"a\n\nb", "o=中".encode()]
BODIES += [b"\xff", b"a=\xfe", b"a=\xc3", b"\xef\xbb\xbfa=b", b"a=\xef\xbf\xbd"]


def arrival(rng):
    """A callback URL and a body."""
    path = rng.choice(PATHS)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        at = rng.randrange(1, len(path) + 1)
        path = path[:at] + rng.choice(ODD) + path[at:]
    return path + (rng.choice(QUERIES) if rng.random() < 0.4 else ""), rng.choice(BODIES)


def respelled(rng, target, body):
    """The same request or another one, which some decoder takes for the same."""
    path, query = samples.split(target)
    kind = rng.randrange(12)
    if kind == 0:
        escapes = list(re.finditer("%[0-9A-Fa-f]{2}", path))
        if escapes:
            one = rng.choice(escapes)
            other = rng.choice([one[0].upper(), one[0].lower(), chr(int(one[0][1:], 16)), "%25" + one[0][1:]])
            path = path[: one.start()] + other + path[one.end() :]
    elif kind == 1:
        at = rng.randrange(1, len(path) + 1)
        if at < len(path) and path[at] != "%":
            path = path[:at] + rng.choice(["%%%02X", "%%%02x"]) % ord(path[at]) + path[at + 1 :]
    elif kind == 2:
        path = path.replace(*rng.choice([("+", "%20"), ("%20", "+"), ("%2B", "+"), ("+", "%2B"), ("%20", "%2B")]))
    elif kind == 3:
        # The boundary between path and query.
        moved = re.split("%3[Ff]", path, maxsplit=1)
        if len(moved) > 1 and not query:
            path, query = moved[0], "?" + samples.unquote(moved[1]).decode("latin-1")
        elif query:
            path, query = path + rng.choice(["%3F", "%3f"]) + urllib.parse.quote(query[1:], encoding="latin-1"), ""
    elif kind == 4:
        # The boundary between path and body.
        moved = re.split("%0[Aa]", path, maxsplit=1)
        if len(moved) > 1 and not query:
            path, body = moved[0], samples.unquote(moved[1]) + b"\n" + body
        elif b"\n" in body and not query:
            line, _, body = body.partition(b"\n")
            path += rng.choice(["%0A", "%0a"]) + urllib.parse.quote(line)
    elif kind == 5:
        query = rng.choice([query + "?", query.removesuffix("?"), query + "?x", query.partition("?x")[0] or query])
    elif kind == 6:
        query += rng.choice(["#", "#x", "#/x"])
    elif kind == 7:
        doubled = [path.replace("/", "//", 1), path.replace("//", "/")]
        path = rng.choice([*doubled, path.replace("/", "/./", 1), "/x/.." + path])
    elif kind == 8:
        query = rng.choice([query.replace("'", "%27"), query.replace("%27", "'"), query.replace('"', "%22")])
    elif kind == 9:
        mark = b"\xef\xbb\xbf"
        changed = [samples.lossy(body), body.replace(b"\xef\xbf\xbd", b"\xff"), body.replace(b"\xff", b"\xfe")]
        body = rng.choice([*changed, mark + body, body.removeprefix(mark)])
    elif kind == 10:
        path = path.replace(*rng.choice([("|", "%7C"), ("%7C", "|"), ("[", "%5B"), ("%5B", "[")]))
    else:
        path = samples.unquote(path).decode("latin-1") if rng.random() < 0.5 else path.replace("%", "%25")
    return path + query, body


def odd_headers(rng, authorization):
    """Yields a header that the samples do not look at, or read leniently, its class, and `authorization`."""
    at = rng.randrange(len(authorization))
    spelled = [authorization[:at] + " " + authorization[at:], authorization.rstrip("="), "*" + authorization]
    if set("+/") & set(authorization):
        spelled.append(authorization.replace("+", "-").replace("/", "_"))
    yield "lossy Base64", rng.choice(spelled), []
    yield "signature version", authorization, ["x-oss-signature-version=2.0"]
    yield "content type", authorization, ["content-type=text/plain"]
    other = base64.b64encode(b"https://gosspublic.alicdn.com/other.pem").decode()
    yield "key URL", authorization, ["x-oss-pub-key-url=" + other]


def classes_of(target, body, sent):
    """The classes that can explain why the verifier refuses `target` and `body`, where OSS made `sent`."""
    path, query = samples.split(target.partition("#")[0])
    classes = broken(path)
    if re.search("[<>`]", path):
        classes.add("raw character")
    if re.search('["<>]', query):
        classes.add("raw query")
    if classes:
        return classes
    # The verifier reads target and body as they are, so one of them is not what OSS signed.
    if "#" in target or "#" in sent[0]:
        classes.add("fragment")
    if query == "?" or samples.split(sent[0])[1] == "?":
        classes.add("bare ?")
    if "?" in query[1:]:
        classes.add("second ?")
    if re.search("['|]|[^ -~]", query):
        classes.add("rewritten query")
    if body != sent[1]:
        classes.add("lossy body")
    return classes


def made(rng):
    """Yields callbacks that OSS made, and others under their signatures: whether OSS made this one, the target and body
    that it made, the target and body that arrive, the signed text, the signature, `authorization`, further headers and
    their class."""
    target, body = sent = arrival(rng)
    # Whether OSS signs a fragment is not known.
    path, query = samples.split(target if rng.random() < 0.5 else target.partition("#")[0])
    text = samples.unquote(path) + samples.raw(query) + b"\n" + body
    signature = sign(text)
    authorization = base64.b64encode(signature).decode()
    yield True, sent, sent, text, signature, authorization, [], None
    for _ in range(3):
        target, body = respelled(rng, target, body)
        yield (target, body) == sent, sent, (target, body), text, signature, authorization, [], None
    # The verifier checks the target before the content type, and this one after all headers.
    if not classes_of(*sent, sent):
        for expected, other, headers in odd_headers(rng, authorization):
            yield False, sent, sent, text, signature, other, headers, expected


def is_request(target):
    """Whether the target can stand in a request line, and in a line of the judge."""
    try:
        samples.raw(target).decode()
    except UnicodeError:
        return False
    return target.startswith("/") and not re.search("[\0-\x20\x7f]", target)


# Each is in at least one of a hundred targets.
COMMON = ["%0[Aa]", "%3[Ff]", "%25", r"\|", r"\+", "//", r"\[", "%[0-9A-F]?[a-f]", "%[0-9a-f]?[A-F]"]


def against_samples(judge, key, count):
    rng = random.Random(3)
    table = collections.defaultdict(lambda: [0, 0, set()])
    common = collections.Counter()
    done = accepted = accepted_by_all = 0
    while done < count:
        inputs = []
        while len(inputs) < min(BATCH, count):
            inputs += [one for one in made(rng) if is_request(one[2][0])]
        cases = [
            (authorization, samples.raw(target).decode(), body, "", *headers)
            for _, _, (target, body), _, _, authorization, headers, _ in inputs
        ]
        named = []
        for one, ours in zip(inputs, judged(judge, key, cases), strict=True):
            genuine, sent, (target, body), text, signature, authorization, headers, expected = one
            common.update(pattern for pattern in COMMON if re.search(pattern, target))
            takers = {
                name
                for name, read in samples.READERS.items()
                if read(target, body) == text and samples.signature(name, authorization) == signature
            }
            if ours == "y":
                accepted += 1
                accepted_by_all += len(takers) == len(samples.READERS)
                assert not headers, f"a header that OSS does not send: {one}"
                # OSS also signs targets that the verifier refuses, with the texts of others that it accepts.
                if not classes_of(*sent, sent):
                    assert (canonical(target), body) == (canonical(sent[0]), sent[1]), f"another request: {one}"
                continue
            possible = {expected} if expected else classes_of(target, body, sent)
            possible = [name for name in CLASSES if name in possible and ours in CLASSES[name][2]]
            for taker in takers:
                name = next((name for name in possible if taker in (CLASSES[name][3] or takers)), None)
                assert name, f"no class: {taker} accepts, the judge says {ours}: {one}"
                assert not genuine or CLASSES[name][0], f"{name}, and OSS made it: {one}"
                table[name][2].add(taker)
            if takers:
                table[name][not genuine] += 1
            if genuine and ours in "pecs" and "#" not in target:
                line = samples.raw(target).decode()
                named.append((authorization, line, body, samples.split(line)[0]))
        # What the warning advises works.
        for case, ours in zip(named, judged(judge, key, named), strict=True):
            assert ours == "y", f"only_path names it, and the judge says {ours}: {case}"
        done += len(inputs)
    print(f"samples: {done} callbacks, {accepted} of them accepted, {accepted_by_all} by every sample too")
    print("   made by OSS  other  refused, and accepted by a sample")
    for name, (_, reason, _, _) in CLASSES.items():
        genuine, others, takers = table[name]
        print(f"{genuine:14}{others:7}  {name}: {reason} ({', '.join(sorted(takers)) or 'no sample'})")
    missing = [
        name
        for name, (*_, explained) in CLASSES.items()
        if not table[name][2] or (explained or set()) - table[name][2]
    ]
    assert not missing, f"classes without a case for each sample: {missing}"
    rare = [pattern for pattern in COMMON if common[pattern] * 100 < done]
    assert not rare, f"rare: {rare}"


def main():
    judge = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    pem = public_pem()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as key:
        key.write(pem)
        key.flush()
        against_openssl(judge, key.name, OpenSsl(pem), count)
        against_model(judge, key.name, count)
        against_samples(judge, key.name, count)


if __name__ == "__main__":
    main()
