//! The scripts of the store, called by `redis-benchmark`.

use std::{
    env,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    Figures, ROW,
    redis_server::{Error, Redis},
    reply,
};

/// How many tickets and rows `redis-benchmark` finds. It chooses them at random, and finds few of
/// them twice.
const PREPARED: usize = 20_000;

/// Texts of the length of a digest and of a fence.
const DIGEST: &str = "dddddddddddddddddddddddddddddddd";
const FENCE: &str = "ffffffffffffffff";

/// What `redis-benchmark` replaces by a number of 12 digits.
const RANDOM: &str = "__rand_int__";

macro_rules! script {
    ($($file:literal),+) => {
        concat!($(include_str!(concat!("../src/ticket/store/redis/", $file))),+)
    };
}

/// A step that is measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Granted,
    Begin,
    Finish,
    Settled,
}

impl Step {
    pub(crate) const ALL: [Self; 4] = [Self::Granted, Self::Begin, Self::Finish, Self::Settled];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted (a token, with a ledger)",
            Self::Begin => "begin (a callback)",
            Self::Finish => "finish (a callback, without a ledger)",
            Self::Settled => "settled (a callback, with a ledger)",
        }
    }

    const fn script(self) -> &'static str {
        match self {
            Self::Granted => script!("ledger/rows.lua", "ledger/granted.lua"),
            Self::Begin => script!("begin.lua"),
            Self::Finish => script!("finish.lua"),
            Self::Settled => {
                script!(
                    "ledger/rows.lua",
                    "ledger/remember.lua",
                    "ledger/settled.lua"
                )
            }
        }
    }

    /// Counts what each call adds, or removes.
    fn count(self, connection: &mut redis::Connection) -> Result<u64, Error> {
        Ok(match self {
            // Tickets, and their leases.
            Self::Begin | Self::Finish => redis::cmd("DBSIZE").query(connection)?,
            Self::Granted | Self::Settled => redis::cmd("HLEN")
                .arg("oss-ledger:{00}:rows")
                .query(connection)?,
        })
    }

    fn keys(self) -> Vec<String> {
        let ticket = format!("oss-ticket:{{00}}:{}{RANDOM}", "0".repeat(20));
        let leases = format!("{ticket}:leases");
        let tables = [
            "rows", "due", "expiry", "grants", "claims", "settled", "forget",
        ]
        .map(|table| format!("oss-ledger:{{00}}:{table}"));
        match self {
            Self::Granted => tables.to_vec(),
            Self::Begin | Self::Finish => {
                let mark = format!("{ticket}:abandoned:{}", "f".repeat(32));
                vec![ticket, leases, mark]
            }
            Self::Settled => [&tables[..], &[ticket, leases]].concat(),
        }
    }

    /// Arguments of the lengths that the store sends. Numbers are of bytes that a command line can
    /// have.
    fn arguments(self) -> Result<Vec<String>, Error> {
        let nonce = format!("nnnn{RANDOM}");
        let object = format!("oooo{RANDOM}");
        let number = |number: u64| number.to_string();
        let (digest, fence) = (DIGEST.to_owned(), FENCE.to_owned());
        let now = milliseconds();
        let day = 24 * 60 * 60 * 1000;
        let reply = "r".repeat(reply()?.to_bytes().len());
        Ok(match self {
            Self::Granted => {
                let row = format!("{object}ssssssss{}", "r".repeat(ROW));
                vec![
                    number(now),
                    number(1_000_000),
                    number(15 * day),
                    nonce,
                    row,
                    number(now + day / 12),
                    number(now + 7 * day),
                ]
            }
            Self::Begin => vec![
                digest,
                fence,
                number(60_000),
                number(8 * day),
                number(1),
                number(5),
                "C".into(),
                number(20),
            ],
            Self::Finish => vec![digest, fence, reply],
            Self::Settled => vec![
                digest,
                fence,
                reply,
                number(2 * day / 24),
                nonce,
                object,
                r#"["5D41402ABC4B2A76B9719D911017C592",null]"#.into(),
                number(now + day / 24),
                number(15 * day),
                number(31_250),
            ],
        })
    }
}

