//! The program `oss-emulator`: see `oss-emulator --help`, or the README of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    aliyun_oss_emulator::cli::main()
}
