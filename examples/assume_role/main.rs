//! Credentials of a role, from a client of STS that somebody else keeps: `reqsign-aliyun-oss`.
//!
//! ```text
//! cargo run --example assume_role
//! ```
//!
//! Runs without a network: `StandIn` answers as STS does. In a server, send with a client of HTTPS instead, such as
//! `ReqwestHttpSend` of the crate `reqsign-http-send-reqwest`; nothing else changes. `OSS_ACCESS_KEY_ID` and
//! `OSS_ACCESS_KEY_SECRET` are of the RAM user that may assume the role `ALIBABA_CLOUD_ROLE_ARN`; unset ones are
//! placeholders.

use std::{
    env,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use reqsign_aliyun_oss::{AssumeRoleCredentialProvider, StaticCredentialProvider};
use reqsign_core::{Context, HttpSend, ProvideCredential};
use tower_aliyun_oss::policy::{Credentials, CredentialsProvider, RefreshingCredentials};

/// As long as policies last, so that none of them is cut short by the end of its credentials.
const POLICY_LIFETIME: Duration = Duration::from_secs(15 * 60);

type BoxError = Box<dyn Error + Send + Sync>;

/// Calls `AssumeRole` when credentials are needed, and again before they end.
fn assume_role(context: Context, client: AssumeRoleCredentialProvider) -> RefreshingCredentials {
    let client = Arc::new((context, client));
    RefreshingCredentials::new(move || {
        let client = Arc::clone(&client);
        async move {
            let (context, client) = &*client;
            let session = client.provide_credential(context).await?;
            let session = session.ok_or("set the access key and the role to assume")?;
            let mut credentials =
                Credentials::new(session.access_key_id, session.access_key_secret)?;
            if let Some(token) = session.security_token {
                credentials = credentials.with_security_token(token)?;
            }
            if let Some(end) = session.expires_in {
                credentials = credentials.with_expiry(end.as_system_time());
            }
            Ok::<_, BoxError>(credentials)
        }
    })
    .refresh_before(POLICY_LIFETIME)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let user = StaticCredentialProvider::new(
        &setting("OSS_ACCESS_KEY_ID", "<yourAccessKeyId>"),
        &setting("OSS_ACCESS_KEY_SECRET", "<yourAccessKeySecret>"),
    );
    let client = AssumeRoleCredentialProvider::new()
        .with_base_provider(user)
        .with_role_arn(setting("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/uploads"))
        .with_role_session_name("appserver");
    let provider = assume_role(Context::new().with_http_send(StandIn), client);

    let credentials = provider.credentials().await?;
    let end = credentials.expires_at().ok_or("sts said no end")?;
    let left = end.duration_since(SystemTime::now())?;
    println!(
        "signing as {} for {} minutes",
        credentials.access_key_id(),
        left.as_secs().div_ceil(60)
    );
    Ok(())
}

fn setting(name: &str, placeholder: &str) -> String {
    env::var(name).unwrap_or_else(|_| placeholder.into())
}

/// Answers every request as STS answers `AssumeRole`, for an hour.
#[derive(Debug)]
struct StandIn;

impl HttpSend for StandIn {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        println!("asking {}", request.uri().host().unwrap_or_default());
        let end = jiff::Timestamp::now() + Duration::from_secs(3600);
        let body = serde_json::json!({
            "RequestId": "6894B13B-6D71-4EF5-88FA-F32781734A7F",
            "Credentials": {
                "AccessKeyId": "STS.example",
                "AccessKeySecret": "secret",
                "SecurityToken": "token",
                "Expiration": end.strftime("%FT%TZ").to_string(),
            },
        });
        Ok(Response::new(body.to_string().into()))
    }
}
