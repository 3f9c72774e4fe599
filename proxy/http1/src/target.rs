//! Request targets (RFC 9112 section 3.2).

use std::ops::Range;

use http::Method;

use crate::syntax::is_authority;

/// Where the parts of a target lie in the text of the head.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A path, `*`, or for CONNECT an authority.
    Plain(Range<usize>),
    /// `scheme://authority/path?query`; the path is there.
    Absolute {
        written: Range<usize>,
        authority: Range<usize>,
        path: Range<usize>,
    },
    /// Its parts are not in the text of the head.
    Apart(Box<Apart>),
}

#[derive(Debug, Clone)]
pub(crate) struct Apart {
    written: Vec<u8>,
    origin_form: Vec<u8>,
    authority: Option<Vec<u8>>,
}

// === impl Target ===

impl Target {
    /// Parts that did not come as text.
    pub(crate) fn apart(path: &[u8], authority: Option<&[u8]>) -> Self {
        Self::Apart(Box::new(Apart {
            written: path.to_vec(),
            origin_form: path.to_vec(),
            authority: authority.map(<[u8]>::to_vec),
        }))
    }

    pub(crate) fn written<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(written) | Self::Absolute { written, .. } => at(text, written),
            Self::Apart(parts) => &parts.written,
        }
    }

    pub(crate) fn origin_form<'a>(&'a self, text: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(path) | Self::Absolute { path, .. } => at(text, path),
            Self::Apart(parts) => &parts.origin_form,
        }
    }

    pub(crate) fn authority<'a>(&'a self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Absolute { authority, .. } => Some(at(text, authority)),
            Self::Apart(parts) => parts.authority.as_deref(),
        }
    }
}

fn at<'a>(text: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    text.get(range.clone()).unwrap_or_default()
}

/// Parses a target that begins at `start` of the head: a path, an absolute URI, `*` for OPTIONS, or an
/// authority for CONNECT.
///
/// As in nginx any byte may stand in it but control characters and spaces; `"`, `<`, `>` and bytes from
/// 0x80 pass as they are. A fragment (`#`), which never goes on the wire, is refused.
pub(crate) fn parse_target(method: &Method, target: &[u8], start: usize) -> Option<Target> {
    let bad = target.iter().fold(false, |bad, &b| {
        bad | (b <= b' ') | (b == 0x7f) | (b == b'#')
    });
    if bad {
        return None;
    }
    let whole = start..start + target.len();
    if *method == Method::CONNECT {
        return (!target.is_empty() && is_authority(target)).then_some(Target::Plain(whole));
    }
    if target.starts_with(b"/") || (target == b"*" && *method == Method::OPTIONS) {
        return Some(Target::Plain(whole));
    }
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let rest = target.get(scheme.len()..)?;
    let end = rest
        .iter()
        .position(|&b| b == b'/' || b == b'?')
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || !is_authority(authority) {
        return None;
    }
    let authority_at = start + scheme.len();
    if path.starts_with(b"/") {
        return Some(Target::Absolute {
            written: whole.clone(),
            authority: authority_at..authority_at + end,
            path: authority_at + end..whole.end,
        });
    }
    // Without a path: the root, or for OPTIONS the server as a whole (RFC 9112 section 3.2.4).
    let origin_form = match path {
        [] if *method == Method::OPTIONS => b"*".to_vec(),
        query => [b"/", query].concat(),
    };
    Some(Target::Apart(Box::new(Apart {
        written: target.to_vec(),
        origin_form,
        authority: Some(authority.to_vec()),
    })))
}
