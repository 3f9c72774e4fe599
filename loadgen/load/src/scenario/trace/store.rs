//! A trace in memory: distinct texts once, entries by time.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// Endpoints that are told apart by path; the rest is reported together.
const MOST_PATTERNS: usize = 40;
/// More endpoints than this cannot be reported: every one of them has histograms of its own.
const MOST_KINDS: usize = 100;
/// Patterns that are counted while reading; with more of them, paths hardly repeat.
const MOST_COUNTED: usize = 10_000;

/// A recorded trace, in order of time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trace {
    entries: Vec<Entry>,
    texts: Texts,
    kinds: Vec<Kind>,
}

/// Requests of a trace that are reported as one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Name in reports; unique.
    pub name: String,
    /// HTTP method.
    pub method: http::Method,
    /// Path with `*` where identifiers were.
    pub pattern: String,
    /// Extra headers.
    pub headers: Vec<(String, String)>,
    /// Status that a good answer has; any 2xx if there is none.
    pub status: Option<u16>,
    /// Whether the requests have a body.
    pub has_body: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at_us: u64,
    path: u32,
    body: u32,
    kind: u32,
}

/// A request on its way into a trace.
pub(super) struct Request {
    pub(super) at: Duration,
    pub(super) path: String,
    pub(super) body: Option<String>,
    /// Its endpoint; the name is not unique yet.
    pub(super) kind: Kind,
}

impl Trace {
    /// Number of requests.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Offset of a request from the beginning of the trace; requests are in order of time.
    pub fn at(&self, index: usize) -> Option<Duration> {
        self.entries
            .get(index)
            .map(|entry| Duration::from_micros(entry.at_us))
    }

    /// Offset of the last request.
    pub fn length(&self) -> Duration {
        self.len()
            .checked_sub(1)
            .and_then(|last| self.at(last))
            .unwrap_or_default()
    }

    /// Endpoint of a request, an index into [`Trace::kinds`].
    pub fn kind(&self, index: usize) -> Option<usize> {
        self.entries.get(index).map(|entry| entry.kind as usize)
    }

    /// Path of a request, with query if any; empty beyond the end.
    pub fn path(&self, index: usize) -> &str {
        self.entries
            .get(index)
            .map_or("", |entry| self.texts.get(entry.path))
    }

    /// Body of a request; empty if it has none.
    pub fn body(&self, index: usize) -> &str {
        self.entries
            .get(index)
            .map_or("", |entry| self.texts.get(entry.body))
    }

    /// The endpoints, most frequent first, those that are reported together last.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Number of requests of each endpoint.
    pub fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.kinds.len()];
        for entry in &self.entries {
            if let Some(count) = counts.get_mut(entry.kind as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// Bytes that it takes, endpoints aside.
    pub fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.texts.text.capacity()
            + self.texts.ends.capacity() * size_of::<usize>()
    }

    /// Most requests within one second of the trace, counted from its beginning.
    pub fn busiest_second(&self) -> u64 {
        let mut most = 0;
        for same in self
            .entries
            .chunk_by(|a, b| a.at_us / 1_000_000 == b.at_us / 1_000_000)
        {
            most = most.max(same.len() as u64);
        }
        most
    }
}

/// Builds a [`Trace`] from requests in any order.
#[derive(Default)]
pub(super) struct Builder {
    entries: Vec<Entry>,
    texts: Texts,
    known_texts: HashMap<Box<str>, u32>,
    kinds: Vec<(Kind, u64)>,
    known_kinds: HashMap<Kind, u32>,
}

