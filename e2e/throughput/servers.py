"""The servers that are compared: how each is started, filled and signed for."""

import datetime
import hashlib
import hmac
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse

import boto3
from botocore.config import Config

import client
from names import FILLED, FILLED_BODY, LARGE, SMALL, filled_key

HERE = pathlib.Path(__file__).parent
START_SECONDS = 120
EXPIRES_SECONDS = 3600
# Names of one file; ext4 allows 65,000.
LINKS = 50_000
# Query parameters and how boto3 calls them; it adds `list-type=2` itself.
ARGUMENTS = {
    "encoding-type": "EncodingType",
    "max-keys": "MaxKeys",
    "start-after": "StartAfter",
}
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server:
    """A process that listens on a port of 127.0.0.1, and that gets requests with path style."""

    name = None
    # What it does beside the work that all do; printed below the result.
    note = ""

    def __init__(self, work, objects):
        self.folder = work / re.sub(r"\W+", "-", self.name)
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.objects = objects
        started = time.monotonic()
        self.prepare()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            port = self.wait_for_port()
            self.address = ("127.0.0.1", port)
            self.signer = self.make_signer(f"http://127.0.0.1:{port}")
            self.fill()
        except BaseException:
            self.stop()
            raise
        self.fill_seconds = time.monotonic() - started

    def prepare(self):
        """Fills what is filled before the start."""

    def fill(self):
        """Fills what is filled after the start."""

    def wait_for_port(self):
        """Reads the port from the output."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(self.listening, self.log.read_text(errors="replace"))
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise client.Failure(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")

    def request(self, method, bucket, key, parameters=None, body=b"", **expected):
        url = self.signer(method, bucket, key, parameters or {})
        parts = urllib.parse.urlsplit(url)
        return self.unsigned(method, f"{parts.path}?{parts.query}", body, **expected)

    def unsigned(self, method, target, body=b"", length=None, check=None, discard=False):
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\n"
        if method == "PUT":
            head += f"Content-Length: {len(body)}\r\n"
        return client.Request(head.encode() + b"\r\n", body, length, check, discard)

    def send(self, requests, connections, seconds=None):
        try:
            return client.send(self.address, requests, connections, seconds)
        except (client.Failure, OSError) as error:
            log = self.log.read_text(errors="replace")[-2000:]
            raise client.Failure(f"{self.name}: {error}\n{log}") from error

    def cpu_seconds(self):
        """User and system time of the process, with all of its threads."""
        text = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        # The name of the program, in parentheses, may contain spaces.
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def memory_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Emulator(Server):
    name = "emulator, memory"
    note = "unsigned PUTs of this client"
    listening = r"listening on http://127\.0\.0\.1:(\d+)"
    arguments = ()

    def command(self):
        buckets = (SMALL, LARGE, f"{FILLED}:public-read-write")
        program = [os.environ["EMULATOR"], "--listen", "127.0.0.1:0"]
        return [*program, *(f"--bucket={bucket}" for bucket in buckets), *self.options()]

    def options(self):
        return []

    def make_signer(self, _url):
        return sign_oss_v4

    def fill(self):
        requests = (
            self.unsigned("PUT", f"/{FILLED}/{filled_key(index)}", FILLED_BODY)
            for index in range(self.objects)
        )
        self.send(requests, connections=32)


class EmulatorInFolder(Emulator):
    name = "emulator, folder"
    note = Emulator.note + "; syncs each object to the disk"

    def options(self):
        return ["--data", str(self.folder / "data")]


class Moto(Server):
    name = "moto, memory"
    note = "calls of its Python code before the start; verifies no signatures"
    listening = r"Running on http://127\.0\.0\.1:(\d+)"

    def command(self):
        buckets = ",".join((SMALL, LARGE, FILLED))
        return [sys.executable, "moto_filled.py", "0", buckets, FILLED, str(self.objects)]

    def make_signer(self, url):
        return boto3_signer(url, "test-id", "test-secret")


class S3rver(Server):
    name = "s3rver, folder"
    note = "links to files of its format before the start; syncs nothing"
    listening = r"S3rver listening on 127\.0\.0\.1:(\d+)"

    def command(self):
        program = pathlib.Path(os.environ["NODE_MODULES"]) / "s3rver/bin/s3rver.js"
        # Its tokens for the next page need a cipher that OpenSSL 3 has only with this option.
        command = ["node", "--openssl-legacy-provider", program]
        command += ["-a", "127.0.0.1", "-p", "0", "-d", self.folder / "data"]
        for bucket in (SMALL, LARGE, FILLED):
            command += ["--configure-bucket", bucket]
        return command

    def make_signer(self, url):
        return boto3_signer(url, "S3RVER", "S3RVER")

    def prepare(self):
        folder = self.folder / "data" / FILLED
        folder.mkdir(parents=True)
        md5 = hashlib.md5(FILLED_BODY).hexdigest().encode()
        # As the server itself writes them for a PUT without a type.
        metadata = b'{\n  "content-type": "binary/octet-stream"\n}'
        contents = {"object": FILLED_BODY, "object.md5": md5, "metadata.json": metadata}
        # Links, because all objects are equal: fast to make and to delete.
        for index in range(self.objects):
            if index % LINKS == 0:
                sources = {}
                for suffix, text in contents.items():
                    sources[suffix] = self.folder / f"{index}.{suffix}"
                    sources[suffix].write_bytes(text)
            for suffix, source in sources.items():
                os.link(source, folder / f"{filled_key(index)}._S3rver_{suffix}")


ALL = (Emulator, EmulatorInFolder, Moto, S3rver)


def boto3_signer(url, key, secret):
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
        ),
    )

    def sign(method, bucket, key, parameters):
        arguments = {ARGUMENTS[name]: value for name, value in parameters.items()}
        arguments["Bucket"] = bucket
        operation = "list_objects_v2"
        if key:
            operation = f"{method.lower()}_object"
            arguments["Key"] = key
        return s3.generate_presigned_url(operation, arguments, ExpiresIn=EXPIRES_SECONDS)

    return sign


def sign_oss_v4(method, bucket, key, parameters):
    """Returns a presigned URL, relative to the server."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/cn-hangzhou/oss/aliyun_v4_request"
    parameters = parameters | {
        **({} if key else {"list-type": "2"}),
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-credential": f"test-id/{scope}",
        "x-oss-date": now,
        "x-oss-expires": str(EXPIRES_SECONDS),
    }
    path = f"/{bucket}/{urllib.parse.quote(key)}"
    pairs = ((quote(name), quote(str(value))) for name, value in parameters.items())
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    # No headers are signed: two empty lines for them and for the list of their names.
    canonical = f"{method}\n{path}\n{query}\n\n\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"OSS4-HMAC-SHA256\n{now}\n{scope}\n{digest}"
    mac = b"aliyun_v4test-secret"
    for part in (*scope.split("/"), text):
        mac = hmac.digest(mac, part.encode(), "sha256")
    return f"{path}?{query}&x-oss-signature={mac.hex()}"


def quote(text):
    return urllib.parse.quote(text, safe="")
