//! What can be told of a frame by its header, as the bytes come in (RFC 9113 section 4.1).
//!
//! `h2` parses frames and answers what is wrong in them. Here are the rules that it leaves out or answers with
//! another code than the RFC's, and the counting of frames that only cost.

use h2::Reason;

use super::floods::{Budgets, Flood};

/// Bytes of a frame header.
const HEAD: usize = 9;
/// Largest frame that clients may send, the default (RFC 9113 section 4.2).
const MAX_FRAME: usize = 16 * 1024;
/// Largest flow-control window (RFC 9113 section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// So much room for a field block is kept from one to the next.
const KEPT_BLOCK: usize = 1024;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super::super) struct Violation {
    /// What GOAWAY says.
    pub(in super::super::super) reason: Reason,
    /// What there was too much of, if that is it.
    pub(in super::super::super) flood: Option<Flood>,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub(in super::super::super) struct Limits {
    /// Streams at once.
    pub(in super::super::super) streams: u32,
    /// Largest header list, in bytes.
    pub(in super::super::super) header: u32,
}

/// Follows the frames of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface still to come.
    preface: usize,
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the payload still to come.
    payload: usize,
    kind: Kind,
    flags: u8,
    /// The first frame has come.
    begun: bool,
    /// HEADERS have come without their end.
    in_block: bool,
    /// Nothing but its field block can be wrong with the HEADERS that have come.
    sound: bool,
    /// The field block that came last, as far as it has come.
    block: Vec<u8>,
    last_stream: u32,
    continuations: u32,
    max_continuations: u32,
    /// The setting that is coming in.
    setting: [u8; 6],
    setting_len: usize,
    budgets: Budgets,
}

/// Types of frames (RFC 9113 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

// === impl Violation ===

impl Violation {
    const fn error(reason: Reason) -> Self {
        Self {
            reason,
            flood: None,
        }
    }

    const fn flood(kind: Flood) -> Self {
        Self {
            reason: Reason::ENHANCE_YOUR_CALM,
            flood: Some(kind),
        }
    }
}

// === impl Frames ===

impl Frames {
    pub(super) fn new(limits: Limits) -> Self {
        // As many as the largest header list can need, and some more for those that fill frames badly.
        let needed = limits.header / MAX_FRAME as u32;
        Self {
            preface: super::PREFACE.len(),
            head: [0; HEAD],
            have: 0,
            payload: 0,
            kind: Kind::Unknown,
            flags: 0,
            begun: false,
            in_block: false,
            sound: false,
            block: Vec::new(),
            last_stream: 0,
            continuations: 0,
            max_continuations: (needed + needed / 4).max(5),
            setting: [0; 6],
            setting_len: 0,
            budgets: Budgets::new(limits.streams),
        }
    }

    pub(super) fn budgets(&mut self) -> &mut Budgets {
        &mut self.budgets
    }

