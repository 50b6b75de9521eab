//! Lua scripts, and the calls of them with the keys of a ticket or of a shard of the ledger.

use redis::{Cmd, Script, ToRedisArgs};

use super::super::{Lease, Nonce};
use crate::ticket::ledger::shard_of;

pub(super) struct LuaScript {
    /// The name of the operation in the metrics.
    name: &'static str,
    code: &'static str,
    hash: String,
}

impl LuaScript {
    pub(super) fn new(name: &'static str, code: &'static str) -> Self {
        let hash = Script::new(code).get_hash().to_owned();
        Self { name, code, hash }
    }
}

/// The scripts of the ledger.
pub(super) struct LedgerScripts {
    pub(super) granted: LuaScript,
    pub(super) withdraw: LuaScript,
    pub(super) settled: LuaScript,
    pub(super) remembered: LuaScript,
    pub(super) failed: LuaScript,
    pub(super) due: LuaScript,
    pub(super) unclaim: LuaScript,
    pub(super) defer: LuaScript,
    pub(super) close: LuaScript,
    pub(super) object: LuaScript,
    pub(super) open: LuaScript,
}

macro_rules! script {
    ($name:literal: $($file:literal),+) => {
        LuaScript::new($name, concat!($(include_str!($file)),+))
    };
}

impl LedgerScripts {
    pub(super) fn new() -> Self {
        Self {
            granted: script!("ledger_granted": "ledger/rows.lua", "ledger/granted.lua"),
            withdraw: script!("ledger_withdraw": "ledger/rows.lua", "ledger/withdraw.lua"),
            settled: script!(
                "ledger_settled": "ledger/rows.lua", "ledger/remember.lua", "ledger/settled.lua"
            ),
            remembered: script!(
                "ledger_remembered": "ledger/rows.lua", "ledger/remember.lua", "ledger/remembered.lua"
            ),
            failed: script!("ledger_failed": "ledger/failed.lua", "release.lua"),
            due: script!("ledger_due": "ledger/rows.lua", "ledger/due.lua"),
            unclaim: script!("ledger_unclaim": "ledger/unclaim.lua"),
            defer: script!("ledger_defer": "ledger/defer.lua"),
            close: script!("ledger_close": "ledger/rows.lua", "ledger/close.lua"),
            object: script!("ledger_object": "ledger/object.lua"),
            open: script!("ledger_open": "ledger/open.lua"),
        }
    }
}

/// A key of a shard of the ledger, see `rows.lua`.
#[derive(Clone, Copy)]
pub(super) enum Table {
    Rows,
    Due,
    Expiry,
    Grants,
    Claims,
    Settled,
    Forget,
}

impl Table {
    /// All keys of a shard, in the order of `rows.lua`.
    pub(super) const ALL: [Self; 7] = [
        Self::Rows,
        Self::Due,
        Self::Expiry,
        Self::Grants,
        Self::Claims,
        Self::Settled,
        Self::Forget,
    ];

    fn key(self, shard: u8) -> String {
        let name = match self {
            Self::Rows => "rows",
            Self::Due => "due",
            Self::Expiry => "expiry",
            Self::Grants => "grants",
            Self::Claims => "claims",
            Self::Settled => "settled",
            Self::Forget => "forget",
        };
        format!("oss-ledger:{{{shard:02x}}}:{name}")
    }
}

