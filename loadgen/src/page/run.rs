//! `report.html` of a run.

use minijinja::{Value, context, value::Serde};
use weir_load::summary::Summary;

use super::{
    PageError,
    chart::token_css,
    headline::{configuration, headline, tiles},
    plots::plots,
    template::{charts, environment},
};
use crate::results::{RunFolder, RunRecord};
