//! From file names to text: the command line shared by `his-operator render` and `kubectl his plan`.
//!
//! Guarantees: all or nothing; if one hospital of the files is refused, no other is printed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use clap::Args;

use super::{Definitions, Format, Outcome, Problem, ReadError, read, show, simulate::simulate};
use crate::{
    api::v1alpha1::HospitalTenant, capabilities::kinds, conditions::Rejection, names, objects::Observed,
    settings::Settings, tenant::Inputs,
};

/// What to render, and under which assumptions.
#[derive(Args, Clone, Debug)]
// Flattened into other `Arguments`, whose group would have the same name.
#[group(skip)]
pub struct Arguments {
    /// File or directory with hospitals and the platforms and applications that they name; - reads standard input. May
    /// be repeated.
    #[arg(short, long = "filename", value_name = "FILE", required = true, value_hint = clap::ValueHint::AnyPath)]
    files: Vec<String>,
    /// Only this hospital. May be repeated. Absent: all in the files.
    #[arg(long, value_name = "NAME")]
    tenant: Vec<String>,
    /// Only what is written at once: nothing that waits for a database or a migration.
    #[arg(long)]
    first_step: bool,
    /// Assume that the cluster does not have this CRD (for example clusters.postgresql.cnpg.io). May be repeated.
    #[arg(long, value_name = "CRD")]
    without_crd: Vec<String>,
    /// Plan as of this time (RFC 3339): what is switched off until an earlier time is on again. Absent: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<DateTime<Utc>>,
    /// Image of his-agent, by digest, as the operator in the cluster uses it.
    #[arg(long, value_name = "IMAGE")]
    agent_image: Option<String>,
    /// Namespace of the operator in the cluster.
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
}

/// What to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// For standard output.
    pub text: String,
    /// For standard error: what is accepted and will yet not become Ready.
    pub warnings: Vec<String>,
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The API server would refuse these objects.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// The operator would refuse these hospitals.
    #[error("{}", .0.iter().map(|(place, rejection)| rejected(place, rejection)).collect::<Vec<_>>().join("\n"))]
    Rejected(Vec<(String, Rejection)>),
}

impl Error {
    /// The files were understood, and what they ask for is refused.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Rejected(_))
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn rejected(place: &str, rejection: &Rejection) -> String {
    format!("{place}: {rejection} ({})\n  next: {}", rejection.reason.as_str(), rejection.reason.next())
}

/// RFC 3339.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    parsed.map_err(|_| "not an RFC 3339 time; write for example 2030-01-31T18:00:00Z".to_owned())
}

impl Arguments {
    /// Everything in these files, or one hospital of them, as it ends up.
    pub(crate) fn whole(files: &[String], tenant: Option<&str>) -> Self {
        Self {
            files: files.to_vec(),
            tenant: tenant.into_iter().map(ToOwned::to_owned).collect(),
            first_step: false,
            without_crd: Vec::new(),
            at: None,
            agent_image: None,
            operator_namespace: None,
        }
    }

    /// Reads, checks, plans and prints.
    pub fn run(&self, format: Format, standard_input: &mut dyn Read, now: DateTime<Utc>) -> Result<Report, Error> {
        let outcomes = self.outcomes(standard_input, now)?;
        let warnings = if self.first_step { Vec::new() } else { outcomes.iter().flat_map(warnings).collect() };
        Ok(Report { text: show::text(&outcomes, format), warnings })
    }

    /// Reads, checks and plans.
    pub(crate) fn outcomes(&self, standard_input: &mut dyn Read, now: DateTime<Utc>) -> Result<Vec<Outcome>, Error> {
        let documents = read::documents(&self.files, standard_input)?;
        let definitions = Definitions::decode(&documents).map_err(Error::Invalid)?;
        let crds = self.crds()?;
        let mut outcomes = Vec::new();
        let mut refused = Vec::new();
        for (place, tenant) in self.chosen(&definitions)? {
            let observed = observed(&definitions, tenant, &crds);
            let inputs = Inputs { tenant: tenant.clone(), settings: self.settings(), now: self.at.unwrap_or(now) };
            match simulate(&inputs, &observed, self.first_step) {
                Ok(outcome) => outcomes.push(outcome),
                Err(rejection) => {
                    let name = tenant.metadata.name.as_deref().unwrap_or_default();
                    refused.push((format!("{place} (HospitalTenant {name})"), rejection));
                }
            }
        }
        if refused.is_empty() { Ok(outcomes) } else { Err(Error::Rejected(refused)) }
    }

