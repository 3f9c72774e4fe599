//! Prefixes of paths, found by binary search.

use super::table::Group;

/// Prefixes in the order of their bytes. Each knows the longest other one that is a prefix of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    entries: Vec<Prefix>,
}

#[derive(Debug, Clone)]
struct Prefix {
    text: Vec<u8>,
    shorter: Option<usize>,
    group: Group,
}

// === impl Prefixes ===

impl Prefixes {
    /// The prefixes, each once.
    pub(super) fn new(mut prefixes: Vec<(Vec<u8>, Group)>) -> Self {
        prefixes.sort_by(|a, b| a.0.cmp(&b.0));
        let mut entries: Vec<Prefix> = Vec::with_capacity(prefixes.len());
        // Those of which the next one may be a continuation, the longest last.
        let mut open: Vec<usize> = Vec::new();
        for (text, group) in prefixes {
            while let Some(&last) = open.last() {
                if entries
                    .get(last)
                    .is_some_and(|it| text.starts_with(&it.text))
                {
                    break;
                }
                open.pop();
            }
            let shorter = open.last().copied();
            open.push(entries.len());
            entries.push(Prefix {
                text,
                shorter,
                group,
            });
        }
        Self { entries }
    }

    /// The routes of every prefix of `path`, the longest first.
    pub(super) fn longest_first(&self, path: &[u8]) -> impl Iterator<Item = &Group> {
        let mut at = self.longest(path, &mut || ());
        std::iter::from_fn(move || {
            let found = self.entries.get(at?)?;
            at = found.shorter;
            Some(&found.group)
        })
    }

    /// The longest prefix of `path`; calls `compared` for each comparison of two texts.
    ///
    /// Let `last` be the last entry that is not after `path`. A prefix of `path` is not after `path` either, so not after
    /// `last`, and all that stands between a prefix and a text that begins with it begins with it too: every prefix of
    /// `path` is `last` or a prefix of `last`.
    fn longest(&self, path: &[u8], compared: &mut impl FnMut()) -> Option<usize> {
        let after = self.entries.partition_point(|it| {
            compared();
            it.text.as_slice() <= path
        });
        let mut at = after.checked_sub(1)?;
        let last = self.entries.get(at)?;
        compared();
        let same = last.text.iter().zip(path);
        let same = same.take_while(|(a, b)| a == b).count();
        loop {
            let entry = self.entries.get(at)?;
            if entry.text.len() <= same {
                return Some(at);
            }
            at = entry.shorter?;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(texts: &[String]) -> Prefixes {
        let mut texts: Vec<_> = texts.iter().map(|text| text.clone().into_bytes()).collect();
        texts.sort();
        texts.dedup();
        Prefixes::new(
            texts
                .into_iter()
                .map(|text| (text, Group::default()))
                .collect(),
        )
    }

    #[test]
    fn thousands_of_prefixes_cost_a_few_comparisons() {
        for count in [1, 2_000, 100_000] {
            let all: Vec<_> = (0..count).map(|n| format!("/service-{n}/")).collect();
            let table = prefixes(&all);
            let mut most = 0;
            for n in (0..count).step_by(97) {
                let path = format!("/service-{n}/orders/7");
                let mut comparisons = 0;
                let found = table.longest(path.as_bytes(), &mut || comparisons += 1);
                assert_eq!(
                    table.entries[found.unwrap()].text,
                    format!("/service-{n}/").as_bytes()
                );
                most = most.max(comparisons);
            }
            let logarithm = usize::BITS - usize::leading_zeros(count);
            assert!(
                most <= logarithm as usize + 2,
                "{most} comparisons with {count}"
            );
        }
    }

    proptest! {
        /// The same as looking at each.
        #[test]
        fn finds_every_prefix(texts in prop::collection::vec("/[ab/]{0,4}", 0..20), path in "/[ab/]{0,8}") {
            let table = prefixes(&texts);
            let mut wanted: Vec<&[u8]> = table.entries.iter().map(|it| it.text.as_slice()).collect();
            wanted.retain(|text| path.as_bytes().starts_with(text));
            wanted.sort_by_key(|text| std::cmp::Reverse(text.len()));
            let mut found = Vec::new();
            let mut at = table.longest(path.as_bytes(), &mut || ());
            while let Some(entry) = at {
                found.push(table.entries[entry].text.as_slice());
                at = table.entries[entry].shorter;
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
