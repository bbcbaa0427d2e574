//! What is generated is as generated.

use std::path::Path;

#[test]
fn generated_files_are_up_to_date() {
    let differences = his_operator::generate::differences(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(differences.is_empty(), "run `cargo gen`:\n{}", differences.join("\n"));
}
