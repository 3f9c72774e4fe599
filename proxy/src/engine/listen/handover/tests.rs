#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use tokio::net::UnixStream;

use super::wire::Wire;
use super::*;

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn pair() -> (Wire, Wire) {
    let (a, b) = UnixStream::pair().unwrap();
    (Wire::new(a, user()).unwrap(), Wire::new(b, user()).unwrap())
}

#[tokio::test]
async fn a_process_of_another_user_is_not_dealt_with() {
    let (a, _b) = UnixStream::pair().unwrap();
    let error = Wire::new(a, user() + 1).unwrap_err();
    assert!(matches!(
        error,
        HandOverError::Foreign { theirs, .. } if theirs == user()
    ));
}

#[tokio::test]
async fn a_last_word_has_arrived_or_its_sender_learns_that_it_has_not() {
    let (a, mut b) = pair();
    a.send(&Message::Serving).await.unwrap();
    assert_eq!(b.last_word().await.unwrap(), Message::Serving);
    assert!(matches!(
        a.send(&Message::Serving).await,
        Err(HandOverError::Ended)
    ));

    let (a, mut b) = pair();
    assert!(matches!(b.last_word().await, Err(HandOverError::Silent)));
    assert!(matches!(
        a.send(&Message::Serving).await,
        Err(HandOverError::Ended)
    ));
}

#[tokio::test]
async fn many_sockets_arrive_with_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("upgrade.sock");
    let sockets: Vec<TcpListener> = (0..150)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let addresses: Vec<_> = sockets.iter().map(|it| it.local_addr().unwrap()).collect();
    let named: Vec<_> = sockets
        .into_iter()
        .map(|it| (Name::Listener(it.local_addr().unwrap()), it.into()))
        .collect();
    let waiting = Waiting::at(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(
        Waiting::at(&path),
        Err(HandOverError::Taken { .. })
    ));
    let taking = async {
        let mut offered = waiting.offered().await.unwrap();
        for address in &addresses {
            let socket = offered.sockets.listener(&(*address).into()).unwrap();
            let socket = std::net::TcpListener::from(socket);
            assert_eq!(socket.local_addr().unwrap(), *address);
        }
        assert_eq!(offered.sockets.rest().count(), 0);
        offered.ready().await.unwrap()
    };
    let (successor, predecessor) = tokio::join!(hand_over(&path, &named), taking);
    assert!(!path.exists());
    let mut successor = successor.unwrap();
    predecessor.leave().await;
    assert_eq!(successor.ended().await, After::Left);
    // The lock is free again, and so is the path.
    drop(Waiting::at(&path).unwrap());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_successor_that_declines_or_dies_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("upgrade.sock");
    let waiting = Waiting::at(&path).unwrap();
    let declining = async { waiting.offered().await.unwrap().decline("no room").await };
    let (done, ()) = tokio::join!(hand_over(&path, &[]), declining);
    assert!(matches!(done, Err(HandOverError::Failed(why)) if why == "no room"));

    let waiting = Waiting::at(&path).unwrap();
    let dying = async { drop(waiting.offered().await.unwrap()) };
    let (done, ()) = tokio::join!(hand_over(&path, &[]), dying);
    assert!(matches!(done, Err(HandOverError::Ended)));
}

#[tokio::test]
async fn a_successor_that_is_gone_within_its_probation_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("upgrade.sock");
    let waiting = Waiting::at(&path).unwrap();
    let dying = async {
        let offered = waiting.offered().await.unwrap();
        let ready = tokio::time::timeout(PROBATION / 10, offered.ready()).await;
        assert!(ready.is_err());
    };
    let (done, ()) = tokio::join!(hand_over(&path, &[]), dying);
    assert!(matches!(done, Err(HandOverError::Ended)));
}
