//! Counts tests from what `cargo test` prints.

use std::ops::Add;

/// How many passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl Count {
    /// One check that holds.
    pub const ONE: Self = Self { passed: 1, failed: 0 };

    /// Sum of all `test result:` lines. A test run that counts nothing, or skips anything, has not been run.
    pub fn of_cargo_test(output: &str) -> Option<Self> {
        let lines: Vec<_> = output.lines().filter(|line| line.starts_with("test result:")).collect();
        let sum = |word: &str| lines.iter().filter_map(|line| before(line, word)).sum::<u64>();
        let (passed, failed, skipped) = (sum("passed"), sum("failed"), sum("ignored"));
        (passed + failed > 0 && skipped == 0).then_some(Self { passed, failed })
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// The number before a word: `12 passed;`.
fn before(line: &str, word: &str) -> Option<u64> {
    let words: Vec<_> = line.split(|c: char| c.is_whitespace() || c == ';').collect();
    let at = words.iter().position(|w| *w == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
noise
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";

    #[test]
    fn all_results_are_added_up() {
        assert_eq!(Count::of_cargo_test(TWO), Some(Count { passed: 15, failed: 2 }));
    }

    #[test]
    fn a_run_without_tests_or_with_skipped_ones_does_not_count() {
        assert_eq!(Count::of_cargo_test("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"), None);
        assert_eq!(Count::of_cargo_test("test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured"), None);
        assert_eq!(Count::of_cargo_test("error: could not compile"), None);
    }
}