/// A call of a script. All keys have the same hash tag: the shard of the nonce.
pub(super) struct Call<'a> {
    script: &'a LuaScript,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// Creates a call with the keys of a ticket, and with the text and fence as its first
    /// arguments.
    pub(super) fn of_lease(script: &'a LuaScript, lease: &Lease) -> Self {
        Self::of_ticket(script, lease.nonce(), lease.digest(), lease.fence())
    }

    pub(super) fn of_ticket(
        script: &'a LuaScript,
        nonce: Nonce,
        digest: [u8; 32],
        fence: u128,
    ) -> Self {
        let ticket = format!(
            "oss-ticket:{{{:02x}}}:{:032x}",
            shard_of(nonce.as_bytes()),
            u128::from_be_bytes(*nonce.as_bytes())
        );
        let abandoned = format!("{ticket}:abandoned:{fence:032x}");
        Self {
            script,
            keys: vec![ticket.clone(), format!("{ticket}:leases"), abandoned],
            args: vec![digest.to_vec(), fence.to_be_bytes().to_vec()],
        }
    }

    /// Creates a call with keys of a shard of the ledger.
    pub(super) fn of_shard(script: &'a LuaScript, shard: u8, tables: &[Table]) -> Self {
        Self {
            script,
            keys: tables.iter().map(|table| table.key(shard)).collect(),
            args: Vec::new(),
        }
    }

    /// Adds keys of a shard of the ledger behind those of the ticket.
    pub(super) fn with_tables(mut self, shard: u8, tables: &[Table]) -> Self {
        self.keys
            .extend(tables.iter().map(|table| table.key(shard)));
        self
    }

    /// Puts all keys of a shard of the ledger before those of the ticket and its leases, and drops
    /// the mark of an abandoned attempt.
    pub(super) fn behind_tables(mut self, shard: u8) -> Self {
        self.keys.truncate(2);
        let tables = Table::ALL.iter().map(|table| table.key(shard));
        self.keys = tables.chain(self.keys).collect();
        self
    }

    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    /// Returns the name of the operation in the metrics.
    pub(super) fn operation(&self) -> &'static str {
        self.script.name
    }

    /// Returns the command that runs the script if Redis knows it.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// Returns the command that runs the script, and makes Redis know it.
    pub(super) fn by_code(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            command.arg(&arg[..]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_script_have_one_hash_tag() {
        let script = LuaScript::new("", "");
        let nonce = Nonce::from_bytes([0xab; 16]);
        let tables = [Table::Rows, Table::Forget];
        let shard = shard_of(nonce.as_bytes());
        let call = Call::of_ticket(&script, nonce, [1; 32], 7);
        let tags = |call: &Call<'_>| {
            let tag = |key: &String| key.split(['{', '}']).nth(1).unwrap().to_owned();
            call.keys.iter().map(tag).collect::<Vec<_>>()
        };
        assert_eq!(tags(&call), ["2b", "2b", "2b"]);
        let call = call.with_tables(shard, &tables);
        assert_eq!(tags(&call), ["2b"; 5]);
        assert_eq!(tags(&call.behind_tables(shard)), ["2b"; 9]);
        assert_eq!(tags(&Call::of_shard(&script, shard, &tables)), ["2b"; 2]);
    }

    /// The commands of the scripts, all of which take as long for 65,535 texts, or a million rows,
    /// as for one, but for a logarithm.
    const COMMANDS: [&str; 21] = [
        "TIME",
        "EXISTS",
        "HGET",
        "HSET",
        "HSETNX",
        "HDEL",
        "HEXISTS",
        "HINCRBY",
        "HLEN",
        "ZADD",
        "ZREM",
        "ZSCORE",
        "ZCARD",
        // With a limit.
        "ZRANGE",
        "ZRANGEBYSCORE",
        "ZRANGEBYLEX",
        "ZREVRANGEBYLEX",
        "ZLEXCOUNT",
        "PTTL",
        "PEXPIRE",
        "SET",
    ];

    fn scripts() -> Vec<LuaScript> {
        let ledger = LedgerScripts::new();
        vec![
            script!("begin": "begin.lua"),
            script!("start": "start.lua"),
            script!("renew": "renew.lua"),
            script!("finish": "finish.lua"),
            script!("release": "release.lua"),
            script!("used_up": "used_up.lua"),
            ledger.granted,
            ledger.withdraw,
            ledger.settled,
            ledger.remembered,
            ledger.failed,
            ledger.due,
            ledger.unclaim,
            ledger.defer,
            ledger.close,
            ledger.object,
            ledger.open,
        ]
    }

    /// What the proxies of Tair check before they run a script in a cluster: each command is named
    /// by a literal, and its key is one of `KEYS`, without a variable or an expression in between.
    #[test]
    fn rp_06_every_key_in_a_script_is_one_of_its_keys() {
        for script in scripts() {
            let code: String = script
                .code
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"))
                .fold(String::new(), |code, line| code + line + "\n");
            let calls = code.matches("redis.").count();
            let mut keys = 0;
            let mut without = 0;
            for call in code.split("redis.call('").skip(1) {
                let (command, rest) = call.split_once('\'').unwrap();
                assert!(command.chars().all(|letter| letter.is_ascii_uppercase()));
                if command == "TIME" {
                    without += 1;
                    continue;
                }
                let (number, after) = rest
                    .strip_prefix(", KEYS[")
                    .and_then(|rest| rest.split_once(']'))
                    .unwrap_or_else(|| panic!("{}: {command}{rest}", script.name));
                assert!(number.parse::<u8>().is_ok(), "{}: {number}", script.name);
                assert!(after.starts_with([',', ')']), "{}: {after}", script.name);
                keys += 1;
            }
            // Nothing else calls Redis, or uses a key.
            assert_eq!(calls, keys + without, "{}", script.name);
            assert_eq!(code.matches("KEYS").count(), keys, "{}", script.name);
        }
    }

    /// A user without one of them gets an error in the middle of a script.
    #[test]
    fn rp_06_the_guide_permits_every_command() {
        let guide = include_str!("../../../../docs/deployment.md");
        let (_, permitted) = guide.split_once("ACL SETUSER").unwrap();
        let (permitted, _) = permitted.split_once("```").unwrap();
        let permitted: Vec<_> = permitted.split_whitespace().collect();
        for command in COMMANDS
            .into_iter()
            .chain(["DEL", "EVALSHA", "EVAL", "WAIT"])
        {
            let name = format!("+{}", command.to_lowercase());
            assert!(permitted.contains(&&*name), "{name}");
        }
    }

    #[test]
    fn rp_23_no_script_walks_over_the_texts() {
        for script in scripts() {
            for part in script.code.split("redis.call('").skip(1) {
                let command = part.split('\'').next().unwrap();
                let known = COMMANDS.contains(&command) || command == "DEL";
                assert!(known, "{command}");
                if command.contains("RANGE") {
                    let call = part.lines().next().unwrap();
                    let limited = call.contains("'LIMIT', 0, ") || call.contains("KEYS[7], 0, 0)");
                    assert!(limited, "{call}");
                }
            }
            let code = script
                .code
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"));
            for line in code.filter(|line| line.contains("for ") || line.contains("while ")) {
                assert!(
                    [
                        // Limited by the range, the number of tokens of one response, or 16.
                        "for _, nonce in ipairs(old) do",
                        "for _, object in ipairs(old) do",
                        "for at = 4, #ARGV, 4 do",
                        "for _, at in ipairs(new) do",
                        "for _, nonce in ipairs(ARGV) do",
                        "for known in string.gmatch(redis.call('HGET', KEYS[6], object) or '', '[^\\n]+') do",
                        "for _, nonce in ipairs(same) do",
                        "for _, nonce in ipairs(new) do",
                        "for _, nonce in ipairs(held) do",
                    ]
                    .contains(&line.trim()),
                    "{line}"
                );
            }
        }
    }
}
