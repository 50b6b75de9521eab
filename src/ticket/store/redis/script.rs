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
    pub(super) hasten: LuaScript,
    pub(super) due: LuaScript,
    pub(super) defer: LuaScript,
    pub(super) close: LuaScript,
    pub(super) object: LuaScript,
    pub(super) open: LuaScript,
}

macro_rules! script {
    ($name:literal: $($file:literal),+) => {
        LuaScript::new($name, concat!($(include_str!(concat!("ledger/", $file))),+))
    };
}

impl LedgerScripts {
    pub(super) fn new() -> Self {
        Self {
            granted: script!("ledger_granted": "rows.lua", "granted.lua"),
            withdraw: script!("ledger_withdraw": "rows.lua", "withdraw.lua"),
            settled: script!("ledger_settled": "rows.lua", "remember.lua", "settled.lua"),
            remembered: script!("ledger_remembered": "rows.lua", "remember.lua", "remembered.lua"),
            hasten: script!("ledger_hasten": "hasten.lua"),
            due: script!("ledger_due": "rows.lua", "due.lua"),
            defer: script!("ledger_defer": "defer.lua"),
            close: script!("ledger_close": "rows.lua", "close.lua"),
            object: script!("ledger_object": "object.lua"),
            open: script!("ledger_open": "open.lua"),
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
    /// Creates a call with the keys of a ticket, and with the text and fence as its first arguments.
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

    /// Replaces the mark of an abandoned attempt, which only some scripts need, by keys of the
    /// ledger.
    pub(super) fn with_tables(mut self, shard: u8, tables: &[Table]) -> Self {
        self.keys.truncate(2);
        self.keys
            .extend(tables.iter().map(|table| table.key(shard)));
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
        assert_eq!(tags(&call.with_tables(shard, &tables)), ["2b"; 4]);
        assert_eq!(tags(&Call::of_shard(&script, shard, &tables)), ["2b"; 2]);
    }

    /// The commands of the scripts, all of which take as long for 65,535 texts, or a million rows, as
    /// for one, but for a logarithm.
    const COMMANDS: [&str; 20] = [
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

    #[test]
    fn rp_23_no_script_walks_over_the_texts() {
        let ledger = LedgerScripts::new();
        let scripts = [
            include_str!("begin.lua"),
            include_str!("start.lua"),
            include_str!("renew.lua"),
            include_str!("finish.lua"),
            include_str!("release.lua"),
            ledger.granted.code,
            ledger.withdraw.code,
            ledger.settled.code,
            ledger.remembered.code,
            ledger.hasten.code,
            ledger.due.code,
            ledger.defer.code,
            ledger.close.code,
            ledger.object.code,
            ledger.open.code,
        ];
        for script in scripts {
            for part in script.split("redis.call('").skip(1) {
                let command = part.split('\'').next().unwrap();
                let known = COMMANDS.contains(&command) || command == "DEL";
                assert!(known, "{command}");
                if command.contains("RANGE") {
                    let call = part.lines().next().unwrap();
                    let limited = call.contains("'LIMIT', 0, ") || call.contains("forget, 0, 0)");
                    assert!(limited, "{call}");
                }
            }
            let code = script
                .lines()
                .filter(|line| !line.trim_start().starts_with("--"));
            for line in code.filter(|line| line.contains("for ") || line.contains("while ")) {
                assert!(
                    [
                        "for _, k in ipairs({key, leases}) do",
                        // Limited by the range, the number of tokens of one response, or 16.
                        "for _, nonce in ipairs(old) do",
                        "for _, object in ipairs(old) do",
                        "for at = 4, #ARGV, 4 do",
                        "for _, at in ipairs(new) do",
                        "for at = 1, 4 do keep(KEYS[at], longest) end",
                        "for _, nonce in ipairs(ARGV) do",
                        "for known in string.gmatch(redis.call('HGET', settled, object) or '', '[^\\n]+') do",
                        "for _, nonce in ipairs(same) do",
                        "for _, nonce in ipairs(new) do",
                    ]
                    .contains(&line.trim()),
                    "{line}"
                );
            }
        }
    }
}
