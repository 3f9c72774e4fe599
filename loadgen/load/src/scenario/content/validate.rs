//! The checks that make what is written about requests something that can be sent.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    AtEnd, Expect, Extract, Feed, FeedData, Flow, FlowStep, From, HeaderCheck, JsonCheck, JsonPath,
    JsonValueCheck, Login, Order, Pattern, RequestSpec, Size, Statuses, Template, TextCheck,
    Variable,
    names::Names,
    raw::{
        RawExpect, RawExtract, RawFeed, RawFlow, RawJsonCheck, RawLogin, RawRequest, RawTextCheck,
    },
    text,
};
use crate::scenario::{locate::Step, validate::Wrong};

/// What a scenario file says about what is sent.
pub(in crate::scenario) struct RawContent<'a> {
    pub(in crate::scenario) feeds: &'a [RawFeed],
    pub(in crate::scenario) variables: &'a BTreeMap<String, String>,
    pub(in crate::scenario) login: Option<&'a RawLogin>,
    pub(in crate::scenario) requests: &'a [RawRequest],
    pub(in crate::scenario) flows: &'a [RawFlow],
}

/// What is sent, checked.
#[derive(Debug, Clone, Default)]
pub(in crate::scenario) struct Content {
    pub(in crate::scenario) feeds: Vec<Feed>,
    pub(in crate::scenario) variables: Vec<Variable>,
    pub(in crate::scenario) login: Option<Login>,
    pub(in crate::scenario) requests: Vec<RequestSpec>,
    pub(in crate::scenario) flows: Vec<Flow>,
}

/// A field of the document.
#[derive(Clone)]
struct Field(Vec<Step>);

impl Field {
    fn top(name: &str) -> Self {
        Self(vec![Step::from(name)])
    }

    fn at(&self, step: impl Into<Step>) -> Self {
        let mut path = self.0.clone();
        path.push(step.into());
        Self(path)
    }

    fn wrong(self, message: impl Into<String>) -> Wrong {
        Wrong {
            path: self.0,
            message: message.into(),
        }
    }
}

/// Checks what is sent; what is missing comes from `base`. `folder` is where files of data are.
pub(in crate::scenario) fn content(
    raw: &RawContent<'_>,
    base: Content,
    folder: &Path,
) -> Result<Content, Wrong> {
    // What comes from the base keeps its numbers: its templates refer to them.
    let mut feeds = base.feeds;
    for (index, raw) in raw.feeds.iter().enumerate() {
        let feed = feed(raw, &Field::top("feeds").at(index), &feeds, folder)?;
        feeds.push(feed);
    }
    let mut variables = base.variables;
    declare(raw, &mut variables)?;
    let list: Vec<String> = variables.iter().map(|v| v.name.clone()).collect();
    let names = Names::new(&feeds, &list);
    for (name, value) in raw.variables {
        let field = Field::top("variables").at(name.as_str());
        let initial = Template::parse_with(value, &names.feeds_only())
            .map_err(|error| field.wrong(error.to_string()))?;
        if let Some(variable) = variables.iter_mut().find(|v| v.name == *name) {
            variable.initial = Some(initial);
        }
    }
    let own_login = raw.login.map(|raw| login(raw, &names)).transpose()?;
    let mut requests = requests(raw.requests, &names)?;
    let mut flows = flows(raw.flows, &names, &requests)?;
    if requests.is_empty() && flows.is_empty() {
        requests = base.requests;
        flows = base.flows;
    }
    Ok(Content {
        feeds,
        variables,
        login: own_login.or(base.login),
        requests,
        flows,
    })
}

