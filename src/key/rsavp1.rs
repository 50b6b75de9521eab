//! Verification of a signature: the primitive RSAVP1 (RFC 8017 section 5.2.2), and the comparison
//! of the block that it returns with the one of EMSA-PKCS1-v1_5 (section 8.2.2).
//!
//! `rsa` computes the same, in a time that depends on neither operand, as the private operation
//! needs it. Here all operands are public, and the time may depend on the exponent: a squaring per
//! bit, and a product per bit that is set. The parameters of the modulus are computed once per key.
//! With a modulus of 64 bytes, that of the published key, everything is on the stack.
//!
//! The tests compare every verdict with that of `rsa`.

use std::{fmt, num::NonZeroU64};

use crypto_bigint::{
    BoxedUint, MontyForm, MontyMultiplier as _, Odd, U512,
    modular::{BoxedMontyForm, FixedMontyForm, FixedMontyParams},
};
use rsa::traits::PublicKeyParts as _;

/// `DigestInfo` of an MD5 without the digest (RFC 8017 section 9.2, note 1).
const DIGEST_INFO: [u8; 18] = [
    0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00,
    0x04, 0x10,
];

/// The fewest bytes of 0xff in a block (RFC 8017 section 9.2).
const MIN_PADDING: usize = 8;

type Fixed = FixedMontyForm<{ U512::LIMBS }>;
type FixedParams = FixedMontyParams<{ U512::LIMBS }>;

/// A public key, and what each verification with it needs.
pub(super) struct VerifyingKey {
    key: rsa::PublicKey,
    exponent: NonZeroU64,
    /// The length of the modulus, in bytes.
    size: usize,
    /// The parameters of a modulus of 64 bytes. `key` has those of the others.
    fixed: Option<FixedParams>,
}

impl VerifyingKey {
    /// `None` if the exponent is zero or has more than 64 bits. `rsa` accepts 2 to 2^33 - 1.
    pub(super) fn new(key: rsa::PublicKey) -> Option<Self> {
        let mut exponent = 0_u64;
        for byte in key.e().to_be_bytes_trimmed_vartime() {
            exponent = exponent.checked_mul(256)? + u64::from(byte);
        }
        let size = key.size();
        let modulus = key.n_bytes();
        let fixed = (size == U512::BYTES).then(|| U512::from_be_slice(&modulus));
        let odd = fixed.and_then(|modulus| Odd::new(modulus).into_option());
        Some(Self {
            exponent: NonZeroU64::new(exponent)?,
            size,
            fixed: odd.map(FixedParams::new_vartime),
            key,
        })
    }

    pub(super) fn key(&self) -> &rsa::PublicKey {
        &self.key
    }

    /// Returns whether `signature` is one of `digest`: its length is that of the modulus, it is
    /// less than the modulus, and its block has every byte of the one that the digest determines.
    pub(super) fn verify_md5(&self, digest: &[u8; 16], signature: &[u8]) -> bool {
        self.with_block(signature, |block| is_block_of(block, digest))
            .unwrap_or_default()
    }

    /// Returns the digest of a signature that was made with this key.
    pub(super) fn recover_md5(&self, signature: &[u8]) -> Option<[u8; 16]> {
        self.with_block(signature, |block| {
            let digest = *block.last_chunk()?;
            // Parsing PKCS#1 padding invites forgeries (Bleichenbacher 2006), so the whole block is
            // compared here, too.
            is_block_of(block, &digest).then_some(digest)
        })?
    }

