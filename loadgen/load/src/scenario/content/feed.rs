//! Data for requests from files: CSV with a header row, or JSON Lines.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// A file of data whose rows the users take.
#[derive(Debug, Clone, Serialize)]
pub struct Feed {
    /// Name, as placeholders write it: `{{NAME.column}}`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// In which order rows are taken.
    pub order: Order,
    /// What happens after the last row.
    pub at_end: AtEnd,
    /// How long a user keeps a row.
    pub per: Per,
    /// The rows, read once and shared by everybody.
    #[serde(rename = "rows", serialize_with = "count_of_rows")]
    pub data: Arc<FeedData>,
}

/// In which order the rows of a feed are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One after another, whoever asks: each row once before any comes again.
    #[default]
    Sequential,
    /// Any row, seeded, with repetitions.
    Random,
    /// Each user has rows of its own that no other user takes.
    UniquePerUser,
}

/// What happens after the last row of a feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtEnd {
    /// The first row comes again.
    #[default]
    Recycle,
    /// A user that would need one more row stops.
    Stop,
}

/// How long a user keeps a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// For one request or one walk through a flow.
    #[default]
    Iteration,
    /// For the whole run: credentials, for example.
    User,
}

impl Feed {
    /// The row of the `draw`-th draw (from 0) of user `user` (from 0) of `users`, where no other
    /// user takes it; `None` when its rows are used up, or there are none for it.
    #[must_use]
    pub fn own_row(&self, user: usize, users: usize, draw: u64) -> Option<usize> {
        let rows = self.data.rows();
        if user >= rows || users == 0 {
            return None;
        }
        let own = (rows - user).div_ceil(users) as u64;
        let turn = match self.at_end {
            AtEnd::Recycle => draw % own,
            AtEnd::Stop if draw < own => draw,
            AtEnd::Stop => return None,
        };
        Some(user + usize::try_from(turn).ok()? * users)
    }

    /// The row of the `draw`-th draw (from 0) in order; `None` when they are used up.
    #[must_use]
    pub fn row_in_order(&self, draw: u64) -> Option<usize> {
        let rows = self.data.rows() as u64;
        match self.at_end {
            AtEnd::Stop if draw >= rows => None,
            _ => usize::try_from(draw.checked_rem(rows)?).ok(),
        }
    }
}

fn count_of_rows<S: serde::Serializer>(
    data: &Arc<FeedData>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(data.rows() as u64)
}

/// Rows of text, in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedData {
    columns: Vec<String>,
    text: String,
    /// Where each cell ends in `text`, row by row.
    ends: Vec<usize>,
}

/// Why a file of data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong and what would be right.
        message: String,
    },
    /// There is no data.
    #[error("{} has no rows: {hint}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What a good file has.
        hint: &'static str,
    },
    /// Neither CSV nor JSON Lines.
    #[error("{}: a feed is a .csv, .jsonl or .ndjson file", .0.display())]
    UnknownFormat(PathBuf),
}

impl FeedData {
    /// Reads a file: CSV (RFC 4180) with a header row, or JSON Lines, by its extension.
    ///
    /// # Errors
    ///
    /// When it cannot be read, has no rows, or a row does not have the columns of the first one.
    pub fn read(path: &Path) -> Result<Self, FeedError> {
        let extension = path.extension().and_then(|e| e.to_str());
        let parse = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Self::from_csv,
            Some("jsonl" | "ndjson") => Self::from_json_lines,
            _ => return Err(FeedError::UnknownFormat(path.to_owned())),
        };
        let text = fs::read_to_string(path).map_err(|source| FeedError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        // Spreadsheets like to begin a file with a byte order mark.
        parse(text.strip_prefix('\u{feff}').unwrap_or(&text), path)
    }

