//! How many requests a second the admin API works on for one caller.
//!
//! It shares the machine with the traffic: a client that asks in a loop must not take a core from it, nor the
//! API from others. Whoever shows a token is counted by it, others by where they come from.

use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{Caller, Origin, Peer};

/// How many payers are remembered before those that have not asked lately are forgotten.
const REMEMBERED: usize = 1024;

/// On whose account a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::admin) enum Payer {
    /// The holder of a token, by its name.
    Token(String),
    /// Whoever is there.
    Origin(Origin),
}

impl Payer {
    /// Who pays for a request of this caller.
    pub(in crate::admin) fn of(caller: &Caller, peer: Peer) -> Self {
        match caller.token() {
            Some(name) => Self::Token(name.to_owned()),
            None => Self::Origin(peer.origin()),
        }
    }
}

/// A limit on the requests of each caller.
#[derive(Debug)]
pub(in crate::admin) struct Throttle {
    per_second: u32,
    limiter: DefaultKeyedRateLimiter<Payer>,
}

impl Throttle {
    /// So many requests a second, and so many at once.
    pub(in crate::admin) fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self {
            per_second,
            limiter: RateLimiter::keyed(quota),
        }
    }

    /// Whether one more may be worked on now.
    pub(in crate::admin) fn admits(&self, payer: &Payer) -> bool {
        if self.limiter.len() > REMEMBERED {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(payer).is_ok()
    }

    /// The limit in words.
    pub(in crate::admin) fn told(&self) -> String {
        format!("more than {} such requests a second", self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payer(last: u8) -> Payer {
        let peer = Peer::Tcp(([127, 0, 0, last], 1).into());
        Payer::of(&Caller::Anonymous, peer)
    }

    #[test]
    fn a_burst_passes_a_flood_does_not_and_others_do_not_pay_for_it() {
        let throttle = Throttle::new(10, 200);
        let admitted = (0..400).filter(|_| throttle.admits(&payer(1))).count();
        assert!((200..400).contains(&admitted), "{admitted}");
        assert!(throttle.admits(&payer(2)));
    }

    #[test]
    fn payers_are_forgotten_again() {
        let throttle = Throttle::new(1_000_000, 1);
        for n in 0..10_000_u32 {
            throttle.admits(&Payer::Token(n.to_string()));
        }
        assert!(throttle.limiter.len() < 5_000, "{}", throttle.limiter.len());
    }
}
