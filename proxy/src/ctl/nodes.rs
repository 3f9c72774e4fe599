//! The proxies that are spoken to, and what came of it on each.

use std::{path::Path, process::ExitCode};

use serde::Serialize;
use serde_json::{Map, Value, json};
use weir_api::client::{AdminClient, ClientError, Credentials, Node, Terms};

use super::args::CtlArgs;
use crate::exit::{EXIT_FAILED, EXIT_USAGE};
use crate::output::{complain, print, print_json};

const USUAL: &str = "127.0.0.1:9900";
const VARIABLE: &str = "WEIR_NODE";
const TOKEN_VARIABLE: &str = "WEIR_TOKEN";

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Fault {
    /// The user asked for something that cannot be.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: EXIT_USAGE,
            message: message.into(),
        }
    }

    /// It did not work.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: EXIT_FAILED,
            message: message.into(),
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        match &error {
            // The request itself is wrong: an unknown setting, a value out of range.
            ClientError::Refused {
                status: 400 | 422,
                error,
            } => Self::usage(&error.message),
            ClientError::Refused { error, .. } if error.code == "no_such_setting" => {
                Self::usage(&error.message)
            }
            ClientError::Refused { error, .. } => Self::failed(&error.message),
            _ => Self::failed(error.to_string()),
        }
    }
}

/// The proxies that are spoken to.
#[derive(Debug)]
pub(super) struct Nodes {
    clients: Vec<(String, AdminClient)>,
    json: bool,
}

/// What came of a call on each node.
type Outcomes<'a, T> = Vec<(&'a str, Result<T, ClientError>)>;

impl Nodes {
    /// Those named, or `$WEIR_NODE`, or the usual one.
    pub(super) fn new(args: &CtlArgs) -> Result<Self, Fault> {
        let credentials = credentials(args)?;
        let mut names = args.node.clone();
        if names.is_empty() {
            let variable = std::env::var(VARIABLE).unwrap_or_default();
            let listed = variable.split(',').map(str::trim);
            names = listed
                .filter(|n| !n.is_empty())
                .map(str::to_owned)
                .collect();
        }
        if names.is_empty() {
            names.push(USUAL.to_owned());
        }
        let mut clients: Vec<(String, AdminClient)> = Vec::new();
        for name in names {
            let node = Node::parse(&name)
                .map_err(|reason| Fault::usage(format!("--node {name}: {reason}")))?;
            if clients.iter().any(|(_, known)| *known.node() == node) {
                return Err(Fault::usage(format!("{name} is named twice")));
            }
            clients.push((name, AdminClient::with(node, credentials.clone())?));
        }
        Ok(Self {
            clients,
            json: args.json,
        })
    }

    pub(super) fn clients(&self) -> &[(String, AdminClient)] {
        &self.clients
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Asks every node.
    pub(super) async fn read<T: Serialize>(
        &self,
        call: impl AsyncFn(&AdminClient) -> Result<T, ClientError>,
        show: impl FnMut(&T) -> String,
    ) -> Result<ExitCode, Fault> {
        let outcomes = self.each(call).await;
        Ok(self.report(outcomes, show))
    }

    /// Changes every node. With several, all are asked first whether they would accept it.
    pub(super) async fn change<T: Serialize>(
        &self,
        terms: &Terms,
        call: impl AsyncFn(&AdminClient, &Terms) -> Result<T, ClientError>,
        show: impl FnMut(&T) -> String,
    ) -> Result<ExitCode, Fault> {
        if self.clients.len() > 1 && !terms.dry_run {
            let trial = Terms {
                dry_run: true,
                ..terms.clone()
            };
            let outcomes = self.each(async |node| call(node, &trial).await).await;
            if outcomes.iter().any(|(_, outcome)| outcome.is_err()) {
                let code = self.report(refusals(outcomes), show);
                complain("weir ctl: nothing was changed on any node");
                return Ok(code);
            }
        }
        let outcomes = self.each(async |node| call(node, terms).await).await;
        Ok(self.report(outcomes, show))
    }

    async fn each<T>(
        &self,
        call: impl AsyncFn(&AdminClient) -> Result<T, ClientError>,
    ) -> Outcomes<'_, T> {
        let mut outcomes = Vec::new();
        for (name, client) in &self.clients {
            outcomes.push((name.as_str(), call(client).await));
        }
        outcomes
    }

    /// Prints what came of it: answers to standard output, errors to standard error.
    fn report<T: Serialize>(
        &self,
        outcomes: Outcomes<'_, T>,
        mut show: impl FnMut(&T) -> String,
    ) -> ExitCode {
        let several = self.clients.len() > 1;
        let (mut code, mut text, mut all) = (0, String::new(), Map::new());
        for (name, outcome) in outcomes {
            let value = match outcome {
                Ok(answer) => {
                    let shown = show(&answer);
                    if several {
                        text.push_str(&format!("== {name}\n"));
                    }
                    text.push_str(&shown);
                    json!(answer)
                }
                Err(error) => {
                    let fault = Fault::from(error);
                    // A node that failed weighs more than a wrong request.
                    code = if code == EXIT_FAILED {
                        code
                    } else {
                        fault.code
                    };
                    let at = if several {
                        format!("{name}: ")
                    } else {
                        String::new()
                    };
                    complain(&format!("weir ctl: {at}{}", fault.message));
                    json!({"error": {"message": fault.message}})
                }
            };
            all.insert(name.to_owned(), value);
        }
        if self.json {
            let value = match all.values().next() {
                Some(only) if !several => only.clone(),
                _ => Value::Object(all),
            };
            let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
            return print_json(&text).code(code);
        }
        print(&text).code(code)
    }
}

/// Only those that refused; the others have not been changed.
fn refusals<T>(outcomes: Outcomes<'_, T>) -> Outcomes<'_, T> {
    outcomes.into_iter().filter(|(_, it)| it.is_err()).collect()
}

/// The token and the certificates that the command line or the environment names.
fn credentials(args: &CtlArgs) -> Result<Credentials, Fault> {
    let read = |option: &str, path: &Path| {
        std::fs::read(path).map_err(|error| {
            Fault::usage(format!(
                "{option} {}: cannot be read: {error}",
                path.display()
            ))
        })
    };
    let token = match &args.token_file {
        Some(path) => {
            let text = String::from_utf8_lossy(&read("--token-file", path)?).into_owned();
            Some(text)
        }
        None => std::env::var(TOKEN_VARIABLE).ok(),
    };
    let ca = args.ca.as_deref().map(|path| read("--ca", path));
    Ok(Credentials {
        token: token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty()),
        ca: ca.transpose()?,
    })
}
