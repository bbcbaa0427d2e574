//! Hospitals as they are to be: from files, and what files do not hold from the cluster.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Live, Operator};
use crate::{
    api::v1alpha1::{HospitalApplication, HospitalPlatform, HospitalPlatformSpec, HospitalTenant},
    names,
    objects::{Observed, Turn},
    plugin::{
        access::{self, refused, words},
        output::Ending,
        time,
    },
    render::{Definitions, Document, taken_hosts},
    settings::Settings,
    tenant::fleet::{self, Address, Member},
};

/// One hospital with what it refers to.
#[derive(Clone, Debug)]
pub(in crate::plugin) struct Wanted {
    /// With the file's spec, if there is one, and the cluster's metadata and status.
    pub tenant: Arc<HospitalTenant>,
    pub platform: Option<Arc<HospitalPlatform>>,
    pub application: Option<Arc<HospitalApplication>>,
    taken_hosts: BTreeMap<String, String>,
    turn: Option<Turn>,
}

/// What the API server would refuse is refused here too.
pub(in crate::plugin) fn definitions(documents: &[Document]) -> Result<Definitions, Ending> {
    let told = |problems: Vec<crate::render::Problem>| {
        Ending::Refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    Definitions::decode(documents).map_err(told)
}

impl Wanted {
    /// The named hospital, or all hospitals of the files.
    pub(in crate::plugin) async fn read(
        client: &Client,
        files: Definitions,
        name: Option<&str>,
    ) -> Result<Vec<Self>, Ending> {
        let live = access::tenants(client).await?;
        let find = |name: &str| live.iter().find(|tenant| tenant.name_any() == name);
        let mut wanted: Vec<HospitalTenant> = files
            .tenants
            .iter()
            .map(|(_, file)| find(&file.name_any()).map_or_else(|| file.as_ref().clone(), |live| overlaid(live, file)))
            .collect();
        let mut all = wanted.clone();
        all.extend(live.iter().filter(|live| wanted.iter().all(|file| file.name_any() != live.name_any())).cloned());
        match name {
            Some(name) => {
                wanted.retain(|tenant| tenant.name_any() == name);
                if wanted.is_empty() {
                    wanted.push(access::tenant(client, name).await?);
                }
            }
            None if wanted.is_empty() => {
                let message = "the files hold no HospitalTenant; name a hospital of the cluster, or add its file";
                return Err(Ending::Usage(message.to_owned()));
            }
            None => {}
        }
        let all: Vec<&HospitalTenant> = all.iter().collect();
        let mut complete = Vec::new();
        for tenant in wanted {
            complete.push(Self::completed(client, &files, tenant, &all).await?);
        }
        Ok(complete)
    }

    async fn completed(
        client: &Client,
        files: &Definitions,
        tenant: HospitalTenant,
        all: &[&HospitalTenant],
    ) -> Result<Self, Ending> {
        let platform = tenant.spec.platform.as_deref().unwrap_or(names::DEFAULT_PLATFORM);
        let platform = match files.platforms.get(platform) {
            Some(platform) => Some(Arc::clone(platform)),
            None => Api::all(client.clone()).get_opt(platform).await.map_err(|e| refused(&e))?.map(Arc::new),
        };
        let application = &tenant.spec.application.name;
        let application = match files.applications.get(application) {
            Some(application) => Some(Arc::clone(application)),
            None => Api::all(client.clone()).get_opt(application).await.map_err(|e| refused(&e))?.map(Arc::new),
        };
        let taken_hosts = taken_hosts(all, &tenant);
        let turn = platform.as_ref().and_then(|platform| turn(&platform.spec, all, &tenant));
        Ok(Self { tenant: Arc::new(tenant), platform, application, taken_hosts, turn })
    }

    /// What the operator would look at.
    pub(in crate::plugin) fn observe(&self, live: &Live) -> Observed {
        Observed {
            objects: live.objects.clone(),
            crds: live.crds.clone(),
            platform: self.platform.clone(),
            application: self.application.clone(),
            taken_hosts: self.taken_hosts.clone(),
            turn: self.turn.clone(),
            ..Observed::default()
        }
    }

    /// Until when nothing of it is changed.
    pub(in crate::plugin) fn paused_until(&self, now: DateTime<Utc>) -> Option<String> {
        let until = self.tenant.annotations().get(names::PAUSE_UNTIL)?;
        time::time(until).is_ok_and(|until| now < until).then(|| until.clone())
    }
}

/// Whether it may begin with the version of its channel, as far as the hospitals are known.
fn turn(platform: &HospitalPlatformSpec, all: &[&HospitalTenant], tenant: &HospitalTenant) -> Option<Turn> {
    let address = Address::of(tenant)?;
    let mut members = fleet::members(&address, all.iter().copied());
    members.insert(tenant.name_any(), Member::of(tenant));
    fleet::turns(address.find(platform)?, &members).remove(&tenant.name_any())
}

/// As the API server would have it after the file was applied.
fn overlaid(live: &HospitalTenant, file: &HospitalTenant) -> HospitalTenant {
    let mut wanted = live.clone();
    wanted.spec = file.spec.clone();
    wanted.annotations_mut().extend(file.annotations().clone());
    wanted.labels_mut().extend(file.labels().clone());
    wanted
}

/// Settings of the operator in the cluster, and what had to be assumed.
pub(in crate::plugin) async fn settings(client: &Client, operator: &Operator) -> (Settings, Vec<String>) {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &operator.operator_namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={}", names::PRODUCT));
    let read = api.list(&ours).await;
    let mut settings = Settings { namespace: operator.operator_namespace.clone(), ..Settings::default() };
    let why = match read.map(|list| list.items.first().and_then(environment)) {
        Ok(Some(environment)) => {
            let value = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
            settings.service_account = value("HIS_SERVICE_ACCOUNT").unwrap_or(settings.service_account);
            settings.agent_image = value("HIS_AGENT_IMAGE").unwrap_or(settings.agent_image);
            None
        }
        Ok(None) => Some(format!("there is none in namespace {}", operator.operator_namespace)),
        Err(error) => Some(words(&error)),
    };
    let assumed = operator.agent_image.is_none();
    settings.agent_image = operator.agent_image.clone().unwrap_or(settings.agent_image);
    let warning = why.filter(|_| assumed).map(|why| {
        format!("the operator's Deployment could not be read: {why}; name its namespace with --operator-namespace, or the image of his-agent with --agent-image")
    });
    (settings, warning.into_iter().collect())
}

fn environment(operator: &Deployment) -> Option<BTreeMap<String, String>> {
    let pod = operator.spec.as_ref()?.template.spec.as_ref()?;
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    Some(variables.filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?))).collect())
}
