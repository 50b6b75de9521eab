//! Signs policies with the credentials of an assumed role, fetched by the STS client of the crate
//! `reqsign-aliyun-oss`.
//!
//! ```text
//! cargo run -p example-assume-role
//! ```
//!
//! Runs without a network: [`MockSts`] responds as STS does. A server passes an HTTPS client
//! instead, such as `ReqwestHttpSend` of the crate `reqsign-http-send-reqwest`; nothing else
//! changes.
//! `OSS_ACCESS_KEY_ID` and `OSS_ACCESS_KEY_SECRET` are those of the RAM user that may assume the
//! role `ALIBABA_CLOUD_ROLE_ARN`. They default to placeholders.

#[path = "../common/exit.rs"]
mod exit;

use std::{
    env,
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use reqsign_aliyun_oss::{AssumeRoleCredentialProvider, StaticCredentialProvider};
use reqsign_core::{Context, HttpSend, ProvideCredential};
use tower_aliyun_oss::policy::{Credentials, CredentialsProvider, RefreshingCredentials};

/// Credentials are refreshed this long before they expire: no policy outlives the credentials that
/// signed it.
const POLICY_LIFETIME: Duration = Duration::from_secs(15 * 60);

const USAGE: &str = "usage: assume_role\n\nTakes no arguments. Reads OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and ALIBABA_CLOUD_ROLE_ARN.";

type BoxError = Box<dyn Error + Send + Sync>;

/// Calls `AssumeRole` when credentials are first needed, and again before they expire.
fn assume_role(context: Context, client: AssumeRoleCredentialProvider) -> RefreshingCredentials {
    let client = Arc::new((context, client));
    RefreshingCredentials::new(move || {
        let client = Arc::clone(&client);
        async move {
            let (context, client) = &*client;
            let session = client.provide_credential(context).await?;
            let session = session.ok_or("access key or role ARN is not set")?;
            let mut credentials =
                Credentials::new(session.access_key_id, session.access_key_secret)?;
            if let Some(token) = session.security_token {
                credentials = credentials.with_security_token(token)?;
            }
            if let Some(expiry) = session.expires_in {
                credentials = credentials.with_expiry(expiry.as_system_time());
            }
            Ok::<_, BoxError>(credentials)
        }
    })
    .refresh_before(POLICY_LIFETIME)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), BoxError> {
    match env::args().nth(1).as_deref() {
        None => {}
        Some("-h" | "--help") => {
            println!("{USAGE}");
            return Ok(());
        }
        Some(argument) => return Err(format!("unexpected argument {argument:?}\n{USAGE}").into()),
    }
    let user = StaticCredentialProvider::new(
        &setting("OSS_ACCESS_KEY_ID", "<yourAccessKeyId>"),
        &setting("OSS_ACCESS_KEY_SECRET", "<yourAccessKeySecret>"),
    );
    let client = AssumeRoleCredentialProvider::new()
        .with_base_provider(user)
        .with_role_arn(setting("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/uploads"))
        .with_role_session_name("appserver");
    let provider = assume_role(Context::new().with_http_send(MockSts), client);

    let credentials = provider.credentials().await?;
    let expiry = credentials.expires_at();
    let expiry = expiry.ok_or("STS returned credentials without an expiry")?;
    let left = expiry.duration_since(SystemTime::now())?;
    println!(
        "signing with access key {}, valid for {} minutes",
        credentials.access_key_id(),
        left.as_secs().div_ceil(60)
    );
    Ok(())
}

fn setting(name: &str, placeholder: &str) -> String {
    env::var(name).unwrap_or_else(|_| placeholder.into())
}

/// Responds to every request like `AssumeRole`, with credentials that are valid for an hour.
#[derive(Debug)]
struct MockSts;

impl HttpSend for MockSts {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        println!("calling {}", request.uri().host().unwrap_or_default());
        let expiry = jiff::Timestamp::now() + Duration::from_secs(3600);
        let body = serde_json::json!({
            "RequestId": "6894B13B-6D71-4EF5-88FA-F32781734A7F",
            "Credentials": {
                "AccessKeyId": "STS.example",
                "AccessKeySecret": "secret",
                "SecurityToken": "token",
                "Expiration": expiry.strftime("%FT%TZ").to_string(),
            },
        });
        Ok(Response::new(body.to_string().into()))
    }
}
