//! Several claims at once.

/// Holm's adjustment (1979): the p-values, in their order, made large enough that rejecting all
/// below α rejects even one true hypothesis with probability at most α, however they depend.
///
/// A p-value that is not a number stays one and counts as a claim that was made.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    let p = |index: usize| p_values.get(index).copied().unwrap_or(f64::NAN);
    order.sort_by(|a, b| p(*a).total_cmp(&p(*b)));
    let mut adjusted = vec![f64::NAN; count];
    let mut least: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        if p(index).is_nan() {
            continue;
        }
        least = least.max((p(index) * (count - rank) as f64).min(1.0));
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = least;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_textbook_example() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
        assert!(holm(&[f64::NAN, 0.01])[0].is_nan());
        assert_eq!(holm(&[f64::NAN, 0.01])[1], 0.02);
    }

    proptest! {
        #[test]
        fn adjusting_never_lowers_and_keeps_the_order(p in prop::collection::vec(0.0_f64..=1.0, 1..12)) {
            let adjusted = holm(&p);
            for (raw, adjusted) in p.iter().zip(&adjusted) {
                prop_assert!(adjusted >= raw && *adjusted <= 1.0);
            }
            for i in 0..p.len() {
                for j in 0..p.len() {
                    if p[i] < p[j] {
                        prop_assert!(adjusted[i] <= adjusted[j]);
                    }
                }
            }
        }
    }
}
