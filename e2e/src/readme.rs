//! Measured parts of the README: what lies between two marks is made by a command.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::paths;

/// Replaces what is between the marks of this name.
///
/// # Errors
/// Without these marks, or if the README cannot be written.
pub fn publish(name: &str, section: &str) -> Result<()> {
    let readme = paths::repo_root()?.join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    fs::write(&readme, between(&text, name, section)?).with_context(|| format!("cannot write {}", readme.display()))
}

/// The text with what is between the marks replaced.
fn between(text: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let Some((before, rest)) = text.split_once(&begin) else { bail!("README.md has no line {begin}") };
    let Some((_, after)) = rest.split_once(&end) else { bail!("README.md has no line {end}") };
    Ok(format!("{before}{begin}\n{section}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = "a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nb\n<!-- x: begin -->\n<!-- x: end -->\n";
        let new = between(text, "measured", "new\n").unwrap();
        assert_eq!(new, text.replace("old", "new"));
        assert_eq!(between(&new, "measured", "new\n").unwrap(), new);
        assert!(between("nothing", "measured", "new").is_err());
    }
}
