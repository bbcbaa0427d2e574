//! Verdicts against the specification: a table of cases, mutants that the table catches, a property, and real packets.

mod cases;
mod fixture;
mod lab;
mod mutants;
mod packets;
mod property;
mod units;
