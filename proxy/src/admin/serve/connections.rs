//! All connections of one door (TCP, or the Unix socket), bounded in number: when every place is taken, the
//! connection that matters least gives way to the new one, so a new one always gets in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::connection::{Connection, Standing};
use crate::admin::access::Peer;

/// So many connections one client may have before that counts against those that wait for this process: several
/// probes and a scrape may come from one machine.
const FEW: usize = 8;

/// The connections of one door.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// By number: older ones come first.
    by_number: BTreeMap<u64, Arc<Connection>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    number: u64,
    connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Deref for Counted {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.held.lock().by_number.remove(&self.number);
    }
}

impl Connections {
    /// At most so many at once.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
        })
    }

    /// Takes one in. Others are closed until there is a place for it.
    pub(super) fn take(self: &Arc<Self>, peer: Peer, now: Instant) -> Counted {
        let connection = Arc::new(Connection::new(peer, now));
        let mut held = self.held.lock();
        while held.taken() >= self.most {
            if !held.close_least(now) {
                break;
            }
        }
        let number = held.next;
        held.next += 1;
        held.by_number.insert(number, Arc::clone(&connection));
        Counted {
            number,
            connection,
            connections: Arc::clone(self),
        }
    }

    /// Whether all places are taken by connections that wait for this process: room comes without closing one of them.
    pub(super) fn wait_for_us(&self, now: Instant) -> bool {
        let held = self.held.lock();
        if held.by_number.len() < self.most || held.taken() < self.most {
            return false;
        }
        let placed = held.by_number.values().filter(|it| it.takes_place());
        let least = placed.map(|it| it.standing(now).0).min();
        least == Some(Standing::Waiting)
    }

    /// Closes the one that matters least, or else the oldest stream of events: the process has run out of descriptors.
    /// False when there is none.
    pub(super) fn give_up_one(&self, now: Instant) -> bool {
        let mut held = self.held.lock();
        held.close_least(now) || held.close_oldest()
    }

    /// Closes those whose clients have taken too long.
    pub(super) fn close_overdue(&self, now: Instant) {
        for connection in self.held.lock().by_number.values() {
            if connection.is_overdue(now) {
                connection.close();
            }
        }
    }
}

impl Held {
    fn taken(&self) -> usize {
        self.by_number
            .values()
            .filter(|it| it.takes_place())
            .count()
    }

    /// Closes the connection of the lowest standing; among equals, one of the client that has most, and
    /// of those the one that has made no progress for the longest. Of those that wait for this process it is the one
    /// that came last: were it the first one, none would be served when many come. False when there is none.
    fn close_least(&mut self, now: Instant) -> bool {
        let placed = || self.by_number.iter().filter(|(_, it)| it.takes_place());
        let mut of_origin = HashMap::new();
        for (_, connection) in placed() {
            *of_origin.entry(connection.origin).or_insert(0_usize) += 1;
        }
        let least = placed().min_by_key(|(number, connection)| {
            let (standing, since) = connection.standing(now);
            let of_same = of_origin.get(&connection.origin).copied().unwrap_or(0);
            if standing == Standing::Waiting {
                let number = u64::MAX - **number;
                (standing, Reverse(of_same.max(FEW)), None, number)
            } else {
                (standing, Reverse(of_same), Some(since), **number)
            }
        });
        let Some((&number, connection)) = least else {
            return false;
        };
        let (standing, since) = connection.standing(now);
        debug!(
            origin = ?connection.origin,
            phase = ?connection.phase(),
            ?standing,
            for_ms = now.saturating_duration_since(since).as_millis(),
            "an admin connection gives way to another"
        );
        self.close(number)
    }

    fn close_oldest(&mut self) -> bool {
        let oldest = self.by_number.keys().next().copied();
        oldest.is_some_and(|number| self.close(number))
    }

