//! The thread that draws the live screen and listens to keys.

use std::{
    io, panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use weir_lab::sample::Meter;
use weir_load::{
    progress::{Progress, Tick, Watched},
    stop::StopToken,
};

use super::{
    draw::draw,
    ink::Ink,
    screen::{self, Screen},
    state::{About, State},
};

/// Time between two pictures.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// Longest time without a look at whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The live screen; dropping it puts the terminal back.
pub(super) struct Live {
    board: Arc<Board>,
    thread: Option<JoinHandle<()>>,
}

/// What the run and the drawing thread share.
struct Board {
    state: Mutex<State>,
    watched: Mutex<Vec<Watched>>,
    closed: AtomicBool,
}

impl Live {
    /// Takes the terminal over and begins to draw.
    pub(super) fn start(about: About, stop: &StopToken) -> io::Result<Self> {
        let screen = screen::open()?;
        let board = Arc::new(Board {
            state: Mutex::new(State::new(about)),
            watched: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        restore_on_panic(board.clone());
        let forced = board.clone();
        stop.before_forced_end(move || forced.close());
        let (drawn, stopper) = (board.clone(), stop.clone());
        let thread = Builder::new()
            .name("view".into())
            .spawn(move || show(&drawn, screen, &stopper))
            .inspect_err(|_| board.close())?;
        Ok(Self {
            board,
            thread: Some(thread),
        })
    }

    /// Where the run tells how it goes.
    pub(super) fn progress(&self) -> Arc<dyn Progress> {
        self.board.clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.board.closed.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.board.close();
        // A thread that panics cannot change the hook, and the process ends anyway.
        if !std::thread::panicking() {
            drop(panic::take_hook());
        }
    }
}

impl Board {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        screen::restore();
    }
}

impl Progress for Board {
    fn tick(&self, tick: &Tick) {
        self.state.lock().take(tick, Instant::now());
    }

    fn begins(&self, watched: &[Watched]) {
        *self.watched.lock() = watched.to_vec();
    }
}

/// A panic anywhere must be readable: the terminal goes back before its message is printed.
fn restore_on_panic(board: Arc<Board>) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !board.closed.load(Ordering::Acquire) {
            board.close();
        }
        before(info);
    }));
}

fn show(board: &Board, mut screen: Screen, stop: &StopToken) {
    let ink = Ink::of_environment();
    let mut meter: Option<Meter> = None;
    while !board.closed.load(Ordering::Acquire) {
        let next = Instant::now() + REDRAW_EVERY;
        let watched = board.watched.lock().clone();
        if meter.is_none() && !watched.is_empty() {
            meter = Some(Meter::new(watched));
        }
        let usage = meter.as_mut().map(Meter::read).unwrap_or_default();
        // A copy, so that a slow terminal delays nobody else.
        let state = {
            let mut state = board.state.lock();
            state.processes = usage;
            state.stopping = stop.is_stopped();
            state.clone()
        };
        if screen
            .draw(|frame| draw(frame, &state, Instant::now(), &ink))
            .is_err()
        {
            return;
        }
        while Instant::now() < next && !board.closed.load(Ordering::Acquire) {
            listen(LOOK_EVERY, stop);
        }
    }
}

/// Waits for a key for so long at most.
fn listen(within: Duration, stop: &StopToken) {
    match event::poll(within) {
        Ok(true) => {
            if let Ok(Event::Key(key)) = event::read()
                && asks_to_stop(&key)
            {
                stop.again_or_first("the user");
            }
        }
        Ok(false) => {}
        // No keyboard: signals still work.
        Err(_) => std::thread::sleep(within),
    }
}

fn asks_to_stop(key: &KeyEvent) -> bool {
    if key.kind != KeyEventKind::Press {
        return false;
    }
    match key.code {
        KeyCode::Char('q' | 'Q') => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
