//! Turns a custom resource and what was observed into a [`Tenant`], or says what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{Database, Inputs, Tenant, fleet};
use crate::{
    api::v1alpha1::{
        ApplicationVersion, Channel, HospitalApplicationSpec, HospitalPlatformSpec, HospitalTenant, HospitalTenantSpec,
    },
    conditions::{Reason, Rejection},
    names,
    objects::{Observed, kind, managed},
};

impl Tenant {
    /// Validates everything that concerns the tenant as a whole.
    pub fn validate(inputs: &Inputs, observed: &Observed) -> Result<Self, Rejection> {
        let resource = inputs.tenant.as_ref();
        let spec = resource.spec.clone();
        let platform = platform(&spec, observed)?;
        let application = application(&spec, observed)?;
        let version = version(&spec, &platform, &application)?;
        hosts(&spec, observed)?;
        let namespace = names::namespace(&resource.name_any());
        namespace_is_ours(resource, &namespace, observed)?;
        references(&application)?;
        component_sizes(&spec, &application)?;
        let parameters = parameters(&spec, &application)?;
        let mut tenant = Self {
            name: resource.name_any(),
            uid: resource.uid().unwrap_or_default(),
            namespace,
            status: resource.status.clone().unwrap_or_default(),
            spec,
            platform,
            application,
            version,
            parameters,
            database: None,
            turn: observed.turn.clone(),
            changed_by: managed::changed_by(resource.managed_fields()).map(ToOwned::to_owned),
            settings: inputs.settings.clone(),
            now: inputs.now,
        };
        tenant.check_rotations()?;
        tenant.database = Database::choose(&tenant)?;
        Ok(tenant)
    }
}

fn platform(spec: &HospitalTenantSpec, observed: &Observed) -> Result<HospitalPlatformSpec, Rejection> {
    let name = spec.platform.as_deref().unwrap_or(names::DEFAULT_PLATFORM);
    let found = observed.platform.as_ref().map(|platform| platform.spec.clone());
    let found = found.ok_or_else(|| {
        Rejection::waiting(
            "spec.platform",
            Reason::PlatformNotFound,
            format!("HospitalPlatform {name} does not exist; apply it, or name one that exists"),
        )
    })?;
    super::platform::check(&found)?;
    Ok(found)
}

fn application(spec: &HospitalTenantSpec, observed: &Observed) -> Result<HospitalApplicationSpec, Rejection> {
    let found = observed.application.as_ref().map(|application| application.spec.clone());
    found.ok_or_else(|| {
        Rejection::waiting(
            "spec.application.name",
            Reason::ApplicationNotFound,
            format!("HospitalApplication {} does not exist; apply it, or name one that exists", spec.application.name),
        )
    })
}

/// The version that the hospital names itself, or that its channel brings.
fn version(
    spec: &HospitalTenantSpec,
    platform: &HospitalPlatformSpec,
    application: &HospitalApplicationSpec,
) -> Result<ApplicationVersion, Rejection> {
    let (field, wanted) = match (&spec.application.version, &spec.application.channel) {
        (Some(version), _) => ("spec.application.version".to_owned(), version),
        (None, Some(name)) => {
            let channel = channel(spec, platform, name)?;
            (format!("HospitalPlatform spec.channels[{name}].version"), &channel.version)
        }
        (None, None) => {
            let message = "nothing says which version to run; name one, or a channel of the platform";
            return Err(Rejection::terminal("spec.application", Reason::VersionNotFound, message));
        }
    };
    application.versions.iter().find(|version| version.version == *wanted).cloned().ok_or_else(|| {
        let known = application.versions.iter().map(|v| v.version.clone()).collect::<Vec<_>>().join(", ");
        Rejection::waiting(
            field,
            Reason::VersionNotFound,
            format!("HospitalApplication {} has no version {wanted}; it has: {known}", spec.application.name),
        )
    })
}

fn channel<'a>(
    spec: &HospitalTenantSpec,
    platform: &'a HospitalPlatformSpec,
    name: &str,
) -> Result<&'a Channel, Rejection> {
    let application = &spec.application.name;
    fleet::channel(platform, application, name).ok_or_else(|| {
        let known: Vec<_> = platform.channels.iter().filter(|channel| channel.application == *application).collect();
        let known = known.iter().map(|channel| channel.name.as_str()).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Rejection::waiting(
            "spec.application.channel",
            Reason::ChannelNotFound,
            format!("the platform has no channel {name} of application {application}; it has: {known}"),
        )
    })
}

fn hosts(spec: &HospitalTenantSpec, observed: &Observed) -> Result<(), Rejection> {
    let Some((host, holder)) = observed.taken_hosts.iter().next() else { return Ok(()) };
    let field = if *host == spec.host { "spec.host" } else { "spec.additionalHosts" };
    Err(Rejection::terminal(
        field,
        Reason::HostTaken,
        format!("host {host} is held by HospitalTenant {holder}; choose another, or remove it there"),
    ))
}

