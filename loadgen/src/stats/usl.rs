//! Gunther's Universal Scalability Law, fitted to a sweep over concurrency.
//!
//! X(N) = λ·N / (1 + σ·(N − 1) + κ·N·(N − 1)): λ is the throughput of one, σ the share that is
//! serialised (contention), κ the cost of keeping consistent with each other (coherency). Gunther,
//! *Guerrilla Capacity Planning* (2007), chapters 4 to 6.
//!
//! The fit is nonlinear least squares on the logarithm of throughput (errors of throughput are
//! proportional to it), by damped Gauss-Newton steps over σ and κ; λ has a closed form for each of
//! them. Neither may be negative.

use std::fmt;

use serde::Serialize;

/// Fewest levels of concurrency that a fit is made for.
pub const FEWEST: usize = 4;
/// Fewest levels that a fit is trusted with.
const TRUSTED: usize = 6;
/// Largest root mean square residual, relative, that is trusted.
const LARGEST_RESIDUAL: f64 = 0.05;
/// Residuals smaller than this are noise, whatever their pattern.
const NOISE: f64 = 0.01;
/// Durbin-Watson statistic below which neighbours err to the same side too often.
const PATTERN: f64 = 1.0;
/// The highest level should be at least so many times the lowest.
const SPAN: f64 = 4.0;
const STEPS: usize = 200;

/// One level of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Concurrency: users, or requests in flight; positive.
    pub concurrency: f64,
    /// Throughput, requests per second; positive.
    pub throughput: f64,
}

/// A fitted law.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// λ: throughput of a concurrency of one, requests per second.
    pub lambda: f64,
    /// σ: contention, 0 to 1.
    pub sigma: f64,
    /// κ: coherency, at least 0.
    pub kappa: f64,
    /// Standard error of σ; none at the bound 0.
    pub sigma_error: Option<f64>,
    /// Standard error of κ; none at the bound 0.
    pub kappa_error: Option<f64>,
    /// Where throughput is highest; none if it never falls.
    pub peak: Option<Point>,
    /// Limit of the throughput when κ is 0 and σ is not.
    pub limit: Option<f64>,
    /// Measured over fitted minus one, in the order of the points.
    pub residuals: Vec<f64>,
    /// Root mean square of the residuals.
    pub residual: f64,
    /// Share of the variance of throughput that the law explains.
    pub r_squared: f64,
    /// Why not to trust it; empty if there is no reason.
    pub distrust: Vec<Distrust>,
}

impl Fit {
    /// Throughput that the law gives at a concurrency.
    #[must_use]
    pub fn at(&self, concurrency: f64) -> f64 {
        self.lambda * concurrency / denominator(concurrency, self.sigma, self.kappa)
    }

    /// Whether there is no reason for doubt.
    #[must_use]
    pub fn is_trustworthy(&self) -> bool {
        self.distrust.is_empty()
    }
}

/// A reason not to trust a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// Fewer than six levels.
    FewLevels(usize),
    /// The levels lie too close together.
    NarrowRange,
    /// The law misses the points by this much (root mean square, relative).
    LargeResiduals(f64),
    /// Neighbours err to the same side: the points have another shape than the law.
    PatternedResiduals,
    /// The peak lies beyond the highest level that was measured.
    PeakNotMeasured(f64),
    /// κ is not told apart from 0: the peak is not determined.
    PeakNotDetermined,
    /// Throughput rises faster than concurrency, which the law does not describe.
    Superlinear,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FewLevels(levels) => write!(
                f,
                "{levels} levels of concurrency; {TRUSTED} or more are needed"
            ),
            Self::NarrowRange => write!(
                f,
                "the highest level is less than {SPAN} times the lowest"
            ),
            Self::LargeResiduals(rms) => write!(
                f,
                "the law misses the points by {:.1} % (root mean square)",
                rms * 100.0
            ),
            Self::PatternedResiduals => f.write_str(
                "neighbouring points err to the same side: the curve has another shape than the law, as a hard limit of slots has",
            ),
            Self::PeakNotMeasured(highest) => write!(
                f,
                "the peak lies beyond the highest level measured ({highest:.0}): it is extrapolated"
            ),
            Self::PeakNotDetermined => {
                f.write_str("κ cannot be told apart from 0: where the peak lies is not determined")
            }
            Self::Superlinear => f.write_str(
                "throughput rises faster than concurrency, which the law does not describe",
            ),
        }
    }
}

