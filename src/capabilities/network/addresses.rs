//! Addresses outside of the cluster: which a hospital may name, and which stay denied although a range covers them.
//!
//! Guarantees: no rendered policy allows a metadata service, and none allows the cluster's own addresses, where the platform
//! says which these are.

use crate::{
    api::v1alpha1::{EgressFlow, Lifecycle},
    capabilities::{Contributions, Peer},
    conditions::{Reason, Rejection},
    tenant::{Tenant, cidr::Cidr, special},
};

/// Where clouds hand out credentials of the node: IPv4 (AWS, Azure, Google and others) and IPv6 (AWS).
pub const METADATA_ADDRESSES: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];

fn metadata() -> impl Iterator<Item = Cidr> {
    METADATA_ADDRESSES.iter().filter_map(|text| text.parse().ok()).map(Cidr::single)
}

/// The cluster's own ranges, as the platform names them; those that are none are refused by [`check`].
pub fn cluster(tenant: &Tenant) -> impl Iterator<Item = Cidr> {
    let cidrs = tenant.platform.cluster.iter().flat_map(|cluster| &cluster.cidrs);
    cidrs.filter_map(|text| text.parse().ok())
}

/// The ranges of a peer; none if it is pods.
pub fn of(peer: &Peer) -> Vec<String> {
    match peer {
        Peer::Component(_) | Peer::Elsewhere { .. } => Vec::new(),
        Peer::Addresses { first, more } => std::iter::once(first).chain(more).cloned().collect(),
        Peer::Hosts { addresses, .. } => addresses.iter().map(ToString::to_string).collect(),
        Peer::Internet => special::PUBLIC.map(ToOwned::to_owned).to_vec(),
    }
}

/// What stays denied inside of these ranges of a peer, in the order of its addresses.
pub fn except<T: AsRef<str>>(tenant: &Tenant, peer: &Peer, cidrs: &[T]) -> Vec<String> {
    let allowed: Vec<Cidr> = cidrs.iter().filter_map(|text| text.as_ref().parse().ok()).collect();
    let mut never =
        if *peer == Peer::Internet { not_outside(tenant) } else { metadata().chain(cluster(tenant)).collect() };
    never.retain(|never| allowed.iter().any(|allowed| allowed.covers(*never)));
    never.sort();
    never.dedup();
    // Inside of another one it needs no line of its own.
    let outermost = |one: &&Cidr| !never.iter().any(|other| other != *one && other.covers(**one));
    never.iter().filter(outermost).map(ToString::to_string).collect()
}

/// What is no server on the internet, as every packet would have it: special, a metadata service or the cluster's own.
pub fn not_outside(tenant: &Tenant) -> Vec<Cidr> {
    let plain: Vec<Cidr> = metadata().chain(cluster(tenant)).chain(special::ranges()).collect();
    let translated = plain.iter().filter_map(|range| special::behind_a_translator(*range));
    plain.iter().copied().chain(translated).collect()
}

/// Adds the flows that the spec names.
pub fn contribute(tenant: &Tenant, shared: &mut Contributions) {
    for EgressFlow { component, cidrs, port, reason, .. } in egress(tenant) {
        if let Some(to) = Peer::addresses(cidrs) {
            shared.flow(Peer::component(component), to, *port, reason.as_str());
        }
    }
}

/// Flows to servers outside that the spec adds.
pub fn egress(tenant: &Tenant) -> &[EgressFlow] {
    tenant.spec.network.as_ref().map(|network| network.egress.as_slice()).unwrap_or_default()
}

/// Refuses every range that a policy could not, or must not, allow.
pub fn check(tenant: &Tenant) -> Result<(), Rejection> {
    if let Some(cluster) = &tenant.platform.cluster {
        ranges("HospitalPlatform spec.cluster.cidrs", &cluster.cidrs)?;
    }
    if let Some(database) = &tenant.platform.database {
        ranges("HospitalPlatform spec.database.apiServerCidrs", &database.api_server_cidrs)?;
    }
    for (field, cidrs) in bound(tenant) {
        for cidr in ranges(&field, cidrs)? {
            outside(tenant, &field, cidr, false)?;
        }
    }
    let mut before: Vec<(usize, &EgressFlow, Vec<Cidr>)> = Vec::new();
    for (index, flow) in egress(tenant).iter().enumerate() {
        known(tenant, index, flow)?;
        let field = format!("spec.network.egress[{index}].cidrs");
        let cidrs = ranges(&field, &flow.cidrs)?;
        breadth(index, flow, &cidrs)?;
        for cidr in &cidrs {
            outside(tenant, &field, *cidr, cidr.is_broad())?;
        }
        let same = before.iter().filter(|(_, other, _)| (&other.component, other.port) == (&flow.component, flow.port));
        for (other, _, theirs) in same {
            if let Some((one, two)) = overlap(&cidrs, theirs) {
                let message = format!(
                    "{one} overlaps {two} of egress[{other}], for the same component and port; keep one of them"
                );
                return Err(refused(&field, message));
            }
        }
        before.push((index, flow, cidrs));
    }
    Ok(())
}

