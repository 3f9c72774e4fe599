//! The requests of a trace, as a scenario has them.

use std::sync::Arc;

use super::{Expect, RequestSpec, Statuses, Template, Trace};

/// One request for each endpoint of a trace; which line it sends is known at run time.
pub(super) fn recorded(trace: &Arc<Trace>) -> Vec<RequestSpec> {
    trace
        .kinds()
        .iter()
        .zip(trace.counts())
        .map(|(kind, count)| RequestSpec {
            name: kind.name.clone(),
            method: kind.method.clone(),
            path: Template::recorded_path(trace, &kind.pattern),
            headers: kind
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Template::plain(value)))
                .collect(),
            body: kind.has_body.then(|| Template::recorded_body(trace)),
            weight: count as f64,
            expect: Expect {
                status: kind.status.map_or_else(Statuses::default, Statuses::only),
                ..Expect::default()
            },
            extract: Vec::new(),
        })
        .collect()
}
