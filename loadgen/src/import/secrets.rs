//! What must not be copied from a recording: tokens, cookies, passwords.

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "REDACTED";

/// Words whose appearance in a name means that its value is a secret.
const TELLING: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "apikey",
    "api-key",
    "api_key",
    "signature",
    "credential",
    "session",
    "otp",
];

/// Whether a field of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_str(),
        "authorization" | "proxy-authorization" | "cookie" | "cookie2" | "auth" | "sid" | "sig"
    ) || TELLING.iter().any(|word| name.contains(word))
}

/// A path with query whose secret parameters are replaced, and how many there were.
pub(super) fn without_secrets(path: &str) -> (String, usize) {
    match path.split_once('?') {
        Some((path, query)) => {
            let (query, count) = form_without_secrets(query);
            (format!("{path}?{query}"), count)
        }
        None => (path.to_owned(), 0),
    }
}

fn form_without_secrets(form: &str) -> (String, usize) {
    let mut count = 0;
    let pairs: Vec<_> = form
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_secret(name) && !value.is_empty() => {
                count += 1;
                format!("{name}={REDACTED}")
            }
            _ => pair.to_owned(),
        })
        .collect();
    (pairs.join("&"), count)
}

/// A body whose secret fields are replaced, and how many there were: JSON objects and forms.
pub(super) fn body_without_secrets(body: &str, content_type: &str) -> (String, usize) {
    if content_type.contains("x-www-form-urlencoded") {
        return form_without_secrets(body);
    }
    let Ok(mut json) = serde_json::from_str::<serde_json::Value>(body) else {
        return (body.to_owned(), 0);
    };
    match redact(&mut json) {
        // Only a body with secrets is written anew: numbers and spaces of others stay.
        0 => (body.to_owned(), 0),
        count => (json.to_string(), count),
    }
}

fn redact(json: &mut serde_json::Value) -> usize {
    match json {
        serde_json::Value::Object(fields) => fields
            .iter_mut()
            .map(|(name, value)| {
                if is_secret(name) && (value.is_string() || value.is_number()) {
                    *value = REDACTED.into();
                    1
                } else {
                    redact(value)
                }
            })
            .sum(),
        serde_json::Value::Array(items) => items.iter_mut().map(redact).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_the_names_of_their_fields() {
        assert_eq!(
            without_secrets("/a?page=2&access_token=abc&sig=1"),
            ("/a?page=2&access_token=REDACTED&sig=REDACTED".into(), 2)
        );
        assert_eq!(without_secrets("/token"), ("/token".into(), 0));
        assert_eq!(
            body_without_secrets(
                r#"{"user": "a", "in": [{"Password": "p"}]}"#,
                "application/json"
            ),
            (r#"{"user":"a","in":[{"Password":"REDACTED"}]}"#.into(), 1)
        );
        assert_eq!(
            body_without_secrets("user=a&password=b", "application/x-www-form-urlencoded"),
            ("user=a&password=REDACTED".into(), 1)
        );
        let untouched = r#"{ "user":  1.50 }"#;
        assert_eq!(
            body_without_secrets(untouched, "application/json"),
            (untouched.into(), 0)
        );
    }
}
