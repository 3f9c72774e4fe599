//! Finding a scenario: a file, a name in the folder of scenarios, or one that is built in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Scenario, ScenarioError, Setting,
    file::RawScenario,
    list,
    locate::{self, Step},
    set,
    validate::{Wrong, validate, wrong},
};

/// Folder of the scenarios that can be chosen by name, relative to the working directory.
pub const FOLDER: &str = "config/scenarios";

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../config/scenarios/", $name, ".toml")))),*]
    };
}

/// Scenarios that are there without any file, so that names work from every folder.
const BUILT_IN: [(&str, &str); 14] = built_in![
    "all",
    "baseline",
    "burst",
    "ci",
    "documented",
    "edge",
    "endurance",
    "heavy",
    "load",
    "rate",
    "smoke",
    "soak",
    "spike",
    "stress",
];

/// The text of a scenario and where it is from.
pub(super) struct Source {
    pub(super) text: String,
    pub(super) origin: String,
    path: Option<PathBuf>,
}

impl Scenario {
    /// Loads a scenario by path, or by name from [`FOLDER`], or one that is built in.
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read, or is not valid.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        Self::load_from(name_or_path, Path::new(FOLDER))
    }

    /// Loads a scenario by path, or by name from a folder, or one that is built in.
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read, or is not valid.
    pub fn load_from(name_or_path: &str, folder: &Path) -> Result<Self, ScenarioError> {
        Self::load_with(name_or_path, folder, &[])
    }

    /// Loads a scenario by path, or by name from a folder, with some of its values changed.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load_from`]; mistakes in a changed value are those of `--set`.
    pub fn load_with(
        name_or_path: &str,
        folder: &Path,
        settings: &[Setting],
    ) -> Result<Self, ScenarioError> {
        let mut source = find(name_or_path, folder)?;
        if !settings.is_empty() {
            let base = base_of(&source, folder);
            let base = base.as_ref().map(|base| base.text.as_str());
            source.text = set::write_all(&source.text, base, settings)
                .map_err(|(field, message)| of_setting(&field, &message))?;
        }
        let mut scenario = parse(&source, folder, true).map_err(|error| match error {
            ScenarioError::Invalid { field, message, .. }
                if settings.iter().any(|setting| setting.field() == field) =>
            {
                of_setting(&field, &message)
            }
            other => other,
        })?;
        scenario.source = source.path;
        Ok(scenario)
    }

    /// The names that a name stands for: itself, or those of a list of scenarios.
    ///
    /// # Errors
    ///
    /// When it does not exist, cannot be read, or is a list that is not valid.
    pub fn names_of(name_or_path: &str, folder: &Path) -> Result<Vec<String>, ScenarioError> {
        let source = find(name_or_path, folder)?;
        Ok(list::parse(&source.text, &source.origin)?
            .map_or_else(|| vec![name_or_path.to_owned()], |list| list.scenarios))
    }

    /// Loads a scenario as [`Scenario::load`] does, or all those that a list of scenarios names.
    ///
    /// # Errors
    ///
    /// When one of them does not exist, cannot be read, or is not valid.
    pub fn load_all(name_or_path: &str) -> Result<Vec<Self>, ScenarioError> {
        Self::load_all_from(name_or_path, Path::new(FOLDER))
    }

    /// Loads the scenarios that a name stands for, from a folder.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load_all`].
    pub fn load_all_from(name_or_path: &str, folder: &Path) -> Result<Vec<Self>, ScenarioError> {
        let source = find(name_or_path, folder)?;
        let Some(list) = list::parse(&source.text, &source.origin)? else {
            return Ok(vec![Self::load_from(name_or_path, folder)?]);
        };
        let load = |(index, name): (usize, &String)| {
            Self::load_from(name, folder).map_err(|error| {
                list::misplaced(&source.text, &source.origin, index, error.to_string())
            })
        };
        list.scenarios.iter().enumerate().map(load).collect()
    }

    /// Parses and validates the text of a scenario; `origin` names it in errors. Files of data are
    /// sought from the working directory.
    ///
    /// # Errors
    ///
    /// [`ScenarioError::Invalid`] with line, column and field of the first mistake.
    pub fn parse(source: &str, origin: &str) -> Result<Self, ScenarioError> {
        let source = Source {
            text: source.to_owned(),
            origin: origin.to_owned(),
            path: None,
        };
        parse(&source, Path::new(FOLDER), true)
    }

    /// Names that can be chosen: those of a folder and those built in, sorted.
    pub fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .chain(BUILT_IN.map(|(name, _)| name.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

pub(super) fn find(name_or_path: &str, folder: &Path) -> Result<Source, ScenarioError> {
    let given = Path::new(name_or_path);
    let named = folder.join(format!("{name_or_path}.toml"));
    // A folder that happens to have the name of a scenario is not meant.
    let path = if given.exists() && !given.is_dir() {
        given
    } else if !name_or_path.is_empty() && named.is_file() {
        &named
    } else {
        let built_in = BUILT_IN.iter().find(|(name, _)| *name == name_or_path);
        return built_in.map_or_else(
            || {
                Err(ScenarioError::NotFound {
                    name: name_or_path.to_owned(),
                    searched: folder.to_owned(),
                    known: Scenario::names_in(folder),
                })
            },
            |(name, text)| {
                Ok(Source {
                    text: (*text).to_owned(),
                    origin: format!("built-in scenario {name}"),
                    path: None,
                })
            },
        );
    };
    let text = fs::read_to_string(path).map_err(|source| ScenarioError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(Source {
        text,
        origin: path.display().to_string(),
        path: Some(path.to_owned()),
    })
}

fn parse(source: &Source, folder: &Path, may_extend: bool) -> Result<Scenario, ScenarioError> {
    // Files of data are named from where the scenario is.
    let home = source.path.as_deref().and_then(Path::parent);
    let Source {
        text: source,
        origin,
        ..
    } = source;
    let invalid = |offset: usize, path: &[Step], message: String| {
        let (line, column) = locate::line_column(source, offset);
        ScenarioError::Invalid {
            file: origin.clone(),
            line,
            column,
            field: locate::display(path),
            message,
        }
    };
    if let Some(list) = list::parse(source, origin)? {
        let message = format!(
            "a list of scenarios, which `weir-bench run` runs one after the other; name one of them here: {}",
            list.scenarios.join(", ")
        );
        return Err(invalid(
            locate::offset_of(source, &[Step::from("scenarios")]),
            &[Step::from("scenarios")],
            message,
        ));
    }
    let misplaced =
        |Wrong { path, message }: Wrong| invalid(locate::offset_of(source, &path), &path, message);
    let raw: RawScenario = toml::from_str(source).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let path = locate::path_at(source, offset);
        invalid(offset, &path, error.message().replace('\n', "; "))
    })?;
    let base = match &raw.extends {
        Some(name) => Some(
            extended(name, folder, may_extend)
                .map_err(|message| misplaced(wrong([Step::from("extends")], message)))?,
        ),
        None => None,
    };
    validate(raw, base, home.unwrap_or(Path::new(""))).map_err(misplaced)
}

fn of_setting(field: &str, message: &str) -> ScenarioError {
    ScenarioError::Override {
        flag: "--set",
        message: format!("{field}: {message}"),
    }
}

/// The scenario that another one extends, if it says so and there is one.
pub(super) fn base_of(source: &Source, folder: &Path) -> Option<Source> {
    let document: toml::Table = toml::from_str(&source.text).ok()?;
    find(document.get("extends")?.as_str()?, folder).ok()
}

/// Loads the scenario that another one extends.
fn extended(name: &str, folder: &Path, may_extend: bool) -> Result<Scenario, String> {
    if !may_extend {
        return Err("a scenario that is extended cannot extend another one".into());
    }
    let source = find(name, folder).map_err(|error| error.to_string())?;
    parse(&source, folder, false).map_err(|error| error.to_string())
}
