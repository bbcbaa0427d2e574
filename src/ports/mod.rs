//! Edges of the pure world: time, randomness, and where names lead.
//!
//! Guarantees: this is the only module that reads the wall clock or makes key material. What it makes is wiped from memory
//! when dropped and never logged; a key that nobody needs again (that of a private certificate authority) is never returned.

mod clock;
mod entropy;
mod resolver;
mod rsa;

pub use clock::{Clock, FixedClock, SystemClock};
pub use entropy::{Entropy, Error, SecretBytes, SystemEntropy, jitter};
pub use resolver::{Answer, Resolver, SystemResolver};
