"""Compares the verifier with OpenSSL (RSA) and with an independent model (the signed text).

    python3 tests/differential/differential.py JUDGE [CASES]

JUDGE is the path of the built example `judge`. CASES is the number of cases of each kind, 1,000,000
by default. All cases come from a fixed seed, so failures are reproducible. Requires only Python and
libcrypto.
"""

import base64
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
    lines = "".join(f"{authorization}\t{target}\t{body.hex()}\n" for authorization, target, body in cases)
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
            assert ours in theirs, f"model: {theirs}, judge: {ours}: {case}"
            taken += ours == "y"
        done += len(cases)
    print(f"model: {done} targets, {taken} of them accepted, all verdicts equal")


def main():
    judge = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    pem = public_pem()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as key:
        key.write(pem)
        key.flush()
        against_openssl(judge, key.name, OpenSsl(pem), count)
        against_model(judge, key.name, count)


if __name__ == "__main__":
    main()
