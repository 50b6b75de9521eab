#!/usr/bin/env python3
"""Compares the time of a callback in two builds of the bench `metrics`, round by round.

    cargo bench -p benches --bench metrics --no-run
    cargo bench -p benches --bench metrics --no-run --features metrics
    python3 benches/alternate.py target/release/deps/metrics-{HASH,HASH} ticket

Both programs run all the time, and take turns: each round of one is between two rounds of the other, so
that other work on the machine slows both down. Prints the medians, and the median of the differences
of neighbouring rounds.
"""

import statistics
import subprocess
import sys

ROUNDS = 4_000
WARM_UP = 200


def round_of(program):
    program.stdin.write("\n")
    program.stdin.flush()
    return int(program.stdout.readline())


def main():
    *paths, case = sys.argv[1:]
    pipe = subprocess.PIPE
    programs = [
        subprocess.Popen([path, "--bench", case], stdin=pipe, stdout=pipe, text=True)
        for path in paths
    ]
    first, second = programs
    pairs = []
    for number in range(ROUNDS + WARM_UP):
        # Each is as often the first of its pair.
        if number % 2:
            pair = round_of(first), round_of(second)
        else:
            pair = tuple(reversed((round_of(second), round_of(first))))
        if number >= WARM_UP:
            pairs.append(pair)
    for program in programs:
        program.stdin.close()
        program.wait()
    medians = [statistics.median(times) for times in zip(*pairs)]
    tenths = [statistics.quantiles(times, n=10)[0] for times in zip(*pairs)]
    between = statistics.median(two - one for one, two in pairs)
    for name, (one, two) in (("median", medians), ("10th percentile", tenths)):
        print(f"{case}, {name}: {one:.0f} ns, {two:.0f} ns, {(two / one - 1):+.2%}")
    print(f"{case}, median of the differences: {between:+.0f} ns, {between / medians[0]:+.2%}")


main()
