#!/bin/sh
# Compares the throughput of the emulator with moto and s3rver.
#
#   e2e/throughput/run.sh           one minute
#   e2e/throughput/run.sh --full    five minutes, with 100,000 objects to list
#
# Requires Linux, cargo, python3 with venv and pip, and node with npm. The other servers are
# installed into a temporary folder. Set THROUGHPUT_FOLDER to install them there instead and to
# reuse them in later runs.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
folder=${THROUGHPUT_FOLDER:-$work}
mkdir -p "$folder/node"
folder=$(cd "$folder" && pwd)

cd "$here/../.."
cargo build --locked --quiet --release --package aliyun-oss-emulator --bin oss-emulator
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac

[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cp "$here/package.json" "$folder/node/"
(cd "$folder/node" && npm install --silent --no-audit --no-fund)

EMULATOR=$target/release/oss-emulator NODE_MODULES=$folder/node/node_modules \
    "$folder/venv/bin/python" -B -u "$here/throughput.py" "$@"