/// Why there is no fit.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Too few different levels.
    #[error(
        "{0} different levels of concurrency: at least {FEWEST} are needed to fit the scalability law"
    )]
    TooFew(usize),
    /// A point that cannot be.
    #[error(
        "concurrency {concurrency} with throughput {throughput}: both must be positive numbers"
    )]
    Impossible {
        /// As given.
        concurrency: f64,
        /// As given.
        throughput: f64,
    },
}

/// Fits the law to the points of a sweep; several points at one level are welcome.
///
/// # Errors
///
/// When a point is not positive and finite, or there are fewer than four different levels.
pub fn fit(points: &[Point]) -> Result<Fit, FitError> {
    for point in points {
        let ok = |value: f64| value.is_finite() && value > 0.0;
        if !(ok(point.concurrency) && ok(point.throughput)) {
            return Err(FitError::Impossible {
                concurrency: point.concurrency,
                throughput: point.throughput,
            });
        }
    }
    let mut levels: Vec<f64> = points.iter().map(|point| point.concurrency).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    if levels.len() < FEWEST {
        return Err(FitError::TooFew(levels.len()));
    }
    // With a bound active the other parameter is fitted alone; the best that is allowed wins.
    let best = [[true, true], [true, false], [false, true], [false, false]]
        .into_iter()
        .flat_map(|free| starts(free).map(move |start| (free, start)))
        .map(|(free, start)| (free, descend(points, free, start)))
        .min_by(|(_, a), (_, b)| loss(points, *a).total_cmp(&loss(points, *b)));
    let (free, parameters) = best.unwrap_or(([false; 2], [0.0; 2]));
    Ok(describe(points, &levels, free, parameters))
}

fn starts(free: [bool; 2]) -> impl Iterator<Item = [f64; 2]> {
    let sigmas: &[f64] = if free[0] { &[0.01, 0.1, 0.5] } else { &[0.0] };
    let kappas: &[f64] = if free[1] { &[1e-6, 1e-4, 1e-2] } else { &[0.0] };
    sigmas
        .iter()
        .flat_map(move |sigma| kappas.iter().map(move |kappa| [*sigma, *kappa]))
}

fn denominator(n: f64, sigma: f64, kappa: f64) -> f64 {
    1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0)
}

/// ln λ for σ and κ, and what remains of each point.
fn remainders(points: &[Point], [sigma, kappa]: [f64; 2]) -> (f64, Vec<f64>) {
    let logs: Vec<f64> = points
        .iter()
        .map(|point| {
            let n = point.concurrency;
            (point.throughput / n).ln() + denominator(n, sigma, kappa).ln()
        })
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    (mean, logs.into_iter().map(|log| log - mean).collect())
}

fn loss(points: &[Point], parameters: [f64; 2]) -> f64 {
    let valid = points
        .iter()
        .all(|point| denominator(point.concurrency, parameters[0], parameters[1]) > 0.0);
    if !valid || parameters.iter().any(|value| *value < 0.0) {
        return f64::INFINITY;
    }
    remainders(points, parameters).1.iter().map(|r| r * r).sum()
}

/// The normal equations: JᵀJ, as its three different entries, and Jᵀr.
fn normal(points: &[Point], parameters: [f64; 2]) -> ([f64; 3], [f64; 2]) {
    let (_, remainders) = remainders(points, parameters);
    let slopes: Vec<[f64; 2]> = points
        .iter()
        .map(|point| {
            let n = point.concurrency;
            let below = denominator(n, parameters[0], parameters[1]);
            [(n - 1.0) / below, n * (n - 1.0) / below]
        })
        .collect();
    let count = slopes.len().max(1) as f64;
    let mean = |index: usize| slopes.iter().map(|slope| slope[index]).sum::<f64>() / count;
    let means = [mean(0), mean(1)];
    let (mut squares, mut along) = ([0.0; 3], [0.0; 2]);
    for (slope, remainder) in slopes.iter().zip(remainders) {
        let [s, k] = [slope[0] - means[0], slope[1] - means[1]];
        squares = [squares[0] + s * s, squares[1] + s * k, squares[2] + k * k];
        along = [along[0] + s * remainder, along[1] + k * remainder];
    }
    (squares, along)
}

/// Damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963) over the parameters that are free.
fn descend(points: &[Point], free: [bool; 2], start: [f64; 2]) -> [f64; 2] {
    let mut here = start;
    let mut least = loss(points, here);
    let mut damping = 1e-3;
    for _ in 0..STEPS {
        let (squares, along) = normal(points, here);
        let Some(step) = solve(squares, along, free, damping) else {
            break;
        };
        // A step over a bound ends at the bound.
        let next = [(here[0] - step[0]).max(0.0), (here[1] - step[1]).max(0.0)];
        let found = loss(points, next);
        if found < least {
            let gain = least - found;
            here = next;
            least = found;
            damping = (damping / 5.0).max(1e-12);
            if gain <= least * 1e-14 {
                break;
            }
        } else {
            damping *= 7.0;
            if damping > 1e14 {
                break;
            }
        }
    }
    here
}

fn solve(
    [ss, sk, kk]: [f64; 3],
    [s, k]: [f64; 2],
    free: [bool; 2],
    damping: f64,
) -> Option<[f64; 2]> {
    let (ss, kk) = (ss * (1.0 + damping), kk * (1.0 + damping));
    let alone = |square: f64, along: f64| (square > 0.0).then(|| along / square);
    match free {
        [true, true] => {
            let determinant = ss * kk - sk * sk;
            (determinant > 0.0).then(|| {
                [
                    (s * kk - k * sk) / determinant,
                    (k * ss - s * sk) / determinant,
                ]
            })
        }
        [true, false] => Some([alone(ss, s)?, 0.0]),
        [false, true] => Some([0.0, alone(kk, k)?]),
        [false, false] => None,
    }
}

fn describe(points: &[Point], levels: &[f64], free: [bool; 2], parameters: [f64; 2]) -> Fit {
    let [sigma, kappa] = parameters;
    let free = [free[0] && sigma > 0.0, free[1] && kappa > 0.0];
    let (ln_lambda, logs) = remainders(points, parameters);
    let lambda = ln_lambda.exp();
    let residuals: Vec<f64> = logs.iter().map(|log| log.exp() - 1.0).collect();
    let count = points.len() as f64;
    let residual = (residuals.iter().map(|r| r * r).sum::<f64>() / count).sqrt();
    let [sigma_error, kappa_error] = errors(points, free, parameters, &logs);
    let peak = (kappa > 0.0 && sigma < 1.0)
        .then(|| ((1.0 - sigma) / kappa).sqrt())
        .map(|n| Point {
            concurrency: n,
            throughput: lambda * n / denominator(n, sigma, kappa),
        });
    let limit = (kappa == 0.0 && sigma > 0.0).then(|| lambda / sigma);
    let mean = points.iter().map(|p| p.throughput).sum::<f64>() / count;
    let about: f64 = points.iter().map(|p| (p.throughput - mean).powi(2)).sum();
    let left: f64 = points
        .iter()
        .map(|p| {
            let fitted = lambda * p.concurrency / denominator(p.concurrency, sigma, kappa);
            (p.throughput - fitted).powi(2)
        })
        .sum();
    let mut fit = Fit {
        lambda,
        sigma,
        kappa,
        sigma_error,
        kappa_error,
        peak,
        limit,
        residuals,
        residual,
        r_squared: if about > 0.0 { 1.0 - left / about } else { 0.0 },
        distrust: Vec::new(),
    };
    fit.distrust = doubts(points, levels, &fit);
    fit
}

