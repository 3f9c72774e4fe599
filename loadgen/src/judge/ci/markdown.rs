//! Markdown: a heading and a table for each judgement.

use super::{Judgement, Outcome};

/// Judgements as Markdown, in GitHub's dialect.
#[must_use]
pub fn markdown(judgements: &[Judgement]) -> String {
    let mut text = String::new();
    for judgement in judgements {
        text += &format!(
            "### {} {}: {}\n\n",
            sign(judgement),
            escape(&judgement.title),
            judgement.result
        );
        text += &format!("Run `{}`\n\n", judgement.id.replace('`', "'"));
        text += "| metric | value | required | status |\n|---|---:|---:|---|\n";
        for check in &judgement.checks {
            let status = if check.note.is_empty() {
                check.outcome.text().to_owned()
            } else {
                format!("{}: {}", check.outcome.text(), check.note)
            };
            let bold = if matches!(check.outcome, Outcome::Failed | Outcome::Invalid) {
                "**"
            } else {
                ""
            };
            text += &format!(
                "| {} | {} | {} | {bold}{}{bold} |\n",
                escape(&check.name),
                escape(&check.value),
                escape(&check.limit),
                escape(&status),
            );
        }
        text.push('\n');
        for note in &judgement.notes {
            text += &format!("{}\n\n", escape(note));
        }
    }
    text
}

fn sign(judgement: &Judgement) -> &'static str {
    let is = |outcome| {
        judgement
            .checks
            .iter()
            .any(|check| check.outcome == outcome)
    };
    if is(Outcome::Failed) || is(Outcome::Invalid) {
        "❌"
    } else if is(Outcome::Warning) {
        "⚠️"
    } else {
        "✅"
    }
}

/// Text that Markdown shows as it is, on one line and within one cell.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '\r' | '\n' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' => {
                escaped.push('\\');
                escaped.push(symbol);
            }
            _ => escaped.push(symbol),
        }
    }
    escaped
}
