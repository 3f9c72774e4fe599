//! Saving confirmed values to a running proxy: the difference is shown, and asked about, first.

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use weir_api::client::{AdminClient, Terms};

/// Offers to give a proxy these settings for good and to save them to its file. Returns whether it
/// was done.
///
/// # Errors
///
/// When the proxy refuses or does not answer, or nobody can be asked.
pub(crate) fn offer(admin: SocketAddr, patch: &Value, yes: bool) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let client = AdminClient::new(admin)?;
    let terms = |dry_run: bool, expected: Option<u64>| Terms {
        dry_run,
        expected,
        who: "weir-bench tuning".to_owned(),
        why: "confirmed by measurement".to_owned(),
    };
    let shown = runtime
        .block_on(client.patch_settings_on(patch, &terms(true, None)))
        .context("the proxy does not take the confirmed values")?;
    if shown.diff.is_empty() {
        weir_lab::stdio::say(format_args!(
            "the proxy at {admin} has all confirmed values already"
        ));
        return Ok(false);
    }
    weir_lab::stdio::say(format_args!("\nConfirmed values for the proxy at {admin}:"));
    for change in &shown.diff {
        weir_lab::stdio::say(format_args!(
            "  {}: {} → {}",
            change.path, change.old, change.new
        ));
    }
    if !yes && !confirmed()? {
        weir_lab::stdio::say(format_args!("nothing was changed"));
        return Ok(false);
    }
    // Only what was shown: a change by somebody else in between makes it fail (412).
    let changed = runtime
        .block_on(client.patch_settings_on(patch, &terms(false, Some(shown.revision))))
        .context("the proxy refused the change")?;
    let saved = runtime
        .block_on(client.save(&terms(false, Some(changed.revision))))
        .context("the values are in force, but could not be saved to the proxy's file")?;
    weir_lab::stdio::say(format_args!(
        "in force as revision {}, saved to {}:",
        saved.revision, saved.file
    ));
    let _ = weir_lab::stdio::text(format_args!("{}", saved.text_diff));
    Ok(true)
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: add --yes to apply without a question");
    }
    let _ = weir_lab::stdio::text(format_args!("Apply and save? [y/N] "));
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