    fn chosen<'a>(&self, definitions: &'a Definitions) -> Result<Vec<&'a (String, Arc<HospitalTenant>)>, Error> {
        let name = |tenant: &HospitalTenant| tenant.metadata.name.clone().unwrap_or_default();
        let known: BTreeSet<_> = definitions.tenants.iter().map(|(_, tenant)| name(tenant)).collect();
        if known.is_empty() {
            return Err(Error::Usage(
                "the files hold no HospitalTenant; add the file of a hospital with --filename".to_owned(),
            ));
        }
        if let Some(stranger) = self.tenant.iter().find(|wanted| !known.contains(*wanted)) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!(
                "--tenant {stranger}: the files hold no such HospitalTenant; they hold: {known}"
            )));
        }
        let wanted = |tenant: &HospitalTenant| self.tenant.is_empty() || self.tenant.contains(&name(tenant));
        Ok(definitions.tenants.iter().filter(|(_, tenant)| wanted(tenant)).collect())
    }

    /// Every CRD that anything may need, but for those that the cluster is said not to have.
    fn crds(&self) -> Result<BTreeSet<String>, Error> {
        let all: BTreeSet<String> = kinds().iter().filter_map(|kind| kind.crd).map(ToOwned::to_owned).collect();
        if let Some(stranger) = self.without_crd.iter().find(|crd| !all.contains(*crd)) {
            let all = all.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!("--without-crd {stranger}: nothing needs that CRD; known are: {all}")));
        }
        Ok(all.into_iter().filter(|crd| !self.without_crd.contains(crd)).collect())
    }

    fn settings(&self) -> Settings {
        let default = Settings::default();
        Settings {
            agent_image: self.agent_image.clone().unwrap_or(default.agent_image),
            namespace: self.operator_namespace.clone().unwrap_or(default.namespace),
            ..default
        }
    }
}

fn observed(definitions: &Definitions, tenant: &HospitalTenant, crds: &BTreeSet<String>) -> Observed {
    let all: Vec<_> = definitions.tenants.iter().map(|(_, tenant)| tenant.as_ref()).collect();
    let platform = tenant.spec.platform.as_deref().unwrap_or(names::DEFAULT_PLATFORM);
    Observed {
        crds: crds.clone(),
        platform: definitions.platforms.get(platform).cloned(),
        application: definitions.applications.get(&tenant.spec.application.name).cloned(),
        taken_hosts: taken_hosts(&all, tenant),
        ..Observed::default()
    }
}

/// Hosts that another one holds: the oldest, as in the cluster; of those without an age, the first of all.
pub(crate) fn taken_hosts(all: &[&HospitalTenant], tenant: &HospitalTenant) -> BTreeMap<String, String> {
    let rank = |tenant: &HospitalTenant| {
        let created = tenant.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created.is_none(), created, created.and_then(|_| tenant.metadata.uid.clone()))
    };
    let mut by_age = all.to_vec();
    by_age.sort_by_key(|tenant| rank(tenant));
    let hosts = |tenant: &HospitalTenant| {
        std::iter::once(&tenant.spec.host).chain(&tenant.spec.additional_hosts).cloned().collect::<BTreeSet<_>>()
    };
    let wanted = hosts(tenant);
    let mut taken = BTreeMap::new();
    for older in by_age.into_iter().take_while(|other| other.metadata.name != tenant.metadata.name) {
        for host in hosts(older).intersection(&wanted) {
            taken.entry(host.clone()).or_insert_with(|| older.metadata.name.clone().unwrap_or_default());
        }
    }
    taken
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let name = &outcome.tenant.name;
    let open = outcome.verdicts.iter().filter(|(_, verdict)| verdict.proof != crate::conditions::Proof::Proved);
    open.map(|(condition, verdict)| {
        format!(
            "HospitalTenant {name} will not be Ready: {condition}: {} Next: {}",
            sentence(&verdict.message),
            verdict.reason.next()
        )
    })
    .collect()
}

fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}
