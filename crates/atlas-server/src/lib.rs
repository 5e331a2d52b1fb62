//! Wiring, HTTP API and command line of `atlasai-tp`.
//!
//! The only crate that knows HTTP: statuses, headers, routes and problem documents. Handlers
//! extract, call one feature and shape the answer; what a feature does is below.
//!
//! [`router`] is the whole server as a service and needs no socket; [`server::serve`] puts it on
//! one.

mod api;
mod app;
mod auth;
pub mod cli;
pub mod demo;
mod diagnose;
mod error;
mod extract;
pub mod log;
mod observe;
mod plugs;
mod problem;
mod random;
mod rounds;
mod routes;
pub mod server;
mod tenant_header;
mod token;
mod wire;
pub mod wiring;

/// A request makes some hundred small allocations, and another thread may free them; the system's
/// allocator takes twice as long for that. Here rather than in the program, so that tests and
/// benches run on what the program runs on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use app::App;
pub use auth::PUBLIC_ROUTES;
pub use problem::Problem;
pub use routes::{ROUTES, Route, router};
