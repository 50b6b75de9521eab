//! `--seed`: objects to start with, from a folder.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::task::spawn_blocking;

use crate::{
    object::{NewObject, Record},
    service::Emulator,
};
use tower_aliyun_oss::protocol::Bucket;

/// How much of a file is read at a time, in bytes.
const CHUNK: u64 = 1024 * 1024;
/// Files that no one means as objects: a marker of Git for empty folders, and one of macOS.
const IGNORED: [&str; 2] = [".gitkeep", ".DS_Store"];

/// Returns the buckets of a folder: the names of the folders in it.
///
/// # Errors
///
/// Fails with a message that names what is not a bucket.
pub(super) fn buckets(folder: &Path) -> Result<Vec<Bucket>, String> {
    let mut buckets = Vec::new();
    for (path, is_folder) in entries(folder)? {
        let name = name(&path)?;
        if !is_folder {
            return Err(error(
                &path,
                "is not in a folder of a bucket; move it to DIR/BUCKET/KEY",
            ));
        }
        let bucket = name.parse();
        let bucket: Bucket = bucket.map_err(|invalid| error(&path, &format!("{invalid}")))?;
        buckets.push(bucket);
    }
    Ok(buckets)
}

/// Stores the files as objects, unless an object of the name exists. Returns how many it stored.
pub(super) async fn store(emulator: &Emulator, folder: &Path) -> Result<usize, String> {
    let mut stored = 0;
    for bucket in buckets(folder)? {
        let root = folder.join(bucket.as_str());
        let files = spawn_blocking({
            let root = root.clone();
            move || files(&root)
        });
        for file in files.await.map_err(|error| error.to_string())?? {
            let failed = |cause: &dyn std::fmt::Display| error(&file, &format!("{cause}"));
            let key = key(&root, &file)?;
            let exists = emulator.0.store.contains(&bucket, &key).await;
            if exists.map_err(|error| failed(&error))? {
                continue;
            }
            store_file(emulator, &bucket, &key, &file).await?;
            stored += 1;
        }
    }
    Ok(stored)
}

async fn store_file(
    emulator: &Emulator,
    bucket: &Bucket,
    key: &str,
    path: &Path,
) -> Result<(), String> {
    let failed = |cause: &dyn std::fmt::Display| error(path, &format!("{cause}"));
    let mut headers = HeaderMap::new();
    let content_type = mime_guess::from_path(path).first_raw();
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let object = NewObject::of_request(key, &headers, None);
    let object = object.map_err(|refusal| failed(&refusal.message()))?;

    let shared = &emulator.0;
    let upload = shared.store.begin(bucket).await;
    let mut upload = upload.map_err(|error| failed(&error))?;
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    loop {
        let chunk = spawn_blocking(move || {
            let mut chunk = Vec::new();
            file.by_ref().take(CHUNK).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((file, Bytes::from(chunk)))
        });
        let chunk = chunk.await.map_err(io::Error::other).flatten();
        let (rest, chunk) = chunk.map_err(|error| failed(&error))?;
        file = rest;
        if chunk.is_empty() {
            break;
        }
        upload.write(chunk).await.map_err(|error| failed(&error))?;
    }
    let sealed = upload.seal().await.map_err(|error| failed(&error))?;
    let record = Record::new(object.description, sealed.content().clone(), shared.now());
    let committed = sealed.commit(record, true).await;
    committed.map_err(|error| failed(&error))
}

/// Returns all files below a folder, in the order of their paths.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for (path, is_folder) in entries(&folder)? {
            match is_folder {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the entries of a folder, and whether they are folders.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, bool)>, String> {
    let failed = |cause: io::Error| error(folder, &format!("{cause}"));
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        // Another file than the one that was meant could be behind it.
        if kind.is_symlink() || !(kind.is_dir() || kind.is_file()) {
            return Err(error(
                &entry.path(),
                "is neither a file nor a folder; links are not followed",
            ));
        }
        if !IGNORED.iter().any(|name| entry.file_name() == *name) {
            entries.push((entry.path(), kind.is_dir()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> Result<&str, String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| error(path, "has a name that is not UTF-8"))
}

/// Returns the name of an object: the path below the folder of the bucket.
fn key(root: &Path, file: &Path) -> Result<String, String> {
    let inside = file.strip_prefix(root).unwrap_or(file);
    let names = inside.iter().map(|name| name.to_str());
    let names: Option<Vec<_>> = names.collect();
    let names = names.ok_or_else(|| error(file, "has a name that is not UTF-8"))?;
    Ok(names.join("/"))
}

fn error(path: &Path, error: &str) -> String {
    format!("--seed: {}: {error}", path.display())
}
