//! Grading every change by the rules, as far as the runs support it.

use serde::{Deserialize, Serialize};
use weir_load::{
    slo::Unit,
    summary::{Summary, Verdict},
};

use super::{
    Comparison, JudgedChange, Outcome,
    differences::differences,
    evidence::{Change, change},
    figures::{Figure, FigureUnit, figures},
    rules::{CompareRule, CompareRules, Limit, Severity},
    table,
};
use crate::{compare::kept::KeptRun, stats::holm};

/// How a change was graded; graver ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Within what the rules allow.
    Within,
    /// Better by more than what is flagged, beyond noise where that can be told.
    Better,
    /// Beyond a rule, but the runs scatter so much that it may be noise.
    Noise,
    /// Worse by more than what is flagged.
    Flagged,
    /// Beyond a rule that warns.
    Warning,
    /// Beyond a rule that fails.
    Regression,
}

impl Grade {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Within => "ok",
            Self::Better => "better",
            Self::Noise => "may be noise",
            Self::Flagged => "flagged",
            Self::Warning => "warning",
            Self::Regression => "REGRESSION",
        }
    }
}

/// One figure of both sides, before it is graded.
struct Pair {
    figure: Figure,
    before: Vec<f64>,
    after: Vec<f64>,
    change: Option<Change>,
    /// After correction.
    p_value: Option<f64>,
}

/// Compares runs with a baseline. `against` names the baseline in reports.
#[must_use]
pub fn compare(
    against: &str,
    before: &[KeptRun],
    after: &[KeptRun],
    rules: &CompareRules,
) -> Comparison {
    let mut pairs = pairs(before, after, rules);
    correct(&mut pairs, rules);
    let mut changes: Vec<_> = pairs.iter().map(|pair| grade(pair, rules)).collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.grade.max(Grade::Better)));
    let invalid = |run: &KeptRun| run.summary.validity.verdict == Verdict::Invalid;
    let result = if before.iter().chain(after).any(invalid) || after.is_empty() || before.is_empty()
    {
        Outcome::Invalid
    } else if changes
        .iter()
        .any(|change| change.grade == Grade::Regression)
    {
        Outcome::Regression
    } else {
        Outcome::NoRegression
    };
    let ids = |runs: &[KeptRun]| runs.iter().map(|run| run.id.clone()).collect();
    Comparison {
        against: against.to_owned(),
        baseline_runs: ids(before),
        runs: ids(after),
        changes,
        result,
        differences: differences(before, after),
        notes: notes(before, after, rules),
    }
}

fn pairs(before: &[KeptRun], after: &[KeptRun], rules: &CompareRules) -> Vec<Pair> {
    let all = |runs: &[KeptRun]| -> Vec<Vec<Figure>> {
        runs.iter().map(|run| figures(&run.summary)).collect()
    };
    let (old, new) = (all(before), all(after));
    let values = |runs: &[Vec<Figure>], name: &str| -> Option<Vec<f64>> {
        let of = |run: &Vec<Figure>| {
            let figure = run.iter().find(|figure| figure.name == name)?;
            Some(figure.value)
        };
        runs.iter().map(of).collect()
    };
    let mut pairs = Vec::new();
    for figure in new.first().into_iter().flatten() {
        // A figure that one of the runs does not have cannot be compared over all of them.
        let (Some(before), Some(after)) = (values(&old, &figure.name), values(&new, &figure.name))
        else {
            continue;
        };
        pairs.push(Pair {
            change: change(&before, &after, &rules.evidence),
            figure: figure.clone(),
            before,
            after,
            p_value: None,
        });
    }
    pairs
}

/// Holm's correction, apart for the figures that have a rule and for the rest: what may fail a build
/// must not lose its evidence to the number of figures that are only shown.
fn correct(pairs: &mut [Pair], rules: &CompareRules) {
    for ruled in [true, false] {
        let mut family: Vec<&mut Pair> = pairs
            .iter_mut()
            .filter(|pair| has_relative_rule(&pair.figure, rules) == ruled)
            .filter(|pair| pair.change.is_some_and(|change| change.p_value.is_some()))
            .collect();
        let raw: Vec<f64> = family
            .iter()
            .filter_map(|pair| pair.change.and_then(|change| change.p_value))
            .collect();
        for (pair, p_value) in family.iter_mut().zip(holm(&raw)) {
            pair.p_value = Some(p_value);
        }
    }
}

fn has_relative_rule(figure: &Figure, rules: &CompareRules) -> bool {
    let mut rules = rules.rules.iter();
    rules.any(|rule| rule.figure == figure.name && matches!(rule.limit, Limit::Worse(_)))
}

