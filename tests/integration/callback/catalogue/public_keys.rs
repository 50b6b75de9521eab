//! KP: accepted and rejected public keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::traits::PublicKeyParts as _;
use tower_aliyun_oss::key::{PublicKey, PublicKeyError as Error};

use crate::support::{Case, Signer, signed_text};

const OFFICIAL: &str = include_str!("../../../../src/key/callback_pub_key_v1.pem");

const RSA_ENCRYPTION: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSASSA_PSS: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
const NULL: &[u8] = &[0x05, 0];

/// Encodes tag, shortest length and content.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..128 => out.push(short as u8),
        long @ 128..256 => out.extend([0x81, long as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// Encodes an unsigned INTEGER in its shortest form.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|b| **b == 0).count();
    let digits = &big_endian[zeros..];
    match digits.first() {
        None => tlv(2, &[0]),
        Some(0x80..) => tlv(2, &[&[0], digits].concat()),
        Some(_) => tlv(2, digits),
    }
}

fn spki(algorithm: &[u8], parameters: &[u8], bits: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[algorithm, parameters].concat());
    tlv(0x30, &[algorithm, tlv(3, &[&[0], bits].concat())].concat())
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    spki(
        RSA_ENCRYPTION,
        NULL,
        &tlv(0x30, &[modulus, exponent].concat()),
    )
}

