//! The body of a recovery against the body that the emulator sends for the same upload.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tower_aliyun_oss::{
    policy::{CallbackDirective, CallbackTemplate},
    protocol::{CallbackBodyType, SystemVariable},
};

use super::world::{CALLBACK, World};

/// A generator whose sequence a failure names (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 14] = [
            "a", "Z9", " ", "+", "%", "%20", "&", "=", "\"", "\\", "/", "\u{4e2d}", "'()*~-._",
            "{}",
        ];
        let length = self.below(6);
        (0..length).map(|_| self.one(&PIECES)).collect()
    }
}

/// Variables that OSS reports only to the callback itself.
const UNKNOWN: [SystemVariable; 3] = [
    SystemVariable::ClientIp,
    SystemVariable::ReqId,
    SystemVariable::Operation,
];

/// A template, and its fields that a recovery leaves empty.
fn template(random: &mut Random, body_type: CallbackBodyType) -> (CallbackTemplate, Vec<String>) {
    let mut template = CallbackTemplate::new(body_type);
    let mut empty: Vec<String> = UNKNOWN.map(|variable| variable.name().to_owned()).into();
    for at in 0..random.below(12) {
        let name = format!("f{at}");
        template = match random.below(5) {
            0 => template.constant(&name, &random.text()).unwrap(),
            1 => template
                .constant(&format!("x:c{at}"), &random.text())
                .unwrap(),
            2 => template
                .custom(&format!("x:v{at}"), &random.text())
                .unwrap(),
            3 => {
                let variable = SystemVariable::ALL[random.below(SystemVariable::ALL.len())];
                if UNKNOWN.contains(&variable) {
                    empty.push(name.clone());
                }
                template.variable(&name, variable).unwrap()
            }
            _ => {
                let variable = SystemVariable::ALL[random.below(SystemVariable::ALL.len())];
                match template.clone().variable(variable.name(), variable) {
                    Ok(longer) => longer,
                    // It is there already.
                    Err(_) => template,
                }
            }
        };
    }
    if random.below(3) == 0 {
        for variable in SystemVariable::ALL {
            if let Ok(longer) = template.clone().variable(variable.name(), variable) {
                template = longer;
            }
        }
    }
    // A body needs a field. The service adds those that a ticket needs.
    let first = template
        .clone()
        .variable("last", SystemVariable::Size)
        .unwrap();
    (first, empty)
}

/// Empties these fields of a body of the emulator.
fn without(body: &str, body_type: CallbackBodyType, empty: &[String], values: &[&str]) -> String {
    let mut body = body.to_owned();
    for (name, value) in empty
        .iter()
        .flat_map(|name| values.iter().map(move |value| (name, value)))
    {
        let (from, to) = match body_type {
            CallbackBodyType::Json => (
                format!("\"{name}\":\"{value}\""),
                format!("\"{name}\":null"),
            ),
            _ => (format!("{name}={value}"), format!("{name}=")),
        };
        // A whole field: constants are never written like this.
        let at = body.match_indices(&from).map(|(at, _)| at).find(|at| {
            let before = body[..*at].chars().next_back();
            let after = body[at + from.len()..].chars().next();
            matches!(before, None | Some('&' | '{' | ','))
                && matches!(after, None | Some('&' | '}' | ','))
        });
        if let Some(at) = at {
            body.replace_range(at..at + from.len(), &to);
        }
    }
    body
}

#[tokio::test]
async fn rv_31_a_recovery_sends_what_oss_would_have_sent() {
    let seed = std::env::var("RECOVERY_SEED").map_or(1, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let mut compared = 0;
    for case in 0..300 {
        let body_type = CallbackBodyType::ALL[random.below(2)];
        let (template, empty) = template(&mut random, body_type);
        let Ok(directive) = CallbackDirective::new(CALLBACK).unwrap().body(template) else {
            continue;
        };
        let name = ["a.png", "\u{4e2d} +&.jpg", "a\"b%20.gif", "x"][random.below(4)];
        let content: &[u8] = random.one(&[&b"5"[..], b"hello", &[0; 3000]]);
        let world = World::with(|builder| builder.callback(directive)).await;

        world.app.down.store(true, Ordering::SeqCst);
        let query = format!(
            "filename={}&type=image%2Fpng&size={}",
            percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC),
            content.len()
        );
        let token = world.token(&query).await;
        let stored = world
            .oss
            .upload(&token, Bytes::copy_from_slice(content))
            .await
            .unwrap();
        assert_eq!(stored.status(), 203, "{seed} {case}");
        let sent = stored.callback().unwrap();
        let id = sent.headers()["x-oss-request-id"].to_str().unwrap();
        let body = std::str::from_utf8(sent.body()).unwrap();
        // The address of the uploader, as the emulator sees it.
        let expected = without(body, body_type, &empty, &[id, "127.0.0.1", "PostObject"]);

        world.app.down.store(false, Ordering::SeqCst);
        world.pass_until_due();
        let summary = world.recovery().tick().await.unwrap();
        // It passed every check: the sealed fields, the grant, one use.
        assert_eq!(summary.recovered, 1, "{seed} {case}: {body}");
        let callbacks = world.app.callbacks.lock().unwrap();
        let rendered = std::str::from_utf8(callbacks[0].body()).unwrap();
        assert_eq!(
            rendered, expected,
            "{seed} {case}: the emulator sent {body}"
        );
        compared += 1;
    }
    // Only a template that is too long for OSS is left out.
    assert!(compared > 250, "{compared}");
}