    fn close(&mut self, number: u64) -> bool {
        let connection = self.by_number.remove(&number);
        connection.as_ref().inspect(|it| it.close()).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::admin::serve::connection::Phase;

    fn from(last: u8) -> Peer {
        Peer::Tcp(std::net::SocketAddr::from(([127, 0, 0, last], 1)))
    }

    fn numbers(connections: &Arc<Connections>) -> Vec<u64> {
        connections.held.lock().by_number.keys().copied().collect()
    }

    #[test]
    fn who_has_sent_least_gives_way_and_then_who_has_waited_longest() {
        let start = Instant::now();
        let connections = Connections::new(4);
        let held: Vec<_> = (0..4).map(|_| connections.take(from(1), start)).collect();
        held[3].waits(start);
        held[0].enter_at(Phase::Working, start);
        held[1].enter_at(Phase::Idle, start);
        held[2].enter_at(Phase::Idle, start + Duration::from_millis(1));
        let later = start + Duration::from_secs(1);
        let mut more = Vec::new();
        // The silent one, then the idle ones in their order.
        for left in [vec![0, 1, 2, 4], vec![0, 2, 4, 5], vec![0, 4, 5, 6]] {
            more.push(connections.take(from(1), later));
            assert_eq!(numbers(&connections), left);
        }
    }

    #[test]
    fn a_stream_is_given_up_only_when_there_is_nothing_else() {
        let now = Instant::now();
        let connections = Connections::new(4);
        let held: Vec<_> = (0..3).map(|_| connections.take(from(1), now)).collect();
        held[0].enter_at(Phase::Streaming, now);
        held[2].enter_at(Phase::Streaming, now);
        for left in [vec![0, 2], vec![2], vec![]] {
            assert!(connections.give_up_one(now));
            assert_eq!(numbers(&connections), left);
        }
        assert!(!connections.give_up_one(now));
    }

    #[test]
    fn among_equals_the_client_with_most_connections_gives_way() {
        let start = Instant::now();
        let connections = Connections::new(3);
        let probe = connections.take(from(9), start);
        let flood = [
            connections.take(from(1), start),
            connections.take(from(1), start),
        ];
        for it in [&probe, &flood[0], &flood[1]] {
            it.waits(start);
        }
        let _next = connections.take(from(1), start + Duration::from_millis(1));
        assert!(numbers(&connections).contains(&probe.number));
        assert_eq!(numbers(&connections), [0, 2, 3]);
    }

    #[test]
    fn one_that_was_not_looked_at_yet_outlives_those_that_do_not_read_however_new_they_are() {
        let start = Instant::now();
        let connections = Connections::new(4);
        let probe = connections.take(from(9), start);
        let mut flood = Vec::new();
        for n in 1..50 {
            let now = start + Duration::from_millis(n);
            let it = connections.take(from(n as u8), now);
            it.enter_at(Phase::Answering, now);
            it.blocked(now);
            flood.push(it);
            assert!(numbers(&connections).contains(&probe.number), "after {n}");
        }
    }

    #[test]
    fn of_those_that_wait_for_us_the_first_ones_stay_unless_one_client_has_many() {
        let start = Instant::now();
        let connections = Connections::new(12);
        // Two probes of one machine, and strangers with a connection each.
        let mut held: Vec<_> = [9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
            .map(|last| connections.take(from(last), start))
            .into();
        assert_eq!(
            numbers(&connections),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13]
        );
        for _ in 0..30 {
            held.push(connections.take(from(200), start));
        }
        assert!(numbers(&connections).starts_with(&[0, 1, 2]));
        let others = numbers(&connections).iter().filter(|it| **it < 14).count();
        assert!(others >= 3, "{others}");
    }

    #[test]
    fn nobody_is_let_in_for_a_while_when_all_wait_for_us() {
        let start = Instant::now();
        let connections = Connections::new(2);
        let first = connections.take(from(1), start);
        assert!(!connections.wait_for_us(start), "there is room");
        let second = connections.take(from(2), start);
        assert!(connections.wait_for_us(start));
        first.enter_at(Phase::Working, start);
        assert!(connections.wait_for_us(start));
        second.enter_at(Phase::Idle, start);
        assert!(!connections.wait_for_us(start), "one may give way");
        second.enter_at(Phase::Streaming, start);
        assert!(!connections.wait_for_us(start), "there is room again");
    }

    #[test]
    fn streams_take_no_place() {
        let start = Instant::now();
        let connections = Connections::new(1);
        let stream = connections.take(from(1), start);
        stream.enter_at(Phase::Streaming, start);
        let _next = connections.take(from(1), start);
        assert_eq!(numbers(&connections), [0, 1]);
    }

    proptest! {
        /// Whatever comes, a new connection is in, no more than the bound are, and all are gone at the end.
        #[test]
        fn a_new_one_is_always_in(steps in prop::collection::vec((0_u8..6, 0_u8..4, 0_u64..900), 1..200)) {
            let connections = Connections::new(5);
            let mut now = Instant::now();
            let mut held = Vec::new();
            for (phase, last, pause) in steps {
                now += Duration::from_millis(pause);
                let new = connections.take(from(last), now);
                prop_assert!(numbers(&connections).contains(&new.number));
                prop_assert!(numbers(&connections).len() <= 5);
                new.enter_at([Phase::New, Phase::Head, Phase::Body, Phase::Working, Phase::Answering, Phase::Idle][usize::from(phase)], now);
                held.push(new);
                if pause % 7 == 0 {
                    held.swap_remove(0);
                }
            }
            drop(held);
            prop_assert!(numbers(&connections).is_empty());
        }
    }
}