fn from_components(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, Error> {
    PublicKey::from_der(&rsa_spki(&integer(modulus), &integer(exponent)))
}

fn modulus(signer: &Signer) -> Vec<u8> {
    signer.private().n().to_be_bytes().into_vec()
}

/// Returns an odd number with exactly this many bits.
fn odd(bits: usize) -> Vec<u8> {
    let mut number = vec![0xff; bits.div_ceil(8)];
    number[0] = 0xff >> (number.len() * 8 - bits);
    number
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[track_caller]
fn refused(pem: impl AsRef<[u8]>) -> Error {
    PublicKey::from_pem(pem.as_ref()).unwrap_err()
}

#[test]
fn kp_01_the_official_key_is_accepted_and_verifies() {
    let key = PublicKey::from_pem(OFFICIAL.as_bytes()).unwrap();
    assert_eq!(key.bits(), 512);
    // Cross-check: verify a genuine signature with the `rsa` crate alone.
    let case = Case::named("official-doc-index-php");
    let der = pem_der(OFFICIAL);
    let n = rsa::BoxedUint::from_be_slice(&der[25..89], 512).unwrap();
    let raw = rsa::PublicKey::new_with_size_limits(n, 65537_u64.into(), 512..=512).unwrap();
    let text = signed_text(&case.path_and_query, case.body.as_bytes());
    raw.pkcs1v15_verify::<md5::Md5>(&text, &case.signature())
        .unwrap();
}

fn pem_der(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(text).unwrap()
}

#[test]
fn kp_02_longer_keys_are_accepted() {
    for (signer, bits) in [
        (Signer::with_1024_bits(), 1024),
        (Signer::with_2048_bits(), 2048),
        (Signer::with_4096_bits(), 4096),
    ] {
        assert_eq!(signer.public().bits(), bits);
        assert_eq!(
            from_components(&modulus(&signer), &[1, 0, 1]).unwrap(),
            signer.public()
        );
    }
}

#[test]
fn kp_03_short_keys_are_refused() {
    for bits in [511, 384, 256, 64, 1] {
        assert_eq!(
            from_components(&odd(bits), &[1, 0, 1]),
            Err(Error::Size),
            "{bits}"
        );
    }
    assert!(from_components(&odd(512), &[1, 0, 1]).is_ok());
    assert!(from_components(&[15], &[3]).is_err());
    assert!(from_components(&[15], &[1, 0, 1]).is_err());
}

#[test]
fn kp_04_long_keys_are_refused() {
    assert!(from_components(&odd(4096), &[1, 0, 1]).is_ok());
    for bits in [4097, 8192, 16384] {
        assert_eq!(
            from_components(&odd(bits), &[1, 0, 1]),
            Err(Error::Size),
            "{bits}"
        );
    }
}

#[test]
fn kp_05_other_exponents_are_refused() {
    let n = modulus(&Signer::with_1024_bits());
    let mut below = n.clone();
    *below.last_mut().unwrap() -= 1;
    for exponent in [
        &[0][..],
        &[1],
        &[2],
        &[3],
        &[17],
        &[1, 0, 0],
        &[1, 0xff, 0xff, 0xff, 0xff],
        &[2, 0, 0, 0, 1],
        &below,
        &n,
        &odd(2048),
    ] {
        assert_eq!(
            from_components(&n, exponent),
            Err(Error::Exponent),
            "{exponent:?}"
        );
    }
}

#[test]
fn kp_06_der_that_is_not_exact_is_refused() {
    let n = modulus(&Signer::with_1024_bits());
    let (modulus, exponent) = (integer(&n), integer(&[1, 0, 1]));
    let good = rsa_spki(&modulus, &exponent);
    assert!(PublicKey::from_der(&good).is_ok());
    let key = |modulus: &[u8], exponent: &[u8]| PublicKey::from_der(&rsa_spki(modulus, exponent));

    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(from_components(&even, &[1, 0, 1]), Err(Error::Modulus));
    assert_eq!(from_components(&[0], &[1, 0, 1]), Err(Error::Size));
    // Negative: without the leading zero byte.
    assert_eq!(key(&tlv(2, &n), &exponent), Err(Error::Malformed));
    assert_eq!(key(&modulus, &tlv(2, &[0x81, 0, 1])), Err(Error::Malformed));
    // Longer than the shortest encoding.
    assert_eq!(
        key(&tlv(2, &[&[0, 0], &n[..]].concat()), &exponent),
        Err(Error::Malformed)
    );
    assert_eq!(key(&modulus, &tlv(2, &[0, 1, 0, 1])), Err(Error::Malformed));
    assert_eq!(key(&modulus, &[2, 0x81, 3, 1, 0, 1]), Err(Error::Malformed));
    assert_eq!(key(&modulus, &[2, 0]), Err(Error::Malformed));
    // Trailing bytes, outside and inside.
    assert_eq!(
        PublicKey::from_der(&[&good[..], &[0]].concat()),
        Err(Error::Malformed)
    );
    assert_eq!(
        key(&modulus, &[&exponent[..], NULL].concat()),
        Err(Error::Malformed)
    );
    let inner = tlv(0x30, &[&modulus[..], &exponent].concat());
    let trailing = spki(RSA_ENCRYPTION, NULL, &[&inner[..], &[0]].concat());
    assert_eq!(PublicKey::from_der(&trailing), Err(Error::Malformed));
    // Indefinite length.
    let mut indefinite = vec![0x30, 0x80];
    indefinite.extend_from_slice(&good[4..]);
    indefinite.extend_from_slice(&[0, 0]);
    assert_eq!(PublicKey::from_der(&indefinite), Err(Error::Malformed));
    // A BIT STRING with unused bits.
    let algorithm = tlv(0x30, &[RSA_ENCRYPTION, NULL].concat());
    let bits = tlv(3, &[&[1], &inner[..]].concat());
    let unused = tlv(0x30, &[algorithm, bits].concat());
    assert_eq!(PublicKey::from_der(&unused), Err(Error::Malformed));
    // Parameters absent or of another type.
    assert_eq!(
        PublicKey::from_der(&spki(RSA_ENCRYPTION, &[], &inner)),
        Err(Error::Parameters)
    );
    let octets = tlv(4, &[]);
    assert_eq!(
        PublicKey::from_der(&spki(RSA_ENCRYPTION, &octets, &inner)),
        Err(Error::Parameters)
    );
    // The same key under another algorithm identifier.
    assert_eq!(
        PublicKey::from_der(&spki(RSASSA_PSS, NULL, &inner)),
        Err(Error::NotRsa)
    );
    // Every prefix of a good key.
    for len in 0..good.len() {
        assert_eq!(
            PublicKey::from_der(&good[..len]),
            Err(Error::Malformed),
            "{len}"
        );
    }
}

#[test]
fn kp_07_keys_of_other_kinds_are_refused() {
    let ec = tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
    let p256 = tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let dsa = tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1]);
    let ed25519 = tlv(0x06, &[0x2b, 0x65, 0x70]);
    let x25519 = tlv(0x06, &[0x2b, 0x65, 0x6e]);
    for (algorithm, parameters, bits) in [
        (&ec, &p256[..], &[4; 65][..]),
        (&dsa, &[], &integer(&[7; 128])),
        (&ed25519, &[], &[7; 32]),
        (&x25519, &[], &[9; 32]),
    ] {
        let der = spki(algorithm, parameters, bits);
        assert_eq!(PublicKey::from_der(&der), Err(Error::NotRsa));
        assert_eq!(refused(pem("PUBLIC KEY", &der)), Error::NotRsa);
    }
}

