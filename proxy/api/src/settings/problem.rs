//! What is wrong with settings, and where.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step from a table to something in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Into the field or entry of this name.
    Key(String),
    /// Into the element of a list, counted from 0.
    Index(usize),
}

impl fmt::Display for Step {
    /// The name, or the number, as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => f.write_str(name),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Where a value is: `upstream.api.servers[0].address`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Path(Vec<Step>);

impl Path {
    /// The whole document.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The entry `name` in what this path leads to.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.with(Step::Key(name.to_owned()))
    }

    /// The element `index` of the list that this path leads to.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// What `inner` leads to within what this path leads to.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// Where the thing is that holds this one; none for the whole document.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(name) => {
                    if n > 0 {
                        f.write_str(".")?;
                    }
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !name.is_empty() && name.chars().all(bare) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which part of a field a problem is about: where an error message points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// Its value.
    #[default]
    Value,
    /// Its name.
    Name,
    /// That it is not there.
    Absence,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Problem {
    /// The field, as text: `timeouts.connect`. Empty for the whole document.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub allowed: String,
    /// The field, step by step.
    #[serde(skip)]
    pub path: Path,
    /// Where to point.
    #[serde(skip)]
    pub subject: Subject,
}

impl Problem {
    /// A problem with the value at `path`.
    #[must_use]
    pub fn new(path: Path, message: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            field: path.to_string(),
            message: message.into(),
            allowed: allowed.into(),
            path,
            subject: Subject::Value,
        }
    }

    /// The same problem, pointing elsewhere.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// An error when there is any problem.
    ///
    /// # Errors
    /// The problems, when there are some.
    pub fn none_or(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self(problems))
        }
    }

    /// One problem.
    #[must_use]
    pub fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// The problems; at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// The problems; at least one.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The same problems in a document that holds the present one under `name`.
    #[must_use]
    pub fn within(self, name: &str) -> Self {
        let outer = |problem: Problem| {
            let mut steps = vec![Step::Key(name.to_owned())];
            steps.extend(problem.path.0);
            let path = Path(steps);
            Problem {
                field: path.to_string(),
                path,
                ..problem
            }
        };
        Self(self.0.into_iter().map(outer).collect())
    }

    /// The same problems, each with a remark on its circumstances.
    #[must_use]
    pub fn remarked(mut self, remark: &str) -> Self {
        for problem in &mut self.0 {
            problem.message = format!("{} ({remark})", problem.message);
        }
        self
    }

    /// A value that passed the checks of the schema and yet is none of ours.
    pub(crate) fn internal(error: &serde_json::Error) -> Self {
        Self::one(Problem::new(Path::root(), error.to_string(), ""))
    }
}
