//! What becomes of requests, told to the audit log.

use std::sync::Arc;

use axum::{
    extract::{Query, Request},
    http::{Method, StatusCode, Uri},
    response::Response,
};
use weir_api::{
    admin::{Change, ErrorDetail},
    endpoints::{Endpoint, Scope},
    events::Event,
};

use super::{
    AdminState,
    access::{Caller, Peer},
    audit::{AuditLog, Line},
};
use crate::observe::log::Receipt;

/// What an answer says about a change, for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) diff: Vec<Change>,
    pub(super) dry_run: bool,
}

/// Who asked for a change, and why.
struct Said {
    who: String,
    why: String,
}

/// A request, before it is handled.
pub(super) struct About {
    peer: Peer,
    method: Method,
    uri: Uri,
}

impl About {
    pub(super) fn new(peer: Peer, request: &Request) -> Self {
        Self {
            peer,
            method: request.method().clone(),
            uri: request.uri().clone(),
        }
    }
}

/// Writes a line about a response, if it is one that the audit log wants. The future waits for it, a
/// second at most.
pub(super) fn response(
    state: &AdminState,
    about: &About,
    caller: &Caller,
    response: &Response,
) -> impl Future<Output = ()> + use<> {
    let queued = queue(state, about, caller, response);
    async move {
        if let Some((audit, receipt)) = queued {
            audit.written(receipt).await;
        }
    }
}

fn queue(
    state: &AdminState,
    about: &About,
    caller: &Caller,
    response: &Response,
) -> Option<(Arc<AuditLog>, Receipt)> {
    let audit = state.access.audit.as_ref()?;
    let status = response.status();
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let endpoint = response.extensions().get::<&'static Endpoint>();
    let changes = endpoint.is_some_and(|e| matches!(e.scope, Scope::Write | Scope::Profile));
    if !changes && !refused {
        return None;
    }
    let told = response.extensions().get::<Told>();
    let error = response.extensions().get::<ErrorDetail>();
    let said = said(about, caller);
    let receipt = audit.write(&Line {
        at: state.store.timestamp(),
        kind: "request",
        who: &said.who,
        token: caller.token(),
        from: Some(about.peer.to_string()),
        method: Some(about.method.as_str()),
        path: Some(about.uri.path()),
        result: match told {
            _ if refused => "refused",
            _ if !status.is_success() => "failed",
            Some(told) if told.dry_run => "dry run",
            _ => "done",
        },
        status: Some(status.as_u16()),
        revision: state.store.revision(),
        why: &said.why,
        diff: told.map_or(&[], |told| &told.diff),
        error: error.map(|error| error.message.as_str()),
    });
    Some((Arc::clone(audit), receipt))
}

fn said(about: &About, caller: &Caller) -> Said {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&about.uri);
    let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
    let of = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Said {
        who: caller.author(&of("who")),
        why: of("why"),
    }
}

/// Writes lines about changes that no request made. Runs until it is dropped.
pub(super) async fn publications(state: AdminState) {
    let Some(audit) = state.access.audit.clone() else {
        return;
    };
    let mut events = state.store.subscribe();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let Event::Settings {
            revision,
            at,
            who,
            why,
            diff,
        } = event
        else {
            continue;
        };
        audit.write(&Line {
            at,
            kind: "publication",
            who: &who,
            token: None,
            from: None,
            method: None,
            path: None,
            result: "done",
            status: None,
            revision,
            why: &why,
            diff: &diff,
            error: None,
        });
    }
}