    /// Whether the client owes the rest of something that nothing else has a time limit for: all but DATA.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.begun
            || self.have > 0
            || self.in_block
            || (self.payload > 0 && self.kind != Kind::Data)
    }

    /// The field block that what has been followed ends with a part of, if nothing but the block can be wrong.
    pub(super) fn last_block(&self) -> Option<&[u8]> {
        let ends = self.have == 0 && self.payload == 0;
        let is_block = matches!(self.kind, Kind::Headers | Kind::Continuation);
        (self.sound && ends && is_block).then_some(self.block.as_slice())
    }

    /// Follows `bytes`, to the end of the next part of a field block at most. Returns how many of them are good to be
    /// parsed, and what is wrong with the rest.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> (usize, Option<Violation>) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.preface > 0 {
                let n = self.preface.min(rest.len());
                self.preface -= n;
                at += n;
                continue;
            }
            if self.payload > 0 {
                let n = self.payload.min(rest.len());
                if matches!(self.kind, Kind::Headers | Kind::Continuation) {
                    self.block
                        .extend_from_slice(rest.get(..n).unwrap_or_default());
                } else if self.kind == Kind::Settings
                    && let Err(violation) = self.settings(rest.get(..n).unwrap_or_default())
                {
                    return (at, Some(violation));
                }
                self.payload -= n;
                at += n;
                if self.end_of_block() {
                    return (at, None);
                }
                continue;
            }
            let n = (HEAD - self.have).min(rest.len());
            if let (Some(to), Some(from)) =
                (self.head.get_mut(self.have..self.have + n), rest.get(..n))
            {
                to.copy_from_slice(from);
            }
            self.have += n;
            if self.have == HEAD {
                self.have = 0;
                if let Err(violation) = self.begin() {
                    return (at, Some(violation));
                }
                if self.end_of_block() {
                    return (at + n, None);
                }
            }
            at += n;
        }
        (at, None)
    }

    /// Whether a part of a field block has ended.
    fn end_of_block(&mut self) -> bool {
        let ends = self.payload == 0 && matches!(self.kind, Kind::Headers | Kind::Continuation);
        if ends && self.flags & END_HEADERS != 0 {
            self.in_block = false;
        }
        ends
    }

    /// Judges the header that is complete.
    fn begin(&mut self) -> Result<(), Violation> {
        let [a, b, c, kind, flags, s, t, u, v] = self.head;
        let stream = u32::from_be_bytes([s & 0x7f, t, u, v]);
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let has = |flag: u8| flags & flag != 0;
        self.kind = Kind::of(kind);
        self.flags = flags;
        self.payload = len;
        if !self.begun {
            self.begun = true;
            if self.kind != Kind::Settings || has(ACK) {
                return Err(Violation::error(Reason::PROTOCOL_ERROR));
            }
        }
        let padding = usize::from(has(PADDED));
        let right_size = match self.kind {
            Kind::Data => len >= padding,
            Kind::Headers => len >= padding + if has(PRIORITY) { 5 } else { 0 },
            Kind::Priority => len == 5,
            Kind::Reset | Kind::WindowUpdate => len == 4,
            Kind::Settings if has(ACK) => len == 0,
            Kind::Settings => len % 6 == 0,
            Kind::Ping => len == 8,
            Kind::GoAway => len >= 8,
            Kind::PushPromise | Kind::Continuation | Kind::Unknown => true,
        };
        if !right_size || len > MAX_FRAME {
            return Err(Violation::error(Reason::FRAME_SIZE_ERROR));
        }
        if self.in_block && self.kind != Kind::Continuation {
            return Err(Violation::error(Reason::PROTOCOL_ERROR));
        }
        let cost = match self.kind {
            // Padding alone is no content; how much of it there is, is not known yet.
            Kind::Data if len == 0 || (has(PADDED) && len <= 256) => {
                (!has(END_STREAM)).then_some(Flood::Empty)
            }
            Kind::Data => None,
            Kind::Headers => {
                self.in_block = true;
                self.sound =
                    stream % 2 == 1 && stream > self.last_stream && !has(PADDED | PRIORITY);
                match self.block.capacity() > KEPT_BLOCK {
                    true => self.block = Vec::new(),
                    false => self.block.clear(),
                }
                self.last_stream = self.last_stream.max(stream);
                self.continuations = 0;
                self.budgets.request();
                None
            }
            Kind::Continuation => {
                self.sound &= self.in_block && stream == self.last_stream;
                self.continuations += 1;
                if self.continuations > self.max_continuations {
                    return Err(Violation::flood(Flood::Continuations));
                }
                (len == 0 && !has(END_HEADERS)).then_some(Flood::Empty)
            }
            Kind::Reset => Some(Flood::Resets),
            Kind::Settings => Some(Flood::Settings),
            Kind::PushPromise => return Err(Violation::error(Reason::PROTOCOL_ERROR)),
            Kind::Ping => Some(Flood::Pings),
            Kind::WindowUpdate => Some(Flood::WindowUpdates),
            Kind::Priority | Kind::GoAway | Kind::Unknown => Some(Flood::Control),
        };
        match cost {
            Some(kind) if !self.budgets.take(kind) => Err(Violation::flood(kind)),
            _ => Ok(()),
        }
    }

    /// Follows the payload of SETTINGS.
    fn settings(&mut self, payload: &[u8]) -> Result<(), Violation> {
        const INITIAL_WINDOW_SIZE: u16 = 0x4;
        for &byte in payload {
            if let Some(to) = self.setting.get_mut(self.setting_len) {
                *to = byte;
            }
            self.setting_len += 1;
            if self.setting_len == self.setting.len() {
                self.setting_len = 0;
                let [i, j, a, b, c, d] = self.setting;
                if u16::from_be_bytes([i, j]) == INITIAL_WINDOW_SIZE
                    && u32::from_be_bytes([a, b, c, d]) > MAX_WINDOW
                {
                    return Err(Violation::error(Reason::FLOW_CONTROL_ERROR));
                }
            }
        }
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    fn of(code: u8) -> Self {
        match code {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PREFACE;
    use super::*;

    const LIMITS: Limits = Limits {
        streams: 128,
        header: 32 * 1024,
    };

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len() as u32;
        let mut out = len.to_be_bytes()[1..].to_vec();
        out.extend([kind, flags, 0, 0, 0, 1]);
        out.extend(payload);
        out
    }

    /// Follows all bytes, part by part.
    fn follow(frames: &mut Frames, bytes: &[u8]) -> (usize, Option<Violation>) {
        let mut at = 0;
        while at < bytes.len() {
            let (n, violation) = frames.follow(&bytes[at..]);
            at += n;
            if violation.is_some() {
                return (at, violation);
            }
        }
        (at, None)
    }

    fn begun() -> Vec<u8> {
        [PREFACE, &frame(4, 0, &[])].concat()
    }

    #[test]
    fn any_split_of_the_bytes_is_judged_the_same() {
        let good = [begun(), frame(1, 4, b"abc"), frame(0, 1, &[7; 300])].concat();
        let bad = [good.clone(), frame(6, 0, b"short"), frame(0, 0, b"never")].concat();
        for step in 1..bad.len() {
            let mut frames = Frames::new(LIMITS);
            let (mut taken, mut found) = (0, None);
            for piece in bad.chunks(step) {
                let (n, violation) = follow(&mut frames, piece);
                taken += n;
                if violation.is_some() {
                    found = violation;
                    break;
                }
            }
            assert_eq!(
                found,
                Some(Violation::error(Reason::FRAME_SIZE_ERROR)),
                "{step}"
            );
            // Of the bad frame a part of its header may have gone on.
            assert!((good.len()..good.len() + HEAD).contains(&taken), "{step}");
        }
    }

    #[test]
    fn what_is_owed_is_known() {
        let mut frames = Frames::new(LIMITS);
        assert!(frames.is_incomplete(), "the preface");
        follow(&mut frames, &begun());
        assert!(!frames.is_incomplete());
        follow(&mut frames, &frame(1, 0, b"abc"));
        assert!(frames.is_incomplete(), "the end of the headers");
        follow(&mut frames, &frame(9, END_HEADERS, b"abc"));
        assert!(!frames.is_incomplete());
        follow(&mut frames, &frame(0, 0, b"abc")[..10]);
        assert!(!frames.is_incomplete(), "a body has its own limit");
    }

    #[test]
    fn floods_are_named() {
        let many = |kind, flags, payload: &[u8]| {
            let mut frames = Frames::new(LIMITS);
            follow(&mut frames, &begun());
            (0..100_000).find_map(|_| follow(&mut frames, &frame(kind, flags, payload)).1?.flood)
        };
        assert_eq!(many(3, 0, &[0; 4]), Some(Flood::Resets));
        assert_eq!(many(4, 0, &[]), Some(Flood::Settings));
        assert_eq!(many(6, 0, &[0; 8]), Some(Flood::Pings));
        assert_eq!(many(0, 0, &[]), Some(Flood::Empty));
        assert_eq!(many(8, 0, &[0, 0, 0, 1]), Some(Flood::WindowUpdates));
        assert_eq!(many(2, 0, &[0; 5]), Some(Flood::Control));
        assert_eq!(many(99, 0, &[]), Some(Flood::Control));
        assert_eq!(many(0, 0, b"data"), None);
        let mut frames = Frames::new(LIMITS);
        follow(&mut frames, &begun());
        follow(&mut frames, &frame(1, 0, b"a"));
        let found = (0..10).find_map(|_| follow(&mut frames, &frame(9, 0, b"a")).1);
        assert_eq!(found, Some(Violation::flood(Flood::Continuations)));
    }
}
