//! The same requests to the proxy and to the real nginx: the same ones are let in.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use weir_tests::{Conn, Nginx, Origin, Weir, weir::Server as _};

/// One limit, in both languages.
struct Limit {
    rate: &'static str,
    burst: u32,
    /// None: the excess waits. Some(none): nodelay. Some(n): the first n do not wait.
    delay: Mode,
}

#[derive(Clone, Copy)]
enum Mode {
    Waits,
    NoDelay,
    DelayAfter(u32),
}

/// nginx and the proxy before the same origin, with limit number n on the path `/n/`.
struct Pair {
    nginx: Nginx,
    weir: Weir,
    _origin: Origin,
}

impl Pair {
    async fn start(limits: &[Limit]) -> Self {
        let origin = Origin::named("a").await;
        let (mut http, mut server, mut routes, mut zones) =
            (String::new(), String::new(), Vec::new(), String::new());
        for (n, Limit { rate, burst, delay }) in limits.iter().enumerate() {
            let (nginx, weir) = match delay {
                Mode::Waits => (String::new(), String::new()),
                Mode::NoDelay => (" nodelay".to_owned(), "nodelay = true".to_owned()),
                Mode::DelayAfter(count) => (format!(" delay={count}"), format!("delay = {count}")),
            };
            let burst_of_nginx = if *burst == 0 {
                String::new()
            } else {
                format!(" burst={burst}")
            };
            http += &format!("limit_req_zone $binary_remote_addr zone=z{n}:1m rate={rate};\n");
            server += &format!(
                "location /{n}/ {{ limit_req zone=z{n}{burst_of_nginx}{nginx}; limit_req_status 429; proxy_pass http://{}; }}\n",
                origin.addr()
            );
            routes.push(format!(
                "{{ path = '/{n}/', upstream = 'api', rate_limit = ['z{n}'] }}"
            ));
            zones += &format!("[rate_limit.z{n}]\nrate = '{rate}'\nburst = {burst}\n{weir}\n");
        }
        let config = format!("route = [{}]\n{zones}", routes.join(", "));
        let weir = Weir::before(&[&origin]).with(&config).start().await;
        Self {
            nginx: Nginx::start(&http, &server).await,
            weir,
            _origin: origin,
        }
    }

    fn both(&self) -> [SocketAddr; 2] {
        [self.nginx.addr(), self.weir.addr()]
    }
}

/// When a request was sent, what came back, and when; times since the first was sent.
#[derive(Debug)]
struct Outcome {
    sent: Duration,
    status: u16,
    answered: Duration,
}

/// Sends one request at each of these times, each on a connection of its own.
async fn trace(from: IpAddr, to: SocketAddr, target: String, times: Vec<Duration>) -> Vec<Outcome> {
    let mut clients = Vec::new();
    for _ in &times {
        clients.push(Conn::open_from(from, to).await);
    }
    let start = Instant::now();
    let mut asking = Vec::new();
    for (mut client, at) in clients.into_iter().zip(times) {
        tokio::time::sleep_until((start + at).into()).await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let sent = start.elapsed();
        asking.push(tokio::spawn(async move {
            let status = client.answer().await.status;
            Outcome {
                sent,
                status,
                answered: start.elapsed(),
            }
        }));
    }
    let mut outcomes = Vec::new();
    for answer in asking {
        outcomes.push(answer.await.unwrap());
    }
    outcomes
}

fn admitted(outcomes: &[Outcome]) -> Vec<bool> {
    outcomes
        .iter()
        .map(|outcome| outcome.status == 200)
        .collect()
}

fn count(outcomes: &[Outcome]) -> usize {
    outcomes
        .iter()
        .filter(|outcome| outcome.status == 200)
        .count()
}

/// The same trace at both, each time as another client, until neither was held up by a busy machine.
async fn undisturbed(
    pair: &Pair,
    target: &str,
    times: &[Duration],
    tolerance: Duration,
) -> [Vec<Outcome>; 2] {
    for attempt in 1..=6 {
        let from: IpAddr = [127, 0, attempt, 1].into();
        let [nginx, weir] = pair
            .both()
            .map(|to| trace(from, to, target.to_owned(), times.to_vec()));
        let outcomes: [Vec<Outcome>; 2] = tokio::join!(nginx, weir).into();
        let late = |outcomes: &Vec<Outcome>| {
            outcomes
                .iter()
                .zip(times)
                .any(|(o, at)| o.sent > *at + tolerance)
        };
        if !outcomes.iter().any(late) {
            return outcomes;
        }
    }
    panic!("this machine is too busy to send requests within {tolerance:?} of their time");
}

#[tokio::test]
async fn volleys_without_delay() {
    // One a minute: nothing drains while a volley lasts, so that the counts are exact.
    let bursts = [0, 1, 5, 20, 100];
    let limits = bursts.map(|burst| Limit {
        rate: "1r/m",
        burst,
        delay: Mode::NoDelay,
    });
    let pair = Pair::start(&limits).await;
    for (n, burst) in bursts.into_iter().enumerate() {
        for (round, size) in [burst + 1, burst + 2, 2 * burst + 3]
            .into_iter()
            .enumerate()
        {
            let from: IpAddr = [127, 0, n as u8, 10 + round as u8].into();
            let volley = vec![Duration::ZERO; size as usize];
            let mut counts = Vec::new();
            for to in pair.both() {
                counts.push(count(
                    &trace(from, to, format!("/{n}/"), volley.clone()).await,
                ));
            }
            assert_eq!(
                counts,
                [burst as usize + 1; 2],
                "burst={burst}, a volley of {size}: nginx, weir"
            );
        }
    }
}

