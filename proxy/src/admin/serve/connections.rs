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

use super::connection::Connection;
use crate::admin::access::Peer;

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
    /// of those the one that has made no progress for the longest. False when there is none.
    fn close_least(&mut self, now: Instant) -> bool {
        let placed = || self.by_number.iter().filter(|(_, it)| it.takes_place());
        let mut of_origin = HashMap::new();
        for (_, connection) in placed() {
            *of_origin.entry(connection.origin).or_insert(0_usize) += 1;
        }
        let least = placed().min_by_key(|(number, connection)| {
            let (standing, since) = connection.standing(now);
            let of_same = of_origin.get(&connection.origin).copied();
            (standing, Reverse(of_same), since, **number)
        });
        let least = least.map(|(number, _)| *number);
        least.is_some_and(|number| self.close(number))
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
        let _flood = [
            connections.take(from(1), start),
            connections.take(from(1), start),
        ];
        let _next = connections.take(from(1), start + Duration::from_millis(1));
        assert!(numbers(&connections).contains(&probe.number));
        assert_eq!(numbers(&connections), [0, 2, 3]);
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