    /// Passes the block of a signature, which has the length of the modulus, to `read`. `None` if
    /// the signature has another length, or is not less than the modulus.
    fn with_block<T>(&self, signature: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if signature.len() != self.size {
            return None;
        }
        if let Some(params) = &self.fixed {
            let representative = U512::from_be_slice(signature);
            if representative >= *params.modulus().as_ref() {
                return None;
            }
            let block = power::<Fixed>(&representative, self.exponent, params);
            return Some(read(block.to_be_bytes().as_ref()));
        }
        let params = self.key.n_params();
        let representative = BoxedUint::from_be_slice(signature, params.bits_precision()).ok()?;
        if representative >= *params.modulus().as_ref() {
            return None;
        }
        let block = power::<BoxedMontyForm>(&representative, self.exponent, params).to_be_bytes();
        // What precedes is zero: the precision is that of the modulus, rounded up to whole words.
        let (_, block) = block.split_at_checked(block.len().checked_sub(self.size)?)?;
        Some(read(block))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for VerifyingKey {}

/// Returns whether this is the block of a digest: `00 01 ff … ff 00`, `DigestInfo`, digest.
fn is_block_of(block: &[u8], digest: &[u8; 16]) -> bool {
    let padding = || {
        let rest = block.strip_suffix(digest)?.strip_suffix(&DIGEST_INFO)?;
        rest.strip_suffix(&[0])?.strip_prefix(&[0, 1])
    };
    padding().is_some_and(|padding| {
        padding.len() >= MIN_PADDING && padding.iter().all(|byte| *byte == 0xff)
    })
}

/// Returns `base` to the power of `exponent`. `base` must be less than the modulus.
fn power<M: MontyForm>(base: &M::Integer, exponent: NonZeroU64, params: &M::Params) -> M::Integer {
    let mut multiplier = M::Multiplier::from(params);
    let factor = M::new(base.clone(), params);
    let mut power = factor.clone();
    // The bit that is accounted for, and the bits below it.
    let mut at = exponent.ilog2();
    while let Some(rest) = NonZeroU64::new(exponent.get() & ((1 << at) - 1)) {
        let next = rest.ilog2();
        for _ in next..at {
            multiplier.square_assign(&mut power);
        }
        at = next;
        if at == 0 {
            // The base itself, without the factor R of the Montgomery form: the product is without
            // it as well, which saves a reduction.
            let plain = M::from_montgomery(base.clone(), params);
            multiplier.mul_assign(&mut power, &plain);
            return power.into_montgomery();
        }
        multiplier.mul_assign(&mut power, &factor);
    }
    for _ in 0..at {
        multiplier.square_assign(&mut power);
    }
    power.retrieve()
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} bytes)", self.size)
    }
}

#[cfg(test)]
mod tests {
    use md5::Md5;
    use rsa::{PrivateKey, hazmat::rsa_encrypt, pkcs1::DecodeRsaPrivateKey as _};

    use super::*;

    /// Bytes that are the same in every run (SplitMix64).
    struct Bytes(u64);

    impl Bytes {
        fn word(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        }

        fn below(&mut self, limit: usize) -> usize {
            usize::try_from(self.word() % u64::try_from(limit).unwrap()).unwrap()
        }

        fn take(&mut self, length: usize) -> Vec<u8> {
            let words = (0..length.div_ceil(8)).flat_map(|_| self.word().to_be_bytes());
            words.take(length).collect()
        }

        /// An odd modulus of this many bits. Few are products of two primes, which no step needs.
        fn modulus(&mut self, bits: usize) -> Vec<u8> {
            let mut modulus = self.take(bits.div_ceil(8));
            let unused = modulus.len() * 8 - bits;
            modulus[0] = (modulus[0] & (0xff >> unused)) | (0x80 >> unused);
            *modulus.last_mut().unwrap() |= 1;
            modulus
        }
    }

    fn key(modulus: &[u8], exponent: u64) -> VerifyingKey {
        let precision = u32::try_from(modulus.len() * 8).unwrap();
        let n = BoxedUint::from_be_slice(modulus, precision).unwrap();
        let key = rsa::PublicKey::new_with_size_limits(n, exponent.into(), 256..=4096);
        VerifyingKey::new(key.unwrap()).unwrap()
    }

    /// Signatures with any exponent, by the factors of a key for 65537.
    fn private(pem: &str, exponent: u64) -> Option<PrivateKey> {
        use rsa::traits::PrivateKeyParts as _;
        let key = PrivateKey::from_pkcs1_pem(pem).unwrap();
        let [p, q] = key.primes() else {
            unreachable!("the key has two factors")
        };
        // Not every exponent has an inverse.
        PrivateKey::from_p_q(p.as_ref().clone(), q.as_ref().clone(), exponent.into()).ok()
    }

    /// What `rsa` returns for the same operation: the block, if the signature is in range.
    fn block_of_rsa(key: &VerifyingKey, signature: &[u8]) -> Option<Vec<u8>> {
        let key = key.key();
        if signature.len() != key.size() {
            return None;
        }
        let representative = BoxedUint::from_be_slice(signature, key.n_bits_precision()).ok()?;
        if representative >= *key.n().as_ref() {
            return None;
        }
        let block = rsa_encrypt(key, &representative).unwrap().to_be_bytes();
        Some(block[block.len() - key.size()..].to_vec())
    }