/// Makes a list of all variables: those with a value at the start and those that are extracted.
fn declare(raw: &RawContent<'_>, variables: &mut Vec<Variable>) -> Result<(), Wrong> {
    let mut add = |name: &str, field: Field| {
        let good = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if name.is_empty() || !good {
            return Err(field.wrong(format!(
                "`{name}` is not a name for a variable: letters, digits, `_` and `-`"
            )));
        }
        if !variables.iter().any(|known| known.name == name) {
            variables.push(Variable {
                name: name.to_owned(),
                initial: None,
            });
        }
        Ok(())
    };
    for name in raw.variables.keys() {
        add(name, Field::top("variables").at(name.as_str()))?;
    }
    let mut extracts = |list: &[RawExtract], of: &Field| {
        list.iter().enumerate().try_for_each(|(index, extract)| {
            add(&extract.name, of.at("extract").at(index).at("name"))
        })
    };
    if let Some(login) = raw.login {
        extracts(&login.extract, &Field::top("login"))?;
    }
    for (index, request) in raw.requests.iter().enumerate() {
        extracts(&request.extract, &Field::top("requests").at(index))?;
    }
    for (index, flow) in raw.flows.iter().enumerate() {
        for (step, request) in flow.steps.iter().enumerate() {
            let field = Field::top("flows").at(index).at("steps").at(step);
            extracts(&request.extract, &field)?;
        }
    }
    Ok(())
}

fn feed(raw: &RawFeed, field: &Field, known: &[Feed], folder: &Path) -> Result<Feed, Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if raw.name.is_empty() || !raw.name.chars().all(good) || raw.name == "var" {
        return Err(field.at("name").wrong(
            "must be letters, digits, `_` and `-`, and not `var`: placeholders are written {{NAME.column}}",
        ));
    }
    if known.iter().any(|other| other.name == raw.name) {
        return Err(field
            .at("name")
            .wrong(format!("`{}` is used twice; names are unique", raw.name)));
    }
    if raw.order == Order::Random && raw.at_end == Some(AtEnd::Stop) {
        return Err(field
            .at("at_end")
            .wrong("order = \"random\" has no end; leave `at_end` out, or choose another order"));
    }
    let file = folder.join(&raw.file);
    let data = FeedData::read(&file).map_err(|error| field.at("file").wrong(error.to_string()))?;
    Ok(Feed {
        name: raw.name.clone(),
        file,
        order: raw.order,
        at_end: raw.at_end.unwrap_or_default(),
        per: raw.per,
        data: Arc::new(data),
    })
}

fn login(raw: &RawLogin, names: &Names) -> Result<Login, Wrong> {
    let field = Field::top("login");
    let malformed = |token: &String| token.is_empty() || token.split('.').any(str::is_empty);
    if raw.token.as_ref().is_some_and(malformed) {
        return Err(field.at("token").wrong(
            "must be a dotted path into the JSON answer, such as \"access_token\" or \"data.token\"",
        ));
    }
    Ok(Login {
        method: text::method(&raw.method).map_err(|why| field.at("method").wrong(why))?,
        path: text::path(&raw.path, names).map_err(|why| field.at("path").wrong(why))?,
        body: text::body(raw.body.as_deref(), names).map_err(|why| field.at("body").wrong(why))?,
        headers: text::headers(&raw.headers, names)
            .map_err(|(name, why)| field.at("headers").at(name.as_str()).wrong(why))?,
        token: raw.token.clone(),
        expect: expect(&raw.expect, &field.at("expect"))?,
        extract: extracts(&raw.extract, &field.at("extract"), names)?,
    })
}

fn requests(raw: &[RawRequest], names: &Names) -> Result<Vec<RequestSpec>, Wrong> {
    let mut requests: Vec<RequestSpec> = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let field = Field::top("requests").at(index);
        if requests.iter().any(|other| other.name == raw.name) {
            return Err(field
                .at("name")
                .wrong(format!("`{}` is used twice; names are unique", raw.name)));
        }
        if raw.think_time.is_some() {
            return Err(field.at("think_time").wrong(
                "belongs to the steps of a flow; between requests users pause for `load.think_time`",
            ));
        }
        let weight = weight(raw.weight, &field)?;
        requests.push(request(raw, weight, &field, names)?);
    }
    Ok(requests)
}

