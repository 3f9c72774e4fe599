//! The generator's own ceiling on this machine, as it was found and stored.

pub mod share;
pub mod stored;
mod way;

pub use self::{
    stored::{Calibration, ceiling},
    way::Way,
};