/// Standard errors of σ and κ: the inverse of JᵀJ times the residual variance.
fn errors(
    points: &[Point],
    free: [bool; 2],
    parameters: [f64; 2],
    logs: &[f64],
) -> [Option<f64>; 2] {
    let used = 1 + free.iter().filter(|free| **free).count();
    let Some(freedom) = points.len().checked_sub(used).filter(|n| *n > 0) else {
        return [None, None];
    };
    let variance = logs.iter().map(|r| r * r).sum::<f64>() / freedom as f64;
    let ([ss, sk, kk], _) = normal(points, parameters);
    match free {
        [true, true] => {
            let determinant = ss * kk - sk * sk;
            if determinant <= 0.0 {
                return [None, None];
            }
            [
                Some((variance * kk / determinant).sqrt()),
                Some((variance * ss / determinant).sqrt()),
            ]
        }
        [true, false] => [(ss > 0.0).then(|| (variance / ss).sqrt()), None],
        [false, true] => [None, (kk > 0.0).then(|| (variance / kk).sqrt())],
        [false, false] => [None, None],
    }
}

fn doubts(points: &[Point], levels: &[f64], fit: &Fit) -> Vec<Distrust> {
    let mut doubts = Vec::new();
    if levels.len() < TRUSTED {
        doubts.push(Distrust::FewLevels(levels.len()));
    }
    let lowest = levels.first().copied().unwrap_or(1.0);
    let highest = levels.last().copied().unwrap_or(1.0);
    if highest < lowest * SPAN {
        doubts.push(Distrust::NarrowRange);
    }
    if fit.residual > LARGEST_RESIDUAL {
        doubts.push(Distrust::LargeResiduals(fit.residual));
    }
    if fit.residual > NOISE && levels.len() >= TRUSTED && durbin_watson(points, fit) < PATTERN {
        doubts.push(Distrust::PatternedResiduals);
    }
    if let Some(peak) = fit.peak {
        let unsure = fit.kappa_error.is_none_or(|error| error * 2.0 > fit.kappa);
        if unsure {
            doubts.push(Distrust::PeakNotDetermined);
        } else if peak.concurrency > highest {
            doubts.push(Distrust::PeakNotMeasured(highest));
        }
    }
    if fit.sigma == 0.0 && fit.kappa == 0.0 && rises_faster(points) {
        doubts.push(Distrust::Superlinear);
    }
    doubts
}

/// About 2 for residuals that do not depend on their neighbours, towards 0 when they follow them.
fn durbin_watson(points: &[Point], fit: &Fit) -> f64 {
    let mut ordered: Vec<(f64, f64)> = points
        .iter()
        .zip(&fit.residuals)
        .map(|(point, residual)| (point.concurrency, *residual))
        .collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let steps: f64 = ordered
        .windows(2)
        .map(|pair| match pair {
            [a, b] => (b.1 - a.1).powi(2),
            _ => 0.0,
        })
        .sum();
    let squares: f64 = ordered
        .iter()
        .map(|(_, residual)| residual * residual)
        .sum();
    if squares > 0.0 { steps / squares } else { 2.0 }
}

