"""Prints the size of the packages, the imports between their folders, and circles of files.

Reads `use` lines outside of tests and follows re-exports to the file that defines a name. A circle is an error: two files
that need each other are one idea.
"""

import collections
import pathlib
import re
import sys

ROOTS = [pathlib.Path("src"), pathlib.Path("emulator/src")]


def module(root, path):
    parts = list(path.relative_to(root).with_suffix("").parts)
    if parts[-1] in ("lib", "mod"):
        parts.pop()
    return tuple(parts)


def uses(text):
    """Yields (is_public, path) of every imported name."""
    for public, tree in re.findall(r"^\s*(pub(?:\([^)]*\))? )?use ([^;]+);", text, re.M):
        for path in flatten(re.sub(r"\s+", " ", tree)):
            yield bool(public), path.split(" as ")[0].strip()


def flatten(tree):
    head, brace, rest = tree.partition("{")
    if not brace:
        return [tree.strip()]
    items, depth, item = [], 0, ""
    for char in rest[: rest.rindex("}")]:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            items.append(item)
            item = ""
        else:
            item += char
    return [head.strip() + path for item in items + [item] if item.strip() for path in flatten(item.strip())]


class Package:
    def __init__(self, root):
        self.files = {module(root, path): path for path in sorted(root.rglob("*.rs")) if path.name != "tests.rs"}
        self.text = {name: path.read_text().split("#[cfg(test)]\nmod tests")[0] for name, path in self.files.items()}
        self.exports = collections.defaultdict(dict)
        for name, text in self.text.items():
            for public, path in uses(text):
                if public:
                    self.exports[name][path.split("::")[-1]] = self.absolute(name, path)

    def absolute(self, name, path):
        parts = path.split("::")
        if parts[0] == "crate":
            return tuple(parts[1:])
        while parts[0] == "super":
            name, parts = name[:-1], parts[1:]
        return name + tuple(part for part in parts if part != "self")

    def file(self, path, depth=0):
        """The file that defines what `path` names, through re-exports."""
        for length in range(len(path), -1, -1):
            owner = path[:length]
            if owner in self.files:
                rest = path[length:]
                target = self.exports[owner].get(rest[0]) if rest and depth < 8 else None
                return self.file(target, depth + 1) if target and target != path else owner
        return None

    def imports(self, name):
        found = set()
        for public, path in uses(self.text[name]):
            first = path.split("::")[0]
            child = name + (first,) in self.files
            if public or not (first in ("crate", "super") or child):
                continue
            target = self.file(self.absolute(name, path))
            if target not in (None, name):
                found.add(target)
        return found


def circles(edges):
    """Groups of files that import each other (Tarjan)."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                groups.append(group)

    for node in edges:
        if node not in index:
            visit(node)
    return groups


def main():
    failed = False
    for root in ROOTS if len(sys.argv) == 1 else map(pathlib.Path, sys.argv[1:]):
        package = Package(root)
        lines = sum(len(path.read_text().splitlines()) for path in root.rglob("*.rs"))
        count = sum(1 for _ in root.rglob("*.rs"))
        print(f"{root}: {count} files, {lines} lines, {lines // count} on average")
        edges = {name: package.imports(name) for name in package.files}
        folders = collections.Counter()
        for name, targets in edges.items():
            for target in targets:
                pair = (name[0] if name else "lib", target[0] if target else "lib")
                folders[pair] += pair[0] != pair[1]
        for source in sorted({pair[0] for pair in folders}):
            arrows = sorted(f"{target} {n}" for (start, target), n in folders.items() if start == source and n)
            if arrows:
                print(f"  {source} -> {', '.join(arrows)}")
        for group in circles(edges):
            failed = True
            print("  circle: " + ", ".join(str(package.files[name]) for name in group))
    sys.exit(failed)


main()