impl Builder {
    pub(super) fn push(&mut self, request: Request) -> Result<(), String> {
        let path = self.text(&request.path)?;
        let body = self.text(request.body.as_deref().unwrap_or_default())?;
        let mut kind = request.kind;
        if self.kinds.len() >= MOST_COUNTED && !self.known_kinds.contains_key(&kind) {
            kind = rest_of(&kind);
        }
        let at = match self.known_kinds.get(&kind) {
            Some(at) => *at,
            None => {
                let at = u32::try_from(self.kinds.len()).map_err(|error| error.to_string())?;
                self.known_kinds.insert(kind.clone(), at);
                self.kinds.push((kind, 0));
                at
            }
        };
        if let Some((_, count)) = self.kinds.get_mut(at as usize) {
            *count += 1;
        }
        self.entries.push(Entry {
            at_us: u64::try_from(request.at.as_micros()).map_err(|error| error.to_string())?,
            path,
            body,
            kind: at,
        });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<u32, String> {
        if let Some(known) = self.known_texts.get(text) {
            return Ok(*known);
        }
        let index = self.texts.push(text)?;
        self.known_texts.insert(text.into(), index);
        Ok(index)
    }

    /// Sorts by time, and keeps the most frequent endpoints apart. `from_zero` lets the earliest
    /// request be the beginning.
    pub(super) fn build(mut self, from_zero: bool) -> Result<Arc<Trace>, String> {
        if self.entries.is_empty() {
            return Err("holds no request; a trace needs at least one line".into());
        }
        self.entries.sort_by_key(|entry| entry.at_us);
        if from_zero {
            let first = self.entries.first().map_or(0, |entry| entry.at_us);
            for entry in &mut self.entries {
                entry.at_us -= first;
            }
        }
        let (kinds, places) = ranked(self.kinds)?;
        for entry in &mut self.entries {
            entry.kind = places.get(entry.kind as usize).copied().unwrap_or(0);
        }
        self.entries.shrink_to_fit();
        self.texts.text.shrink_to_fit();
        self.texts.ends.shrink_to_fit();
        Ok(Arc::new(Trace {
            entries: self.entries,
            texts: self.texts,
            kinds,
        }))
    }
}

/// The kind under which rare paths are reported.
fn rest_of(kind: &Kind) -> Kind {
    Kind {
        name: format!("{}_other", kind.method),
        pattern: "/**".into(),
        ..kind.clone()
    }
}

/// The most frequent kinds, then what is reported together; and where each of the old ones went.
fn ranked(counted: Vec<(Kind, u64)>) -> Result<(Vec<Kind>, Vec<u32>), String> {
    let mut order: Vec<usize> = (0..counted.len()).collect();
    // Stable: equal counts stay in order of appearance.
    order.sort_by_key(|at| std::cmp::Reverse(counted.get(*at).map_or(0, |(_, count)| *count)));
    let mut kinds: Vec<Kind> = Vec::new();
    let mut known: HashMap<Kind, u32> = HashMap::new();
    let mut places = vec![0; counted.len()];
    for (rank, at) in order.into_iter().enumerate() {
        let Some((kind, _)) = counted.get(at) else {
            continue;
        };
        let kind = if rank < MOST_PATTERNS {
            kind.clone()
        } else {
            rest_of(kind)
        };
        let next = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
        let place = *known.entry(kind.clone()).or_insert_with(|| {
            kinds.push(kind);
            next
        });
        if let Some(slot) = places.get_mut(at) {
            *slot = place;
        }
    }
    if kinds.len() > MOST_KINDS {
        return Err(format!(
            "{} different combinations of method, headers, status and body or none; at most {MOST_KINDS} can be told apart: leave out headers whose values vary",
            kinds.len()
        ));
    }
    let mut used: HashMap<String, u32> = HashMap::new();
    for kind in &mut kinds {
        let times = used.entry(kind.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            kind.name = format!("{}#{times}", kind.name);
        }
    }
    Ok((kinds, places))
}

/// Many texts in one allocation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Texts {
    text: String,
    /// Where each ends; it begins where the one before ends.
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) -> Result<u32, String> {
        let index = u32::try_from(self.ends.len()).map_err(|error| error.to_string())?;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        Ok(index)
    }

    fn get(&self, index: u32) -> &str {
        let index = index as usize;
        let begin = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.text.get(begin..end).unwrap_or_default()
    }
}
