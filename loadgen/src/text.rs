//! Text for the terminal: paragraphs that wrap, and the one style of all tables.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

/// Widest table in columns.
const WIDTH: u16 = 100;

/// A table in the one style of all tables.
#[must_use]
pub fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(
            header
                .iter()
                .map(|text| Cell::new(text).add_attribute(Attribute::Bold)),
        );
    table
}

/// The cells of a row whose first column is a name and whose others are numbers.
pub fn name_and_numbers(texts: impl IntoIterator<Item = String>) -> Vec<Cell> {
    let cells = texts.into_iter().enumerate().map(|(at, text)| {
        let cell = Cell::new(text);
        if at == 0 {
            cell
        } else {
            cell.set_alignment(CellAlignment::Right)
        }
    });
    cells.collect()
}

/// A text of at most `width` characters: the middle of a longer one is left out, since paths differ
/// at their ends.
#[must_use]
pub fn shortened(text: &str, width: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail = characters.len() - (kept - head);
    let ends = [&characters[..head], &['…'], &characters[tail..]];
    ends.into_iter().flatten().collect()
}

/// Text broken before the edge of a terminal; the first line begins with `first`, others with `rest`.
#[must_use]
pub fn wrapped(text: &str, first: &str, rest: &str) -> String {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > usize::from(WIDTH) - 2 {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    lines.push(line);
    lines.join("\n")
}