#[tokio::test]
async fn volleys_that_wait() {
    let pair = Pair::start(&[
        Limit {
            rate: "5r/s",
            burst: 4,
            delay: Mode::Waits,
        },
        Limit {
            rate: "5r/s",
            burst: 4,
            delay: Mode::DelayAfter(2),
        },
    ])
    .await;
    // Milliseconds before which the n-th answer cannot come.
    let earliest = [[0, 200, 400, 600, 800], [0, 0, 0, 200, 400]];
    for (n, earliest) in earliest.into_iter().enumerate() {
        let volley = [Duration::ZERO; 9];
        let both = undisturbed(&pair, &format!("/{n}/"), &volley, Duration::from_millis(90)).await;
        for (who, outcomes) in ["nginx", "weir"].into_iter().zip(&both) {
            assert_eq!(count(outcomes), 5, "{who}, limit {n}: {outcomes:?}");
            let mut answered: Vec<_> = outcomes
                .iter()
                .filter(|o| o.status == 200)
                .map(|o| o.answered)
                .collect();
            answered.sort();
            for (at, least) in answered.iter().zip(earliest) {
                // What drained while the volley was being sent shortens the waits by as much.
                let sending = outcomes.last().unwrap().sent;
                let least =
                    Duration::from_millis(least).saturating_sub(sending + Duration::from_millis(5));
                assert!(
                    *at >= least,
                    "{who}, limit {n}: {at:?} < {least:?}: {outcomes:?}"
                );
            }
        }
    }
}

/// Send times for about `seconds`, at which the decision would stay the same if each request came up to 40 ms
/// earlier or later; with the decisions. The arithmetic is the documented one.
fn robust_trace(rate: f64, burst: f64, seconds: f64, seed: u64) -> (Vec<Duration>, Vec<bool>) {
    let margin = 0.080 * rate;
    let mut random = seed;
    let (mut excess, mut last, mut now) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut times, mut decisions) = (vec![Duration::ZERO], vec![true]);
    while now < seconds {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let gap = 0.040 + (random >> 40) as f64 / f64::from(1 << 24) * 0.45;
        let next = (excess - rate * (now + gap - last) + 1.0).max(0.0);
        if (next - burst).abs() < margin && next > 0.0 {
            // Too close to call: another time.
            continue;
        }
        if burst == 0.0 && next == 0.0 && rate * (now + gap - last) < 1.0 + margin {
            continue;
        }
        now += gap;
        times.push(Duration::from_secs_f64(now));
        decisions.push(next <= burst);
        if next <= burst {
            excess = next;
            last = now;
        }
    }
    (times, decisions)
}

#[tokio::test]
async fn sustained_load_above_the_rate() {
    let pair = Pair::start(&[
        Limit {
            rate: "2r/s",
            burst: 0,
            delay: Mode::NoDelay,
        },
        Limit {
            rate: "3r/s",
            burst: 2,
            delay: Mode::NoDelay,
        },
        Limit {
            rate: "90r/m",
            burst: 4,
            delay: Mode::NoDelay,
        },
    ])
    .await;
    let check = async |n: usize, rate: f64, burst: f64, seed: u64| {
        let (times, expected) = robust_trace(rate, burst, 5.0, seed);
        assert!(expected.contains(&false) && times.len() > 15);
        let [nginx, weir] =
            undisturbed(&pair, &format!("/{n}/"), &times, Duration::from_millis(35)).await;
        assert_eq!(
            admitted(&nginx),
            expected,
            "nginx does not do what its documentation says: {nginx:?}"
        );
        assert_eq!(admitted(&weir), expected, "limit {n}: {weir:?}");
    };
    tokio::join!(
        check(0, 2.0, 0.0, 1),
        check(1, 3.0, 2.0, 2),
        check(2, 1.5, 4.0, 3)
    );
}

#[tokio::test]
async fn several_limits_at_once() {
    let origin = Origin::named("a").await;
    let nginx = Nginx::start(
        "limit_req_zone $binary_remote_addr zone=wide:1m rate=1r/m;
         limit_req_zone $http_x_key zone=tight:1m rate=1r/m;",
        &format!(
            "limit_req_status 429;
             location / {{ limit_req zone=wide burst=9 nodelay; limit_req zone=tight burst=2 nodelay; proxy_pass http://{}; }}",
            origin.addr()
        ),
    )
    .await;
    let weir = Weir::before(&[&origin])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['wide', 'tight'] }]
             rate_limit.wide = { rate = '1r/m', burst = 9, nodelay = true }
             rate_limit.tight = { key = 'header:X-Key', rate = '1r/m', burst = 2, nodelay = true }",
        )
        .start()
        .await;
    let mut statuses = [Vec::new(), Vec::new()];
    for (to, statuses) in [nginx.addr(), weir.addr()].into_iter().zip(&mut statuses) {
        let mut client = Conn::open(to).await;
        for key in [
            "a", "a", "a", "a", "a", "b", "b", "", "", "", "b", "b", "c", "c", "",
        ] {
            statuses.push(
                client
                    .request("GET", "/", &format!("X-Key: {key}\r\n"))
                    .await
                    .status,
            );
        }
    }
    let [nginx, weir] = statuses;
    assert_eq!(nginx, weir);
    assert_eq!(nginx.iter().filter(|status| **status == 200).count(), 10);
}