#[test]
fn kp_08_other_labels_are_refused() {
    let der = pem_der(OFFICIAL);
    for label in [
        "RSA PUBLIC KEY",
        "CERTIFICATE",
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "public key",
    ] {
        assert_eq!(refused(pem(label, &der)), Error::NotPem, "{label}");
    }
    let error = refused(include_str!("../../../keys/rsa_512.pem"));
    assert_eq!(error, Error::NotPem);
    // The error contains no part of the private key.
    assert!(!format!("{error:?} {error}").contains("MII"));
    let inner = tlv(0x30, &[integer(&odd(1024)), integer(&[1, 0, 1])].concat());
    assert_eq!(refused(pem("RSA PUBLIC KEY", &inner)), Error::NotPem);
    assert_eq!(refused(pem("PUBLIC KEY", &inner)), Error::Malformed);
}

#[test]
fn kp_09_anything_behind_the_block_is_refused() {
    assert_eq!(refused(format!("{OFFICIAL}{OFFICIAL}")), Error::NotPem);
    assert_eq!(refused(format!("{OFFICIAL}x")), Error::NotPem);
    assert_eq!(refused(format!("{OFFICIAL}\n\nx\n")), Error::NotPem);
}

#[test]
fn kp_10_text_before_the_block_is_refused() {
    for before in ["x", "\n", " ", "subject: oss\n", "-----BEGIN "] {
        assert_eq!(
            refused(format!("{before}{OFFICIAL}")),
            Error::NotPem,
            "{before:?}"
        );
    }
}

#[test]
fn kp_11_crlf_and_a_missing_line_end_are_accepted() {
    let key = PublicKey::from_pem(OFFICIAL.as_bytes()).unwrap();
    for text in [
        OFFICIAL.replace('\n', "\r\n"),
        OFFICIAL.trim_end().to_owned(),
        OFFICIAL.trim_end().replace('\n', "\r\n"),
    ] {
        assert_eq!(
            PublicKey::from_pem(text.as_bytes()).unwrap(),
            key,
            "{text:?}"
        );
    }
}

#[test]
fn kp_12_odd_pem_is_refused() {
    let der = pem_der(OFFICIAL);
    let one_line = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let text = STANDARD.encode(&der);
    let (a, b) = text.split_at(80);
    let wide = format!("-----BEGIN PUBLIC KEY-----\n{a}\n{b}\n-----END PUBLIC KEY-----\n");
    for text in [
        format!("\u{feff}{OFFICIAL}"),
        one_line,
        wide,
        OFFICIAL.to_lowercase(),
        OFFICIAL.replace("PUBLIC KEY", "public key"),
        OFFICIAL.replace('\n', " "),
        OFFICIAL.replacen("AK", "A\0", 1),
        OFFICIAL.replacen("BEGIN", "BEG\0IN", 1),
        OFFICIAL.replacen("END PUBLIC", "END PRIVATE", 1),
        String::new(),
        "-----BEGIN ".into(),
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".into(),
    ] {
        assert!(PublicKey::from_pem(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(
        refused([b"-----BEGIN ".as_slice(), &[0xff; 40]].concat()),
        Error::NotPem
    );
}

proptest::proptest! {
    #[test]
    fn kp_no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = PublicKey::from_der(&bytes);
        let _ = PublicKey::from_pem(&bytes);
        let _ = PublicKey::from_pem(pem("PUBLIC KEY", &bytes).as_bytes());
    }

    /// Any changed byte gives an error or a different key, never a panic.
    #[test]
    fn kp_a_changed_byte_is_never_the_same_key(at in 0_usize..94, with in 1_u8..) {
        let mut der = pem_der(OFFICIAL);
        der[at] ^= with;
        if let Ok(key) = PublicKey::from_der(&der) {
            proptest::prop_assert_ne!(key, PublicKey::from_pem(OFFICIAL.as_bytes()).unwrap());
        }
    }
}
