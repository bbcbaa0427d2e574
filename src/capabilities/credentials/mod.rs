#![doc = include_str!("README.md")]

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;

use crate::{
    api::v1alpha1::{GeneratedSecret, SecretKind},
    capabilities::{
        Capability, Contributions, Input, Peer,
        isolation::metadata,
        release::{self, users},
    },
    conditions::{Reason, Rejection, Verdict, Verdicts},
    names,
    objects::{Desired, Generated, Kind, Material, Object, kind},
    tenant::{
        Tenant,
        secrets::{self, FIRST, generation_of, secret_key, secret_name},
        template::{BUCKETS, CACHE, SECRETS},
    },
};

/// See the module documentation.
#[derive(Debug)]
pub struct Credentials;

/// Secrets to make, and Secrets to wait for.
#[derive(Clone, Debug)]
pub struct Plan {
    own: Vec<Generated>,
    foreign: BTreeSet<String>,
}

impl Capability for Credentials {
    const NAME: &'static str = "credentials";
    const CONDITION: &'static str = "CredentialsReady";
    const KINDS: &'static [Kind] = &[kind::SECRET];
    type Plan = Plan;

    fn plan(input: Input<'_>, shared: &mut Contributions, _: &Verdicts) -> Result<Plan, Rejection> {
        let tenant = input.tenant;
        let mut foreign: BTreeSet<String> =
            tenant.database.iter().flat_map(crate::tenant::Database::foreign_secrets).collect();
        let dependencies = tenant.application.dependencies.clone().unwrap_or_default();
        let bindings = tenant.spec.bindings.clone().unwrap_or_default();
        if dependencies.cache.is_some() {
            let cache = bindings.cache.ok_or_else(|| missing("spec.bindings.cache", "a cache"))?;
            foreign.insert(cache.secret);
            let to = Peer::addresses(&cache.cidrs);
            outside(tenant, shared, CACHE, to, cache.port.unwrap_or(6379));
        }
        for bucket in dependencies.buckets {
            let field = format!("spec.bindings.buckets.{}", bucket.name);
            let binding = bindings.buckets.get(&bucket.name).ok_or_else(|| missing(&field, "a bucket"))?;
            foreign.insert(binding.secret.clone());
            let to = Peer::addresses(&binding.cidrs);
            outside(tenant, shared, &format!("{BUCKETS}.{}", bucket.name), to, port_of(&binding.endpoint));
        }
        let mut own = Vec::new();
        for secret in &tenant.application.secrets {
            let generations = generations(input, secret)?;
            own.extend(generations.into_iter().map(|generation| generated(tenant, secret, generation)));
        }
        Ok(Plan { own, foreign })
    }

    fn render(plan: &Plan, _: Input<'_>, _: &Contributions) -> Vec<Desired> {
        plan.own.iter().cloned().map(Desired::Generate).collect()
    }

    fn assess(plan: &Plan, input: Input<'_>) -> Verdict {
        let namespace = &input.tenant.namespace;
        let seen = |name: &str| input.observed.get(kind::SECRET, namespace, name).is_some();
        if let Some(name) = plan.foreign.iter().find(|name| !seen(name)) {
            let message = format!("Secret {name} does not exist in namespace {namespace}; create it there");
            return Verdict::failed(Reason::SecretNotFound, message);
        }
        let unseen = plan.own.iter().find(|secret| !seen(&secret.object.at.name));
        match unseen {
            Some(secret) => {
                Verdict::unknown(Reason::Progressing, format!("Secret {} was not seen yet", secret.object.at.name))
            }
            None => Verdict::proved(format!(
                "{} generated and {} provided Secrets were seen{}",
                plan.own.len(),
                plan.foreign.len(),
                rotated(input.tenant)
            )),
        }
    }
}

/// A Secret that is made once.
pub fn secret(tenant: &Tenant, capability: &str, name: &str, values: BTreeMap<String, Material>) -> Generated {
    let typed = Secret { metadata: metadata(tenant, capability, name), ..Secret::default() };
    Generated { object: Object::new(kind::SECRET, &typed), values }
}

/// The generations of a secret that must be there: that in use, the one before it, and all that were ever made: what was
/// encrypted with an old key is worth nothing without it.
fn generations(input: Input<'_>, declared: &GeneratedSecret) -> Result<BTreeSet<i32>, Rejection> {
    let (tenant, name) = (input.tenant, &declared.name);
    let (wanted, before) = (tenant.generation(name), tenant.previous_generation(name));
    let ours = input.observed.objects.keys().filter(|at| at.kind == kind::SECRET && at.namespace == tenant.namespace);
    let known = |name: &str| generation_of(declared, name.strip_suffix(names::RESCUE).unwrap_or(name));
    let seen: BTreeSet<i32> = ours.filter_map(|at| known(&at.name)).collect();
    let refused = |message: String| Err(Rejection::terminal(secrets::field(name), Reason::RotationRefused, message));
    if wanted > FIRST && release::components_that_use(tenant, &format!("{SECRETS}.{name}")).next().is_none() {
        return refused(format!(
            "only lifecycle steps use {name}, and what they did with it is done; change it in the application, and remove this"
        ));
    }
    if let (Some(newest), false) = (seen.last(), wanted == FIRST || seen.contains(&wanted) || seen.contains(&before)) {
        return refused(format!(
            "generation {newest} is the newest of {name}; to rotate it, write {}",
            newest.saturating_add(1)
        ));
    }
    Ok(seen.into_iter().chain([wanted, before]).collect())
}

/// Which generations are in use, where it is not the first.
fn rotated(tenant: &Tenant) -> String {
    let names = tenant.application.secrets.iter().map(|secret| &secret.name);
    let rotated = names.filter(|name| tenant.generation(name) > FIRST);
    let parts: Vec<_> = rotated.map(|name| format!("; {name} is in generation {}", tenant.generation(name))).collect();
    parts.concat()
}

fn generated(tenant: &Tenant, declared: &GeneratedSecret, generation: i32) -> Generated {
    let material = match declared.kind {
        SecretKind::Random => Material::Password(50),
        SecretKind::Rsa => Material::RsaKey(2048),
        SecretKind::Jwks => Material::JwksBase64(2048),
    };
    let values = BTreeMap::from([(secret_key(declared.kind).to_owned(), material)]);
    secret(tenant, Credentials::NAME, &secret_name(&declared.name, generation), values)
}

fn missing(field: &str, what: &str) -> Rejection {
    let message = format!("the application depends on {what} that the tenant does not bind; add {field}");
    Rejection::terminal(field, Reason::BindingMissing, message)
}

/// What names a bound service in its texts may reach it; nothing else may.
fn outside(tenant: &Tenant, shared: &mut Contributions, group: &str, to: Option<Peer>, port: i32) {
    let Some(to) = to else { return };
    for user in users(tenant, group) {
        shared.flow(Peer::Component(user), to.clone(), port, format!("bound service {group}"));
    }
}

fn port_of(endpoint: &str) -> i32 {
    let authority = endpoint.trim_start_matches("https://").split('/').next().unwrap_or_default();
    authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
}
