//! Errors of the admin API.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use weir_api::{
    admin::{
        Change, ChangeView, DrainView, ErrorBody, ErrorDetail, OverrideCreated, OverrideDeleted,
        ReloadView, SaveView,
    },
    settings::{Problem, Problems},
};

use super::record::Told;
use crate::settings::{SaveError, StoreError};

/// What an answer says that a change has done.
pub(super) trait Outcome: Serialize {
    /// What became different.
    fn diff(&self) -> &[Change];
    /// Whether nothing was changed in truth.
    fn dry_run(&self) -> bool;
}

macro_rules! outcomes {
    ($($view:ty),*) => {$(
        impl Outcome for $view {
            fn diff(&self) -> &[Change] {
                &self.diff
            }
            fn dry_run(&self) -> bool {
                self.dry_run
            }
        }
    )*};
}

outcomes!(ChangeView, SaveView, ReloadView, OverrideCreated, DrainView);

impl Outcome for OverrideDeleted {
    fn diff(&self) -> &[Change] {
        &self.diff
    }
    fn dry_run(&self) -> bool {
        false
    }
}

/// The answer to a change, with what the audit log wants to know of it.
#[derive(Debug)]
pub(super) struct Done<T>(pub(super) T);

impl<T: Outcome> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        let told = Told {
            diff: self.0.diff().to_vec(),
            dry_run: self.0.dry_run(),
        };
        let mut response = Json(self.0).into_response();
        response.extensions_mut().insert(told);
        response
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: ErrorDetail,
}

impl Failure {
    /// A status with a word for programs and a message for people.
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            error: ErrorDetail {
                code: code.to_owned(),
                message: message.into(),
                field: None,
                problems: Vec::new(),
            },
        }
    }

    /// A request that cannot be understood.
    pub(super) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl Failure {
    /// A path that leads to no setting.
    pub(super) fn no_such_setting(problem: Problem) -> Self {
        let mut failure = Self::new(
            StatusCode::NOT_FOUND,
            "no_such_setting",
            problem.to_string(),
        );
        failure.error.field = Some(problem.field.clone());
        failure.error.problems = vec![problem];
        failure
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let mut failure = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_settings",
            problems.to_string(),
        );
        let problems = problems.into_vec();
        failure.error.field = problems.first().map(|problem| problem.field.clone());
        failure.error.problems = problems;
        failure
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (status, code) = match error {
            StoreError::Invalid(problems) => return problems.into(),
            StoreError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            StoreError::Unresolved(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            StoreError::NoOverride(_) => (StatusCode::NOT_FOUND, "no_such_override"),
            StoreError::Stale { .. } => (StatusCode::PRECONDITION_FAILED, "stale_revision"),
            StoreError::NoRevision(_) => (StatusCode::NOT_FOUND, "no_such_revision"),
            StoreError::NoUpstream(_) => (StatusCode::NOT_FOUND, "no_such_upstream"),
            StoreError::NoServer { .. } => (StatusCode::NOT_FOUND, "no_such_server"),
            StoreError::ServerExists(_) => (StatusCode::CONFLICT, "server_exists"),
            StoreError::NotSaved(ref error) => match error {
                SaveError::NoFile => (StatusCode::CONFLICT, "no_file"),
                SaveError::Edited { .. } => (StatusCode::CONFLICT, "file_edited"),
                SaveError::Restless => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
                SaveError::Layout { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "file_layout"),
                SaveError::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "cannot_write"),
            },
            StoreError::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_overrides"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody {
            error: self.error.clone(),
        });
        let mut response = (self.status, body).into_response();
        response.extensions_mut().insert(self.error);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
