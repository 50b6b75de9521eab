//! The store compared with a model that is one list and frees nothing by itself.

use std::collections::HashMap;

use super::*;

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Fresh,
    Stored(StoredReply),
    Running,
    OtherText,
    Exhausted,
    Spent(bool),
    Failed(StoreErrorKind),
}

impl Answer {
    fn of(begun: Result<Begin, StoreError>) -> Self {
        match begun {
            Ok(Begin::Fresh(_)) => Self::Fresh,
            Ok(Begin::Stored(reply)) => Self::Stored(reply),
            Ok(Begin::Running(_)) => Self::Running,
            Ok(Begin::OtherText) => Self::OtherText,
            Ok(Begin::Exhausted) => Self::Exhausted,
            Ok(Begin::Spent { first }) => Self::Spent(first),
            Err(error) => Self::Failed(error.kind()),
        }
    }
}

#[derive(Clone)]
struct Text {
    digest: [u8; 32],
    fence: u128,
    counted: bool,
    /// `None` while the handler runs.
    reply: Option<StoredReply>,
}

#[derive(Clone)]
struct Ticket {
    until: Duration,
    texts: Vec<Text>,
    starts: u32,
    spent: bool,
}

#[derive(Clone, Default)]
struct Model {
    tickets: HashMap<u128, Ticket>,
    tombstones: HashMap<u128, Duration>,
}

impl Ticket {
    /// Both clocks run alike here.
    fn has_expired(&self, time: Duration) -> bool {
        time > self.until && self.texts.iter().all(|text| text.reply.is_some())
    }

    fn records(&self) -> usize {
        self.texts.len().max(1)
    }
}

impl Model {
    fn begin(&mut self, n: u128, attempt: &Attempt, time: Duration, full: bool) -> Answer {
        if self.tombstones.contains_key(&attempt.fence()) {
            return Answer::Failed(StoreErrorKind::LeaseLost);
        }
        let text = Text {
            digest: attempt.digest(),
            fence: attempt.fence(),
            counted: !attempt.is_at_most_once(),
            reply: None,
        };
        let starts = u32::from(text.counted);
        let Some(ticket) = self.tickets.get_mut(&n) else {
            if full {
                return Answer::Failed(StoreErrorKind::Full);
            }
            let left = attempt.until().duration_since(attempt.now()).unwrap();
            let ticket = Ticket {
                until: time + left + KEPT_LONGER,
                texts: vec![text],
                starts,
                spent: false,
            };
            self.tickets.insert(n, ticket);
            return Answer::Fresh;
        };
        let known = ticket
            .texts
            .iter()
            .find(|known| known.digest == text.digest);
        match known {
            Some(Text {
                reply: Some(reply), ..
            }) => return Answer::Stored(reply.clone()),
            Some(known) if known.fence == text.fence => return Answer::Fresh,
            Some(_) => return Answer::Running,
            None => {}
        }
        if ticket.texts.len() >= usize::from(attempt.limit().get()) {
            return match attempt.limit() {
                UseLimit::Once => Answer::OtherText,
                UseLimit::Texts(_) => Answer::Exhausted,
            };
        }
        if ticket.starts >= attempt.max_starts() {
            return Answer::Spent(!mem::replace(&mut ticket.spent, true));
        }
        if !ticket.texts.is_empty() && full {
            return Answer::Failed(StoreErrorKind::Full);
        }
        ticket.texts.push(text);
        ticket.starts += starts;
        Answer::Fresh
    }

    fn finish(&mut self, n: u128, lease: &Lease, reply: &StoredReply) -> bool {
        let ticket = self.tickets.get_mut(&n);
        let text = ticket.and_then(|ticket| {
            let mut texts = ticket.texts.iter_mut();
            texts.find(|text| text.digest == lease.digest() && text.fence == lease.fence())
        });
        let held = text.is_some();
        if let Some(text) = text {
            text.reply.get_or_insert_with(|| reply.clone());
        }
        held
    }

    fn release(&mut self, n: u128, lease: &Lease, ran: bool, time: Duration, full: bool) {
        if let Some(ticket) = self.tickets.get_mut(&n) {
            let mut texts = ticket.texts.iter();
            let held =
                texts.position(|text| text.digest == lease.digest() && text.fence == lease.fence());
            if let Some(at) = held {
                if ticket.texts[at].reply.is_none() {
                    let text = ticket.texts.remove(at);
                    ticket.starts -= u32::from(text.counted && !ran);
                    if ticket.texts.is_empty() && ticket.starts == 0 {
                        self.tickets.remove(&n);
                    }
                }
                return;
            }
        }
        if !ran && !full {
            self.tombstones.insert(lease.fence(), time + TOMBSTONE);
        }
    }

    fn records(&self) -> usize {
        let tickets = self.tickets.values().map(Ticket::records);
        tickets.sum::<usize>() + self.tombstones.len()
    }

