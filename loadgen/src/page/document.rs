//! A report of tables, charts and sentences, for commands whose result is not one run.

use minijinja::{Value, context, value::Serde};
use serde::Serialize;
use weir_lab::provenance::Provenance;
use weir_load::summary::{Validity, Verdict};

use super::{
    PageError,
    chart::{Plot, token_css},
    template::{Chart, charts, environment},
};
use crate::judge::{Gate, Row};

/// How a badge looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be read with care.
    Warn,
    /// Not as it should be.
    Bad,
}

/// A part of the page, in reading order.
#[derive(Debug, Clone)]
pub enum Part {
    /// A table; its first column holds names, the others numbers.
    Table {
        /// Heading.
        title: String,
        /// Names of the columns.
        header: Vec<String>,
        /// Cells, row by row.
        rows: Vec<Vec<String>>,
        /// How to read it; empty when that is plain.
        note: String,
    },
    /// Charts, side by side where there is room.
    Charts(Vec<Plot>),
    /// Sentences.
    Text {
        /// Heading.
        title: String,
        /// One paragraph each.
        paragraphs: Vec<String>,
    },
}

impl Part {
    /// The table of a verdict: each row with its bound and whether it is met. `what` heads the first column.
    #[must_use]
    pub fn verdict(what: &str, rows: &[Row], note: String) -> Self {
        let cells = rows.iter().map(|row| {
            vec![
                row.metric.clone(),
                row.value.clone(),
                row.threshold.clone(),
                row.status.text().to_owned(),
                row.note.clone(),
            ]
        });
        Self::Table {
            title: "Verdict".into(),
            header: [what, "value", "bound", "status", ""]
                .map(str::to_owned)
                .into(),
            rows: cells.collect(),
            note,
        }
    }
}

/// A page in the making.
#[derive(Debug, Clone)]
pub struct Document {
    title: String,
    lead: String,
    badges: Vec<(String, Tone)>,
    remarks: Vec<String>,
    parts: Vec<Part>,
    provenance: Provenance,
}

#[derive(Serialize)]
struct BadgeView<'a> {
    text: &'a str,
    class: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum PartView<'a> {
    Table {
        title: &'a str,
        header: &'a [String],
        rows: &'a [Vec<String>],
        note: &'a str,
    },
    Charts {
        charts: Vec<Chart>,
    },
    Text {
        title: &'a str,
        paragraphs: &'a [String],
    },
}

impl Document {
    /// A page with a title and the machine that it tells of.
    #[must_use]
    pub fn new(title: String, provenance: &Provenance) -> Self {
        Self {
            title,
            lead: String::new(),
            badges: Vec::new(),
            remarks: Vec::new(),
            parts: Vec::new(),
            provenance: provenance.clone(),
        }
    }

    /// The sentence under the title.
    #[must_use]
    pub fn lead(mut self, text: String) -> Self {
        self.lead = text;
        self
    }

    /// A word about the whole.
    #[must_use]
    pub fn badge(mut self, text: String, tone: Tone) -> Self {
        self.badges.push((text, tone));
        self
    }

    /// Something that a reader must know before the numbers.
    #[must_use]
    pub fn remark(mut self, text: String) -> Self {
        self.remarks.push(text);
        self
    }

    /// The gate as a badge, and why the measurement is not to be believed as it stands.
    #[must_use]
    pub fn gate(self, gate: &str, validity: &Validity) -> Self {
        let tone = match Gate::named(gate) {
            Gate::Passed => Tone::Good,
            Gate::Failed => Tone::Bad,
            Gate::Invalid => Tone::Warn,
        };
        let document = self.badge(format!("gate {gate}"), tone);
        if validity.verdict == Verdict::Valid {
            return document;
        }
        let reasons = validity.reasons.iter().cloned();
        reasons.fold(document, Self::remark)
    }

    /// A further part.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// The page as one file that loads nothing from a network.
    ///
    /// # Errors
    ///
    /// When a chart or the template cannot be rendered.
    pub fn render(&self) -> Result<String, PageError> {
        let badges: Vec<_> = self
            .badges
            .iter()
            .map(|(text, tone)| BadgeView {
                text,
                class: match tone {
                    Tone::Good => "good",
                    Tone::Warn => "warn",
                    Tone::Bad => "bad",
                },
            })
            .collect();
        let parts = self
            .parts
            .iter()
            .map(view)
            .collect::<Result<Vec<_>, PageError>>()?;
        let context = context! {
            title => self.title.clone(),
            lead => self.lead.clone(),
            badges => Value::from(Serde(&badges)),
            remarks => self.remarks.clone(),
            parts_of_page => Value::from(Serde(&parts)),
            provenance => Value::from(Serde(&self.provenance)),
            tokens => token_css(),
        };
        Ok(environment()?
            .get_template("document.html")?
            .render(context)?)
    }
}

fn view(part: &Part) -> Result<PartView<'_>, PageError> {
    Ok(match part {
        Part::Table {
            title,
            header,
            rows,
            note,
        } => PartView::Table {
            title,
            header,
            rows,
            note,
        },
        Part::Charts(plots) => PartView::Charts {
            charts: charts(plots)?,
        },
        Part::Text { title, paragraphs } => PartView::Text { title, paragraphs },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_on_the_page_and_nothing_is_markup() {
        let provenance = Provenance::collect("2026-01-01T00:00:00Z".into());
        let page = Document::new("Title <b>".into(), &provenance)
            .lead("the lead".into())
            .badge("stable".into(), Tone::Good)
            .remark("a remark".into())
            .part(Part::Table {
                title: "Table".into(),
                header: vec!["name".into(), "value".into()],
                rows: vec![vec!["one".into(), "<1>".into()]],
                note: "a note".into(),
            })
            .part(Part::Text {
                title: "Text".into(),
                paragraphs: vec!["a paragraph".into()],
            })
            .render()
            .unwrap();
        for text in [
            "Title &lt;b&gt;",
            "the lead",
            "a remark",
            "&lt;1&gt;",
            "a note",
            "a paragraph",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(page.contains("class=\"badge good\"") && !page.contains("http://127"));
    }
}