/// Ranges that the platform and other parts of the spec name.
fn bound(tenant: &Tenant) -> Vec<(String, &[String])> {
    let external = tenant.spec.database.iter().filter_map(|database| database.external.as_ref());
    let bindings = tenant.spec.bindings.as_ref();
    let cache = bindings.and_then(|bindings| bindings.cache.as_ref()).into_iter();
    let buckets = bindings.iter().flat_map(|bindings| &bindings.buckets);
    let dns = tenant.platform.dns.iter();
    dns.map(|dns| ("HospitalPlatform spec.dns.nodeLocal".to_owned(), dns.node_local.as_slice()))
        .chain(external.map(|external| ("spec.database.external.cidrs".to_owned(), external.cidrs.as_slice())))
        .chain(cache.map(|cache| ("spec.bindings.cache.cidrs".to_owned(), cache.cidrs.as_slice())))
        .chain(buckets.map(|(name, bucket)| (format!("spec.bindings.buckets.{name}.cidrs"), bucket.cidrs.as_slice())))
        .collect()
}

fn known(tenant: &Tenant, index: usize, flow: &EgressFlow) -> Result<(), Rejection> {
    let steps = tenant.application.lifecycle.iter().flat_map(Lifecycle::steps).map(|(name, _)| name);
    let components = tenant.application.components.iter().map(|component| component.name.as_str());
    let all: Vec<&str> = components.chain(steps).collect();
    if all.contains(&flow.component.as_str()) {
        return Ok(());
    }
    let (application, component) = (&tenant.spec.application.name, &flow.component);
    Err(Rejection::terminal(
        format!("spec.network.egress[{index}].component"),
        Reason::ReferenceInvalid,
        format!("application {application} has no component {component}; it has: {}", all.join(", ")),
    ))
}

/// The ranges of one field: readable, exact, and without an address twice.
fn ranges(field: &str, cidrs: &[String]) -> Result<Vec<Cidr>, Rejection> {
    let mut known: Vec<Cidr> = Vec::new();
    for text in cidrs {
        let cidr: Cidr = text.parse().map_err(|error| refused(field, format!("{text:?} is {error}")))?;
        if cidr.is_mapped() {
            return Err(refused(field, format!("{text} is an IPv4 range written as IPv6; write it as IPv4")));
        }
        // 192.0.2.10/24 is as often meant to be one address as it is meant to be all of them.
        let address = text.split('/').next().unwrap_or_default();
        if !address.parse().is_ok_and(|address| cidr.starts_at(address)) {
            return Err(refused(
                field,
                format!("{text} has bits behind its prefix; write {cidr}, or {address} with its full length"),
            ));
        }
        if metadata().any(|metadata| metadata == cidr) {
            return Err(refused(
                field,
                format!("{text} is a metadata service, which hands out credentials of the node; remove it"),
            ));
        }
        if let Some((one, two)) = overlap(&[cidr], &known) {
            return Err(refused(field, format!("{one} overlaps {two}; keep one of them")));
        }
        known.push(cidr);
    }
    Ok(known)
}

fn overlap(one: &[Cidr], other: &[Cidr]) -> Option<(Cidr, Cidr)> {
    let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (*one, *other)));
    pairs.into_iter().find(|(one, other)| one.overlaps(*other))
}

/// What is in the cluster is reached by its labels. Out of a range for the whole internet, the cluster is left out.
fn outside(tenant: &Tenant, field: &str, cidr: Cidr, left_out: bool) -> Result<(), Rejection> {
    let own = cluster(tenant).find(|own| cidr.overlaps(*own) && !(left_out && cidr != *own && cidr.covers(*own)));
    own.map_or(Ok(()), |own| {
        let message = format!(
            "{cidr} overlaps {own}, which is the cluster itself (spec.cluster.cidrs of the HospitalPlatform); name only addresses outside of it"
        );
        Err(refused(field, message))
    })
}

/// Half of the internet is as good as all of it.
fn breadth(index: usize, flow: &EgressFlow, cidrs: &[Cidr]) -> Result<(), Rejection> {
    let broad = cidrs.iter().find(|cidr| cidr.is_broad());
    match (broad, &flow.whole_internet_reason) {
        (Some(cidr), None) => Err(refused(
            &format!("spec.network.egress[{index}].cidrs"),
            format!(
                "{cidr} stands for the whole internet; name the addresses, or say in wholeInternetReason why nobody can"
            ),
        )),
        (None, Some(_)) => Err(refused(
            &format!("spec.network.egress[{index}].wholeInternetReason"),
            "no entry of cidrs is larger than /8 (IPv6: /16), so there is nothing to excuse; remove it".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn refused(field: &str, message: String) -> Rejection {
    Rejection::terminal(field, Reason::CidrRefused, message)
}
