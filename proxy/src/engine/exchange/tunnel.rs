//! After `101 Switching Protocols`: bytes in both directions at once, until both have ended.
//!
//! The end of one direction is passed on and leaves the other open. Nothing of this proxy's own
//! enters the stream, and however it ends says nothing about the server. As in nginx a tunnel ends
//! when it has been idle for `timeouts.read`, or when a side has taken nothing for `timeouts.send`.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use weir_api::settings::Timeouts;

use super::super::downstream::Downstream;
use super::super::turn::Turn;
use super::super::upstream::UpstreamConn;
use super::Progress;
use super::stall::Stall;

/// How far one direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The sender has ended; the receiver has not been told yet.
    Ending,
    Closed,
}

struct Tunnel<'a> {
    client: &'a mut Downstream,
    server: &'a mut UpstreamConn,
    timeouts: &'a Timeouts,
    up: Way,
    down: Way,
    /// A side broke: what it has sent is still passed on, and then all ends.
    broken: bool,
    active: Instant,
    client_stall: Stall,
    server_stall: Stall,
    down_bytes: u64,
}

/// Passes bytes on until both directions have ended, or the tunnel is idle for too long.
pub(super) async fn run(
    client: &mut Downstream,
    server: &mut UpstreamConn,
    timeouts: &Timeouts,
    progress: &mut Progress,
) {
    client.start_tunnel();
    server.start_tunnel();
    let mut tunnel = Tunnel {
        client,
        server,
        timeouts,
        up: Way::Open,
        down: Way::Open,
        broken: false,
        active: Instant::now(),
        client_stall: Stall::default(),
        server_stall: Stall::default(),
        down_bytes: 0,
    };
    poll_fn(|cx| tunnel.poll(cx)).await;
    progress.body_bytes += tunnel.down_bytes;
}

impl Tunnel<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut turn = Turn::new();
        loop {
            let mut moved = self.poll_down(cx, &mut turn);
            if !self.broken {
                moved |= self.poll_up(cx, &mut turn);
            }
            let over = self.down == Way::Closed && (self.up == Way::Closed || self.broken);
            if over {
                return Poll::Ready(());
            }
            if moved {
                self.active = Instant::now();
            }
            if turn.is_over() {
                Turn::pass(cx);
                return Poll::Pending;
            }
            if !moved {
                return self.poll_limits(cx);
            }
        }
    }

    /// From the client to the server. Returns whether anything moved.
    fn poll_up(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        let mut moved = false;
        while self.up == Way::Open && !turn.is_over() {
            match self.client.poll_body(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.up = Way::Ending,
                Poll::Ready(Err(_)) => {
                    // Whoever reset its side wants nothing more.
                    self.up = Way::Closed;
                    self.down = Way::Closed;
                    return true;
                }
                Poll::Pending => break,
            }
            if self.up != Way::Open {
                break;
            }
            match self.server.poll_send(cx, self.client.piece()) {
                Poll::Ready(Ok(n)) => {
                    self.client.consume(n);
                    self.server_stall.clear();
                    turn.spend(n);
                    moved = true;
                }
                Poll::Ready(Err(_)) => {
                    self.broken = true;
                    return true;
                }
                Poll::Pending => {
                    self.server_stall
                        .note(self.server.bytes_written(), Instant::now());
                    return moved;
                }
            }
        }
        let flushed = match self.up {
            Way::Open => self.server.poll_flush(cx),
            Way::Ending => self.server.poll_shutdown(cx),
            Way::Closed => return moved,
        };
        match flushed {
            Poll::Ready(Ok(())) => {
                self.server_stall.clear();
                if self.up == Way::Ending {
                    self.up = Way::Closed;
                    moved = true;
                }
            }
            Poll::Ready(Err(_)) => {
                self.broken = true;
                moved = true;
            }
            Poll::Pending => self
                .server_stall
                .note(self.server.bytes_written(), Instant::now()),
        }
        moved
    }

    /// From the server to the client. Returns whether anything moved.
    fn poll_down(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        let mut moved = false;
        while self.down == Way::Open && !turn.is_over() {
            match self.server.poll_body(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.down = Way::Ending,
                Poll::Ready(Err(_)) => {
                    self.broken = true;
                    self.down = Way::Ending;
                }
                Poll::Pending => break,
            }
            if self.down != Way::Open {
                break;
            }
            match self.client.poll_send(cx, self.server.piece()) {
                Poll::Ready(Ok(n)) => {
                    self.server.consume(n);
                    self.down_bytes += n as u64;
                    self.client_stall.clear();
                    turn.spend(n);
                    moved = true;
                }
                Poll::Ready(Err(_)) => {
                    self.broken = true;
                    self.down = Way::Closed;
                    return true;
                }
                Poll::Pending => {
                    self.client_stall
                        .note(self.client.bytes_written(), Instant::now());
                    return moved;
                }
            }
        }
        let flushed = match self.down {
            Way::Open => self.client.poll_flush(cx),
            Way::Ending => self.client.poll_shutdown(cx),
            Way::Closed => return moved,
        };
        match flushed {
            Poll::Ready(Ok(())) => {
                self.client_stall.clear();
                if self.down == Way::Ending {
                    self.down = Way::Closed;
                    moved = true;
                }
            }
            Poll::Ready(Err(_)) => {
                self.broken = true;
                self.down = Way::Closed;
                moved = true;
            }
            Poll::Pending => self
                .client_stall
                .note(self.client.bytes_written(), Instant::now()),
        }
        moved
    }

    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let send = self.timeouts.send;
        let stalls = [self.client_stall.since(), self.server_stall.since()];
        let stalled = stalls.into_iter().flatten().map(|since| since + send).min();
        let idle = self.active + self.timeouts.read;
        let deadline = stalled.map_or(idle, |stalled| stalled.min(idle));
        self.client.poll_until(cx, deadline)
    }
}