    #[track_caller]
    fn agree(key: &VerifyingKey, digest: &[u8; 16], signature: &[u8]) -> bool {
        let expected = key
            .key()
            .pkcs1v15_verify_prehash::<Md5>(digest, signature)
            .is_ok();
        assert_eq!(
            key.verify_md5(digest, signature),
            expected,
            "{key:?} {signature:x?}"
        );
        if expected {
            assert_eq!(key.recover_md5(signature), Some(*digest));
        }
        expected
    }

    #[track_caller]
    fn same_block(key: &VerifyingKey, signature: &[u8]) {
        assert_eq!(
            key.with_block(signature, <[u8]>::to_vec),
            block_of_rsa(key, signature),
            "{key:?} {signature:x?}"
        );
    }

    /// 0, 1, n - 1, n, n + 1, the largest number of this length, and wrong lengths.
    fn edges(modulus: &[u8]) -> Vec<Vec<u8>> {
        let length = modulus.len();
        // `modulus` is odd, so its last byte is neither 0 nor 255 below, but for 255 + 1.
        let mut before = modulus.to_vec();
        *before.last_mut().unwrap() -= 1;
        let mut after = modulus.to_vec();
        for byte in after.iter_mut().rev() {
            let (next, carries) = byte.overflowing_add(1);
            *byte = next;
            if !carries {
                break;
            }
        }
        let mut one = vec![0; length];
        one[length - 1] = 1;
        let mut edges = vec![
            Vec::new(),
            vec![0; length],
            before,
            modulus.to_vec(),
            after,
            vec![0xff; length],
            vec![0; length - 1],
            vec![0; length + 1],
            [&[0][..], &one].concat(),
            one[1..].to_vec(),
        ];
        edges.push(one);
        edges
    }

    fn compare_values(bytes: &mut Bytes, bits: usize, exponent: u64, values: usize) {
        let modulus = bytes.modulus(bits);
        let key = key(&modulus, exponent);
        assert_eq!(key.fixed.is_some(), modulus.len() == 64);
        for edge in edges(&modulus) {
            same_block(&key, &edge);
            agree(&key, &[0; 16], &edge);
        }
        for _ in 0..values {
            let mut signature = bytes.take(modulus.len());
            // As many leading bits as the modulus has, so that about half are in range.
            signature[0] &= 0xff >> modulus[0].leading_zeros();
            same_block(&key, &signature);
        }
    }

    /// Compares verdicts on signatures that are valid, have one bit flipped, or have another
    /// length.
    fn compare_verdicts(bytes: &mut Bytes, private: &PrivateKey, rounds: usize) {
        let key = VerifyingKey::new(rsa::PublicKey::from(private)).unwrap();
        for _ in 0..rounds {
            let digest: [u8; 16] = bytes.take(16).try_into().unwrap();
            let scheme = rsa::pkcs1v15::Pkcs1v15Sign::new::<Md5>();
            let signature = private.sign(scheme, &digest).unwrap();
            assert!(agree(&key, &digest, &signature));
            let mut other = digest;
            other[bytes.below(16)] ^= 1 << bytes.below(8);
            assert!(!agree(&key, &other, &signature));
            for _ in 0..8 {
                let mut flipped = signature.clone();
                let at = bytes.below(flipped.len());
                flipped[at] ^= 1 << bytes.below(8);
                assert!(!agree(&key, &digest, &flipped));
            }
            for length in [0, 1, signature.len() - 1] {
                assert!(!agree(&key, &digest, &signature[..length]));
            }
            assert!(!agree(&key, &digest, &[&[0], &*signature].concat()));
            assert!(!agree(&key, &digest, &[&*signature, &[0]].concat()));
        }
    }

    const PEMS: [&str; 3] = [
        include_str!("../../tests/keys/rsa_512.pem"),
        include_str!("../../tests/keys/rsa_1024.pem"),
        include_str!("../../tests/keys/rsa_2048.pem"),
    ];

    const EXPONENTS: [u64; 7] = [2, 3, 4, 17, 65_537, 0xffff_ffff, (1 << 33) - 1];

    /// The lengths of a modulus: of 64 bytes, shorter and longer, with and without unused bits.
    const LENGTHS: [usize; 11] = [360, 448, 496, 505, 511, 512, 513, 1000, 1024, 1027, 2048];

    #[test]
    fn every_value_is_that_of_rsa() {
        let mut bytes = Bytes(1);
        for bits in LENGTHS {
            for exponent in EXPONENTS {
                // `rsa` refuses an even exponent.
                if exponent % 2 == 1 {
                    compare_values(&mut bytes, bits, exponent, 32);
                }
            }
        }
    }

