# The demo: application and emulated OSS; open http://127.0.0.1:8080
run *args:
    cargo run --example server -- {{ args }}

# Tests of the root and the demo
test *args:
    cargo test {{ args }}

# Tests of the emulator, with the program
test-emulator *args:
    cargo test -p aliyun-oss-emulator {{ args }}

# The same with every feature
test-all *args:
    cargo test --all-features {{ args }}

# Tests that take long
soak:
    cargo test --all-features -- --ignored soak::

# Format and lints
lint:
    .ci/run fmt clippy

# The documentation of both packages, in the browser
docs:
    cargo doc --no-deps --all-features -p tower-aliyun-oss -p aliyun-oss-emulator --open

# Everything; or single steps: just gate fmt test
gate *steps:
    .ci/run {{ steps }}
