//! The objects of a hospital without a cluster: `his-operator render` and `kubectl his plan`.
//!
//! Guarantees: runs the very pass that the operator runs ([`crate::reconcile::pass::plan`]) on YAML files, after the checks
//! that the API server would make; reads nothing but the named files and sends nothing anywhere. Values of generated
//! Secrets do not exist here.

mod command;
pub(crate) mod grid;
mod object;
mod read;
mod schema;
mod show;
mod simulate;

pub use command::{Arguments, Error, Report};
pub(crate) use command::{taken_hosts, time};
pub use object::Definitions;
pub(crate) use read::documents;
pub use read::{Document, ReadError};
pub use schema::Problem;
pub use show::Format;
pub use simulate::{Entry, Outcome, simulate};
