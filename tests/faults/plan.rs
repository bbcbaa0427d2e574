//! What goes wrong, where, while a hospital is led from one state to the next. Every plan has a name that people replay it by.

use std::{fmt, str::FromStr};

/// What is asked of a hospital, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It is new.
    Create,
    /// A parameter and a host change.
    Edit,
    /// More pods of one component.
    Scale,
    /// A generated secret gets another value.
    Rotate,
    /// It is left alone, while its spec changes.
    Pause,
    /// The pause ends, and the change is made.
    Resume,
    /// Another version, with a migration before it.
    Upgrade,
    /// The application ends and the data stays.
    Delete,
    /// The same name again, with consent to take the data over.
    Recreate,
}

impl Operation {
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Edit,
        Self::Scale,
        Self::Rotate,
        Self::Pause,
        Self::Resume,
        Self::Upgrade,
        Self::Delete,
        Self::Recreate,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Scale => "scale",
            Self::Rotate => "rotate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Upgrade => "upgrade",
            Self::Delete => "delete",
            Self::Recreate => "recreate",
        }
    }
}

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The operator ends: neither this nor anything later of this hospital is answered, until the next process.
    Kill,
    /// It is answered with this HTTP status.
    Status(u16),
    /// It is never answered.
    Timeout,
    /// The connection breaks.
    Reset,
    /// Half of the answer arrives.
    Truncated,
    /// It and all others of this hospital in the next seconds are answered with 500.
    Outage,
    /// The hospital is deleted at this moment.
    Deleted,
}

impl Fault {
    /// API errors and crashes; each can come before and after the server has done what was asked.
    pub const ANYWHERE: [Self; 10] = [
        Self::Kill,
        Self::Status(409),
        Self::Status(410),
        Self::Status(429),
        Self::Status(500),
        Self::Status(503),
        Self::Status(504),
        Self::Timeout,
        Self::Reset,
        Self::Truncated,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Status(code) => write!(f, "{code}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Reset => f.write_str("reset"),
            Self::Truncated => f.write_str("truncated"),
            Self::Outage => f.write_str("outage"),
            Self::Deleted => f.write_str("deleted"),
        }
    }
}

/// Whether the server has done what was asked when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// One thing that goes wrong, at the n-th write that the operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plan {
    pub operation: Operation,
    pub side: Side,
    pub position: usize,
    pub fault: Fault,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Before { "before" } else { "after" };
        write!(f, "{}/{side}-{}/{}", self.operation.name(), self.position, self.fault)
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(id: &str) -> Result<Self, String> {
        let wrong = || format!("{id:?} is no plan; one is for example create/after-9/reset");
        let [operation, place, fault] = id.split('/').collect::<Vec<_>>()[..] else { return Err(wrong()) };
        let operation = Operation::ALL.into_iter().find(|known| known.name() == operation).ok_or_else(wrong)?;
        let (side, position) = place.split_once('-').ok_or_else(wrong)?;
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return Err(wrong()),
        };
        let position = position.parse().ok().filter(|position| *position > 0).ok_or_else(wrong)?;
        let all = Fault::ANYWHERE.into_iter().chain([Fault::Outage, Fault::Deleted]);
        let fault = all.into_iter().find(|known| known.to_string() == fault).ok_or_else(wrong)?;
        Ok(Self { operation, side, position, fault })
    }
}

/// Everything that can go wrong in an operation of that many writes: the full product.
pub fn product(operation: Operation, writes: usize) -> Vec<Plan> {
    let mut plans = Vec::new();
    for position in 1..=writes {
        for fault in Fault::ANYWHERE {
            for side in [Side::Before, Side::After] {
                plans.push(Plan { operation, side, position, fault });
            }
        }
        plans.push(Plan { operation, side: Side::Before, position, fault: Fault::Outage });
        // A hospital that is deleted cannot go on with the operations after this one. The last few writes may not come.
        if operation == Operation::Create && position + 5 < writes {
            plans.push(Plan { operation, side: Side::Before, position, fault: Fault::Deleted });
        }
    }
    plans
}

/// At most that many of them, evenly spread, so that every fault and every part of the operation occurs.
pub fn sample(mut plans: Vec<Plan>, most: usize) -> Vec<Plan> {
    plans.sort_by_key(|plan| (plan.fault, plan.side, plan.position));
    let all = plans.len();
    let chosen = |at: usize| at * most / all.max(1) != (at + 1) * most / all.max(1);
    plans.into_iter().enumerate().filter(|(at, _)| all <= most || chosen(*at)).map(|(_, plan)| plan).collect()
}

#[test]
fn every_plan_is_found_again_by_its_id_and_none_twice() {
    let all: Vec<Plan> = Operation::ALL.into_iter().flat_map(|operation| product(operation, 30)).collect();
    let ids: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(ids.len(), all.len());
    for plan in &all {
        assert_eq!(plan.to_string().parse::<Plan>().as_ref(), Ok(plan));
    }
    for wrong in
        ["", "create", "create/after-0/reset", "create/after-x/reset", "burn/after-1/reset", "create/after-1/418"]
    {
        assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
    }
}

#[test]
fn a_sample_has_every_fault_on_both_sides() {
    let chosen = sample(product(Operation::Create, 55), 48);
    assert_eq!(chosen.len(), 48);
    let kinds: std::collections::BTreeSet<_> = chosen.iter().map(|plan| (plan.fault, plan.side)).collect();
    assert_eq!(kinds.len(), 22, "{kinds:?}");
    assert!(chosen.iter().any(|plan| plan.position < 8) && chosen.iter().any(|plan| plan.position > 48));
}
