"""Lists the public names of the published packages, from the output of stable rustdoc.

The committed list is `docs/api.txt`. `--check` fails if it is out of date; without it, the script
rewrites the list.
"""

import html
import pathlib
import re
import subprocess
import sys

PUBLISHED = ["tower_aliyun_oss", "aliyun_oss_emulator"]
LIST = pathlib.Path("docs/api.txt")


def names(crate):
    """Returns `kind path` of every public item, from rustdoc's list of all items."""
    page = pathlib.Path("target/doc", crate, "all.html").read_text()
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)
    items = set()
    for target, path in links:
        kind = re.fullmatch(r"(?:.*/)?(\w+)\.\w+\.html", target)
        if kind:
            items.add(f"{kind[1]} {crate}::{html.unescape(path)}")
    return sorted(items, key=lambda item: item.split(" ")[::-1])


def main():
    packages = [option for crate in PUBLISHED for option in ("-p", crate.replace("_", "-"))]
    command = ["cargo", "doc", "--locked", "--quiet", "--no-deps", "--all-features", *packages]
    subprocess.run(command, check=True)
    lists = [names(crate) for crate in PUBLISHED]
    text = "".join(f"{item}\n" for items in lists for item in items)
    kinds = {"struct", "enum", "trait", "type", "union"}
    for crate, items in zip(PUBLISHED, lists):
        types = sum(item.split()[0] in kinds for item in items)
        print(f"{crate}: {len(items)} public items, {types} of them types")
    if "--check" not in sys.argv[1:]:
        LIST.write_text(text)
    elif not LIST.exists() or LIST.read_text() != text:
        sys.exit(
            "error: the public names differ from docs/api.txt; run `python3 .ci/api.py` and "
            "describe the change in CHANGELOG.md"
        )


main()
