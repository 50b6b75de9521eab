//! Packages from npm, installed into a temporary folder.

use std::{path::Path, process::Command};

/// Installs packages such as `plupload@2.3.9` into `folder/node_modules`.
pub(crate) fn install(folder: &Path, packages: &[&str]) {
    let npm = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .arg("--prefix")
        .arg(folder)
        .args(packages)
        .output()
        .expect("npm is required");
    assert!(
        npm.status.success(),
        "npm failed to install {packages:?}: {}",
        String::from_utf8_lossy(&npm.stderr)
    );
}
