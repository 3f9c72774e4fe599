//! `weir-bench import`: write a scenario out of a recording, a document or a log.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use weir_lab::stdio;
use weir_load::scenario::Scenario;

use crate::{
    exit::{Exit, Usage},
    import::{Choice, Draft, Shape, access_log, har, openapi},
};

/// Arguments of `weir-bench import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to import.
    #[command(subcommand)]
    source: Source,
}

/// What to import.
#[derive(Debug, clap::Subcommand)]
enum Source {
    /// What a browser or a proxy recorded: a HAR file becomes a flow, or weighted requests.
    Har {
        /// The recording.
        file: PathBuf,
        /// Host whose requests are taken [default: that of the first request].
        #[arg(long, value_name = "HOST[:PORT]")]
        host: Option<String>,
        /// How the requests are put together.
        #[arg(long = "as", value_enum, default_value_t = Shape::Flow)]
        shape: Shape,
        /// What is taken over and where it goes.
        #[command(flatten)]
        common: Common,
    },
    /// An OpenAPI 3 or Swagger 2 document, JSON or YAML: one request for each operation.
    Openapi {
        /// The document.
        file: PathBuf,
        /// What is taken over and where it goes.
        #[command(flatten)]
        common: Common,
    },
    /// An access log, of nginx (combined) or of weir (JSON): a trace, and a scenario to replay it.
    AccessLog {
        /// The log; .gz is read, too.
        file: PathBuf,
        /// Where the trace goes [default: beside the scenario, NAME.trace.jsonl].
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// What is taken over and where it goes.
        #[command(flatten)]
        common: Common,
    },
}

/// What is taken over and where it goes.
#[derive(Debug, clap::Args)]
struct Common {
    /// Where the scenario goes [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name of the scenario [default: that of the output, or of the source].
    #[arg(long)]
    name: Option<String>,
    /// Take over requests that change something, too: POST, PUT, PATCH, DELETE.
    #[arg(long)]
    all_methods: bool,
    /// Take over Authorization, cookies, tokens and passwords, too.
    #[arg(long)]
    keep_secrets: bool,
}

impl Common {
    fn choice(&self) -> Choice {
        Choice {
            all_methods: self.all_methods,
            keep_secrets: self.keep_secrets,
        }
    }

    fn name(&self, source: &Path) -> String {
        let named = self.output.as_deref().unwrap_or(source);
        let stem = named.file_stem().and_then(|stem| stem.to_str());
        self.name
            .clone()
            .or_else(|| stem.map(str::to_owned))
            .unwrap_or_default()
    }
}

/// Runs `weir-bench import`.
///
/// # Errors
///
/// [`Usage`] when the source cannot be used; other errors when the result cannot be written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    match args.source {
        Source::Har {
            file,
            host,
            shape,
            common,
        } => {
            let name = common.name(&file);
            let draft =
                har(&file, &name, host.as_deref(), shape, common.choice()).map_err(Usage::new)?;
            write_scenario(&draft, &common, true)?;
        }
        Source::Openapi { file, common } => {
            let name = common.name(&file);
            let draft = openapi(&file, &name, common.choice()).map_err(Usage::new)?;
            write_scenario(&draft, &common, true)?;
        }
        Source::AccessLog {
            file,
            trace,
            common,
        } => replay(&file, trace.as_deref(), &common)?,
    }
    Ok(Exit::Passed.into())
}

fn replay(file: &Path, trace: Option<&Path>, common: &Common) -> anyhow::Result<()> {
    let name = common.name(file);
    let beside = common.output.as_deref().and_then(Path::parent);
    let folder = beside.unwrap_or(Path::new(""));
    let trace = match trace {
        Some(trace) => trace.to_owned(),
        None => folder.join(format!("{name}.trace.jsonl")),
    };
    // The scenario names its trace from where it is itself.
    let named = match trace.strip_prefix(folder) {
        Ok(inside) if !folder.as_os_str().is_empty() => inside.to_owned(),
        _ if beside.is_none() || trace.is_absolute() => trace.clone(),
        _ => std::path::absolute(&trace).context("naming the trace")?,
    };
    let Some(named) = named.to_str() else {
        return Err(Usage::new("`--trace` must be UTF-8: a scenario names it").into());
    };
    let log = access_log(file, &name, named, common.choice()).map_err(Usage::new)?;
    let writing = || format!("writing the trace {}", trace.display());
    let out = File::create(&trace).with_context(writing)?;
    log.write_trace(BufWriter::new(out)).with_context(writing)?;
    stdio::note(format_args!(
        "{}: {} requests",
        trace.display(),
        log.trace.len()
    ));
    write_scenario(&log.draft, common, false)?;
    if let Some(output) = &common.output {
        Scenario::load(&output.to_string_lossy()).context("what was written cannot be loaded")?;
    }
    Ok(())
}

/// Writes the scenario, and its remarks to standard error as well.
fn write_scenario(draft: &Draft, common: &Common, check: bool) -> anyhow::Result<()> {
    let toml = draft.to_toml();
    if check {
        Scenario::parse(&toml, "the imported scenario")
            .context("what was made of it cannot be loaded; this is a mistake of weir-bench")?;
    }
    match &common.output {
        Some(path) => {
            std::fs::write(path, &toml)
                .with_context(|| format!("writing the scenario {}", path.display()))?;
            stdio::note(format_args!(
                "{}: {} requests",
                path.display(),
                draft.requests()
            ));
            for note in &draft.notes {
                stdio::note(format_args!("  {}", note.replace('\n', "\n  ")));
            }
        }
        None => stdio::text(&toml)?,
    }
    Ok(())
}