fn flows(raw: &[RawFlow], names: &Names, requests: &[RequestSpec]) -> Result<Vec<Flow>, Wrong> {
    let mut flows: Vec<Flow> = Vec::with_capacity(raw.len());
    let mut taken: Vec<String> = requests.iter().map(|r| r.name.clone()).collect();
    for (index, raw) in raw.iter().enumerate() {
        let field = Field::top("flows").at(index);
        if raw.name.is_empty() || flows.iter().any(|other| other.name == raw.name) {
            return Err(field.at("name").wrong("must not be empty nor used twice"));
        }
        if raw.steps.is_empty() {
            return Err(field.at("steps").wrong(
                "a flow needs at least one step: add a `[[flows.steps]]` table with `name` and `path`",
            ));
        }
        let weight = weight(raw.weight, &field)?;
        let mut steps = Vec::with_capacity(raw.steps.len());
        for (index, step) in raw.steps.iter().enumerate() {
            let field = field.at("steps").at(index);
            if taken.contains(&step.name) {
                return Err(field.at("name").wrong(format!(
                    "`{}` is used twice; names of requests and steps are unique",
                    step.name
                )));
            }
            if step.weight.is_some() {
                return Err(field
                    .at("weight")
                    .wrong("a step has no weight of its own; give one to its flow"));
            }
            taken.push(step.name.clone());
            let think_time = step.think_time.or(raw.think_time).map(|text| text.0);
            if think_time.is_some_and(|think_time| !think_time.is_in_order()) {
                return Err(field
                    .at("think_time")
                    .wrong("`min` is above `max`; swap them"));
            }
            steps.push(FlowStep {
                request: request(step, weight, &field, names)?,
                think_time,
            });
        }
        flows.push(Flow {
            name: raw.name.clone(),
            weight,
            on_failure: raw.on_failure,
            steps,
        });
    }
    Ok(flows)
}

fn weight(weight: Option<f64>, field: &Field) -> Result<f64, Wrong> {
    let weight = weight.unwrap_or(1.0);
    if weight.is_finite() && weight > 0.0 {
        Ok(weight)
    } else {
        Err(field.at("weight").wrong("must be a number above 0"))
    }
}

fn request(
    raw: &RawRequest,
    weight: f64,
    field: &Field,
    names: &Names,
) -> Result<RequestSpec, Wrong> {
    if raw.name.is_empty() || raw.name.chars().any(|c| c == ',' || c.is_whitespace()) {
        return Err(field
            .at("name")
            .wrong("must not be empty nor hold commas or spaces: it tags lines of interval logs"));
    }
    Ok(RequestSpec {
        name: raw.name.clone(),
        method: text::method(&raw.method).map_err(|why| field.at("method").wrong(why))?,
        path: text::path(&raw.path, names).map_err(|why| field.at("path").wrong(why))?,
        headers: text::headers(&raw.headers, names)
            .map_err(|(name, why)| field.at("headers").at(name.as_str()).wrong(why))?,
        body: text::body(raw.body.as_deref(), names).map_err(|why| field.at("body").wrong(why))?,
        weight,
        expect: expect(&raw.expect, &field.at("expect"))?,
        extract: extracts(&raw.extract, &field.at("extract"), names)?,
    })
}

fn extracts(raw: &[RawExtract], field: &Field, names: &Names) -> Result<Vec<Extract>, Wrong> {
    let one = |(index, raw): (usize, &RawExtract)| {
        let field = field.at(index);
        let from = match (&raw.json_path, &raw.header, &raw.regex) {
            (Some(_), Some(_), _) => {
                return Err(field.wrong("`json_path` and `header` exclude each other"));
            }
            (Some(path), None, _) => From::JsonPath(
                JsonPath::parse(path).map_err(|why| field.at("json_path").wrong(why))?,
            ),
            (None, Some(name), _) => From::Header(header_name(name, &field.at("header"))?),
            (None, None, Some(_)) => From::Body,
            (None, None, None) => {
                return Err(field.wrong(
                    "needs to say from where: `json_path = \"$.id\"`, `header = \"Location\"`, or a `regex` for the body",
                ));
            }
        };
        let regex = pattern(raw.regex.as_ref(), &field.at("regex"))?;
        Ok(Extract {
            name: raw.name.clone(),
            variable: names.variable(&raw.name).unwrap_or_default(),
            from,
            regex,
        })
    };
    raw.iter().enumerate().map(one).collect()
}

