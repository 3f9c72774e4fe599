//! The end of a process, and the change to another: HTTP/2 clients lose nothing.

use nix::sys::signal::Signal;
use weir_tests::frames::*;
use weir_tests::process::free_address;
use weir_tests::{Frames, Gate, Origin, Reply, Weir, eventually, within};

use super::h2c;

#[tokio::test]
async fn a_drain_tells_clients_first_and_finishes_what_is_in_flight() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("late").when(&gate)).await;
    let mut weir = h2c(&[&api]).start().await;
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(request(1)).await;
    api.is_serving(1).await;
    weir.process.signal(Signal::SIGTERM);
    let warning = frames.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(
        (warning.code(), warning.last_stream()),
        (NO_ERROR, (1 << 31) - 1)
    );
    // A request that was on its way is still taken.
    frames.send(request(3)).await;
    api.is_serving(2).await;
    let ask = frames.until(|frame| frame.kind == PING).await.unwrap();
    frames.send(frame(PING, ACK, 0, &ask.payload)).await;
    let last = frames.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!((last.code(), last.last_stream()), (NO_ERROR, 3));
    gate.open();
    let mut ends = 0;
    while let Some(frame) = frames.next().await {
        ends += u32::from(frame.kind == DATA && frame.has(END_STREAM));
    }
    assert_eq!(ends, 2);
    assert_eq!(weir.process.exit_code().await, Some(0));
}

#[tokio::test]
async fn idle_connections_do_not_hold_a_stop_up() {
    let api = Origin::named("a").await;
    let mut weir = h2c(&[&api]).with("timeouts.drain = '60s'").start().await;
    let mut idle = Frames::open(weir.addr()).await;
    idle.send(request(1)).await;
    assert_eq!(idle.answer(1).await.0, Some(200));
    let fresh = Frames::open(weir.addr()).await;
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    let goaway = idle.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goaway.code(), NO_ERROR);
    drop(fresh);
}

#[tokio::test]
async fn a_hand_over_under_load_loses_no_request() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let builder = Weir::before(&[&api]).with(&format!(
        "listener = [{{ address = '{}', h2c = true }}]
         server.upgrade_socket = '{}'",
        free_address(),
        dir.path().join("upgrade.sock").display(),
    ));
    let mut old = builder.clone().start().await;
    let address = old.addr();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            tokio::spawn(async move {
                let mut answers = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    answers += until_told_to_go(address, &stop).await;
                }
                answers
            })
        })
        .collect();
    eventually("load", || api.count() > 200).await;
    let new = builder.start_upgrading(&old).await;
    assert_eq!(
        within("the old process", old.process.exit_code()).await,
        Some(0)
    );
    let before = api.count();
    eventually("load on the new process", || api.count() > before + 200).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut answers = 0;
    for client in clients {
        answers += within("a client", client).await.unwrap();
    }
    assert!(answers > 400, "{answers}");
    drop(new);
}

/// Asks one request after the other, ten at a time, until GOAWAY. Each that a server may have taken is answered.
async fn until_told_to_go(
    address: std::net::SocketAddr,
    stop: &std::sync::atomic::AtomicBool,
) -> usize {
    let mut frames = Frames::open(address).await;
    let (mut next, mut answers, mut open) = (1, 0, std::collections::HashSet::new());
    let mut going = false;
    loop {
        going |= stop.load(std::sync::atomic::Ordering::Relaxed);
        while !going && open.len() < 10 {
            frames.send(request(next)).await;
            open.insert(next);
            next += 2;
        }
        if open.is_empty() {
            return answers;
        }
        let Some(frame) = frames.next().await else {
            panic!("closed with {open:?} unanswered");
        };
        match frame.kind {
            GOAWAY => {
                assert_eq!(frame.code(), NO_ERROR);
                going = true;
                // What the server has not taken can be asked again without harm.
                open.retain(|stream| *stream <= frame.last_stream());
            }
            PING if !frame.has(ACK) => {
                frames
                    .send(weir_tests::frames::frame(PING, ACK, 0, &frame.payload))
                    .await;
            }
            RST_STREAM => panic!("{frame:?}"),
            DATA | HEADERS if frame.has(END_STREAM) => {
                open.remove(&frame.stream);
                answers += 1;
            }
            _ => {}
        }
        if frame.kind == DATA && !frame.payload.is_empty() {
            let len = frame.payload.len() as u32;
            frames.send(window_update(0, len)).await;
        }
    }
}

#[tokio::test]
async fn a_reload_leaves_connections_alone() {
    let api = Origin::named("a").await;
    let mut weir = h2c(&[&api]).start().await;
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(request(1)).await;
    assert_eq!(frames.answer(1).await.0, Some(200));
    weir.rewrite_config("client.max_streams = 7");
    weir.process.signal(Signal::SIGHUP);
    weir_tests::wait::eventually_some("the reload", async || {
        let settings = weir.admin.settings().await;
        (settings["client"]["max_streams"] == 7).then_some(())
    })
    .await;
    frames.send(request(3)).await;
    assert_eq!(frames.answer(3).await.0, Some(200));
    // New connections are told of the new limit.
    let mut fresh = Frames::silent(weir.addr()).await;
    fresh.send(PREFACE).await;
    let settings = fresh.next().await.unwrap().payload;
    assert!(
        settings.chunks(6).any(|it| it == setting(3, 7)),
        "{settings:?}"
    );
}
