//! Reverse proxies side by side: `weir`, nginx and HAProxy under the same load on this machine.
//!
//! What is compared is the cost of a request at the proxy. Every contender gets one thread, the
//! same two upstream servers, the same features (rate limit, access log, metrics endpoint) and the
//! same load source, and they take turns (A B C C B A …) so that drift of the machine cancels.
//! The method, and what it cannot show, is described in `docs/benchmarks.md`.

pub mod contender;
pub mod idle;
pub mod measure;
pub mod order;
pub mod report;
pub mod upstreams;
pub mod wrk;
