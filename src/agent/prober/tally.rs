//! What many answers say together. Pure.

use std::collections::VecDeque;

use crate::api::v1alpha1::{Colour, ReleaseEvidence};

/// One version that answers alone for so long has taken over.
const SETTLED_MILLISECONDS: u64 = 5_000;
/// Requests at the beginning that say whether all was well before anything changed.
const BASELINE: usize = 20;
/// Requests that are looked at for a breach: five seconds at the usual pace.
const WINDOW: usize = 100;
/// So many of the window must have been answered or failed before it says anything.
const ENOUGH: usize = 20;
/// One question that has failed so many times in a row is a breach, however well the others are answered.
const IN_A_ROW: u32 = 10;
/// How long it goes on after a breach until the old pods answer again.
const PATIENCE_MILLISECONDS: u64 = 120_000;

/// One request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// Milliseconds since the beginning at which it was sent.
    pub sent: u64,
    /// Which question it was.
    pub check: usize,
    /// Who answered well, if the answer says so; an error if there was no good answer.
    pub colour: Result<Option<Colour>, ()>,
}

/// All samples so far.
#[derive(Debug)]
pub struct Tally {
    to: Colour,
    samples: Vec<Sample>,
    /// The last ones: whether each has failed.
    recent: VecDeque<bool>,
    /// Of each question how many times in a row it has failed, once it has been answered well.
    failing: Vec<Option<u32>>,
    /// When too many had failed.
    breached: Option<u64>,
    /// Who answered last, and since which request.
    answers: Option<(Colour, u64)>,
    /// The last request that failed or that the new pods answered.
    unsettled: Option<u64>,
}

impl Tally {
    /// Nothing yet; users will be led to this copy, and so many questions are asked in turn.
    pub fn new(to: Colour, checks: usize) -> Self {
        Self {
            to,
            samples: Vec::new(),
            recent: VecDeque::new(),
            failing: vec![None; checks],
            breached: None,
            answers: None,
            unsettled: None,
        }
    }

