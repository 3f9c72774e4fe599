//! Exit codes of the program (docs/reference/exit-codes.md); 0 means that all went well.

/// Usage, or a configuration that cannot be used.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Something failed at run time.
pub(crate) const EXIT_FAILED: u8 = 1;
