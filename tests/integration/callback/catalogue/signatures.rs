//! SG: the format of signatures, and the text that they cover.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use md5::Md5;
use rsa::{
    BoxedUint,
    pkcs8::der::oid::AssociatedOid,
    sha2::{Digest as _, Sha224, Sha256},
    traits::PublicKeyParts as _,
};
use sha1::Sha1;
use tower_aliyun_oss::callback::CallbackErrorKind as Kind;
use tower_aliyun_oss::{OssCallbackLayer, protocol::CallbackBodyType};

use crate::support::{
    Case, FORM, Frames, JSON, Outcome, Signer, builder, full, md5, send, signed_text,
};

const TARGET: &str = "/cb?a=1";
const BODY: &[u8] = b"bucket=b&object=o";

async fn send_with_authorization(value: &str) -> Outcome {
    let mut request = Case::named("official-doc-index-php").request();
    request
        .headers_mut()
        .insert("authorization", value.parse().unwrap());
    send(&OssCallbackLayer::new(), request).await
}

async fn send_signature(signer: &Signer, signature: &[u8]) -> Outcome {
    let request = builder(TARGET, FORM, signature).body(full(BODY)).unwrap();
    send(&signer.layer(), request).await
}

#[tokio::test]
async fn sg_04_an_authorization_of_another_kind_is_refused() {
    let mut absent = Case::named("official-doc-index-php").request();
    absent.headers_mut().remove("authorization");
    let outcome = send(&OssCallbackLayer::new(), absent).await;
    outcome.assert_refused(400, Kind::MissingHeader);
    assert_eq!(outcome.error.unwrap().header().unwrap(), "authorization");

    let mut twice = Case::named("official-doc-index-php").request();
    let again = twice.headers()["authorization"].clone();
    twice.headers_mut().append("authorization", again);
    let outcome = send(&OssCallbackLayer::new(), twice).await;
    outcome.assert_refused(400, Kind::DuplicateHeader);

    for value in [
        "",
        "Bearer x",
        "OSS LTAI:c2lnbmF0dXJl",
        "Basic dTpw",
        "=",
        "====",
    ] {
        send_with_authorization(value)
            .await
            .assert_refused(400, Kind::InvalidHeader);
    }
}

#[tokio::test]
async fn sg_05_base64_that_is_not_strict_is_refused() {
    let good = Case::named("official-doc-index-php").headers["authorization"].clone();
    send_with_authorization(&good).await.assert_accepted();
    let mut odd = vec![
        good.trim_end_matches('=').to_owned(),
        good.replacen('=', "", 1),
        format!("{good}="),
        good.replace('+', "-").replace('/', "_"),
        good.replacen("GT", "G T", 1),
        good.replacen("GT", "G\tT", 1),
    ];
    // The last symbol has four unused bits, so a lenient decoder would accept fifteen other
    // letters.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let a = alphabet
        .find(good.trim_end_matches('=').chars().last().unwrap())
        .unwrap()
        & !15;
    let aliases = alphabet[a..a + 16].chars().map(|last| {
        let stem = good.trim_end_matches('=');
        format!("{}{last}==", &stem[..stem.len() - 1])
    });
    odd.extend(aliases.filter(|alias| *alias != good));
    assert_eq!(odd.len(), 6 + 15);
    for value in odd {
        send_with_authorization(&value)
            .await
            .assert_refused(400, Kind::InvalidHeader);
    }
    // A header cannot contain a line feed.
    assert!(HeaderValue::from_str(&format!("{good}\n")).is_err());
}

#[tokio::test]
async fn sg_06_signatures_of_any_other_length_are_refused() {
    let signer = Signer::with_512_bits();
    let good = signer.sign(TARGET, BODY);
    send_signature(&signer, &good).await.assert_accepted();
    for len in [1, 63, 65, 72, 128, 1024, 1024 * 1024] {
        let mut signature = good.clone();
        signature.resize(len, 0);
        send_signature(&signer, &signature)
            .await
            .assert_refused(403, Kind::SignatureMismatch);
    }
    // Leading zeros.
    let padded = [&[0; 8], &good[..]].concat();
    send_signature(&signer, &padded)
        .await
        .assert_refused(403, Kind::SignatureMismatch);
    // An empty signature is not valid Base64.
    send_signature(&signer, &[])
        .await
        .assert_refused(400, Kind::InvalidHeader);
}

