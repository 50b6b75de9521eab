//! A policy that can be signed.

use std::time::SystemTime;

use super::{
    builder::{PostPolicyBuilder, Profile},
    content_types::ContentTypes,
    credentials::Credentials,
    directive::CallbackDirective,
    document::{self, Clause},
    error::PolicyError,
    form::Form,
    moment::Moment,
    signature::{SignatureVersion, v1, v4},
    upload_key::UploadKey,
    upload_token::UploadToken,
};
use crate::protocol::{Bucket, Region, SizeRange};

/// What one upload may be, checked and ready to be signed.
///
/// OSS does not check a form field that the policy leaves out. So this one names every field of the form: the bucket,
/// the key, the size, the callback and each of its `x:` variables, `success_action_status`, `x-oss-content-type`,
/// `x-oss-object-acl` and `x-oss-forbid-overwrite`, those of the signature, and every [field you
/// add](PostPolicyBuilder::field). There is no policy without a callback, and none with one that the uploader could
/// change.
///
/// Fields that no policy names, such as an `x-oss-meta-*` of the uploader's own, are let through by OSS. Name those that
/// matter to you.
///
/// ```
/// use std::time::SystemTime;
/// use tower_aliyun_oss::{
///     policy::{CallbackDirective, Credentials, PostPolicy},
///     protocol::{ObjectKey, SizeRange},
/// };
///
/// let key: ObjectKey = "user/1/photo.png".parse()?;
/// let policy = PostPolicy::builder(
///     "examplebucket".parse()?,
///     "cn-hangzhou".parse()?,
///     key,
///     SizeRange::new(1, 10 * 1024 * 1024)?,
///     CallbackDirective::new("https://app.example/oss/callback")?,
/// )
/// .content_type("image/png".parse()?)
/// .build()?;
///
/// let credentials = Credentials::new("LTAI5tExample", "secret")?;
/// let token = policy.sign(&credentials, SystemTime::now())?;
/// assert_eq!(token.url().as_str(), "https://examplebucket.oss-cn-hangzhou.aliyuncs.com");
/// assert_eq!(token.fields().next(), Some(("key", "user/1/photo.png")));
/// println!("{}", serde_json::to_string(&token)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: the [PostObject] page.
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
#[derive(Clone, Debug)]
pub struct PostPolicy(PostPolicyBuilder);

impl PostPolicy {
    /// Begins a policy with what has no default: where the object goes, what it may be called and how large it may
    /// be, and what OSS calls afterwards.
    ///
    /// The region is the one the signature is made for; the host that forms are posted to is
    /// [another setting](PostPolicyBuilder::endpoint).
    pub fn builder(
        bucket: Bucket,
        region: Region,
        key: impl Into<UploadKey>,
        size: SizeRange,
        callback: CallbackDirective,
    ) -> PostPolicyBuilder {
        PostPolicyBuilder::new(bucket, region, key.into(), size, callback)
    }

    pub(super) fn new(checked: PostPolicyBuilder) -> Self {
        Self(checked)
    }

    /// Signs the policy, as of `at`.
    ///
    /// Every date comes from `at`, a reading of the clock in UTC. The policy ends after its lifetime, or when the
    /// credentials do.
    ///
    /// # Errors
    ///
    /// When the credentials have ended by then, or no policy can carry the time (before 1970 or after 9999).
    pub fn sign(
        &self,
        credentials: &Credentials,
        at: SystemTime,
    ) -> Result<UploadToken, PolicyError> {
        let policy = &self.0;
        let moment = Moment::new(at, policy.lifetime, credentials.expires_at())?;
        let (day, date) = (moment.day(), moment.day_and_time());
        let key = policy.key.form_value();
        let credential = v4::credential(credentials, &day, &policy.region);
        let is_v4 = policy.signature == SignatureVersion::V4;

        let mut form = Form::default();
        form.conditioned("key", &key, policy.key.clause());
        form.condition(Clause::Is("bucket", policy.bucket.as_str()));
        if is_v4 {
            form.pin("x-oss-signature-version", v4::ALGORITHM);
            form.pin("x-oss-credential", &credential);
        }
        if let Some(token) = credentials.security_token() {
            form.pin("x-oss-security-token", token);
        }
        if is_v4 {
            form.pin("x-oss-date", &date);
        }
        form.condition(Clause::ContentLengthRange(policy.size));
        self.object(&mut form);
        form.pin("callback", policy.callback.encoded());
        for (name, value) in policy.callback.variables() {
            form.pin_eq(name, value);
        }

        let text = document::encode(moment.expires(), form.clauses())?;
        let fields = match policy.signature {
            SignatureVersion::V4 => {
                let keys = &policy.day_keys;
                let signature = v4::sign(keys, credentials, &day, &policy.region, &text)?;
                form.signed(&[("policy", &text), ("x-oss-signature", &signature)])
            }
            SignatureVersion::V1 => {
                let signature = v1::sign(credentials, &text)?;
                let id = credentials.access_key_id();
                form.signed(&[
                    ("OSSAccessKeyId", id),
                    ("policy", &text),
                    ("Signature", &signature),
                ])
            }
        };
        let url = policy.endpoint.upload_url(&policy.bucket);
        Ok(UploadToken::new(url, &key, fields, moment.expires()))
    }