    /// Returns whether the store has the same numbers for this ticket.
    fn has_ticket_of(&self, store: &MemoryStore, n: u128) -> bool {
        let locked = store.shards.lock(nonce(n));
        let known = locked.shard.entries.get(nonce(n).as_bytes());
        let known = known.map(|entry| (entry.texts.len(), entry.starts, entry.spent));
        let ticket = self.tickets.get(&n);
        known == ticket.map(|ticket| (ticket.texts.len(), ticket.starts, ticket.spent))
    }

    /// Frees what the store has freed, which must have expired.
    fn follow(&mut self, store: &MemoryStore, time: Duration) {
        self.tickets.retain(|n, ticket| {
            let locked = store.shards.lock(nonce(*n));
            let stays = locked.shard.entries.contains_key(nonce(*n).as_bytes());
            assert!(stays || ticket.has_expired(time), "{n} has not expired");
            stays
        });
        let kept: Vec<u128> = store.shards.tombstones().collect();
        self.tombstones.retain(|fence, until| {
            let stays = kept.contains(fence);
            assert!(stays || time > *until, "a tombstone has not expired");
            stays
        });
    }
}

/// Steps that are random, but the same in every run.
struct Steps(u64);

impl Steps {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// The store that this one replaced kept all records in hash tables, and searched them as a whole.
/// What it promised, this model promises.
#[tokio::test(start_paused = true)]
async fn the_store_answers_like_one_list_of_records() {
    let mut counts = HashMap::<String, u32>::new();
    for seed in 1..=20 {
        const CAPACITY: usize = 12;
        let store = MemoryStore::with_capacity(CAPACITY, 1 << 20);
        let (mut model, mut steps) = (Model::default(), Steps(seed * 0x9E37_79B9));
        let mut attempts: Vec<(u128, Attempt)> = Vec::new();
        let start = Instant::now();
        for step in 0..3_000 {
            let time = start.elapsed();
            let full = |model: &Model| model.records() >= CAPACITY;
            match steps.below(10) {
                0..=4 => {
                    let n = u128::from(steps.below(8));
                    let again = steps.below(4) == 0 && !attempts.is_empty();
                    let (n, attempt) = if again {
                        let at = steps.below(attempts.len() as u64) as usize;
                        attempts[at].clone()
                    } else {
                        // A ticket has one limit.
                        let (limit, starts) = match n {
                            0..4 => (UseLimit::Once, 2),
                            _ => (UseLimit::Texts(NonZeroU16::new(3).unwrap()), 5),
                        };
                        let text = digest(steps.below(4) as u8);
                        let until = now() + time + Duration::from_secs(1 + steps.below(300));
                        let attempt = Attempt::new(nonce(n), text, limit, until, now() + time);
                        let attempt = attempt.unwrap().starts(starts);
                        let at_most_once = steps.below(4) == 0;
                        (
                            n,
                            if at_most_once {
                                attempt.at_most_once()
                            } else {
                                attempt
                            },
                        )
                    };
                    let attempt = attempt.again(now() + time);
                    if attempt.until() <= attempt.now() {
                        continue;
                    }
                    let answer = Answer::of(store.try_begin(&attempt));
                    // The store may have freed the ticket before it redeemed it again.
                    let mut without = model.clone();
                    if without.tickets.get(&n).is_some_and(|t| t.has_expired(time)) {
                        without.tickets.remove(&n);
                    }
                    let is_full = answer == Answer::Failed(StoreErrorKind::Full);
                    let chosen = [model, without].into_iter().find_map(|mut model| {
                        let same = model.begin(n, &attempt, time, is_full) == answer;
                        model.follow(&store, time);
                        (same && model.has_ticket_of(&store, n)).then_some(model)
                    });
                    model =
                        chosen.unwrap_or_else(|| panic!("seed {seed}, step {step}: {answer:?}"));
                    let name = format!("{answer:?}");
                    *counts
                        .entry(name.split('(').next().unwrap().into())
                        .or_default() += 1;
                    assert!(!is_full || full(&model), "seed {seed}, step {step}");
                    attempts.push((n, attempt));
                }
                kind @ 5..=8 if !attempts.is_empty() => {
                    let recent = attempts.len().min(6) as u64;
                    let at = attempts.len() - 1 - steps.below(recent) as usize;
                    let (n, attempt) = attempts[at].clone();
                    let lease = Lease::new(&attempt);
                    if kind < 7 {
                        let reply = reply(&step.to_string());
                        let held = model.finish(n, &lease, &reply);
                        assert_eq!(store.try_finish(&lease, &reply).is_ok(), held);
                        assert_eq!(store.try_start(&lease).is_ok(), held);
                    } else {
                        let no_room = full(&model);
                        model.release(n, &lease, kind == 7, time, no_room);
                        store.release(&lease, kind == 7);
                    }
                }
                _ => {
                    let most = if steps.below(20) == 0 {
                        1_200_000
                    } else {
                        20_000
                    };
                    advance(Duration::from_millis(steps.below(most))).await;
                }
            }
            assert_eq!(store.len(), model.records(), "seed {seed}, step {step}");
        }
    }
    println!("{counts:?}");
    assert!(counts.len() >= 7, "every answer must occur: {counts:?}");
}
