//! Reading a part of a file, a batch at a time.

use std::{
    fs::File,
    future::Future as _,
    io::{self, Read as _, Seek as _, SeekFrom},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::{blocking, folder::BATCH};

/// A part of a file that is being sent.
pub(crate) struct FileRange {
    file: Option<File>,
    left: u64,
    reading: Option<JoinHandle<io::Result<(File, Bytes)>>>,
}

impl FileRange {
    pub(crate) async fn new(mut file: File, from: u64, length: u64) -> io::Result<Self> {
        let file = blocking(move || file.seek(SeekFrom::Start(from)).map(|_| file)).await?;
        Ok(Self {
            file: Some(file),
            left: length,
            reading: None,
        })
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(mut file) = self.file.take() {
            let wanted = self.left.min(BATCH as u64);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut data = Vec::with_capacity(usize::try_from(wanted).unwrap_or(BATCH));
                (&mut file).take(wanted).read_to_end(&mut data)?;
                Ok((file, data.into()))
            }));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let Poll::Ready(read) = Pin::new(reading).poll(cx) else {
            return Poll::Pending;
        };
        self.reading = None;
        let read = read.map_err(io::Error::other).and_then(|read| read);
        Poll::Ready(Some(read.and_then(|(file, data): (File, Bytes)| {
            if data.is_empty() {
                self.left = 0;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= data.len() as u64;
            self.file = Some(file);
            Ok(data)
        })))
    }
}