#[tokio::test]
async fn sg_07_a_leading_zero_cannot_be_left_out() {
    let signer = Signer::with_512_bits();
    let (target, signature) = (0..)
        .map(|n| format!("/cb?n={n}"))
        .map(|target| (target.clone(), signer.sign(&target, BODY)))
        .find(|(_, signature)| signature[0] == 0)
        .unwrap();
    let request = |signature: &[u8]| builder(&target, FORM, signature).body(full(BODY)).unwrap();
    send(&signer.layer(), request(&signature))
        .await
        .assert_accepted();
    let stripped = send(&signer.layer(), request(&signature[1..])).await;
    stripped.assert_refused(403, Kind::SignatureMismatch);
}

#[tokio::test]
async fn sg_08_a_signature_plus_the_modulus_is_refused() {
    let mut request = Case::named("iosoon-literal-quotes-form").request();
    let alias =
        "vufkDvDs3UZbE/nyWTRVh2zUxfHPeRPHcF49uMBf/bjKnEuXB5xj6c5V89AOUj+w78HwIVbsPFL2GKfvIhQjfw==";
    request
        .headers_mut()
        .insert("authorization", HeaderValue::from_static(alias));
    let outcome = send(&OssCallbackLayer::new(), request).await;
    outcome.assert_refused(403, Kind::SignatureMismatch);
}

