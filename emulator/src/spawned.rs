//! An emulator that runs in the background of a test.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use tokio::{net::TcpListener, task::JoinHandle};
use tower_service::Service;

#[cfg(feature = "tls")]
use crate::callback::CallbackTls;
use crate::{
    access_key::AccessKey,
    body::{BoxError, EmulatorBody},
    builder::EmulatorBuilder,
    callback::AppNetwork,
    context::ClientAddress,
    report::{Exchange, UploadReport},
    service::Emulator,
    store::ObjectSummary,
};
use tower_aliyun_oss::{
    OssUploads, OssUploadsBuilder,
    key::PinnedKeys,
    policy::{Credentials, UploadToken},
    protocol::{Bucket, Endpoint, Region, UploadUrl},
};

/// An emulator for one test, on a free port of this machine. It stops when it is dropped.
///
/// Create one with [`Emulator::spawn`], or with [`EmulatorBuilder::spawn`] to change its settings.
/// Callbacks reach only the application that the test [routes](Self::route_callbacks) them to, or a
/// URL that it [names](Self::allow_callbacks_to).
///
/// The [crate docs](crate#testing-your-app) show a test.
#[must_use = "the emulator stops when it is dropped"]
pub struct SpawnedEmulator {
    emulator: Emulator,
    address: SocketAddr,
    bucket: Bucket,
    credentials: Credentials,
    network: Arc<AppNetwork>,
    reports: Arc<Reports>,
    server: JoinHandle<()>,
}

impl Emulator {
    /// Starts an emulator for a test: the private bucket `examplebucket`, one AccessKey, objects in
    /// memory, on a free port of this machine.
    ///
    /// # Errors
    ///
    /// Fails if no port of this machine can be bound.
    pub async fn spawn() -> io::Result<SpawnedEmulator> {
        EmulatorBuilder::new().spawn().await
    }
}

impl EmulatorBuilder {
    /// Starts an emulator for a test with these settings, on a free port of this machine. Without a
    /// bucket or an AccessKey, it adds those of [`Emulator::spawn`]. The first of each are those of
    /// the [`SpawnedEmulator`].
    ///
    /// # Errors
    ///
    /// Fails if no port of this machine can be bound, or for the reasons of [`build`](Self::build).
    /// Fails if a [`network`](Self::network) is set, or
    /// [`allow_private_callbacks`](Self::allow_private_callbacks), because the spawned emulator has
    /// a network of its own.
    pub async fn spawn(self) -> io::Result<SpawnedEmulator> {
        let invalid = |error: BoxError| io::Error::new(io::ErrorKind::InvalidInput, error);
        if self.has_network() {
            return Err(invalid(
                "a spawned emulator has its own network; remove `network` and \
                 `allow_private_callbacks`, and call `route_callbacks` or `allow_callbacks_to`"
                    .into(),
            ));
        }
        let mut builder = self;
        let bucket = match builder.first_bucket() {
            Some(bucket) => bucket,
            None => {
                let bucket: Bucket = "examplebucket".parse().map_err(io::Error::other)?;
                builder = builder.bucket(bucket.clone());
                bucket
            }
        };
        let key = match builder.first_key() {
            Some(key) => key,
            None => {
                let key = AccessKey::new("test-id", "test-secret");
                builder = builder.access_key(key.clone());
                key
            }
        };
        let credentials = key.credentials().map_err(|error| invalid(error.into()))?;
        let network = Arc::new(AppNetwork::default());
        let reports = Arc::new(Reports::default());
        let observing = Arc::clone(&reports);
        let emulator = builder
            .network(Arc::clone(&network))
            // The network decides.
            .allow_private_callbacks()
            .also_observer(move |report| observing.add(report))
            .build()
            .map_err(|error| invalid(error.into()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = emulator.clone();
        let server = tokio::spawn(async move {
            if let Err(error) = serving.serve(listener).await {
                tracing::error!(%error, "the emulator stopped");
            }
        });
        Ok(SpawnedEmulator {
            emulator,
            address,
            bucket,
            credentials,
            network,
            reports,
            server,
        })
    }
}

impl SpawnedEmulator {
    /// Returns a builder for the application: bucket, region, endpoint, credentials and key source
    /// are those of the emulator. Add the ticket key, and what the application sets.
    ///
    /// Forms go to [`endpoint`](Self::endpoint), and callbacks to this URL. With
    /// [`route_callbacks`](Self::route_callbacks), its host can be any.
    pub fn uploads(&self, callback_url: &str) -> OssUploadsBuilder {
        OssUploads::builder(self.bucket(), self.credentials())
            .region(self.region())
            .endpoint(self.endpoint())
            .key_source(self.key_source())
            .callback_url(callback_url)
    }

    /// Returns the bucket.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        self.bucket.clone()
    }

    /// Returns the region that policies must be signed for.
    #[must_use]
    pub fn region(&self) -> Region {
        self.emulator.0.region.clone()
    }

    /// Returns the endpoint of the bucket: `http://127.0.0.1:PORT/BUCKET/`.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::custom(self.url())
    }

