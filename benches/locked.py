#!/usr/bin/env python3
"""Counts what one callback executes: instructions, and atomic read-modify-write operations.

    cargo bench -p benches --bench counts --no-run
    python3 benches/locked.py target/release/deps/counts-HASH "form" "json"

Runs the named cases of the bench in callgrind, with instruction addresses, and collects only inside
of the function `counted`. Of the instructions that were executed in the binary itself, those count
as atomic that have a `lock` prefix, or are an `xchg` with memory, which locks without a prefix.

Needs valgrind and objdump, on x86-64.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

# How many callbacks are counted. One more comes before them.
CALLBACKS = 200


def atomic_addresses(binary):
    """Returns the addresses of the atomic instructions of a binary."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", binary], check=True, capture_output=True, text=True
    ).stdout
    addresses = set()
    for line in listing.splitlines():
        found = re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line)
        if found and (found[2] == "lock" or found[2].startswith("xchg") and "(" in found[3]):
            addresses.add(int(found[1], 16))
    return addresses


def run(binary, case):
    """Returns the executed instructions by object file and address."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={out}",
            "--toggle-collect=*counts*counted*", binary, "--bench", case, str(CALLBACKS + 1),
        ]
        subprocess.run(command, check=True, capture_output=True)
        counts = {}
        names = {}
        current, address, after_calls = "", 0, False
        for line in out.read_text().splitlines():
            if found := re.match(r"ob=\((\d+)\)(?: (.*))?", line):
                current = names.setdefault(found[1], found[2] or "")
            elif line.startswith("calls="):
                after_calls = True
            elif found := re.match(r"(0x[0-9a-f]+|\+\d+|-\d+|\*) \S+ (\d+)$", line):
                position = found[1]
                if position.startswith("0x"):
                    address = int(position, 16)
                elif position != "*":
                    address += int(position)
                # The line after `calls=` has the inclusive cost of the callee.
                if not after_calls:
                    key = current, address
                    counts[key] = counts.get(key, 0) + int(found[2])
                after_calls = False
            elif found := re.match(r"[a-z]*ob=\((\d+)\) (.*)", line):
                names.setdefault(found[1], found[2])
        return counts


def main():
    binary, *cases = sys.argv[1:]
    atomic = atomic_addresses(binary)
    for case in cases:
        counts = run(binary, case)
        instructions = sum(counts.values()) / CALLBACKS
        own = {address: n for (name, address), n in counts.items() if name == str(Path(binary).resolve())}
        # A position-independent program is loaded elsewhere; callgrind reports addresses of the file.
        locked = sum(n for address, n in own.items() if address in atomic) / CALLBACKS
        print(f"{case}: {instructions:.0f} instructions, {locked:.1f} atomic operations")


if __name__ == "__main__":
    main()
