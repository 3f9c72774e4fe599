//! Everything that is being sampled, and every reading so far.

use std::time::Instant;

use weir_load::progress::{Extent, Watched};

use super::{
    SelectError, Selector,
    container::Container,
    select::{Found, NamePattern, by_pid, descendants},
};
use crate::host::{Detail, Reading, process::read};

/// What a track is read from.
#[derive(Debug, Clone)]
enum Source {
    Process(u32),
    Container(Container),
}

/// The readings of one process or container.
#[derive(Debug, Clone)]
pub struct Track {
    /// Name in reports.
    pub name: String,
    /// Process id; of a container, its main process.
    pub pid: u32,
    /// When each reading was made, and what it showed.
    pub readings: Vec<(Instant, Reading)>,
    /// When it was found to have ended, if it has.
    pub ended: Option<Instant>,
    source: Source,
    /// Start time in clock ticks: tells a process from a later one with the same id.
    started: Option<u64>,
}

impl Track {
    fn new(name: String, pid: u32, source: Source) -> Self {
        Self {
            name,
            pid,
            readings: Vec::new(),
            ended: None,
            source,
            started: None,
        }
    }

    fn look(&mut self, detail: Detail) {
        if self.ended.is_some() {
            return;
        }
        let seen = match &self.source {
            Source::Process(pid) => read(*pid, self.started, detail),
            Source::Container(container) => container.read(self.started, detail),
        };
        let now = Instant::now();
        match seen {
            Some((started, reading)) => {
                self.started = Some(started);
                self.readings.push((now, reading));
            }
            None => self.ended = Some(now),
        }
    }
}

/// Samples processes each time it is told to.
#[derive(Debug, Default)]
pub struct Tracker {
    detail: Detail,
    children: bool,
    names: Vec<NamePattern>,
    tracks: Vec<Track>,
    notes: Vec<String>,
}

impl Tracker {
    /// A tracker that looks this closely; with `children`, also at every process that one of the
    /// chosen ones has started, each as a track of its own.
    #[must_use]
    pub fn new(detail: Detail, children: bool) -> Self {
        Self {
            detail,
            children,
            ..Self::default()
        }
    }

    /// Samples a process or a container under a given name. One that does not exist has ended.
    pub fn watch(&mut self, watched: Watched) {
        let source = match watched.extent {
            Extent::Process => Source::Process(watched.pid),
            Extent::Container => {
                Source::Container(Container::of(watched.name.clone(), watched.pid))
            }
        };
        self.tracks
            .push(Track::new(watched.name, watched.pid, source));
    }

    /// Samples what a selection stands for. A name also selects processes that appear later.
    ///
    /// # Errors
    ///
    /// When it stands for nothing at present.
    pub fn select(&mut self, selector: &Selector) -> Result<(), SelectError> {
        match selector {
            Selector::Pid(pid) => {
                let found = by_pid(*pid).ok_or(SelectError::NoProcess(*pid))?;
                self.add(found);
            }
            Selector::Name(pattern) => {
                let found = pattern.find();
                if found.is_empty() {
                    return Err(pattern.missing());
                }
                found.into_iter().for_each(|found| self.add(found));
                self.names.push(pattern.clone());
            }
            Selector::Container(name) => {
                let container = Container::find(name)?;
                self.notes.push(format!(
                    "container {name}: read from {}",
                    container.source()
                ));
                let (name, pid) = (container.name.clone(), container.pid);
                self.tracks
                    .push(Track::new(name, pid, Source::Container(container)));
            }
        }
        Ok(())
    }

    /// Looks at everything once.
    pub fn sample(&mut self) {
        let newcomers: Vec<_> = self.names.iter().flat_map(NamePattern::find).collect();
        newcomers.into_iter().for_each(|found| self.add(found));
        if self.children {
            let roots: Vec<_> = self.running().map(|track| track.pid).collect();
            let found = descendants(&roots);
            found.into_iter().for_each(|found| self.add(found));
        }
        for track in &mut self.tracks {
            track.look(self.detail);
        }
    }

    /// Every track, those that have ended included.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Tracks that have not ended.
    pub fn running(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(|track| track.ended.is_none())
    }

    /// What a reader should know about where figures come from.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn add(&mut self, found: Found) {
        if self.running().any(|track| track.pid == found.pid) {
            return;
        }
        let source = Source::Process(found.pid);
        self.tracks.push(Track::new(found.name, found.pid, source));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        process::{Command, Stdio},
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_process_that_ends_keeps_what_was_read() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It is `cat`, and no longer about to become it, once it answers.
        let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        to.write_all(b"x").unwrap();
        from.read_exact(&mut [0]).unwrap();
        let detail = Detail {
            sockets: true,
            tcp: true,
            pss: true,
        };
        let mut tracker = Tracker::new(detail, true);
        tracker.select(&Selector::Pid(child.id())).unwrap();
        tracker.select(&Selector::Pid(child.id())).unwrap();
        tracker.sample();
        assert_eq!(tracker.running().count(), 1, "chosen twice, sampled once");
        let (_, reading) = tracker.tracks()[0].readings[0];
        assert!(reading.rss > 0 && reading.threads == 1, "{reading:?}");
        assert!(reading.fds.unwrap() >= 3 && reading.sockets == Some(0));
        assert_eq!(reading.tcp.unwrap().established, 0);
        drop(to);
        child.wait().unwrap();
        tracker.sample();
        tracker.sample();
        let track = &tracker.tracks()[0];
        assert!(track.ended.is_some() && track.readings.len() == 1);
        assert!(matches!(
            tracker.select(&Selector::Pid(child.id())),
            Err(SelectError::NoProcess(_))
        ));
    }

    #[test]
    fn children_are_found_while_they_live() {
        let mut child = Command::new("sh")
            .args(["-c", "cat; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut tracker = Tracker::new(Detail::default(), true);
        tracker.select(&Selector::Pid(child.id())).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while tracker.running().all(|track| track.name != "cat") {
            assert!(Instant::now() < deadline, "no child appeared");
            tracker.sample();
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        tracker.sample();
        assert_eq!(tracker.running().count(), 0);
    }

    #[test]
    fn sockets_are_counted_by_state() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let detail = Detail {
            sockets: true,
            tcp: true,
            pss: false,
        };
        let (_, reading) = read(std::process::id(), None, detail).unwrap();
        let tcp = reading.tcp.unwrap();
        assert!(reading.sockets.unwrap() >= 2, "{reading:?}");
        assert!(tcp.listen >= 1 && tcp.established >= 1, "{tcp:?}");
        drop((client, listener));
    }
}
