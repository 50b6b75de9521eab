//! Random numbers for tests that generate requests.
#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test binary uses a part"
)]

/// Random numbers that a seed repeats (xorshift).
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Self {
        let seed = getrandom::u64().unwrap() | 1;
        println!("seed {seed}");
        Self(seed)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn text(&mut self, alphabet: &str, from: usize, to: usize) -> String {
        let alphabet: Vec<_> = alphabet.chars().collect();
        let len = from + self.below(to - from + 1);
        (0..len)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}
