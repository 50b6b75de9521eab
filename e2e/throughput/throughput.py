"""Compares the throughput of the emulator with moto and s3rver. `run.sh` starts it.

See README.md in this folder.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import itertools
import os
import pathlib
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

import client
import servers
from names import FILLED, LARGE, SMALL, filled_key

SMALL_SIZE = 1024
LARGE_SIZE = 64 * 1024 * 1024
SMALL_KEYS = 200
LARGE_KEYS = 4
PAGE = 1000
# Requests that are signed for one round at most.
MOST_REQUESTS = 20_000
# How much longer than planned the rounds of a workload may take before the last ones are left out.
SLACK = 1.2
# Part of all processors that other processes may use before the output calls the machine busy.
BUSY = 0.1

Settings = collections.namedtuple("Settings", "rounds seconds objects")
SHORT = Settings(rounds=2, seconds=0.5, objects=10_000)
FULL = Settings(rounds=5, seconds=1.5, objects=100_000)


class Workload:
    """What one client sends to each server, for `seconds` in each round."""

    connections = 16
    unit = "requests/s"
    # What one request counts for.
    per_request = 1

    def __init__(self, settings):
        self.settings = settings

    def prepare(self, server):
        """Stores what the requests need, and checks that the answers are right."""

    def requests(self, server, estimate):
        """Returns at least `estimate` requests, or an endless number."""
        raise NotImplementedError


class PutSmall(Workload):
    title = "PUT 1 KiB, new objects"

    def __init__(self, settings):
        super().__init__(settings)
        self.body = random.Random(1).randbytes(SMALL_SIZE)
        self.check = etag_check(self.body)
        self.names = itertools.count()

    def requests(self, server, estimate):
        return [
            server.request(
                "PUT", SMALL, f"new-{next(self.names):08}", body=self.body, check=self.check
            )
            for _ in range(estimate)
        ]


class GetSmall(Workload):
    title = "GET 1 KiB"

    def __init__(self, settings):
        super().__init__(settings)
        self.body = random.Random(2).randbytes(SMALL_SIZE)
        self.kept = {}

    def prepare(self, server):
        keys = [f"kept-{index:03}" for index in range(SMALL_KEYS)]
        puts = (server.request("PUT", SMALL, key, body=self.body) for key in keys)
        server.send(puts, self.connections)
        self.kept[server] = [
            server.request("GET", SMALL, key, length=SMALL_SIZE, check=self.is_right)
            for key in keys
        ]

    def is_right(self, _head, body):
        return body == self.body

    def requests(self, server, _estimate):
        return itertools.cycle(self.kept[server])


class PutLarge(Workload):
    title = "PUT 64 MiB"
    connections = LARGE_KEYS
    unit = "MiB/s"
    per_request = LARGE_SIZE / 1024 / 1024

    def __init__(self, settings):
        super().__init__(settings)
        self.body = random.Random(3).randbytes(LARGE_SIZE)
        self.check = etag_check(self.body)

    def requests(self, server, _estimate):
        return itertools.cycle(
            server.request("PUT", LARGE, f"large-{index}", body=self.body, check=self.check)
            for index in range(LARGE_KEYS)
        )


class GetLarge(Workload):
    """Reads what `PutLarge` stored."""

    title = "GET 64 MiB"
    connections = LARGE_KEYS
    unit = "MiB/s"
    per_request = PutLarge.per_request

    def __init__(self, settings):
        super().__init__(settings)
        self.digest = hashlib.md5(PutLarge(settings).body).digest()

    def prepare(self, server):
        # Once with a look at every byte; the client has no time for it while the clock runs.
        request = server.request("GET", LARGE, "large-0", length=LARGE_SIZE, check=self.is_right)
        server.send([request], 1)

    def is_right(self, _head, body):
        return hashlib.md5(body).digest() == self.digest

    def requests(self, server, _estimate):
        return itertools.cycle(
            server.request("GET", LARGE, f"large-{index}", length=LARGE_SIZE, discard=True)
            for index in range(LARGE_KEYS)
        )


class List(Workload):
    """Pages of the list of all objects, one after the other, as a client reads them.

    A server that cannot return all pages in the time of a round returns as many as it can. The
    order of the pages is mixed, because later pages take longer if a server reads all names.
    """

    connections = 1
    unit = "objects/s"
    per_request = PAGE

    def __init__(self, settings):
        super().__init__(settings)
        self.title = f"list of {settings.objects:,} objects, {PAGE:,} per page"
        self.pages = list(range(settings.objects // PAGE))
        random.Random(4).shuffle(self.pages)

    def requests(self, server, _estimate):
        return [self.page(server, page * PAGE) for page in self.pages]

    def page(self, server, first):
        parameters = {"encoding-type": "url", "max-keys": PAGE}
        if first:
            parameters["start-after"] = filled_key(first - 1)
        expected = [f"<Key>{filled_key(first + index)}</Key>".encode() for index in (0, PAGE - 1)]

        def is_right(_head, body):
            return body.count(b"<Key>") == PAGE and all(key in body for key in expected)

        return server.request("GET", FILLED, "", parameters, check=is_right)


WORKLOADS = (PutSmall, GetSmall, PutLarge, GetLarge, List)


def etag_check(body):
    etag = b'etag: "%s"' % hashlib.md5(body).hexdigest().encode()
    return lambda head, _body: etag in head


Round = collections.namedtuple("Round", "rate server_seconds client_share others_share requests")


def measure(workload, server, estimate):
    requests = workload.requests(server, estimate)
    cpu, busy = server.cpu_seconds(), busy_seconds()
    result = server.send(requests, workload.connections, workload.settings.seconds)
    cpu, busy = server.cpu_seconds() - cpu, busy_seconds() - busy
    others = max(0, busy - cpu - result.cpu_seconds)
    return Round(
        rate=result.requests * workload.per_request / result.seconds,
        server_seconds=cpu / result.requests,
        client_share=result.cpu_seconds / result.seconds,
        others_share=others / result.seconds / os.cpu_count(),
        requests=result.requests,
    )


def busy_seconds():
    """Time of all processors that was not idle."""
    with open("/proc/stat") as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / servers.TICKS_PER_SECOND


def compare(workload, running):
    """Returns the rounds of each server. The servers take turns, each round in another order."""
    settings = workload.settings
    for server in running:
        workload.prepare(server)
    # Not counted: caches of the servers and the processors are cold.
    estimates = {}
    for server in running:
        warm = measure(workload, server, SMALL_KEYS)
        per_second = warm.rate / workload.per_request
        estimates[server] = min(MOST_REQUESTS, int(per_second * settings.seconds * 1.5) + 50)
    rounds = {server: [] for server in running}
    limit = SLACK * settings.rounds * settings.seconds * len(running)
    started = time.monotonic()
    for number in range(settings.rounds):
        turn = number % len(running)
        for server in running[turn:] + running[:turn]:
            rounds[server].append(measure(workload, server, estimates[server]))
        if time.monotonic() - started > limit:
            break
    return rounds


def median(rounds, field):
    return statistics.median(getattr(each, field) for each in rounds)


def report(workload, rounds):
    """Prints a table. Returns the names of the peers that are ahead of the emulator."""
    count = len(next(iter(rounds.values())))
    connections = f"{workload.connections} connection{'s' * (workload.connections > 1)}"
    number = f"{count} round{'s' * (count > 1)}"
    print(f"\n{workload.title}: {workload.unit}, {connections}, {number}")
    titles = f"{'median':>9} {'min-max':>17} {'requests':>8} {'CPU/request':>12} {'client':>6}"
    print(f"  {'':18} {titles}")
    rates = {}
    for server, results in rounds.items():
        rates[server] = median(results, "rate")
        all_rates = [each.rate for each in results]
        spread = f"{min(all_rates):,.0f}-{max(all_rates):,.0f}"
        print(
            f"  {server.name:18} {rates[server]:9,.0f} {spread:>17}"
            f" {sum(each.requests for each in results):8,}"
            f" {median(results, 'server_seconds') * 1e3:9,.3f} ms"
            f" {median(results, 'client_share'):6.0%}"
        )
    behind = []
    for own in rates:
        if not isinstance(own, servers.Emulator):
            continue
        ratios = {peer: rates[own] / rates[peer] for peer in rates if is_peer(peer)}
        shown = ", ".join(f"{ratio:.1f} times {peer.name}" for peer, ratio in ratios.items())
        print(f"  {own.name}: {shown}")
        behind += [
            f"{workload.title}: {own.name} is behind {peer.name}"
            for peer, ratio in ratios.items()
            if ratio <= 1
        ]
    return behind


def is_peer(server):
    return not isinstance(server, servers.Emulator)


def run(settings, work):
    running = []
    others = []
    behind = []
    try:
        for kind in servers.ALL:
            server = kind(work, settings.objects)
            running.append(server)
            seconds, note = server.fill_seconds, server.note
            print(f"{server.name:18} filled with {server.objects:,} in {seconds:.1f} s: {note}")
        for kind in WORKLOADS:
            workload = kind(settings)
            rounds = compare(workload, running)
            others += [each.others_share for results in rounds.values() for each in results]
            behind += report(workload, rounds)
        peaks = (f"{server.name} {server.memory_mib():,.0f}" for server in running)
        print("\npeak memory, MiB: " + "; ".join(peaks))
    finally:
        for server in running:
            server.stop()
    return behind, statistics.median(others)


def delete(folder):
    """Deletes a folder with many files: in parallel, since some disks take long for each."""
    files = (pathlib.Path(root, name) for root, _, names in os.walk(folder) for name in names)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        collections.deque(pool.map(os.unlink, files), maxlen=0)
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="100,000 objects, five rounds")
    settings = FULL if parser.parse_args().full else SHORT
    # Like an interrupt, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit("error: terminated"))
    started = time.monotonic()
    processors, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{platform.machine()}, {processors} processors, load {load:.1f} at the start")
    print(f"{settings.rounds} rounds of {settings.seconds} s; servers and client on this machine")
    work = pathlib.Path(tempfile.mkdtemp(prefix="throughput-"))
    try:
        behind, others = run(settings, work)
    finally:
        delete(work)
    print(f"other processes used {others:.0%} of the processors (median of all rounds)")
    if others > BUSY:
        print("BUSY MACHINE: the figures are too low, and the ratios are not reliable")
    print(f"took {time.monotonic() - started:.0f} s")
    for line in behind:
        print(line)
    return 1 if behind else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except client.Failure as failure:
        sys.exit(f"error: {failure}")
