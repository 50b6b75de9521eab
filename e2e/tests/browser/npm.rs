//! Packages from npm, installed into a temporary folder.

use std::{fs, path::Path, process::Command};

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

/// Bundles a script with its packages, as an application does.
pub(crate) fn bundle(folder: &Path, name: &str, source: &str) -> String {
    let entry = folder.join(format!("{name}.js"));
    fs::write(&entry, source).unwrap();
    let esbuild = Command::new(folder.join("node_modules/.bin/esbuild"))
        .arg(&entry)
        .args(["--bundle", "--format=iife", "--log-level=warning"])
        .args(["--loader:.js=jsx", "--jsx=automatic"])
        .arg("--define:process.env.NODE_ENV=\"production\"")
        // The build of Vue that compiles templates in the browser.
        .arg(format!(
            "--alias:vue={}",
            folder
                .join("node_modules/vue/dist/vue.esm-bundler.js")
                .display()
        ))
        .output()
        .expect("node is required");
    let errors = String::from_utf8_lossy(&esbuild.stderr);
    assert!(esbuild.status.success(), "{name}: {errors}");
    String::from_utf8(esbuild.stdout).unwrap()
}