/// Measures the script of one step with `redis-benchmark`.
pub(crate) fn of_redis_benchmark(
    step: Step,
    redis: &Redis,
    callers: usize,
    calls: usize,
) -> Result<Figures, Error> {
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    let hash: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(step.script())
        .query(&mut connection)?;
    let found = match step {
        Step::Granted | Step::Begin => 1_000_000_000,
        Step::Finish | Step::Settled => {
            let rows = if step == Step::Settled { "rows" } else { "" };
            let later = milliseconds() + 24 * 60 * 60 * 1000;
            redis::cmd("EVAL")
                .arg(PREPARE)
                .arg(0)
                .arg(PREPARED)
                .arg(DIGEST)
                .arg(FENCE)
                .arg(later)
                .arg(rows)
                .arg(ROW)
                .query::<()>(&mut connection)?;
            wait_for_disk(&mut connection)?;
            PREPARED
        }
    };
    let before = step.count(&mut connection)?;
    let program = env::var_os("REDIS_BENCHMARK").unwrap_or_else(|| "redis-benchmark".into());
    let keys = step.keys();
    let output = Command::new(program)
        .arg("-s")
        .arg(redis.socket())
        .args([
            "--csv",
            "-c",
            &callers.to_string(),
            "-n",
            &calls.to_string(),
        ])
        .args(["-r", &found.to_string(), "EVALSHA", &hash])
        .arg(keys.len().to_string())
        .args(keys)
        .args(step.arguments()?)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // It does not report errors of the server.
    if step.count(&mut connection)?.abs_diff(before) < calls as u64 * 4 / 5 {
        return Err("the scripts had no effect".into());
    }
    // "EVALSHA …","calls per second","mean","least","p50","p95","p99","most", times in milliseconds
    let numbers: Vec<f64> = text
        .trim_end()
        .rsplit(',')
        .take(7)
        .map(|field| field.trim_matches('"').parse())
        .collect::<Result<_, _>>()
        .map_err(|_| format!("redis-benchmark printed {text}"))?;
    let [_, p99, _, p50, _, _, rate] = numbers[..] else {
        return Err("redis-benchmark printed too little".into());
    };
    Ok(Figures {
        p50: p50 * 1e3,
        p99: p99 * 1e3,
        rate,
    })
}

/// Writes the tickets and rows that `finish` and `settled` find. Their names contain `n` as
/// `redis-benchmark` writes it.
const PREPARE: &str = "
for n = 0, tonumber(ARGV[1]) - 1 do
  local random = string.format('%012d', n)
  local ticket = 'oss-ticket:{00}:00000000000000000000' .. random
  redis.call('HSET', ticket, 's' .. ARGV[2], 'C' .. ARGV[3] .. ARGV[4], 'texts', 1, 'starts', 1)
  redis.call('PEXPIRE', ticket, 8 * 86400000)
  redis.call('ZADD', ticket .. ':leases', ARGV[4], ARGV[2])
  redis.call('PEXPIRE', ticket .. ':leases', 8 * 86400000)
  if ARGV[5] == 'rows' then
    local object = 'oooo' .. random .. 'ssssssss'
    redis.call('HSET', 'oss-ledger:{00}:rows', 'nnnn' .. random, object .. string.rep('r', ARGV[6]))
    redis.call('ZADD', 'oss-ledger:{00}:due', ARGV[4], 'nnnn' .. random)
    redis.call('ZADD', 'oss-ledger:{00}:expiry', ARGV[4], 'nnnn' .. random)
    redis.call('ZADD', 'oss-ledger:{00}:grants', 0, object .. 'nnnn' .. random)
  end
end";

/// Waits until what was written is on the disk: it would delay the calls that are measured.
pub(crate) fn wait_for_disk(connection: &mut redis::Connection) -> Result<(), Error> {
    // `everysec` begins to write within a second.
    thread::sleep(Duration::from_millis(1_100));
    loop {
        let info: String = redis::cmd("INFO").arg("persistence").query(connection)?;
        // Absent without persistence.
        if !info.contains("aof_pending_bio_fsync:1") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn milliseconds() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.unwrap_or_default().as_millis() as u64
}
