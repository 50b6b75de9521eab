#!/bin/sh
# Tests Alibaba's own SDKs, as published in their registries, against the emulator.
#
#   e2e/sdk/run.sh            all SDKs
#   e2e/sdk/run.sh python     oss2 and alibabacloud-oss-v2
#   e2e/sdk/run.sh node       ali-oss
#   e2e/sdk/run.sh browser    ali-oss and uppy in Chromium
#
# Requires cargo, python3 with venv and pip, and node with npm. `browser` also requires Chromium:
# the executable CHROMIUM, or `chromium` in the PATH. The SDKs are installed into a temporary
# folder. Set SDK_FOLDER to install them there instead and to reuse them in later runs.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
which=${1:-all}
case $which in
all | python | node | browser) ;;
*)
    echo "error: unknown argument $which; use all, python, node or browser" >&2
    exit 1
    ;;
esac
work=$(mktemp -d)
folder=${SDK_FOLDER:-$work}
server=

stop() {
    # The server exits when its standard input is closed.
    exec 9>&- || true
    if [ -n "$server" ]; then
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

cd "$here/../.."
cargo build --locked --quiet --workspace --all-features --bin sdk_server --bin oss-emulator
target=${CARGO_TARGET_DIR:-target}
EMULATOR=$PWD/$target/debug/oss-emulator
case $target in /*) EMULATOR=$target/debug/oss-emulator ;; esac
export EMULATOR

mkfifo "$work/stdin"
"$target/debug/sdk_server" <"$work/stdin" >"$work/addresses" &
server=$!
exec 9>"$work/stdin"
tries=0
until grep -q '^app ' "$work/addresses"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then
        echo "error: the server did not start within 10 s" >&2
        exit 1
    fi
    sleep 0.1
done
OSS_URL=$(sed -n 's/^oss //p' "$work/addresses")
APP_URL=$(sed -n 's/^app //p' "$work/addresses")
export OSS_URL APP_URL

if [ "$which" = all ] || [ "$which" = python ]; then
    [ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    "$folder/venv/bin/python" "$here/oss2_sdk.py"
    "$folder/venv/bin/python" "$here/oss2_buckets.py"
    "$folder/venv/bin/python" "$here/oss2_objects.py"
    "$folder/venv/bin/python" "$here/v2_sdk.py"
    "$folder/venv/bin/python" "$here/v2_buckets.py"
    "$folder/venv/bin/python" "$here/v2_objects.py"
    "$folder/venv/bin/python" "$here/program.py"
    # Compares URLs of this workspace with those that both SDKs sign.
    PYTHON=$folder/venv/bin/python cargo test --locked --quiet --workspace --all-features --test presign -- \
        --ignored sdk::
fi

if [ "$which" != python ]; then
    mkdir -p "$folder/node"
    cp "$here/package.json" "$here"/*.mjs "$folder/node/"
    (cd "$folder/node" && npm install --silent --no-audit --no-fund)
fi
if [ "$which" = all ] || [ "$which" = node ]; then
    (cd "$folder/node" && node ali_oss.mjs)
    (cd "$folder/node" && node ali_oss_buckets.mjs)
    (cd "$folder/node" && node ali_oss_objects.mjs)
    (cd "$folder/node" && node program.mjs)
fi
if [ "$which" = all ] || [ "$which" = browser ]; then
    CHROMIUM=${CHROMIUM:-$(command -v chromium)}
    export CHROMIUM
    (cd "$folder/node" && node browser.mjs)
fi