    /// What the object becomes.
    fn object<'a>(&'a self, form: &mut Form<'a>) {
        let policy = &self.0;
        form.pin_eq("success_action_status", policy.status_text());
        if policy.profile != Profile::Full {
            return;
        }
        form.pin_eq("x-oss-object-acl", policy.acl.unwrap_or_default().as_str());
        let forbid = if policy.overwrite { "false" } else { "true" };
        form.pin_eq("x-oss-forbid-overwrite", forbid);
        match &policy.content_types {
            ContentTypes::Binary => form.pin_eq("x-oss-content-type", ContentTypes::BINARY),
            ContentTypes::One(one) => form.pin_eq("x-oss-content-type", one.as_str()),
            ContentTypes::Several(several) => {
                form.condition(Clause::In("x-oss-content-type", several));
            }
            ContentTypes::Any => {}
        }
        for (name, value) in &policy.fields {
            form.pin_eq(name, value);
        }
        for condition in &policy.conditions {
            form.condition(condition.clause());
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        policy::{condition::Condition, error::FieldProblem},
        protocol::{ObjectAcl, ObjectPrefix},
    };

    fn reduced() -> PostPolicyBuilder {
        PostPolicy::builder(
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            "a/".parse::<ObjectPrefix>().unwrap(),
            SizeRange::new(1, 10).unwrap(),
            CallbackDirective::new("https://app.example/cb").unwrap(),
        )
        .profile(Profile::Reduced)
    }

    /// The clients of these formats send `success_action_status=200`, the callback and the signature, nothing else.
    #[test]
    fn a_reduced_policy_names_only_what_the_samples_send() {
        let pair = Credentials::new("id", "secret").unwrap();
        let at = SystemTime::UNIX_EPOCH;
        for (version, of_signature) in [
            (
                SignatureVersion::V4,
                json!([
                    { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
                    { "x-oss-credential": "id/19700101/cn-hangzhou/oss/aliyun_v4_request" },
                    { "x-oss-date": "19700101T000000Z" },
                ]),
            ),
            (SignatureVersion::V1, json!([])),
        ] {
            let policy = reduced().signature(version).build().unwrap();
            let token = policy.sign(&pair, at).unwrap();
            let text = STANDARD.decode(token.field("policy").unwrap()).unwrap();
            let document: Value = serde_json::from_slice(&text).unwrap();
            let mut expected =
                json!([["starts-with", "$key", "a/"], { "bucket": "examplebucket" }]);
            let expected = expected.as_array_mut().unwrap();
            expected.extend(of_signature.as_array().unwrap().clone());
            expected.extend([
                json!(["content-length-range", 1, 10]),
                json!(["eq", "$success_action_status", "200"]),
                json!({ "callback": policy.0.callback.encoded() }),
            ]);
            assert_eq!(document["conditions"], Value::from(expected.clone()));
        }
    }

    #[test]
    fn a_reduced_policy_cannot_ask_for_more() {
        let variable = CallbackDirective::new("https://app.example/cb")
            .and_then(|callback| callback.variable("x:a", "b"))
            .unwrap();
        for (more, field) in [
            (
                reduced().content_type("a/b".parse().unwrap()),
                "x-oss-content-type",
            ),
            (reduced().object_acl(ObjectAcl::Private), "x-oss-object-acl"),
            (
                reduced().success_action_status(201),
                "success_action_status",
            ),
            (reduced().callback(variable), "x:a"),
            (reduced().field("Expires", "0"), "Expires"),
            (
                reduced().condition(Condition::equals("Expires", "0")),
                "Expires",
            ),
        ] {
            assert_eq!(
                more.build().unwrap_err(),
                PolicyError::field(field, FieldProblem::NotInFormat)
            );
        }
    }
}
