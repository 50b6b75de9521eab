//! Random bytes for object names and tickets.

use super::{error::PolicyError, object_name::NAME_RANDOM_LEN};

/// Number of random bytes of one token: those of its name, and the nonce of its ticket.
const PER_TOKEN: usize = NAME_RANDOM_LEN + 16;

/// Number of random bytes that one call of the operating system returns at most. Up to 256 are
/// returned as a whole.
const MAX_LEN: usize = 9 * PER_TOKEN;

/// Random bytes of the operating system, for all tokens of one request. Each byte is used once.
pub(super) struct RandomBytes {
    buffer: [u8; MAX_LEN],
    /// The unused bytes are `buffer[used..filled]`.
    used: usize,
    filled: usize,
    /// Number of bytes that the request probably still needs.
    wanted: usize,
}

impl RandomBytes {
    /// Creates a source for this many tokens. It can return more than they need.
    pub(super) fn for_tokens(tokens: usize) -> Self {
        Self {
            buffer: [0; MAX_LEN],
            used: 0,
            filled: 0,
            wanted: tokens.saturating_mul(PER_TOKEN),
        }
    }

    /// Returns the next bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], PolicyError> {
        const { assert!(N <= PER_TOKEN, "the buffer holds the bytes of a token") };
        if self.filled - self.used < N {
            let len = self.wanted.clamp(PER_TOKEN, MAX_LEN);
            let (buffer, _) = self.buffer.split_at_mut(len);
            getrandom::fill(buffer).map_err(|_| PolicyError::Random)?;
            (self.used, self.filled) = (0, len);
            self.wanted -= self.wanted.min(len);
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.buffer[self.used..self.used + N]);
        self.used += N;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Bytes that are taken twice, or that were never filled, would repeat.
    #[test]
    fn pl_29_no_bytes_are_returned_twice() {
        for tokens in [0, 1, 2, 9, 10, 100] {
            let mut random = RandomBytes::for_tokens(tokens);
            let (mut names, mut nonces) = (HashSet::new(), HashSet::new());
            for n in 0..200 {
                // Some tokens need a name only, others a nonce only.
                if n % 3 > 0 {
                    assert!(names.insert(random.take::<NAME_RANDOM_LEN>().unwrap()));
                }
                if n % 5 > 0 {
                    assert!(nonces.insert(random.take::<16>().unwrap()));
                }
                let unused = random.buffer[random.used..random.filled].to_vec();
                assert!(unused.len() < 8 || unused.iter().any(|byte| *byte != 0));
            }
            let all: HashSet<[u8; 8]> = names
                .iter()
                .map(|name| name[..8].try_into().unwrap())
                .chain(nonces.iter().map(|nonce| nonce[..8].try_into().unwrap()))
                .collect();
            assert_eq!(all.len(), names.len() + nonces.len(), "{tokens}");
        }
    }
}