    /// Returns the URL that forms for the bucket are posted to.
    #[must_use]
    pub fn url(&self) -> UploadUrl {
        let url = format!("http://{}/{}/", self.address, self.bucket);
        #[expect(
            clippy::expect_used,
            reason = "an address and the name of a bucket form a URL"
        )]
        url.parse().expect("the URL of a bucket is valid")
    }

    /// Returns the credentials that sign policies for the emulator.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Returns the key source with which a callback layer trusts the emulator.
    #[must_use]
    pub fn key_source(&self) -> PinnedKeys {
        self.emulator.key_source()
    }

    /// Returns the emulator, which is a tower service.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Sends all callbacks to this service, in memory, whatever the host and the scheme of their
    /// URL. Replaces an earlier service.
    pub fn route_callbacks<S, B>(&self, app: S)
    where
        S: Service<Request<EmulatorBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.network.route_to(app);
    }

    /// Allows callbacks to the host and the port of this URL, for an application that runs on its
    /// own server: `http://127.0.0.1:PORT/…`. All others fail.
    ///
    /// # Errors
    ///
    /// Fails if the text is not an `http` or `https` URL.
    pub fn allow_callbacks_to(&self, url: &str) -> io::Result<()> {
        self.network.allow(url)
    }

    /// Sets the TLS of callbacks to `https` URLs that
    /// [`allow_callbacks_to`](Self::allow_callbacks_to) allows. Without it, they fail.
    ///
    /// [Routed](Self::route_callbacks) callbacks need none.
    #[cfg(feature = "tls")]
    pub fn callback_tls(&self, tls: CallbackTls) {
        self.network.use_tls(tls);
    }

    /// Posts a form with the fields of the token and this content, as a client does.
    ///
    /// # Errors
    ///
    /// Fails if the token is for another URL, because the application does not use the
    /// [`endpoint`](Self::endpoint). A refusal of the emulator is not an error: see
    /// [`UploadResponse::status`].
    pub async fn upload(
        &self,
        token: &UploadToken,
        content: impl Into<Bytes>,
    ) -> io::Result<UploadResponse> {
        if *token.url() != self.url() {
            let error = format!(
                "the token is for {}, and the emulator at {}; pass `SpawnedEmulator::endpoint` to \
                 the application",
                token.url(),
                self.url()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        self.upload_form(token.fields(), "file", content).await
    }

    /// Posts a form with these fields and a file of this name: for clients that add fields or
    /// change them, and for other token formats.
    ///
    /// # Errors
    ///
    /// Fails if the emulator cannot read its store.
    pub async fn upload_form<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        file_name: &str,
        content: impl Into<Bytes>,
    ) -> io::Result<UploadResponse> {
        let boundary = format!("{:016x}", RandomState::new().hash_one(file_name));
        let form = form(&boundary, fields, file_name, &content.into());
        let url: Uri = self.url().as_str().parse().map_err(io::Error::other)?;
        let mut request = Request::post(url.path())
            .header(header::HOST, self.address.to_string())
            .header(
                header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .header(header::CONTENT_LENGTH, form.len())
            .body(Full::new(form))
            .map_err(io::Error::other)?;
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        request.extensions_mut().insert(ClientAddress(client));

        let pending = Pending::new(&self.reports);
        let Ok(response) = self.emulator.clone().call(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let id = head.headers.get("x-oss-request-id");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        Ok(UploadResponse {
            report: pending.take(id),
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Returns the objects of the bucket, sorted by name.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn objects(&self) -> io::Result<Vec<ObjectSummary>> {
        self.emulator.store().list(&self.bucket).await
    }

    /// Returns the content of an object, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn object(&self, key: &str) -> io::Result<Option<Bytes>> {
        let Some((record, stored)) = self.emulator.store().get(&self.bucket, key).await? else {
            return Ok(None);
        };
        let body = EmulatorBody::of(stored, 0, record.content.size);
        Ok(Some(body.collect().await?.to_bytes()))
    }

    /// Deletes an object, if it exists.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub async fn delete(&self, key: &str) -> io::Result<()> {
        self.emulator.store().remove(&self.bucket, key).await
    }
}

impl Drop for SpawnedEmulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for SpawnedEmulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnedEmulator")
            .field("url", &self.url())
            .field("credentials", &self.credentials)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// The response of OSS to an upload, and what happened on the way to it.
#[derive(Clone, Debug)]
pub struct UploadResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    report: Option<UploadReport>,
}

impl UploadResponse {
    /// Returns the status: 200, 201 or 204 for a stored object, 203 if it is stored and the
    /// callback failed.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the body: what the application answered to the callback, or the XML of an error.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the callback with the response of the application, or `None` if there was none. If
    /// several URLs were tried, it is the last one.
    #[must_use]
    pub fn callback(&self) -> Option<&Exchange> {
        self.report.as_ref()?.exchanges().last()
    }

    /// Returns the report of the upload: its steps, every callback, and why it was refused. `None`
    /// if it was refused before it was recognised as an upload.
    #[must_use]
    pub fn report(&self) -> Option<&UploadReport> {
        self.report.as_ref()
    }
}

/// Returns a form as browsers send it.
fn form<'a>(
    boundary: &str,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    file_name: &str,
    content: &[u8],
) -> Bytes {
    let mut form = BytesMut::with_capacity(content.len() + 4096);
    for (name, value) in fields {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n",
            quoted(name)
        );
        form.put_slice(head.as_bytes());
        form.put_slice(value.as_bytes());
        form.put_slice(b"\r\n");
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        quoted(file_name)
    );
    form.put_slice(head.as_bytes());
    form.put_slice(content);
    form.put_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    form.freeze()
}

/// Escapes a name as browsers do (HTML standard, "multipart/form-data encoding algorithm").
fn quoted(name: &str) -> String {
    name.replace('\n', "%0A")
        .replace('\r', "%0D")
        .replace('"', "%22")
}

/// Reports of uploads, kept while one of this process waits for its own.
#[derive(Default)]
struct Reports(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    pending: usize,
    by_request: HashMap<String, UploadReport>,
}

impl Reports {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, report: &UploadReport) {
        let mut kept = self.kept();
        if kept.pending > 0 {
            let id = report.request_id().to_owned();
            kept.by_request.insert(id, report.clone());
        }
    }
}

/// An upload that waits for its report.
struct Pending<'a>(&'a Reports);

impl<'a> Pending<'a> {
    fn new(reports: &'a Reports) -> Self {
        reports.kept().pending += 1;
        Self(reports)
    }

    fn take(&self, id: &str) -> Option<UploadReport> {
        self.0.kept().by_request.remove(id)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut kept = self.0.kept();
        kept.pending -= 1;
        if kept.pending == 0 {
            kept.by_request.clear();
        }
    }
}