fn grade(pair: &Pair, rules: &CompareRules) -> JudgedChange {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (before, after) = (mean(&pair.before), mean(&pair.after));
    let own: Vec<&CompareRule> = rules
        .rules
        .iter()
        .filter(|rule| rule.figure == pair.figure.name)
        .collect();
    let (mut grade, mut note) = if own.is_empty() {
        flagged(pair, rules)
    } else {
        (Grade::Within, String::new())
    };
    for rule in own {
        let (found, why) = by_rule(pair, rule, after, rules);
        if found > grade {
            (grade, note) = (found, why);
        }
    }
    if grade == Grade::Within && worsening(pair).is_some_and(|worse| -worse > rules.flag) {
        let supported = pair.p_value.is_none_or(|p| p < alpha(rules));
        if supported {
            grade = Grade::Better;
        }
    }
    JudgedChange {
        figure: pair.figure.name.clone(),
        before: table::value(pair.figure.unit, before),
        after: table::value(pair.figure.unit, after),
        change: pair
            .change
            .map(|change| change.relative)
            .filter(|relative| relative.is_finite()),
        interval: pair.change.and_then(|change| change.interval),
        p_value: pair.p_value,
        grade,
        note,
    }
}

/// By which share of the baseline a figure got worse; negative when it got better.
fn worsening(pair: &Pair) -> Option<f64> {
    let relative = pair.change?.relative;
    Some(if pair.figure.more_is_better {
        -relative
    } else {
        relative
    })
}

fn alpha(rules: &CompareRules) -> f64 {
    1.0 - rules.evidence.confidence
}

fn by_rule(pair: &Pair, rule: &CompareRule, after: f64, rules: &CompareRules) -> (Grade, String) {
    let unit = match pair.figure.unit {
        FigureUnit::Metric(unit) => unit,
        FigureUnit::Bytes | FigureUnit::Microseconds => Unit::Share,
    };
    let grade = match rule.severity {
        Severity::Fail => Grade::Regression,
        Severity::Warn => Grade::Warning,
    };
    let beyond = match rule.limit {
        Limit::Above(limit) => after > limit,
        Limit::Worse(share) => worsening(pair).is_some_and(|worse| worse > share),
    };
    if !beyond {
        return (Grade::Within, String::new());
    }
    let why = rule.limit.text(unit);
    match (rule.limit, pair.p_value) {
        // The runs themselves are over the limit: there is nothing to tell from noise.
        (Limit::Above(_), _) | (_, None) => (grade, why),
        (Limit::Worse(_), Some(p)) if p < alpha(rules) => (grade, why),
        (Limit::Worse(_), Some(_)) => (
            Grade::Noise,
            format!("{why}, but the interval allows no change"),
        ),
    }
}

fn flagged(pair: &Pair, rules: &CompareRules) -> (Grade, String) {
    let Some(worse) = worsening(pair).filter(|worse| *worse > rules.flag) else {
        return (Grade::Within, String::new());
    };
    if worse.is_infinite() {
        return (Grade::Flagged, "none in the baseline".to_owned());
    }
    match pair.p_value {
        Some(p) if p >= alpha(rules) => (Grade::Noise, String::new()),
        _ => (Grade::Flagged, String::new()),
    }
}

fn notes(before: &[KeptRun], after: &[KeptRun], rules: &CompareRules) -> Vec<String> {
    let mut notes = Vec::new();
    let (old, new) = (before.len(), after.len());
    let fewest = rules.evidence.fewest_runs;
    if old == 1 && new == 1 {
        notes.push(format!(
            "one run on each side: a single pair cannot tell noise from change; with {fewest} or \
             more runs on each side the intervals decide"
        ));
    } else if old < fewest || new < fewest {
        notes.push(format!(
            "{old} runs in the baseline and {new} now: intervals need {fewest} on each side, so the \
             rules alone decide"
        ));
    } else {
        notes.push(format!(
            "{old} runs in the baseline and {new} now; intervals of {}, p-values after Holm's \
             correction. The two sides were not interleaved: a drift of the machine between them \
             shows as a change",
            Unit::Share.write(rules.evidence.confidence)
        ));
    }
    for (runs, side) in [(before, "baseline"), (after, "now")] {
        for run in runs {
            let Summary { validity, .. } = &run.summary;
            let word = match validity.verdict {
                Verdict::Valid => continue,
                Verdict::Suspect => "suspect",
                Verdict::Invalid => "invalid",
            };
            notes.push(format!(
                "{side}: {} is {word}: {}",
                run.id,
                validity.reasons.join("; ")
            ));
        }
    }
    notes
}
