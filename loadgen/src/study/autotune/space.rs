//! What may be tried: settings with their bounds, and candidates within them.

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Serialize;
use serde_json::Value;
use weir_api::{
    schema::{Kind, Shape, patch::field},
    settings::Path,
};

use super::super::rig::{base::patch, merge};

/// Candidates of a whole number stay within this factor of the current value.
const AROUND: f64 = 32.0;

/// One setting with the values that it may have.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Its path.
    pub path: String,
    /// The value in use.
    pub current: Value,
    choice: Choice,
}

#[derive(Debug, Clone, PartialEq)]
enum Choice {
    /// Whole numbers, drawn on a logarithmic scale.
    Between(u64, u64),
    OneOf(Vec<Value>),
}

/// Values of all dimensions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The merge patch that gives a proxy these values.
    pub patch: Value,
    /// The values for people: `upstream.api.keepalive = 64`.
    pub text: String,
}

impl Dimension {
    /// The setting at a path, with the bounds that the registry declares.
    ///
    /// # Errors
    ///
    /// When there is no such setting, or it cannot be searched.
    pub fn of(path: &str, settings: &Value) -> Result<Self, String> {
        let current = path
            .split('.')
            .try_fold(settings, |value, step| value.get(step))
            .filter(|value| !value.is_object())
            .ok_or_else(|| format!("`{path}` is not one of the proxy's settings"))?;
        let shape = field(&path_of(path)).map(|field| field.shape);
        let choice = match shape {
            Some(Shape::One(Kind::Int(least, most))) => {
                let now = current.as_f64().unwrap_or(1.0).max(1.0);
                let low = (now / AROUND).max(f64::from(least)).floor();
                let high = (now * AROUND).min(f64::from(most)).ceil();
                Choice::Between(low as u64, high as u64)
            }
            Some(Shape::One(Kind::OneOf(words))) => {
                Choice::OneOf(words.iter().map(|word| Value::from(*word)).collect())
            }
            Some(Shape::One(Kind::Bool)) => Choice::OneOf(vec![true.into(), false.into()]),
            _ => {
                return Err(format!(
                    "`{path}` cannot be searched: only whole numbers, choices and switches can"
                ));
            }
        };
        Ok(Self {
            path: path.to_owned(),
            current: current.clone(),
            choice,
        })
    }

    fn draw(&self, random: &mut SmallRng) -> Value {
        match &self.choice {
            Choice::Between(low, high) => {
                let (from, to) = ((*low as f64).max(0.5).ln(), (*high as f64).max(1.0).ln());
                let value = (from + (to - from) * random.random::<f64>()).exp().round();
                Value::from((value as u64).clamp(*low, *high))
            }
            Choice::OneOf(values) => {
                let index = random.random_range(0..values.len().max(1));
                values.get(index).unwrap_or(&self.current).clone()
            }
        }
    }
}

/// The path of a setting in the registry's terms.
fn path_of(text: &str) -> Path {
    text.split('.')
        .fold(Path::root(), |path, step| path.key(step))
}

/// So many different candidates, none of them the current values; fewer if there are not as many.
#[must_use]
pub fn space_of(dimensions: &[Dimension], count: usize, seed: u64) -> Vec<Candidate> {
    let mut random = SmallRng::seed_from_u64(seed);
    let current: Vec<_> = dimensions.iter().map(|d| d.current.clone()).collect();
    let mut drawn: Vec<Vec<Value>> = Vec::new();
    for _ in 0..count * 50 {
        if drawn.len() >= count {
            break;
        }
        let values: Vec<_> = dimensions.iter().map(|d| d.draw(&mut random)).collect();
        if values != current && !drawn.contains(&values) {
            drawn.push(values);
        }
    }
    drawn
        .iter()
        .map(|values| candidate(dimensions, values))
        .collect()
}

/// The current values as a candidate.
#[must_use]
pub(crate) fn current_of(dimensions: &[Dimension]) -> Candidate {
    let values: Vec<_> = dimensions.iter().map(|d| d.current.clone()).collect();
    candidate(dimensions, &values)
}

fn candidate(dimensions: &[Dimension], values: &[Value]) -> Candidate {
    let mut all = Value::Null;
    let mut text = Vec::new();
    for (dimension, value) in dimensions.iter().zip(values) {
        merge(&mut all, &patch(&dimension.path, value.clone()));
        text.push(format!("{} = {value}", dimension.path));
    }
    Candidate {
        patch: all,
        text: text.join(", "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::study::rig::base_settings;

    fn dimension(path: &str) -> Result<Dimension, String> {
        Dimension::of(path, &base_settings().unwrap())
    }

    #[test]
    fn candidates_keep_within_the_bounds_of_the_registry() {
        let paths = [
            "compression.level",
            "upstream.api.keepalive",
            "upstream.api.balance",
        ];
        let dimensions = paths.map(|path| dimension(path).unwrap());
        let candidates = space_of(&dimensions, 40, 1);
        assert_eq!(candidates.len(), 40);
        for candidate in &candidates {
            let at = |pointer: &str| candidate.patch.pointer(pointer).unwrap().clone();
            assert!((1..=9).contains(&at("/compression/level").as_u64().unwrap()));
            assert!((1..=1024).contains(&at("/upstream/api/keepalive").as_u64().unwrap()));
            let balance = at("/upstream/api/balance");
            assert!(balance.is_string(), "{balance}");
            assert_ne!(candidate.text, current_of(&dimensions).text);
        }
        assert_eq!(space_of(&dimensions, 40, 1), candidates);
    }

    #[test]
    fn a_small_space_has_few_candidates() {
        let dimensions = [dimension("compression.enabled").unwrap()];
        assert_eq!(space_of(&dimensions, 8, 1).len(), 1);
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        assert!(
            dimension("upstream.api.keepalives")
                .unwrap_err()
                .contains("not one of")
        );
        assert!(
            dimension("timeouts.connect")
                .unwrap_err()
                .contains("cannot be searched")
        );
        assert!(
            dimension("upstream.api")
                .unwrap_err()
                .contains("not one of")
        );
    }
}