fn header_name(name: &str, field: &Field) -> Result<String, Wrong> {
    http::HeaderName::from_bytes(name.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| {
            field.clone().wrong(format!(
                "`{name}` is not a header name: letters, digits and `-`"
            ))
        })
}

fn pattern(text: Option<&String>, field: &Field) -> Result<Option<Pattern>, Wrong> {
    text.map(|text| Pattern::parse(text).map_err(|why| field.clone().wrong(why)))
        .transpose()
}

fn expect(raw: &RawExpect, field: &Field) -> Result<Expect, Wrong> {
    let mut headers = Vec::with_capacity(raw.headers.len());
    for (name, check) in &raw.headers {
        let field = field.at("headers").at(name.as_str());
        headers.push(HeaderCheck {
            name: header_name(name, &field)?,
            value: text_check(check, &field)?,
        });
    }
    let size = raw.size.as_ref().map_or(Size::default(), |size| Size {
        min: size.min,
        max: size.max,
    });
    if matches!((size.min, size.max), (Some(min), Some(max)) if min > max) {
        return Err(field.at("size").wrong("`min` is above `max`; swap them"));
    }
    let max_time = raw.max_time.map(|text| text.0);
    if max_time.is_some_and(|time| time.is_zero()) {
        return Err(field.at("max_time").wrong("must be above 0"));
    }
    let json = raw.json.iter().enumerate();
    Ok(Expect {
        status: raw
            .status
            .as_ref()
            .map_or_else(Statuses::default, |text| Statuses::new(text.0.clone())),
        headers,
        size,
        body_contains: raw.body_contains.clone(),
        body_matches: pattern(raw.body_matches.as_ref(), &field.at("body_matches"))?,
        json: json
            .map(|(index, check)| json_check(check, &field.at("json").at(index)))
            .collect::<Result<_, _>>()?,
        max_time,
    })
}

fn text_check(raw: &RawTextCheck, field: &Field) -> Result<TextCheck, Wrong> {
    match (&raw.contains, &raw.equals, &raw.matches, raw.exists) {
        (Some(part), None, None, None) => Ok(TextCheck::Contains(part.clone())),
        (None, Some(whole), None, None) => Ok(TextCheck::Equals(whole.clone())),
        (None, None, Some(text), None) => Pattern::parse(text)
            .map(TextCheck::Matches)
            .map_err(|why| field.at("matches").wrong(why)),
        (None, None, None, Some(exists)) => Ok(TextCheck::Exists(exists)),
        _ => Err(field
            .clone()
            .wrong("needs exactly one of `contains`, `equals`, `matches` and `exists`")),
    }
}

fn json_check(raw: &RawJsonCheck, field: &Field) -> Result<JsonCheck, Wrong> {
    let path = JsonPath::parse(&raw.path).map_err(|why| field.at("path").wrong(why))?;
    let mut given = Vec::new();
    if let Some(exists) = raw.exists {
        given.push(JsonValueCheck::Exists(exists));
    }
    if let Some(wanted) = &raw.equals {
        let wanted = serde_json::to_value(wanted)
            .map_err(|error| field.at("equals").wrong(error.to_string()))?;
        given.push(JsonValueCheck::Equals(wanted));
    }
    if let Some(part) = &raw.contains {
        given.push(JsonValueCheck::Contains(part.clone()));
    }
    if let Some(pattern) = pattern(raw.matches.as_ref(), &field.at("matches"))? {
        given.push(JsonValueCheck::Matches(pattern));
    }
    if let Some(count) = raw.count {
        given.push(JsonValueCheck::Count(count));
    }
    if raw.min.is_some() || raw.max.is_some() {
        given.push(JsonValueCheck::Between {
            min: raw.min,
            max: raw.max,
        });
    }
    if given.len() > 1 {
        return Err(field.clone().wrong(
            "has more than one of `exists`, `equals`, `contains`, `matches`, `count` and `min`/`max`; write one check for each",
        ));
    }
    Ok(JsonCheck {
        path,
        value: given.pop().unwrap_or(JsonValueCheck::Exists(true)),
    })
}