fn namespace_is_ours(tenant: &HospitalTenant, namespace: &str, observed: &Observed) -> Result<(), Rejection> {
    let Some(live) = observed.get(kind::NAMESPACE, "", namespace) else { return Ok(()) };
    let owner = live.annotations().get(names::TENANT_UID);
    let adopted = tenant.spec.adopt.as_ref().map(|adopt| &adopt.tenant_uid);
    match owner {
        Some(uid) if Some(uid) == tenant.uid().as_ref() || Some(uid) == adopted => Ok(()),
        Some(uid) => Err(Rejection::terminal(
            "spec.adopt",
            Reason::RetainedDataFound,
            format!(
                "namespace {namespace} holds data of a deleted tenant with UID {uid}; set spec.adopt.tenantUid to it to take the data over, or rename this tenant"
            ),
        )),
        None => Err(Rejection::terminal(
            "metadata.name",
            Reason::NamespaceNotOurs,
            format!(
                "namespace {namespace} exists and belongs to somebody else; rename this tenant or remove the namespace"
            ),
        )),
    }
}

fn component_sizes(spec: &HospitalTenantSpec, application: &HospitalApplicationSpec) -> Result<(), Rejection> {
    let known: BTreeSet<_> = application.components.iter().map(|component| component.name.as_str()).collect();
    let stranger = spec.components.iter().find(|size| !known.contains(size.name.as_str()));
    stranger.map_or(Ok(()), |size| {
        let known = known.iter().copied().collect::<Vec<_>>().join(", ");
        Err(Rejection::terminal(
            format!("spec.components[{}]", size.name),
            Reason::ReferenceInvalid,
            format!("application {} has no component {}; it has: {known}", spec.application.name, size.name),
        ))
    })
}

fn parameters(
    spec: &HospitalTenantSpec,
    application: &HospitalApplicationSpec,
) -> Result<BTreeMap<String, String>, Rejection> {
    let declared: BTreeSet<_> = application.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    if let Some(stranger) = spec.parameters.keys().find(|name| !declared.contains(name.as_str())) {
        let known = declared.iter().copied().collect::<Vec<_>>().join(", ");
        return Err(Rejection::terminal(
            format!("spec.parameters.{stranger}"),
            Reason::ParameterInvalid,
            format!("application {} declares no parameter {stranger}; it declares: {known}", spec.application.name),
        ));
    }
    let value = |parameter: &crate::api::v1alpha1::Parameter| {
        let given = spec.parameters.get(&parameter.name).or(parameter.default.as_ref());
        given.map(|value| (parameter.name.clone(), value.clone())).ok_or_else(|| {
            Rejection::terminal(
                format!("spec.parameters.{}", parameter.name),
                Reason::ParameterInvalid,
                format!("the application requires it ({}); give a value", parameter.description),
            )
        })
    };
    application.parameters.iter().map(value).collect()
}

/// Ports and components that the application's own texts name must exist.
fn references(application: &HospitalApplicationSpec) -> Result<(), Rejection> {
    for component in &application.components {
        let field = |what: &str| format!("HospitalApplication spec.components[{}].{what}", component.name);
        let missing = |what: &str, port: &str| {
            Rejection::terminal(
                field(what),
                Reason::ReferenceInvalid,
                format!("port {port} is not among the ports of component {}; declare it there", component.name),
            )
        };
        let mut numbers = BTreeSet::new();
        if let Some(port) = component.ports.iter().find(|port| !numbers.insert(port.port)) {
            return Err(Rejection::terminal(
                field(&format!("ports[{}].port", port.name)),
                Reason::ReferenceInvalid,
                format!(
                    "port {} has another name already, and a Service lists each port once; keep one of them",
                    port.port
                ),
            ));
        }
        let has_port = |port: &str| component.ports.iter().any(|p| p.name == port);
        if let Some(route) = component.routes.iter().find(|route| !has_port(&route.port)) {
            return Err(missing("routes", &route.port));
        }
        for port in probe_ports(component) {
            if !has_port(port) {
                return Err(missing("probes", port));
            }
        }
        for connection in &component.connects_to {
            let target = application.components.iter().find(|c| c.name == connection.component);
            if !target.is_some_and(|target| target.ports.iter().any(|port| port.name == connection.port)) {
                return Err(Rejection::terminal(
                    field("connectsTo"),
                    Reason::ReferenceInvalid,
                    format!(
                        "no component {} with a port {} exists; correct the name",
                        connection.component, connection.port
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn probe_ports(component: &crate::api::v1alpha1::Component) -> impl Iterator<Item = &str> {
    let probes = component.probes.iter().flat_map(|p| [&p.startup, &p.readiness, &p.liveness]).flatten();
    probes.filter_map(|probe| {
        let http = probe.http.as_ref().map(|p| p.port.as_str());
        let tcp = probe.tcp.as_ref().map(|p| p.port.as_str());
        let rpc = probe.rpc_post.as_ref().map(|p| p.port.as_str());
        http.or(tcp).or(rpc)
    })
}
