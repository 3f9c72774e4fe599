//! Which levels, and in which order.

use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

/// How levels are spread between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// The same difference from each to the next.
    Lin,
    /// The same ratio from each to the next.
    Log,
}

/// Levels from `from` to `to`, both included; whole numbers when `whole`, each once.
#[must_use]
pub fn between(from: f64, to: f64, steps: usize, spread: Spread, whole: bool) -> Vec<f64> {
    let last = steps.saturating_sub(1).max(1) as f64;
    let level = |step: usize| {
        let share = step as f64 / last;
        let level = match spread {
            Spread::Lin => from + (to - from) * share,
            Spread::Log => from * (to / from).powf(share),
        };
        if whole {
            level.round()
        } else {
            // Four digits are more than any load is exact to.
            let unit = 10_f64.powf(level.abs().log10().floor() - 3.0);
            (level / unit).round() * unit
        }
    };
    let mut levels: Vec<f64> = (0..steps.max(1)).map(level).collect();
    levels.dedup();
    levels
}

/// The order of runs: complete blocks, each with every level once, in an order of its own that the
/// seed decides. A drift of the machine then hits every level alike, instead of looking like an
/// effect of the load, as it would with rising levels.
#[must_use]
pub fn blocks(levels: usize, repeats: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut order = Vec::with_capacity(levels * repeats);
    for repeat in 0..repeats {
        let mut block: Vec<usize> = (0..levels).collect();
        block.shuffle(&mut random);
        order.extend(block.into_iter().map(|level| (level, repeat)));
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_spread_evenly_or_by_ratio() {
        assert_eq!(
            between(10.0, 50.0, 5, Spread::Lin, false),
            [10.0, 20.0, 30.0, 40.0, 50.0]
        );
        assert_eq!(
            between(1.0, 64.0, 7, Spread::Log, true),
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
        );
        // Small whole numbers do not appear twice.
        assert_eq!(between(1.0, 3.0, 9, Spread::Log, true), [1.0, 2.0, 3.0]);
    }

    proptest! {
        #[test]
        fn every_block_has_every_level_once(levels in 1_usize..12, repeats in 1_usize..6, seed: u64) {
            let order = blocks(levels, repeats, seed);
            prop_assert_eq!(order.len(), levels * repeats);
            for (number, block) in order.chunks(levels).enumerate() {
                let mut seen: Vec<_> = block.iter().map(|(level, _)| *level).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..levels).collect::<Vec<_>>());
                prop_assert!(block.iter().all(|(_, repeat)| *repeat == number));
            }
            prop_assert_eq!(order, blocks(levels, repeats, seed));
        }
    }
}
