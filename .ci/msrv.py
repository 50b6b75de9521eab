"""Compares our `rust-version` with the highest one among our normal dependencies.

This needs no older toolchain: every dependency declares its own `rust-version`, and clippy's
`incompatible_msrv` checks our code against the result.
"""

import json
import subprocess
import sys

PUBLISHED = ["tower-aliyun-oss", "aliyun-oss-emulator"]


def version(text):
    return tuple((list(map(int, text.split("."))) + [0, 0])[:3])


def normal_dependencies(nodes, root):
    """Returns the ids of all normal dependencies of `root`, direct and indirect.

    Build and development dependencies do not count.
    """
    seen, todo = set(), [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if normal and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return seen


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    members = {packages[id]["name"]: id for id in metadata["workspace_members"]}

    stated, ours = [], set()
    for name in PUBLISHED:
        ours.add(packages[members[name]]["rust_version"])
        for id in normal_dependencies(nodes, members[name]) - set(members.values()):
            if packages[id]["rust_version"]:
                stated.append((packages[id]["rust_version"], packages[id]["name"]))
    highest, name = max(stated, key=lambda entry: version(entry[0]))
    print(
        f"rust-version {', '.join(sorted(ours))}; "
        f"highest of {len(stated)} normal dependencies: {highest} ({name})"
    )
    if {version(own) for own in ours} != {version(highest)}:
        sys.exit(
            f'error: set rust-version = "{highest}" in Cargo.toml and mention it in CHANGELOG.md'
        )


main()
