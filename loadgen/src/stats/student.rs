//! Student's t distribution.

/// Terms of the continued fraction after which it is taken as it is.
const TERMS: u32 = 500;
/// Steps of the search for a quantile; each halves the interval.
const HALVINGS: u32 = 200;

/// P(T ≤ t) with `freedom` degrees of freedom, which must be positive.
///
/// By the incomplete beta function: P(T > t) = ½ I_x(ν/2, ½), x = ν / (ν + t²), for t ≥ 0
/// (Abramowitz and Stegun 26.7.1).
#[must_use]
pub fn cumulative(t: f64, freedom: f64) -> f64 {
    if t.is_nan() || freedom <= 0.0 {
        return f64::NAN;
    }
    if t.is_infinite() {
        return if t > 0.0 { 1.0 } else { 0.0 };
    }
    let tail = 0.5 * incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// P(|T| ≥ |t|).
#[must_use]
pub fn two_sided(t: f64, freedom: f64) -> f64 {
    (2.0 * cumulative(-t.abs(), freedom)).min(1.0)
}

/// The value that T stays below with this probability, by bisection.
#[must_use]
pub fn quantile(probability: f64, freedom: f64) -> f64 {
    if !(0.0..=1.0).contains(&probability) || freedom <= 0.0 {
        return f64::NAN;
    }
    if probability == 0.5 {
        return 0.0;
    }
    if probability < 0.5 {
        return -quantile(1.0 - probability, freedom);
    }
    let mut high = 1.0;
    while cumulative(high, freedom) < probability {
        high *= 2.0;
        if high > 1e15 {
            return f64::INFINITY;
        }
    }
    let mut low = 0.0;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if cumulative(middle, freedom) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun
/// 26.5.8), evaluated with Lentz's method.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let scale = a * x.ln() + b * (1.0 - x).ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    let tiny = 1e-300;
    let keep = |value: f64| if value.abs() < tiny { tiny } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..=TERMS {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / keep(1.0 + term * d);
            c = keep(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    scale.exp() * fraction / a
}

/// ln Γ(x) for x > 0: Stirling's series (Abramowitz and Stegun 6.1.41) where it is accurate,
/// reached by Γ(x + 1) = x Γ(x).
fn ln_gamma(x: f64) -> f64 {
    let mut shift = 0.0;
    let mut x = x;
    while x < 12.0 {
        shift += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square)
        / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_printed_tables() {
        for (probability, freedom, expected) in [
            (0.975, 1.0, 12.706_2),
            (0.975, 2.0, 4.302_65),
            (0.975, 5.0, 2.570_58),
            (0.95, 5.0, 2.015_05),
            (0.995, 10.0, 3.169_27),
            (0.975, 30.0, 2.042_27),
            (0.9, 120.0, 1.288_65),
            (0.975, 1e6, 1.959_97),
        ] {
            let found = quantile(probability, freedom);
            assert!(
                (found - expected).abs() < 2e-4,
                "{probability} {freedom} {found}"
            );
        }
    }

    #[test]
    fn gamma_of_whole_and_half_numbers() {
        let factorial = (2..=9).map(f64::from).product::<f64>();
        assert!((ln_gamma(10.0) - factorial.ln()).abs() < 1e-12);
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_quantile_has_its_probability(probability in 0.001_f64..0.999, freedom in 1.0_f64..200.0) {
            let t = quantile(probability, freedom);
            prop_assert!((cumulative(t, freedom) - probability).abs() < 1e-9);
        }

        #[test]
        fn the_distribution_is_symmetric_and_rises(t in -50.0_f64..50.0, freedom in 1.0_f64..100.0) {
            let sum = cumulative(t, freedom) + cumulative(-t, freedom);
            prop_assert!((sum - 1.0).abs() < 1e-12);
            prop_assert!(cumulative(t, freedom) <= cumulative(t + 0.1, freedom));
        }
    }
}