    #[test]
    fn every_verdict_is_that_of_rsa() {
        let mut bytes = Bytes(2);
        let mut compared = 0;
        for pem in PEMS {
            for exponent in EXPONENTS {
                if let Some(private) = private(pem, exponent) {
                    compare_verdicts(&mut bytes, &private, 8);
                    compared += 1;
                }
            }
        }
        assert!(compared >= PEMS.len() * 2, "{compared}");
    }

    #[test]
    fn every_bit_of_a_signature_counts() {
        let private = private(PEMS[0], 65_537).unwrap();
        let key = VerifyingKey::new(rsa::PublicKey::from(&private)).unwrap();
        let digest = [7; 16];
        let scheme = rsa::pkcs1v15::Pkcs1v15Sign::new::<Md5>();
        let signature = private.sign(scheme, &digest).unwrap();
        for bit in 0..512 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!agree(&key, &digest, &flipped));
        }
    }

    /// The exponents that `rsa` accepts are odd; the arithmetic does not depend on it.
    #[test]
    fn powers_of_any_exponent_are_products() {
        let mut bytes = Bytes(3);
        for exponent in (1..70).chain([255, 256, 65_535, 65_536]) {
            let modulus = Odd::new(U512::from_be_slice(&bytes.modulus(512))).unwrap();
            let params = FixedParams::new_vartime(modulus);
            let base = U512::from_be_slice(&bytes.take(64));
            let base = Fixed::new(&base, &params).retrieve();
            let mut product = Fixed::one(&params);
            for _ in 0..exponent {
                product *= Fixed::new(&base, &params);
            }
            let exponent = NonZeroU64::new(exponent).unwrap();
            assert_eq!(power::<Fixed>(&base, exponent, &params), product.retrieve());
        }
    }

    #[test]
    fn only_the_whole_block_of_a_digest_is_one() {
        let digest = [9; 16];
        for length in 0..80 {
            let mut block = vec![0, 1];
            block.resize(block.len() + length, 0xff);
            block.push(0);
            block.extend(DIGEST_INFO);
            block.extend(digest);
            assert_eq!(is_block_of(&block, &digest), length >= MIN_PADDING);
            for at in 0..block.len() {
                let mut changed = block.clone();
                changed[at] ^= 0x10;
                assert!(!is_block_of(&changed, &digest), "{at}");
                changed.remove(at);
                let shorter = (2..2 + length).contains(&at) && length > MIN_PADDING;
                assert_eq!(is_block_of(&changed, &digest), shorter, "{at}");
            }
            block.push(0);
            assert!(!is_block_of(&block, &digest));
        }
        assert!(!is_block_of(&[], &digest));
        assert!(!is_block_of(&digest, &digest));
    }

    #[test]
    fn a_verification_with_512_bits_allocates_nothing() {
        let private = private(PEMS[0], 65_537).unwrap();
        let key = VerifyingKey::new(rsa::PublicKey::from(&private)).unwrap();
        let digest = [7; 16];
        let scheme = rsa::pkcs1v15::Pkcs1v15Sign::new::<Md5>();
        let signature = private.sign(scheme, &digest).unwrap();
        let count = allocation_counter::measure(|| {
            assert!(key.verify_md5(&digest, &signature));
            assert!(!key.verify_md5(&[0; 16], &signature));
            assert!(!key.verify_md5(&digest, &[0xff; 64]));
        });
        assert_eq!(count.count_total, 0);
        let one = allocation_counter::measure(|| drop(Box::new(1)));
        assert_eq!(one.count_total, 1, "the allocation counter must work");
    }

    mod soak {
        use super::*;

        #[test]
        #[ignore = "soak: a million values and verdicts"]
        fn a_million_values_and_verdicts_are_those_of_rsa() {
            let mut bytes = Bytes(4);
            // 3 × 20 keys with 20,000 values each: 1.2 million.
            for _ in 0..20 {
                for (bits, exponent) in [(512, 65_537), (512, 3), (509, 17)] {
                    compare_values(&mut bytes, bits, exponent, 20_000);
                }
            }
            for bits in LENGTHS {
                for exponent in [3, 17, 65_537, (1 << 33) - 1] {
                    compare_values(&mut bytes, bits, exponent, 500);
                }
            }
            for (pem, rounds) in PEMS.into_iter().zip([2000, 300, 60]) {
                for exponent in [3, 17, 65_537] {
                    if let Some(private) = private(pem, exponent) {
                        compare_verdicts(&mut bytes, &private, rounds);
                    }
                }
            }
        }
    }
}
