//! What the stand-in answers: small, realistic JSON, or JSON of a chosen size.

use std::{cell::RefCell, collections::HashMap, fmt::Write as _};

use bytes::Bytes;

/// Largest body that can be asked for.
const LARGEST: usize = 16 << 20;
/// Sizes that are remembered.
const REMEMBERED: usize = 64;

/// What a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Read(&'static str),
    Write(&'static str),
    /// A record that was written before; it can be deleted, too.
    Record,
    Login,
}

/// Finds the endpoint of a path; the method it needs comes with it.
pub(super) fn route(path: &str) -> Option<(http::Method, Route)> {
    use http::Method;
    Some(match path {
        "/api/v1/auth/login" => (Method::POST, Route::Login),
        "/api/v1/compliance/statistics" => (Method::GET, Route::Read(COMPLIANCE)),
        "/api/v1/blockchain/statistics" => (Method::GET, Route::Read(BLOCKCHAIN)),
        "/api/v1/analysis/statistics" => (Method::GET, Route::Read(ANALYSIS)),
        "/api/v1/intelligence/alerts" => (Method::GET, Route::Read(ALERTS)),
        "/api/v1/compliance/audit/log" => (Method::POST, Route::Write("audit")),
        "/api/v1/compliance/risk/assessments" => (Method::POST, Route::Write("assessment")),
        "/api/v1/compliance/cases" => (Method::POST, Route::Write("case")),
        _ => {
            record_id(path)?;
            (Method::GET, Route::Record)
        }
    })
}

/// Paths under which records are written, and what they are called.
const WRITTEN: [(&str, &str); 3] = [
    ("/api/v1/compliance/audit/log", "audit"),
    ("/api/v1/compliance/risk/assessments", "assessment"),
    ("/api/v1/compliance/cases", "case"),
];

/// Path of a record.
pub(super) fn record_path(kind: &str, id: &str) -> String {
    let path = WRITTEN.iter().find(|(_, own)| *own == kind);
    format!("{}/{id}", path.map_or("", |(path, _)| path))
}

/// Identifier in the path of a record, if some replica has issued it.
pub(super) fn record_id(path: &str) -> Option<&str> {
    let (folder, id) = path.rsplit_once('/')?;
    let (_, kind) = WRITTEN.iter().find(|(path, _)| *path == folder)?;
    let number = id.strip_prefix(kind)?.strip_prefix('-')?.get(..8)?;
    let number = u32::from_str_radix(number, 16).ok()?;
    (new_id(kind, number) == id).then_some(id)
}

/// Identifier of a record. Replicas keep no records and share none: the identifier itself shows,
/// by its last digits, that one of them issued it.
pub(super) fn new_id(kind: &str, number: u32) -> String {
    let mixed = kind.bytes().fold(number ^ 0x5bd1_e995, |mixed, byte| {
        (mixed ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{kind}-{number:08x}-{:04x}", mixed >> 16)
}

const COMPLIANCE: &str = r#"{"period":"2025-01","checks":{"total":48213,"passed":47109,"failed":1104},"open_cases":87,"risk":{"low":40121,"medium":6903,"high":1189},"average_review_minutes":14.2,"sanction_hits":31,"updated_at":"2025-01-31T23:59:58Z","source":"stand-in api"}"#;
const BLOCKCHAIN: &str = r#"{"networks":[{"name":"bitcoin","height":881233,"transactions":412889},{"name":"ethereum","height":21739480,"transactions":1208331}],"addresses_watched":90210,"volume_eur":18834412.57,"flagged":412,"updated_at":"2025-01-31T23:59:58Z"}"#;
const ANALYSIS: &str = r#"{"jobs":{"queued":12,"running":4,"done":99120,"failed":18},"models":[{"name":"cluster","version":"3.2","accuracy":0.943},{"name":"anomaly","version":"1.9","accuracy":0.911}],"average_seconds":2.81,"updated_at":"2025-01-31T23:59:58Z"}"#;
const ALERTS: &str = r#"{"alerts":[{"id":"al-10231","severity":"high","kind":"mixer","score":0.97},{"id":"al-10232","severity":"medium","kind":"velocity","score":0.71},{"id":"al-10233","severity":"low","kind":"dormant","score":0.35}],"total":3,"next":null,"page":1}"#;

/// Bodies of chosen sizes, made once each.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    sized: RefCell<HashMap<usize, Bytes>>,
}

impl Bodies {
    /// JSON of exactly `size` bytes: a list of records that compresses like real ones.
    pub(super) fn sized(&self, size: usize) -> Bytes {
        let size = size.min(LARGEST);
        if let Some(body) = self.sized.borrow().get(&size) {
            return body.clone();
        }
        let body = Bytes::from(records(size));
        let mut sized = self.sized.borrow_mut();
        if sized.len() >= REMEMBERED {
            sized.clear();
        }
        sized.insert(size, body.clone());
        body
    }
}

fn records(size: usize) -> String {
    const OPEN: &str = r#"{"items":["#;
    const CLOSE: &str = "]}";
    let mut out = String::with_capacity(size);
    out.push_str(OPEN);
    let mut record = String::new();
    let mut state = 0x9E37_79B9_u32;
    for index in 0_u32.. {
        // A linear congruential step: varied, and the same for every process.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        record.clear();
        if index > 0 {
            record.push(',');
        }
        let kind = ["transfer", "deposit", "withdrawal", "exchange"][(state >> 30) as usize];
        let _ = write!(
            record,
            r#"{{"id":{index},"kind":"{kind}","amount":{}.{:02},"hash":"{state:08x}","status":"confirmed"}}"#,
            state >> 12 & 0xFFFF,
            state >> 8 & 0x3F,
        );
        if out.len() + record.len() + CLOSE.len() > size {
            break;
        }
        out.push_str(&record);
    }
    // JSON allows white space: it makes up the rest.
    while out.len() + CLOSE.len() < size {
        out.push(' ');
    }
    out.push_str(CLOSE);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn documented_answers_are_json_of_about_256_bytes() {
        for body in [COMPLIANCE, BLOCKCHAIN, ANALYSIS, ALERTS] {
            serde_json::from_str::<serde_json::Value>(body).unwrap();
            assert!((200..=300).contains(&body.len()), "{}", body.len());
        }
    }

    #[test]
    fn sized_answers_are_json_of_exactly_that_size() {
        let bodies = Bodies::default();
        for size in [12, 100, 2048, 32 << 10, 256 << 10] {
            let body = bodies.sized(size);
            assert_eq!(body.len(), size);
            serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        }
    }

    #[test]
    fn records_are_found_by_identifiers_that_were_issued() {
        for number in [0, 7, u32::MAX] {
            let path = record_path("case", &new_id("case", number));
            assert_eq!(route(&path), Some((http::Method::GET, Route::Record)));
        }
        let id = new_id("case", 7);
        assert_eq!(
            record_id(&format!("/api/v1/compliance/cases/{id}")),
            Some(&*id)
        );
        for path in [
            format!("/api/v1/compliance/audit/log/{id}"),
            format!("/api/v1/compliance/cases/{id}0"),
            "/api/v1/compliance/cases/case-00000007-0000".to_owned(),
            "/api/v1/compliance/cases/".to_owned(),
        ] {
            assert!(route(&path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_documented_path_is_served() {
        assert_eq!(
            route("/api/v1/auth/login"),
            Some((http::Method::POST, Route::Login))
        );
        assert!(matches!(
            route("/api/v1/compliance/cases"),
            Some((http::Method::POST, Route::Write("case")))
        ));
        assert!(route("/api/v1/unknown").is_none());
    }
}
