//! Which names occurred.

use std::{borrow::Cow, collections::HashSet};

/// Up to so many names are compared one by one, which is faster than a hash of each. Beyond, their
/// number must not count twice: the sender chooses it.
const FEW: usize = 24;

/// The names of a body.
#[derive(Default)]
pub(super) struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    /// All of them, once there are more than [`FEW`].
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// Adds a name, or returns it if it is known.
    pub(super) fn insert(&mut self, name: Cow<'a, str>) -> Result<(), Cow<'a, str>> {
        if self.many.is_empty() {
            if self.few.contains(&name) {
                return Err(name);
            }
            if self.few.len() < FEW {
                if self.few.is_empty() {
                    self.few.reserve(FEW);
                }
                self.few.push(name);
                return Ok(());
            }
            self.many.extend(self.few.drain(..));
        }
        match self.many.get(&name) {
            Some(_) => Err(name),
            None => {
                self.many.insert(name);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_those_of_a_set(names in prop::collection::vec(0_u8..80, 0..100)) {
            let texts: Vec<String> = names.iter().map(u8::to_string).collect();
            let (mut names, mut set) = (Names::default(), HashSet::new());
            for text in &texts {
                prop_assert_eq!(names.insert(Cow::Borrowed(text)).is_ok(), set.insert(text));
            }
        }
    }
}