#[tokio::test]
async fn sg_09_the_edges_of_the_range_are_refused() {
    let signer = Signer::with_512_bits();
    let n = signer.private().n().to_be_bytes().into_vec();
    let last = |change: i16| {
        let mut number = n.clone();
        let byte = number.last_mut().unwrap();
        *byte = u8::try_from(i16::from(*byte) + change).unwrap();
        number
    };
    let small = |value: u8| [vec![0; 63], vec![value]].concat();
    for number in [
        small(0),
        small(1),
        small(2),
        last(-1),
        n.clone(),
        last(1),
        vec![0xff; 64],
    ] {
        let outcome = send_signature(&signer, &number).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
}

/// The `DigestInfo` prefix of MD5 (RFC 8017 section 9.2, note 1).
const MD5_INFO: [u8; 18] = [
    0x30, 0x20, 0x30, 0x0c, 6, 8, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 5, 5, 0, 4, 16,
];

/// Returns the padded block `00 01 FF… 00 info` of 64 bytes.
fn block(info: &[u8]) -> Vec<u8> {
    let padding = vec![0xff; 64 - 3 - info.len()];
    [&[0, 1], &padding[..], &[0], info].concat()
}

fn digest_info() -> Vec<u8> {
    [&MD5_INFO[..], &md5(&signed_text(TARGET, BODY))].concat()
}

#[tokio::test]
async fn sg_10_padding_that_is_not_exact_is_refused() {
    let signer = Signer::with_512_bits();
    let info = digest_info();
    let good = block(&info);
    // The correct block gives the same signature as the `rsa` crate.
    assert_eq!(signer.sign_block(&good), signer.sign(TARGET, BODY));
    let mut wrong: Vec<Vec<u8>> = Vec::new();
    // Change each byte before the digest in several ways: wrong block type, other tags and lengths,
    // moved separator, short padding.
    for at in 0..good.len() - 16 {
        for with in [1, 0x80, 0xff, good[at]] {
            let mut block = good.clone();
            block[at] ^= with;
            wrong.push(block);
        }
    }
    let digest = &info[18..];
    let infos: [Vec<u8>; 14] = [
        // Long-form lengths (BER).
        [&[0x30, 0x81, 0x20], &info[2..]].concat(),
        [&[0x30, 0x82, 0, 0x20], &info[2..]].concat(),
        [&[0x30, 0x21, 0x30, 0x81, 0x0c], &info[4..]].concat(),
        [&info[..16], &[4, 0x81, 16], digest].concat(),
        [&[0x30, 0x21], &info[2..4], &[6, 0x81, 8], &info[6..]].concat(),
        [&info[..14], &[5, 0x81, 0], &info[16..]].concat(),
        // Indefinite length.
        [&[0x30, 0x80], &info[2..], &[0, 0]].concat(),
        // Absent parameters with adjusted lengths, parameters of another type, trailing data inside
        // of them.
        [&[0x30, 0x1e, 0x30, 0x0a], &info[4..14], &[4, 16], digest].concat(),
        [&info[..14], &[4, 0, 4, 16], digest].concat(),
        [
            &[0x30, 0x22, 0x30, 0x0e],
            &info[4..16],
            &[5, 0],
            &info[16..],
        ]
        .concat(),
        // Trailing data after the digest, outside and inside of the sequence.
        [&info[..], &[0]].concat(),
        [&[0x30, 0x22], &info[2..], &[5, 0]].concat(),
        // The digest as a BIT STRING; an OID with a leading zero.
        [&[0x30, 0x21], &info[2..16], &[3, 17, 0], digest].concat(),
        [&[0x30, 0x21, 0x30, 0x0d, 6, 9, 0x80], &info[6..]].concat(),
    ];
    wrong.extend(infos.iter().map(|info| block(info)));
    // 26 bytes of padding with a trailing zero; 28 bytes with the digest cut short; no padding; two
    // leading zeros.
    wrong.push([&[0, 1], &[0xff; 26][..], &[0], &info, &[0]].concat());
    wrong.push([&[0, 1], &[0xff; 28][..], &[0], &info[..33]].concat());
    wrong.push([&[0, 1, 0], &info[..], &[0xff; 27]].concat());
    wrong.push([&[0, 1, 0], &info[..], &[0; 27]].concat());
    wrong.push([&[0, 0, 1], &[0xff; 26][..], &[0], &info].concat());
    wrong.push([&[0, 2], &[0xff; 27][..], &[0], &info].concat());
    wrong.push([&[0, 0], &[0xff; 27][..], &[0], &info].concat());
    wrong.push([&[0, 0], &[0; 28][..], &info].concat());
    wrong.push([&[0, 1], &[0xff; 8][..], &[0], &info, &[0xee; 19]].concat());
    wrong.push([&[0, 1], &[0xff; 26][..], &[0xee, 0], &info].concat());
    wrong.retain(|block| *block != good);
    assert!(wrong.len() > 200);
    let n = signer.private().n().to_be_bytes().into_vec();
    for block in wrong {
        // SG-09 covers numbers above the modulus, which cannot be signed.
        if block < n {
            let outcome = send_signature(&signer, &signer.sign_block(&block)).await;
            outcome.assert_refused(403, Kind::SignatureMismatch);
        }
    }
}

#[tokio::test]
async fn sg_11_another_hash_is_refused() {
    let signer = Signer::with_512_bits();
    let text = signed_text(TARGET, BODY);
    let mut signatures = vec![
        signer.private().pkcs1v15_sign::<Sha1>(&text).unwrap(),
        signer.private().pkcs1v15_sign::<Sha224>(&text).unwrap(),
        signer.private().pkcs1v15_sign::<Sha256>(&text).unwrap(),
    ];
    // An MD5 digest named as MD4; without a name; a SHA-1 digest named as MD5.
    let mut md4 = digest_info();
    md4[13] = 4;
    signatures.push(signer.sign_block(&block(&md4)));
    signatures.push(signer.sign_block(&block(&md5(&text))));
    let sha1 = Sha1::digest(&text);
    let named = [&[0x30, 0x24], &MD5_INFO[2..17], &[20], &sha1[..]].concat();
    signatures.push(signer.sign_block(&block(&named)));
    let cut = [&MD5_INFO[..], &sha1[..16]].concat();
    signatures.push(signer.sign_block(&block(&cut)));
    for signature in signatures {
        let outcome = send_signature(&signer, &signature).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
    assert_eq!(Md5::OID.to_string(), "1.2.840.113549.2.5");
}

#[tokio::test]
async fn sg_12_pss_is_refused() {
    let signer = Signer::with_512_bits();
    let signature = signer
        .private()
        .pss_sign::<Md5>(&signed_text(TARGET, BODY))
        .unwrap();
    send_signature(&signer, &signature)
        .await
        .assert_refused(403, Kind::SignatureMismatch);
}

/// The rounded-up cube root of a 512-byte block: `00 01 FF×8 00`, the MD5 `DigestInfo` of
/// [`TARGET`] and [`BODY`], then zeros. Its cube starts with that prefix, and is below any
/// 4,096-bit modulus.
const FORGED_CUBE_ROOT: &str = concat!(
    "01428a2f98d728ae2208231f900ee55883cac652e7d720636b4e094c738b8f67fc147e1e8be48f3d4ed89ff43508fcba",
    "c5362671cdc4e97ba5be5a042a5e925abea78ce40a4f826e9492baf374a3a91ee6e700cf99efb4a958faee91e242f251",
    "5962cf0cd11dffd2bd24f443b8abe96c352317d79fdb0ea7b9e4f6e6ec8b6d2fce6a3dab85e9f7dd17640c6a87754e10",
    "cbcc18bb075fa3401e07cebfb6016d5757dac5cf9e84ad9f47777b",
);

/// CVE-2006-4339: with e = 3, anyone can compute a number whose cube passes a check that ignores
/// trailing bytes.
#[test]
fn sg_13_a_forged_cube_root_is_refused() {
    let root: Vec<u8> = (0..FORGED_CUBE_ROOT.len() / 2)
        .map(|at| u8::from_str_radix(&FORGED_CUBE_ROOT[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let mut signature = vec![0; 512 - root.len()];
    signature.extend_from_slice(&root);

    let modulus = Signer::with_4096_bits().private().n().as_ref().clone();
    let cubic = rsa::PublicKey::new_with_size_limits(modulus, BoxedUint::from(3_u8), 512..=4096);
    let cubic = cubic.unwrap();
    let number = BoxedUint::from_be_slice(&signature, 4096).unwrap();
    let opened = rsa::hazmat::rsa_encrypt(&cubic, &number)
        .unwrap()
        .to_be_bytes();
    // A check that stops after the digest would accept it.
    let looks_like = [&[0, 1][..], &[0xff; 8], &[0], &digest_info()].concat();
    assert!(opened.starts_with(&looks_like));

    let digest = md5(&signed_text(TARGET, BODY));
    assert!(
        cubic
            .pkcs1v15_verify_prehash::<Md5>(&digest, &signature)
            .is_err()
    );
}

#[tokio::test]
async fn sg_14_each_flipped_bit_is_refused() {
    let signer = Signer::with_512_bits();
    let good = signer.sign(TARGET, BODY);
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..good.len() * 8 {
        let outcome = send_signature(&signer, &flipped(&good, bit)).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
    for bit in 0..BODY.len() * 8 {
        let request = builder(TARGET, FORM, &good)
            .body(full(flipped(BODY, bit)))
            .unwrap();
        let outcome = send(&signer.layer(), request).await;
        outcome.assert_refused(403, Kind::SignatureMismatch);
    }
    for bit in 0..TARGET.len() * 8 {
        let Ok(uri) = http::Uri::try_from(flipped(TARGET.as_bytes(), bit)) else {
            continue;
        };
        let request = builder("/", FORM, &good).uri(uri).body(full(BODY)).unwrap();
        let outcome = send(&signer.layer(), request).await;
        assert!(matches!(outcome.status.as_u16(), 400 | 403), "{outcome:?}");
        assert!(outcome.seen.is_none());
    }
}

#[tokio::test]
async fn sg_16_other_methods_are_refused() {
    let extension = Method::from_bytes(b"post").unwrap();
    for method in [
        Method::GET,
        Method::PUT,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
        Method::DELETE,
        Method::CONNECT,
        extension,
    ] {
        let mut request = Case::named("official-doc-index-php").request();
        *request.method_mut() = method;
        let outcome = send(&OssCallbackLayer::new(), request).await;
        outcome.assert_refused(405, Kind::MethodNotAllowed);
        assert_eq!(outcome.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn sg_17_other_content_types_are_refused() {
    let signer = Signer::with_512_bits();
    let signed = || signer.builder(TARGET, FORM, BODY).body(full(BODY)).unwrap();
    let with = |values: &[&str]| {
        let mut request = signed();
        request.headers_mut().remove("content-type");
        for value in values {
            request
                .headers_mut()
                .append("content-type", value.parse().unwrap());
        }
        request
    };
    for values in [
        &[][..],
        &[""],
        &["text/plain"],
        &["multipart/form-data; boundary=x"],
        &["application/json; charset=gbk"],
        &["application/json; charset=utf-8; charset=gbk"],
        &[FORM, FORM],
        &[FORM, JSON],
        &["application/x-www-form-urlencoded, application/json"],
    ] {
        let outcome = send(&signer.layer(), with(values)).await;
        outcome.assert_refused(415, Kind::UnsupportedContentType);
    }
    for value in [
        FORM,
        JSON,
        "Application/JSON",
        "application/json;charset=UTF-8",
    ] {
        send(&signer.layer(), with(&[value]))
            .await
            .assert_accepted();
    }
    // A layer limited to one type rejects the other.
    let only_form = signer.layer().content_types([CallbackBodyType::Form]);
    send(&only_form, with(&[FORM])).await.assert_accepted();
    let outcome = send(&only_form, with(&[JSON])).await;
    outcome.assert_refused(415, Kind::UnsupportedContentType);

    for coding in ["gzip", "identity", ""] {
        let mut request = signed();
        request
            .headers_mut()
            .insert("content-encoding", coding.parse().unwrap());
        let outcome = send(&signer.layer(), request).await;
        outcome.assert_refused(415, Kind::UnsupportedContentEncoding);
    }
}

#[tokio::test]
async fn sg_18_a_polyglot_cannot_be_read_as_the_other_type() {
    let signer = Signer::with_512_bits();
    let body = br#"{"a":"&bucket=mine&object=x&"}"#;
    let layer = signer.layer().content_types([CallbackBodyType::Json]);
    send(&layer, signer.request(TARGET, JSON, body))
        .await
        .assert_accepted();
    let outcome = send(&layer, signer.request(TARGET, FORM, body)).await;
    outcome.assert_refused(415, Kind::UnsupportedContentType);
}

#[tokio::test]
async fn sg_20_a_body_written_again_is_refused() {
    let signer = Signer::with_512_bits();
    let signed: &[u8] = "{\"object\": \"caf\u{e9}\",\n\"size\": 1}".as_bytes();
    let signature = signer.sign(TARGET, signed);
    let send_body = async |body: &[u8]| {
        let request = builder(TARGET, JSON, &signature)
            .body(full(body.to_vec()))
            .unwrap();
        send(&signer.layer(), request).await
    };
    send_body(signed).await.assert_accepted();
    let text = std::str::from_utf8(signed).unwrap();
    let compact = serde_json::from_str::<serde_json::Value>(text)
        .unwrap()
        .to_string();
    for other in [
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        format!("\u{feff}{text}"),
        text.replace('\u{e9}', "e\u{301}"),
        text.replace('\u{e9}', "\\u00e9"),
        compact,
        "{\"size\": 1,\n\"object\": \"caf\u{e9}\"}".into(),
        text.replacen('1', "2", 1),
        text.replace(' ', ""),
    ] {
        send_body(other.as_bytes())
            .await
            .assert_refused(403, Kind::SignatureMismatch);
    }
}

#[tokio::test]
async fn sg_21_odd_bodies_are_accepted_as_signed() {
    let signer = Signer::with_512_bits();
    let lines = vec![b'\n'; 10_000];
    let binary: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    for body in [&b""[..], b"\n", &lines, &binary, &[0xff, 0xfe], &[0]] {
        let outcome = send(&signer.layer(), signer.request(TARGET, FORM, body)).await;
        assert_eq!(outcome.assert_accepted().body, body);
    }
}

#[tokio::test]
async fn sg_22_frames_of_any_cut_are_one_body() {
    let signer = Signer::with_512_bits();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("1"));
    let data = |bytes: &'static [u8]| http_body::Frame::data(Bytes::from_static(bytes));
    let bytes = BODY.chunks(1).map(data).collect::<Vec<_>>();
    let mut empties: Vec<_> = (0..300).map(|_| data(b"")).collect();
    empties.extend(BODY.chunks(3).flat_map(|chunk| [data(chunk), data(b"")]));
    let frames = [vec![data(BODY)], bytes, empties];
    for mut frames in frames {
        frames.push(http_body::Frame::trailers(trailers.clone()));
        let body = Frames::of(frames);
        let request: Request<_> = signer.builder(TARGET, FORM, BODY).body(body).unwrap();
        let outcome = send(&signer.layer(), request).await;
        assert_eq!(outcome.assert_accepted().body, BODY);
    }
}

#[tokio::test]
async fn sg_23_only_signature_version_1_0_is_taken() {
    let with = |values: &[&str]| {
        let mut request = Case::named("official-doc-index-php").request();
        for value in values {
            request
                .headers_mut()
                .append("x-oss-signature-version", value.parse().unwrap());
        }
        request
    };
    for values in [&[][..], &["1.0"]] {
        send(&OssCallbackLayer::new(), with(values))
            .await
            .assert_accepted();
    }
    for version in [
        "2.0",
        "4",
        "1",
        "1.00",
        " 1.0 x",
        "",
        "garbage",
        "OSS4-HMAC-SHA256",
    ] {
        let outcome = send(&OssCallbackLayer::new(), with(&[version])).await;
        outcome.assert_refused(400, Kind::UnsupportedSignatureVersion);
    }
    let outcome = send(&OssCallbackLayer::new(), with(&["1.0", "1.0"])).await;
    outcome.assert_refused(400, Kind::DuplicateHeader);
}

#[tokio::test]
async fn longer_keys_verify_too() {
    for signer in [
        Signer::with_1024_bits(),
        Signer::with_2048_bits(),
        Signer::with_4096_bits(),
    ] {
        send(&signer.layer(), signer.request(TARGET, FORM, BODY))
            .await
            .assert_accepted();
        let long = STANDARD.encode(signer.sign(TARGET, BODY)).len();
        assert!(long <= 684);
        let other = signer.request(TARGET, FORM, b"x");
        let mut request = signer.request(TARGET, FORM, BODY);
        request
            .headers_mut()
            .insert("authorization", other.headers()["authorization"].clone());
        send(&signer.layer(), request)
            .await
            .assert_refused(403, Kind::SignatureMismatch);
    }
}
