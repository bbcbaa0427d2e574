//! How many pods a component has.

use super::{Tenant, max_replicas};
use crate::{api::v1alpha1::Component, conditions::Rejection};

/// Number of pods of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// As many as the specs say; whoever changes it, it is changed back.
    Fixed(i32),
    /// As many as its autoscaler says.
    Within(Bounds),
}

/// What an autoscaler may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Least number of pods.
    pub least: i32,
    /// Greatest number of pods; never below the least.
    pub most: i32,
    /// CPU that they shall use, in percent of what they reserve.
    pub cpu_percent: i32,
}

impl Bounds {
    /// The nearest number that is allowed.
    pub fn nearest(self, pods: i32) -> i32 {
        pods.min(self.most).max(self.least)
    }
}

impl Count {
    /// Least number of pods.
    pub fn least(self) -> i32 {
        match self {
            Self::Fixed(pods) => pods,
            Self::Within(bounds) => bounds.least,
        }
    }

    /// Greatest number of pods, the surge of a release not counted.
    pub fn most(self) -> i32 {
        match self {
            Self::Fixed(pods) => pods,
            Self::Within(bounds) => bounds.most,
        }
    }

    /// What its autoscaler may do, if it has one.
    pub fn bounds(self) -> Option<Bounds> {
        match self {
            Self::Fixed(_) => None,
            Self::Within(bounds) => Some(bounds),
        }
    }
}

impl Tenant {
    /// How many pods a component has, within the application's and the platform's bounds. A floor above the application's
    /// maximum leaves an autoscaler no room, but is kept.
    pub fn count(&self, component: &Component) -> Result<Count, Rejection> {
        let least = self.replicas(component)?;
        let autoscaling = component.autoscaling.as_ref().filter(|_| component.singleton != Some(true));
        Ok(autoscaling.map_or(Count::Fixed(least), |autoscaling| {
            let most = max_replicas(component).max(least);
            Count::Within(Bounds { least, most, cpu_percent: autoscaling.cpu_percent })
        }))
    }
}