    /// One more.
    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
        self.recent.push_back(sample.colour.is_err());
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let fails = self.one_fails(sample) || self.many_fail();
        self.breached = self.breached.or(fails.then_some(sample.sent));
        if sample.colour.is_err() || sample.colour == Ok(Some(self.to)) {
            self.unsettled = self.unsettled.max(Some(sample.sent));
        }
        if let Ok(Some(colour)) = sample.colour
            && self.answers.is_none_or(|(last, _)| last != colour)
        {
            self.answers = Some((colour, sample.sent));
        }
    }

    /// Whether the release has to go back.
    pub fn breached(&self) -> bool {
        self.breached.is_some()
    }

    fn many_fail(&self) -> bool {
        let failed = self.recent.iter().filter(|failed| **failed).count();
        self.recent.len() >= ENOUGH && failed * 5 >= self.recent.len() && self.began_well()
    }

    fn one_fails(&mut self, sample: Sample) -> bool {
        let Some(failing) = self.failing.get_mut(sample.check) else { return false };
        *failing = if sample.colour.is_ok() { Some(0) } else { failing.map(|times| times.saturating_add(1)) };
        failing.is_some_and(|times| times >= IN_A_ROW)
    }

    /// A hospital whose requests failed before anything changed says nothing about the change.
    fn began_well(&self) -> bool {
        let first: Vec<_> = self.samples.iter().take(BASELINE).collect();
        first.len() == BASELINE && first.iter().filter(|sample| sample.colour.is_err()).count() * 5 < BASELINE
    }

    /// Nothing more is to be learned: the new copy has answered alone for long enough; or it had, and the old one does again;
    /// or too many had failed, and all is well again or does not become so.
    pub fn knows(&self, now: u64, quiet: u64) -> bool {
        let since = |moment: u64| now.saturating_sub(moment);
        if let Some(breached) = self.breached {
            let well = self.unsettled.is_some_and(|last| since(last) >= SETTLED_MILLISECONDS);
            return well || since(breached) >= PATIENCE_MILLISECONDS;
        }
        let came = self.samples.iter().any(|sample| sample.colour == Ok(Some(self.to)));
        let again = quiet.max(SETTLED_MILLISECONDS);
        self.answers.is_some_and(
            |(colour, first)| {
                if colour == self.to { since(first) >= quiet } else { came && since(first) >= again }
            },
        )
    }

    /// The report.
    pub fn evidence(&self, interval: u64) -> ReleaseEvidence {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        let count = |which: fn(&Sample, Colour) -> bool| {
            number(samples.iter().filter(|sample| which(sample, self.to)).count() as u64)
        };
        let answers = samples.iter().filter_map(|sample| Some((sample.colour.ok().flatten()?, sample.sent)));
        ReleaseEvidence {
            requests: number(samples.len() as u64),
            failed: count(|sample, _| sample.colour.is_err()),
            old: count(|sample, to| sample.colour == Ok(Some(to.other()))),
            new: count(|sample, to| sample.colour == Ok(Some(to))),
            mixed_milliseconds: number(mixed(answers)),
            interval_milliseconds: number(interval),
            breached: self.breached(),
            recovered_milliseconds: self.recovered(&samples).map(number),
        }
    }

    /// Milliseconds from the breach to the first request from which on the old pods alone have answered everything.
    fn recovered(&self, sorted: &[Sample]) -> Option<u64> {
        let (breached, last) = (self.breached?, self.unsettled?);
        let old = Ok(Some(self.to.other()));
        let first = sorted.iter().find(|sample| sample.sent > last && sample.colour == old)?;
        Some(first.sent.saturating_sub(breached))
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A change of who answers, until one of them has answered alone for long enough.
struct Change {
    from: Colour,
    began: u64,
    /// Last request that the one who served before has answered.
    last_of_before: u64,
    /// Who answers now, and since when without a break.
    run: (Colour, u64),
}

impl Change {
    /// Milliseconds in which both answered.
    fn mixed(&self) -> u64 {
        let until = if self.run.0 == self.from { self.run.1 } else { self.last_of_before };
        until.saturating_sub(self.began)
    }
}

/// Milliseconds in which both copies answered requests, in the order in which these were sent. A change at one instant
/// counts nothing, also when it is taken back later.
fn mixed(answers: impl Iterator<Item = (Colour, u64)>) -> u64 {
    let (mut serves, mut change, mut total): (_, Option<Change>, u64) = (None, None, 0);
    for (colour, sent) in answers {
        let before = *serves.get_or_insert(colour);
        let Some(now) = &mut change else {
            if colour != before {
                change = Some(Change { from: before, began: sent, last_of_before: 0, run: (colour, sent) });
            }
            continue;
        };
        if colour != now.run.0 {
            now.run = (colour, sent);
        }
        if colour == now.from {
            now.last_of_before = sent;
        }
        if sent.saturating_sub(now.run.1) >= SETTLED_MILLISECONDS {
            total = total.saturating_add(now.mixed());
            serves = Some(now.run.0);
            change = None;
        }
    }
    total.saturating_add(change.map_or(0, |change| change.mixed()))
}

#[cfg(test)]
mod tests {
    use Colour::{Blue, Green};
    use proptest::prelude::*;

    use super::*;

    /// `bbg.x`: answers of blue, blue, green, one without a colour, one that failed; 100 ms apart.
    fn told(text: &str) -> ReleaseEvidence {
        tallied(text, 1).evidence(100)
    }

    /// The same, of so many questions in turn.
    fn tallied(text: &str, checks: usize) -> Tally {
        let mut tally = Tally::new(Green, checks);
        for (place, answer) in text.chars().enumerate() {
            let colour = match answer {
                'b' => Ok(Some(Blue)),
                'g' => Ok(Some(Green)),
                'x' => Err(()),
                _ => Ok(None),
            };
            tally.add(Sample { sent: place as u64 * 100, check: place % checks, colour });
        }
        tally
    }

    #[test]
    fn a_change_at_one_instant_is_not_mixed() {
        let seen = told(&["b".repeat(30), "g".repeat(70)].concat());
        assert_eq!((seen.requests, seen.failed, seen.old, seen.new, seen.mixed_milliseconds), (100, 0, 30, 70, 0));
    }

    #[test]
    fn both_answer_from_the_first_of_the_new_to_the_last_of_the_old() {
        assert_eq!(told("bbbgbgbggg").mixed_milliseconds, 300);
        assert_eq!(told(&["bbbgb", &"g".repeat(60), "b", &"g".repeat(60)].concat()).mixed_milliseconds, 200);
    }

    #[test]
    fn a_clean_way_there_and_back_is_not_mixed() {
        let there_and_back = ["b".repeat(30), "g".repeat(70), "b".repeat(30)].concat();
        assert_eq!(told(&there_and_back).mixed_milliseconds, 0);
    }

    #[test]
    fn a_short_visit_counts_as_long_as_it_was() {
        assert_eq!(told("bbbgggbbbbbb").mixed_milliseconds, 300);
    }

    #[test]
    fn one_in_five_that_fail_after_a_good_start_are_a_breach() {
        assert!(told(&["b".repeat(20), "x".repeat(5)].concat()).breached);
        assert!(!told(&["b".repeat(20), "x".repeat(4)].concat()).breached);
        assert!(!told(&["x".repeat(20), "x".repeat(50)].concat()).breached, "it failed before");
        assert!(!told("xxxxx").breached, "too few to say");
    }

    #[test]
    fn it_knows_enough_when_the_new_copy_has_answered_alone_for_long_enough() {
        let mut tally = Tally::new(Green, 1);
        tally.add(Sample { sent: 0, check: 0, colour: Ok(Some(Blue)) });
        assert!(!tally.knows(60_000, 2_000), "nothing has changed yet");
        tally.add(Sample { sent: 60_000, check: 0, colour: Ok(Some(Green)) });
        assert!(!tally.knows(61_000, 2_000));
        assert!(tally.knows(62_000, 2_000));
        tally.add(Sample { sent: 61_500, check: 0, colour: Ok(Some(Blue)) });
        assert!(!tally.knows(66_000, 2_000), "the old one may not have taken over again");
        assert!(tally.knows(66_500, 2_000));
    }

    #[test]
    fn one_question_that_fails_ten_times_in_a_row_is_a_breach_among_many_that_do_not() {
        let round = |failing: char| format!("{}{failing}", "g".repeat(9));
        let well = round('g');
        assert!(tallied(&[well.clone(), round('x').repeat(10)].concat(), 10).breached());
        assert!(!tallied(&[well, round('x').repeat(9), round('g'), round('x').repeat(9)].concat(), 10).breached());
        assert!(!tallied(&round('x').repeat(50), 10).breached(), "it was never answered");
    }

    #[test]
    fn after_a_breach_it_goes_on_until_the_old_copy_answers_everything_again() {
        let broken = ["b".repeat(30), "x".repeat(20)].concat();
        assert!(tallied(&broken, 1).breached());
        assert!(!tallied(&broken, 1).knows(9_000, 2_000), "requests still fail");
        assert_eq!(told(&broken).recovered_milliseconds, None);
        let well = tallied(&[broken.as_str(), "bxg", &"b".repeat(5)].concat(), 1);
        assert!(!well.knows(10_100, 2_000));
        assert!(well.knows(10_200, 2_000));
        assert_eq!(well.evidence(100).recovered_milliseconds, Some(1_600));
        assert!(tallied(&broken, 1).knows(124_000, 2_000), "nobody leads users back");
    }

    proptest! {
        #[test]
        fn every_request_is_counted_once_and_no_more_is_mixed_than_the_whole(text in "[bgx.]{0,200}") {
            let seen = told(&text);
            let without_colour = number(text.matches('.').count() as u64);
            prop_assert_eq!(seen.requests, seen.failed + seen.old + seen.new + without_colour);
            prop_assert!(seen.mixed_milliseconds <= number(text.len() as u64 * 100));
        }
    }
}
