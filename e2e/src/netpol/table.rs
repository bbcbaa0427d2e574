//! One node's table in the kernel.
//!
//! Guarantees that a packet meets either the rules before or the rules after, never neither: new rules are put into
//! base chains that stay, and what only the old rules used is deleted in a second transaction, when no packet can be
//! walking them any more. (Deleting both in one transaction lets single packets through: the walk sees its sets empty.)
//! Must never touch another table.

use anyhow::Result;

use super::nft::{self, Printed};
use super::ruleset::Ruleset;
use crate::shell;

/// The rules in force in one network namespace.
#[derive(Debug)]
pub struct Table {
    netns: String,
    tag: u64,
    in_force: Option<(Ruleset, Printed)>,
}

impl Table {
    /// `netns` is a name under /run/netns. Nothing is changed yet.
    pub fn new(netns: String) -> Self {
        Self { netns, tag: 0, in_force: None }
    }

    /// Whether these rules are in force already.
    pub fn has(&self, ruleset: &Ruleset) -> bool {
        matches!(&self.in_force, Some((current, _)) if current == ruleset)
    }

    /// Brings rules in force. A table that an enforcer before left behind is replaced whole, as after any failure.
    pub fn enforce(&mut self, ruleset: Ruleset) -> Result<()> {
        self.tag += 1;
        let printed = nft::print(&ruleset, self.tag);
        match self.in_force.take() {
            None => self.load(nft::remove() + &printed.enforce)?,
            Some((_, before)) => {
                self.load(printed.enforce.clone())?;
                self.load(before.retire)?;
            }
        }
        self.in_force = Some((ruleset, printed));
        Ok(())
    }

    /// Lets everything pass again.
    pub fn remove(&mut self) -> Result<()> {
        self.in_force = None;
        self.load(nft::remove())
    }

    fn load(&self, text: String) -> Result<()> {
        shell::nsenter_net(&self.netns, "nft").args(["-f", "-"]).stdin(text).output().map(drop)
    }
}
