"""Runs the Python line that the program `oss-emulator` prints at its start, and the options of
alibabacloud-oss-v2 that the README names, with an IP address and with a host name. Then runs the
scripts about buckets and objects with the program, which lets clients create buckets."""

import os
import pathlib
import subprocess
import sys

import alibabacloud_oss_v2 as v2
import oss2

import app

SCRIPTS = ["oss2_buckets.py", "oss2_objects.py", "v2_buckets.py", "v2_objects.py"]


def check_oss2(line, url, host):
    bucket = eval(line.replace(url, host), {"oss2": oss2})
    bucket.put_object("oss2.txt", b"hello")
    assert bucket.get_object("oss2.txt").read() == b"hello"
    print("oss2:", host, "ok")


def check_v2(host):
    config = v2.config.load_default()
    config.credentials_provider = v2.credentials.StaticCredentialsProvider("test-id", "test-secret")
    config.region = "cn-hangzhou"
    config.endpoint = host
    config.use_path_style = True
    client = v2.Client(config)
    client.put_object(v2.PutObjectRequest(bucket="examplebucket", key="v2.txt", body=b"hello"))
    found = client.get_object(v2.GetObjectRequest(bucket="examplebucket", key="v2.txt"))
    assert found.body.content == b"hello"
    print("alibabacloud-oss-v2:", host, "ok")


class Program:
    """The running program, with the URL and the Python line of its start message."""

    def __init__(self, *options):
        command = [os.environ["EMULATOR"], "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url, self.line = None, None
        while self.line is None:
            printed = self.process.stdout.readline()
            assert printed, "the program ended"
            if printed.startswith("listening on "):
                self.url = printed.split()[2].removesuffix("/examplebucket")
            if printed.startswith("Python "):
                self.line = printed.removeprefix("Python ").strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        # Reads the access log, which the program writes until its end.
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


def run_scripts():
    options = ["--create-buckets"]
    for bucket in ["examplebucket", "secondbucket"]:
        options += ["--bucket", bucket]
    for key in [app.KEY, app.temporary()]:
        options += ["--key", ":".join(key)]
    with Program(*options) as program:
        here = pathlib.Path(__file__).parent
        environment = {**os.environ, "OSS_URL": program.url}
        for script in SCRIPTS:
            print("oss-emulator:", script, flush=True)
            subprocess.run([sys.executable, here / script], env=environment, check=True)


def main():
    with Program() as program:
        for host in (program.url, program.url.replace("127.0.0.1", "localhost")):
            check_oss2(program.line, program.url, host)
            check_v2(host)
    run_scripts()


main()
