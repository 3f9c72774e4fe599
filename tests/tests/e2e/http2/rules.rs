//! How a rule of an RFC is put to the proxy: frames that are sent, and what has to come of them.

use weir_tests::frames::*;
use weir_tests::{Frames, Origin, Reply, Weir};

use super::h2c;

/// What has to come of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expect {
    /// Nothing: the connection works as before.
    Fine,
    /// The request on the stream is answered, and the connection works as before.
    Answered(u32),
    /// RST_STREAM with one of these codes, or, as RFC 9113 section 5.4.2 allows, an error of the connection.
    Stream(u32, &'static [u32]),
    /// GOAWAY with one of these codes, and the end of the connection.
    Connection(&'static [u32]),
    /// The end of the connection.
    Closed,
}

/// One rule.
pub(super) struct Rule {
    /// Section and rule in a few words.
    pub(super) name: &'static str,
    pub(super) send: Vec<u8>,
    pub(super) expect: Expect,
}

pub(super) fn rule(name: &'static str, expect: Expect, send: &[&[u8]]) -> Rule {
    Rule {
        name,
        send: send.concat(),
        expect,
    }
}

/// Puts all rules to one proxy, each on a connection of its own, and tells all that do not hold.
pub(super) async fn hold(rules: Vec<Rule>) {
    let api = Origin::answering(Reply::text("hello")).await;
    let weir = h2c(&[&api]).start().await;
    let mut broken = Vec::new();
    for rule in &rules {
        if let Err(what) = put(rule, &weir).await {
            broken.push(format!("{}: expected {:?}, {what}", rule.name, rule.expect));
        }
    }
    assert!(
        broken.is_empty(),
        "{} of {} rules:\n{}",
        broken.len(),
        rules.len(),
        broken.join("\n")
    );
    // Nobody else has suffered.
    let mut other = Frames::open(weir.addr()).await;
    other.send(request(1)).await;
    assert_eq!(other.answer(1).await.0, Some(200));
}

async fn put(rule: &Rule, weir: &Weir) -> Result<(), String> {
    if matches!(rule.expect, Expect::Closed) {
        let mut frames = Frames::silent(weir.addr()).await;
        frames.send(&rule.send).await;
        frames.conn.closed().await;
        return Ok(());
    }
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(&rule.send).await;
    if !matches!(rule.expect, Expect::Connection(_)) {
        // Whatever comes of it comes before the answer to this.
        if !matches!(rule.expect, Expect::Answered(_)) {
            frames.send(ping(b"the end!")).await;
        }
    }
    let mut answered = false;
    loop {
        let Some(frame) = frames.next().await else {
            return match rule.expect {
                Expect::Connection(_) => Err("closed without GOAWAY".into()),
                _ => Err("closed".into()),
            };
        };
        match (rule.expect, frame.kind) {
            (Expect::Stream(stream, codes), RST_STREAM) if frame.stream == stream => {
                return right(codes, &frame).and(alive(&mut frames).await);
            }
            (Expect::Stream(_, codes) | Expect::Connection(codes), GOAWAY) => {
                right(codes, &frame)?;
                frames.conn.closed().await;
                return Ok(());
            }
            (_, GOAWAY) => return Err(format!("GOAWAY with {}", frame.code())),
            (_, RST_STREAM) => return Err(format!("RST_STREAM with {}", frame.code())),
            (Expect::Answered(stream), DATA | HEADERS) if frame.stream == stream => {
                answered |= frame.has(END_STREAM);
                if answered {
                    return alive(&mut frames).await;
                }
            }
            (Expect::Fine, PING) if frame.payload == b"the end!" => {
                return alive(&mut frames).await;
            }
            (Expect::Stream(..), HEADERS) => return Err(format!("answered: {frame:?}")),
            _ => {}
        }
    }
}

fn right(codes: &[u32], frame: &Frame) -> Result<(), String> {
    match codes.contains(&frame.code()) {
        true => Ok(()),
        false => Err(format!("frame {} with code {}", frame.kind, frame.code())),
    }
}

async fn alive(frames: &mut Frames) -> Result<(), String> {
    frames.send(request(101)).await;
    match frames.answer(101).await.0 {
        Some(200) => Ok(()),
        other => Err(format!("then answered with {other:?}")),
    }
}
