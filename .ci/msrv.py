"""Compares `rust-version` with the highest one among the crates that a user of this crate builds.

No older toolchain is needed for that: every dependency states its own, and clippy's `incompatible_msrv` holds our code
to the result.
"""

import json
import subprocess
import sys


def version(text):
    return tuple((list(map(int, text.split("."))) + [0, 0])[:3])


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]

    seen, todo = set(), [root]
    while todo:
        node = nodes[todo.pop()]
        for dependency in node["deps"]:
            # `kind` is null for a normal dependency; those for building and testing do not bind a user.
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])

    stated = [(packages[id]["rust_version"], packages[id]["name"]) for id in seen if packages[id]["rust_version"]]
    highest, name = max(stated, key=lambda entry: version(entry[0]))
    ours = packages[root]["rust_version"]
    print(f"rust-version {ours}; highest of {len(seen)} normal dependencies: {highest} ({name})")
    if version(ours) != version(highest):
        sys.exit(f"error: set rust-version = \"{highest}\" in Cargo.toml, and say so in CHANGELOG.md")


main()