    fn from_csv(text: &str, path: &Path) -> Result<Self, FeedError> {
        let malformed = |line, message| FeedError::Malformed {
            path: path.to_owned(),
            line,
            message,
        };
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::Headers)
            .from_reader(text.as_bytes());
        let header = reader
            .headers()
            .map_err(|error| malformed(1, error.to_string()))?;
        let mut data = Self {
            columns: header.iter().map(str::to_owned).collect(),
            text: String::with_capacity(text.len()),
            ends: Vec::new(),
        };
        data.check_columns().map_err(|why| malformed(1, why))?;
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map_or(0, csv::Position::line);
                malformed(line, error.to_string())
            })?;
            if record.len() != data.columns.len() {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(malformed(
                    line,
                    format!(
                        "has {} fields, and the header row has {}",
                        record.len(),
                        data.columns.len()
                    ),
                ));
            }
            record.iter().for_each(|cell| data.push(cell));
        }
        data.not_empty(
            path,
            "a CSV feed has a header row and at least one row below it",
        )
    }

    fn from_json_lines(text: &str, path: &Path) -> Result<Self, FeedError> {
        let mut data = Self::default();
        for (line, content) in (1..).zip(text.lines()) {
            let malformed = |message| FeedError::Malformed {
                path: path.to_owned(),
                line,
                message,
            };
            if content.trim().is_empty() {
                continue;
            }
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(content)
                .map_err(|error| malformed(format!("is not a JSON object: {error}")))?;
            if data.columns.is_empty() {
                data.columns = object.keys().cloned().collect();
                data.check_columns().map_err(malformed)?;
            }
            if let Some(extra) = object.keys().find(|key| !data.columns.contains(key)) {
                return Err(malformed(format!(
                    "has `{extra}`, which the first line does not have"
                )));
            }
            for index in 0..data.columns.len() {
                let column = data.columns.get(index).cloned().unwrap_or_default();
                match object.get(&column) {
                    Some(serde_json::Value::String(text)) => data.push(text),
                    Some(value) => data.push(&value.to_string()),
                    None => {
                        return Err(malformed(format!(
                            "lacks `{column}`, which the first line has"
                        )));
                    }
                }
            }
        }
        data.not_empty(path, "a JSON Lines feed has one object a line")
    }

    fn check_columns(&self) -> Result<(), String> {
        for (index, column) in self.columns.iter().enumerate() {
            if column.is_empty() || column.contains(['{', '}', '|']) {
                return Err(format!(
                    "column {} is called `{column}`; a column needs a name without braces and `|`",
                    index + 1
                ));
            }
            if self.columns.iter().take(index).any(|other| other == column) {
                return Err(format!("two columns are called `{column}`"));
            }
        }
        Ok(())
    }

    fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    fn not_empty(self, path: &Path, hint: &'static str) -> Result<Self, FeedError> {
        if self.ends.is_empty() {
            return Err(FeedError::Empty {
                path: path.to_owned(),
                hint,
            });
        }
        Ok(self)
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ends.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// One cell; both numbers from 0.
    pub fn cell(&self, row: usize, column: usize) -> Option<&str> {
        let index = row * self.columns.len() + column;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(index)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn csv(text: &str) -> Result<FeedData, String> {
        FeedData::from_csv(text, Path::new("u.csv")).map_err(|error| error.to_string())
    }

    fn json(text: &str) -> Result<FeedData, String> {
        FeedData::from_json_lines(text, Path::new("u.jsonl")).map_err(|error| error.to_string())
    }

    fn feed(rows: usize, at_end: AtEnd) -> Feed {
        let text = (0..rows).fold("n\n".to_owned(), |text, row| format!("{text}{row}\n"));
        Feed {
            name: "f".into(),
            file: "f.csv".into(),
            order: Order::UniquePerUser,
            at_end,
            per: Per::Iteration,
            data: Arc::new(csv(&text).unwrap()),
        }
    }

    #[test]
    fn cells_are_found_by_row_and_column() {
        let data = csv("name, city\nann,\"Oslo, old\"\n,Rome\n").unwrap();
        assert_eq!(data.columns(), ["name", "city"]);
        assert_eq!(data.rows(), 2);
        assert_eq!(data.cell(0, 1), Some("Oslo, old"));
        assert_eq!(data.cell(1, 0), Some(""));
        assert_eq!(data.cell(2, 0), None);
        let data =
            json("{\"id\": 7, \"tags\": [\"a\"]}\n\n{\"id\": \"x\", \"tags\": null}\n").unwrap();
        assert_eq!(data.cell(0, 0), Some("7"));
        assert_eq!(data.cell(0, 1), Some("[\"a\"]"));
        assert_eq!(data.cell(1, 0), Some("x"));
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (text, expected) in [
            (
                "a,b\n1,2\n3\n",
                "u.csv:3: has 1 fields, and the header row has 2",
            ),
            ("a,a\n1,2\n", "u.csv:1: two columns are called `a`"),
            ("a,\n1,2\n", "u.csv:1: column 2 is called ``"),
            ("a\n", "u.csv has no rows"),
        ] {
            let error = csv(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        for (text, expected) in [
            ("{\"a\":1}\n{\"b\":1}", "u.jsonl:2: has `b`"),
            ("{\"a\":1,\"b\":2}\n{\"b\":1}", "u.jsonl:2: lacks `a`"),
            ("{\"a\":1}\n[1]", "u.jsonl:2: is not a JSON object"),
            ("", "u.jsonl has no rows"),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn users_share_all_rows_and_never_the_same(rows in 1_usize..60, users in 1_usize..20) {
            let feed = feed(rows, AtEnd::Stop);
            let mut seen = HashSet::new();
            for user in 0..users {
                let mut draws = 0;
                while let Some(row) = feed.own_row(user, users, draws) {
                    prop_assert!(seen.insert(row), "row {} came twice", row);
                    draws += 1;
                }
            }
            prop_assert_eq!(seen.len(), rows);
        }

        #[test]
        fn recycled_rows_stay_with_their_user(rows in 1_usize..60, users in 1_usize..20, draw: u32) {
            let feed = feed(rows, AtEnd::Recycle);
            for user in 0..users {
                let row = feed.own_row(user, users, draw.into());
                prop_assert_eq!(row.is_some(), user < rows);
                prop_assert!(row.is_none_or(|row| row < rows && row % users == user % users));
            }
        }

        #[test]
        fn in_order_means_each_once_and_then_again(rows in 1_usize..60, draw in 0_u64..200) {
            prop_assert_eq!(
                feed(rows, AtEnd::Recycle).row_in_order(draw),
                Some(draw as usize % rows)
            );
            let stops = feed(rows, AtEnd::Stop).row_in_order(draw);
            prop_assert_eq!(stops, ((draw as usize) < rows).then_some(draw as usize));
        }
    }
}
