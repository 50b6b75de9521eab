//! A policy that can be signed.

use std::{sync::Arc, time::SystemTime};

use super::{
    builder::PostPolicyBuilder,
    content_types::ContentTypes,
    credentials::Credentials,
    directive::CallbackDirective,
    document::{self, Clause},
    error::{FieldProblem, PolicyError},
    form::Form,
    moment::Moment,
    template::Template,
    terms::{Profile, Terms},
    upload_key::UploadKey,
    upload_token::UploadToken,
};
use crate::{
    protocol::{Bucket, Region, SizeRange},
    sign::{SignatureVersion, v1, v4},
};

/// What one upload may be, checked and ready to be signed.
///
/// OSS does not check a form field that the policy leaves out. So this one names every field of the form: the bucket,
/// the key, the size, the callback and each of its `x:` variables, `success_action_status`, `x-oss-content-type`,
/// `x-oss-object-acl` and `x-oss-forbid-overwrite`, those of the signature, and every [field you
/// add](PostPolicyBuilder::field). There is no policy without a callback, and none with one that the uploader could
/// change.
///
/// Fields that no policy names are let through by OSS, so an uploader can add `Cache-Control`, `Content-Disposition`,
/// `Content-Encoding`, `Expires`, `x-oss-meta-*`, `x-oss-storage-class` or `x-oss-server-side-encryption`. Name those
/// that matter to you, with a [field](PostPolicyBuilder::field) or a [condition](PostPolicyBuilder::condition).
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
        let template = Arc::new(Template::new(bucket, region, callback));
        PostPolicyBuilder::of(template, key.into(), Terms::new(size))
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
        let Self(policy) = self;
        let template = &policy.template;
        let moment = Moment::new(at, policy.terms.lifetime, credentials.expires_at())?;
        let (day, date) = (moment.day(), moment.day_and_time());
        let key = policy.key.form_value();
        let region = match template.signature {
            SignatureVersion::V4 => Some(template.region.as_ref().ok_or(PolicyError::Region)?),
            SignatureVersion::V1 => None,
        };
        let credential =
            region.map(|region| v4::credential(credentials.access_key_id(), &day, region));

        let mut form = Form::default();
        form.conditioned("key", &key, policy.key.clause());
        if let Some(bucket) = template.destination.bucket_known() {
            form.condition(Clause::Is("bucket", bucket.as_str()));
        }
        if let Some(credential) = &credential {
            form.pin("x-oss-signature-version", v4::ALGORITHM);
            form.pin("x-oss-credential", credential);
        }
        if let Some(token) = credentials.security_token() {
            let unsent = template.profile == Profile::Reduced && credential.is_none();
            if unsent {
                let field = "x-oss-security-token";
                return Err(PolicyError::field(field, FieldProblem::NotInFormat));
            }
            form.pin("x-oss-security-token", token);
        }
        if credential.is_some() {
            form.pin("x-oss-date", &date);
        }
        form.condition(Clause::ContentLengthRange(policy.terms.size));
        self.object(&mut form);
        form.pin("callback", template.callback.encoded());
        for (name, value) in template.callback.variables() {
            form.pin_eq(name, value);
        }

        let text = document::encode(moment.expires(), form.clauses())?;
        let fields = match region {
            Some(region) => {
                let keys = &template.day_keys;
                let signature = v4::sign(keys, credentials.secret(), &day, region, &text);
                form.signed(&[("policy", &text), ("x-oss-signature", &signature)])
            }
            None => {
                let signature = v1::sign(credentials.secret(), &text);
                let id = credentials.access_key_id();
                form.signed(&[
                    ("OSSAccessKeyId", id),
                    ("policy", &text),
                    ("Signature", &signature),
                ])
            }
        };
        let url = template.destination.upload_url();
        Ok(UploadToken::new(url, &key, fields, moment.expires()))
    }

    /// What the object becomes.
    fn object<'a>(&'a self, form: &mut Form<'a>) {
        let Self(policy) = self;
        let terms = &policy.terms;
        form.pin_eq("success_action_status", terms.status_text());
        if policy.template.profile != Profile::Full {
            return;
        }
        form.pin_eq("x-oss-object-acl", terms.acl.unwrap_or_default().as_str());
        let forbid = if terms.overwrite { "false" } else { "true" };
        form.pin_eq("x-oss-forbid-overwrite", forbid);
        match &terms.content_types {
            ContentTypes::Binary => form.pin_eq("x-oss-content-type", ContentTypes::BINARY),
            ContentTypes::One(one) => form.pin_eq("x-oss-content-type", one.as_str()),
            ContentTypes::Several(several) => {
                form.condition(Clause::In("x-oss-content-type", several));
            }
            ContentTypes::Any => {}
        }
        for (name, value) in &terms.fields {
            form.pin_eq(name, value);
        }
        for condition in &terms.conditions {
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
        policy::condition::Condition,
        protocol::{ObjectAcl, ObjectPrefix},
    };

    fn reduced() -> PostPolicyBuilder {
        let mut template = Template::new(
            "examplebucket".parse().unwrap(),
            "cn-hangzhou".parse().unwrap(),
            CallbackDirective::new("https://app.example/cb").unwrap(),
        );
        template.profile = Profile::Reduced;
        let prefix: ObjectPrefix = "a/".parse().unwrap();
        let terms = Terms::new(SizeRange::new(1, 10).unwrap());
        PostPolicyBuilder::of(Arc::new(template), prefix.into(), terms)
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
                json!({ "callback": policy.0.template.callback.encoded() }),
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
            (reduced().allow_overwrite(), "x-oss-forbid-overwrite"),
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
