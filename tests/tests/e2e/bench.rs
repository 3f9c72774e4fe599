//! The load generator, end to end.