/// Whether throughput per unit of concurrency is clearly higher at the top than at the bottom.
fn rises_faster(points: &[Point]) -> bool {
    let by = |a: &&Point, b: &&Point| a.concurrency.total_cmp(&b.concurrency);
    let each = |point: &Point| point.throughput / point.concurrency;
    match (points.iter().min_by(by), points.iter().max_by(by)) {
        (Some(first), Some(last)) => each(last) > each(first) * (1.0 + LARGEST_RESIDUAL),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEVELS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

    fn planted(lambda: f64, sigma: f64, kappa: f64, noise: &[f64]) -> Vec<Point> {
        LEVELS
            .iter()
            .zip(noise.iter().cycle())
            .map(|(n, noise)| Point {
                concurrency: *n,
                throughput: lambda * n / denominator(*n, sigma, kappa) * (1.0 + noise),
            })
            .collect()
    }

    #[test]
    fn exact_points_give_their_parameters_back() {
        let fit = fit(&planted(995.6, 0.0267, 0.000_769, &[0.0])).unwrap();
        assert!((fit.lambda - 995.6).abs() < 0.01, "{fit:?}");
        assert!((fit.sigma - 0.0267).abs() < 1e-6 && (fit.kappa - 0.000_769).abs() < 1e-7);
        let peak = fit.peak.unwrap();
        assert!((peak.concurrency - 35.58).abs() < 0.05, "{peak:?}");
        assert!(fit.is_trustworthy() && fit.r_squared > 0.999_99);
    }

    #[test]
    fn noise_of_two_percent_is_no_reason_for_doubt() {
        let noise = [0.02, -0.015, 0.01, -0.02, 0.018, -0.01, 0.012, -0.02];
        let fit = fit(&planted(500.0, 0.05, 0.000_5, &noise)).unwrap();
        assert!((fit.sigma - 0.05).abs() < 0.01 && (fit.kappa - 0.000_5).abs() < 0.000_1);
        assert!(fit.is_trustworthy(), "{fit:?}");
        assert!(fit.sigma_error.unwrap() < 0.02);
    }

    #[test]
    fn a_hard_limit_of_slots_is_another_shape_and_said_so() {
        let points: Vec<_> = LEVELS
            .iter()
            .map(|n| Point {
                concurrency: *n,
                throughput: (100.0 * n).min(800.0),
            })
            .collect();
        let fit = fit(&points).unwrap();
        assert!(!fit.is_trustworthy(), "{fit:?}");
        assert!(
            fit.distrust
                .iter()
                .any(|d| matches!(d, Distrust::LargeResiduals(_)))
        );
    }

    #[test]
    fn few_levels_and_a_peak_out_of_sight_are_said() {
        let points = &planted(100.0, 0.02, 0.000_01, &[0.0])[..5];
        let doubts = fit(points).unwrap().distrust;
        assert!(doubts.contains(&Distrust::FewLevels(5)), "{doubts:?}");
        assert!(
            doubts.contains(&Distrust::PeakNotMeasured(16.0)),
            "{doubts:?}"
        );
        assert_eq!(fit(&points[..3]), Err(FitError::TooFew(3)));
        let zero = Point {
            concurrency: 0.0,
            throughput: 1.0,
        };
        assert!(matches!(fit(&[zero; 6]), Err(FitError::Impossible { .. })));
    }

    #[test]
    fn growth_without_contention_has_no_peak() {
        let straight = fit(&planted(100.0, 0.0, 0.0, &[0.0])).unwrap();
        assert_eq!(straight.peak, None);
        assert!(straight.sigma < 1e-9 && straight.kappa < 1e-12);
        let faster: Vec<_> = LEVELS
            .iter()
            .map(|n| Point {
                concurrency: *n,
                throughput: n.powf(1.2),
            })
            .collect();
        assert!(
            fit(&faster)
                .unwrap()
                .distrust
                .contains(&Distrust::Superlinear)
        );
        let limited = fit(&planted(100.0, 0.1, 0.0, &[0.0])).unwrap();
        let reached = limited
            .limit
            .or(limited.peak.map(|peak| peak.throughput))
            .unwrap();
        assert!((900.0..=1010.0).contains(&reached), "{limited:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn planted_laws_are_found(
            lambda in 10.0_f64..5_000.0, sigma in 0.001_f64..0.4, kappa in 0.000_01_f64..0.01
        ) {
            let fit = fit(&planted(lambda, sigma, kappa, &[0.0])).unwrap();
            prop_assert!((fit.lambda / lambda - 1.0).abs() < 1e-3, "{:?}", fit);
            prop_assert!((fit.sigma - sigma).abs() < 1e-3 * (1.0 + sigma), "{:?}", fit);
            prop_assert!((fit.kappa / kappa - 1.0).abs() < 2e-2, "{:?}", fit);
        }

        #[test]
        fn it_never_leaves_its_bounds(throughputs in prop::collection::vec(1.0_f64..1_000.0, 8)) {
            let points: Vec<_> = LEVELS.iter().zip(throughputs)
                .map(|(n, x)| Point { concurrency: *n, throughput: x }).collect();
            let fit = fit(&points).unwrap();
            prop_assert!(fit.sigma >= 0.0 && fit.kappa >= 0.0 && fit.lambda > 0.0);
            prop_assert!(fit.residuals.iter().all(|r| r.is_finite()));
        }
    }
}
