//! The cryptography of TLS, for callbacks and for the program.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Returns the rustls provider that the application has installed, or else the built-in one, if the
/// processor supports it.
pub(crate) fn provider() -> Option<Arc<CryptoProvider>> {
    match CryptoProvider::get_default() {
        Some(installed) => Some(Arc::clone(installed)),
        None => built_in(),
    }
}

/// Returns the built-in cryptography, if the processor supports it.
///
/// graviola panics on processors without these features, so check for them first.
#[cfg(target_arch = "x86_64")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    use std::arch::is_x86_feature_detected as has;

    let known = has!("adx")
        && has!("aes")
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("pclmulqdq")
        && has!("ssse3");
    known.then(|| Arc::new(rustls_graviola::default_provider()))
}

#[cfg(target_arch = "aarch64")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    use std::arch::is_aarch64_feature_detected as has;

    let known = has!("aes") && has!("neon") && has!("pmull") && has!("sha2");
    known.then(|| Arc::new(rustls_graviola::default_provider()))
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}
