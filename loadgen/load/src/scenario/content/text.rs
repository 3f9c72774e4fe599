//! Methods, paths, headers and bodies that people write as text.

use std::collections::BTreeMap;

use super::{Template, names::Names};

pub(in crate::scenario) fn method(text: &str) -> Result<http::Method, String> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if KNOWN.contains(&text) {
        http::Method::from_bytes(text.as_bytes()).map_err(|error| error.to_string())
    } else {
        Err(format!("`{text}` is not one of {}", KNOWN.join(", ")))
    }
}

pub(super) fn path(text: &str, names: &Names) -> Result<Template, String> {
    let template = Template::parse_with(text, names).map_err(|error| error.to_string())?;
    if !text.starts_with('/') && !template.begins_with_a_value() {
        return Err(format!(
            "`{text}` must begin with `/`; host and port come from the target"
        ));
    }
    let literal = template.literal();
    if literal
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii() || c == '#')
    {
        return Err(format!(
            "`{text}` holds a space, a control character, `#` or a letter outside ASCII; percent-encode it"
        ));
    }
    Ok(template)
}

pub(super) fn body(text: Option<&str>, names: &Names) -> Result<Option<Template>, String> {
    text.map(|text| Template::parse_with(text, names))
        .transpose()
        .map_err(|error| error.to_string())
}

/// Headers that the engines write themselves.
const OWN: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

/// Headers of a request; the error comes with the name of the header.
pub(super) fn headers(
    raw: &BTreeMap<String, String>,
    names: &Names,
) -> Result<Vec<(String, Template)>, (String, String)> {
    let mut headers = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let template = Template::parse_with(value, names)
            .map_err(|error| (name.clone(), error.to_string()))?;
        check_header(name, &template.literal()).map_err(|why| (name.clone(), why.to_owned()))?;
        headers.push((name.clone(), template));
    }
    Ok(headers)
}

/// Headers without placeholders; the error comes with the name of the header.
pub(in crate::scenario) fn literal_headers(
    raw: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, (String, String)> {
    raw.iter()
        .map(|(name, value)| {
            check_header(name, value).map_err(|why| (name.clone(), why.to_owned()))?;
            Ok((name.clone(), value.clone()))
        })
        .collect()
}

fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err("is not a header name: letters, digits and `-`");
    }
    if OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("is written by the client itself; remove it");
    }
    if http::HeaderValue::from_str(value).is_err() {
        return Err("is not a header value: visible ASCII without line ends");
    }
    Ok(())
}
