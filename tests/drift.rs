//! What is generated is as generated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::default_trait_access,
    clippy::needless_pass_by_value,
    reason = "a test may stop at once"
)]

use std::path::Path;

#[test]
fn generated_files_are_up_to_date() {
    let differences = his_operator::generate::differences(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(differences.is_empty(), "run `cargo gen`:\n{}", differences.join("\n"));
}
