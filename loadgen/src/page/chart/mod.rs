//! Charts of a report: a small vocabulary (plot, axis, series) drawn as SVG.
//!
//! Colours are fixed tokens in the SVG ([`Ink`]); the style sheet of the report gives each token
//! its colour in light and in dark mode. Every plot is drawn twice, wide and narrow, and the page
//! shows the one that fits.

mod axis;
mod draw;
mod scale;

pub use axis::Axis;
pub(crate) use draw::token_css;
pub use draw::{ChartError, Drawn, draw};

/// Size of a drawing in SVG units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// For a screen.
    Wide,
    /// For a phone.
    Narrow,
}

impl Size {
    /// Width and height in SVG units.
    #[must_use]
    pub fn pixels(self) -> (u32, u32) {
        match self {
            Self::Wide => (640, 280),
            Self::Narrow => (360, 250),
        }
    }
}

/// Colour of a series, by meaning. The style sheet decides what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Main series: p50, throughput, response time.
    First,
    /// Second series: p95, service time.
    Second,
    /// Third series: p99.
    Third,
    /// Further series.
    Fourth,
    /// Further series.
    Fifth,
    /// Failures.
    Bad,
    /// Rate limited answers, warnings.
    Warn,
    /// What was intended; thresholds.
    Muted,
}

impl Ink {
    /// In the order in which series of equal rank take them.
    pub const RANKED: [Self; 5] = [
        Self::First,
        Self::Second,
        Self::Fourth,
        Self::Fifth,
        Self::Third,
    ];

    /// The token: a colour that is good on white, and the hook of the style sheet.
    #[must_use]
    pub fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::First => (0x25, 0x63, 0xEB),
            Self::Second => (0x0D, 0x94, 0x88),
            Self::Third => (0xC0, 0x26, 0xD3),
            Self::Fourth => (0xEA, 0x58, 0x0C),
            Self::Fifth => (0x7C, 0x3A, 0xED),
            Self::Bad => (0xDC, 0x26, 0x26),
            Self::Warn => (0xD9, 0x77, 0x06),
            Self::Muted => (0x64, 0x74, 0x8B),
        }
    }

    /// Class name of the legend swatch in the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::First => "ink1",
            Self::Second => "ink2",
            Self::Third => "ink3",
            Self::Fourth => "ink4",
            Self::Fifth => "ink5",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Muted => "muted",
        }
    }

    /// The `index`-th of equally ranked series.
    #[must_use]
    pub fn ranked(index: usize) -> Self {
        Self::RANKED
            .into_iter()
            .cycle()
            .nth(index % Self::RANKED.len())
            .unwrap_or(Self::First)
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A line.
    Line,
    /// A line, and the area under it tinted.
    Filled,
    /// A line, and the area between it and the series before it tinted; their points have the same x.
    Strip,
    /// A dashed line: something intended or required, not measured.
    Dashed,
    /// Bars of this width in data units, stacked on the bars of earlier series.
    Bars(f64),
    /// Bars from each x to x times this ratio, for a logarithmic axis.
    LogBars(f64),
}

/// One point of a series; the gap in a line where nothing was measured.
pub type Point = (f64, Option<f64>);

/// One series of a plot.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Colour.
    pub ink: Ink,
    /// How it is drawn.
    pub shape: Shape,
    /// Points with rising x.
    pub points: Vec<Point>,
}

/// One chart.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Identifier in the page, unique there.
    pub id: String,
    /// Title.
    pub title: String,
    /// One sentence on how to read it.
    pub hint: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, first at the back.
    pub series: Vec<Series>,
}
