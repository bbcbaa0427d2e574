//! One control plane, and operator processes that reach it only through a proxy.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use e2e::control_plane::{AuditEvent, ControlPlane, client_from, pki::Authority};
use his_operator::{
    capabilities::kinds,
    cluster::{Candidate, Connections},
    names,
    objects::Ref,
    operator::{self, Operator},
    settings::Settings,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::DynamicObject,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{RwLock, oneshot},
    task::{JoinHandle, JoinSet},
};
use tracing_subscriber::EnvFilter;

use super::{
    actor::Actor,
    install,
    log::Log,
    proxy::{Proxy, Upstream},
    states::States,
    trace::Trace,
};

static WORLD: LazyLock<World> = LazyLock::new(World::start);

/// All objects of a hospital.
pub type Objects = BTreeMap<Ref, DynamicObject>;

/// See the module.
pub struct World {
    runtime: Runtime,
    plane: ControlPlane,
    /// Goes with the control plane.
    pki: PathBuf,
    tls: Arc<ServerConfig>,
    upstream: Upstream,
    /// A member of `system:masters`.
    pub admin: Client,
    pub actor: Actor,
    pub states: States,
    pub trace: Arc<Trace>,
    operator: tokio::sync::Mutex<Option<Process>>,
    turn: RwLock<usize>,
    pub log: Log,
}

/// Runs a test while no other runs, because it disturbs them.
pub fn run_alone(longest: Duration, test: impl AsyncFnOnce(&'static World)) {
    let world = &*WORLD;
    world.runtime.block_on(async {
        let _turn = world.turn.write().await;
        tokio::time::timeout(longest, test(world)).await.expect("the test takes too long");
    });
}

impl World {
    fn start() -> Self {
        let log = Log::create("faults.log");
        let filter = EnvFilter::new("his_operator=debug,kube=info,warn");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log.clone()).init();
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let (plane, actor, states, upstream) = runtime.block_on(async {
            let plane = install::control_plane().await;
            let admin = plane.client();
            let client = client_from(&plane.kubeconfig_for(install::USER, &install::GROUPS).unwrap()).await.unwrap();
            let (actor, states) = (Actor::start(admin.clone()), States::start(&admin));
            (plane, actor, states, Upstream { client, admin })
        });
        let pki = plane.kubeconfig_path().with_file_name("operators");
        fs::create_dir(&pki).unwrap();
        let tls = tls(&pki);
        let world = Self {
            admin: upstream.admin.clone(),
            upstream,
            runtime,
            plane,
            pki,
            tls,
            actor,
            states,
            trace: Arc::default(),
            operator: tokio::sync::Mutex::default(),
            turn: RwLock::default(),
            log,
        };
        let process = world.runtime.block_on(world.spawn(None));
        *world.operator.blocking_lock() = Some(process);
        world
    }

    /// Starts another operator process behind a proxy of its own.
    pub async fn spawn(&self, candidate: Option<Candidate>) -> Process {
        self.spawn_with(candidate, |_| {}).await
    }

    /// [`Self::spawn`] with a proxy with which something is wrong from the start.
    pub async fn spawn_with(&self, candidate: Option<Candidate>, wrong: impl FnOnce(&Proxy)) -> Process {
        static COUNT: Mutex<usize> = Mutex::new(0);
        let number = {
            let mut count = COUNT.lock().unwrap();
            *count += 1;
            *count
        };
        let proxy = Proxy::new(number, Arc::clone(&self.trace));
        wrong(&proxy);
        let (address, served) = proxy.open(Arc::clone(&self.tls), self.upstream.clone()).await;
        let authority = Authority::open(&self.pki).unwrap();
        let pair = authority.client(&format!("operator-{number}"), install::USER, &[]).unwrap();
        let kubeconfig = self.pki.join(format!("operator-{number}.kubeconfig"));
        authority.kubeconfig(&kubeconfig, &format!("https://{address}"), &pair).unwrap();
        Process::start(kubeconfig, candidate, proxy, served)
    }

    /// Ends the operator as a crash would and starts the next one.
    pub async fn crash_and_restart(&self) {
        let mut operator = self.operator.lock().await;
        operator.take().unwrap().kill();
        *operator = Some(self.spawn(None).await);
    }

    /// Ends the operator; the world is without one until [`Self::resume`].
    pub async fn suspend(&self) {
        self.operator.lock().await.take().unwrap().kill();
    }

    /// Starts the operator again.
    pub async fn resume(&self) {
        let process = self.spawn(None).await;
        *self.operator.lock().await = Some(process);
    }

    /// The running operator's proxy.
    pub async fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.operator.lock().await.as_ref().unwrap().proxy)
    }

    /// Everything that the operator has asked for, in the order of the answers.
    pub fn requests(&self) -> Vec<AuditEvent> {
        self.plane.requests_by(install::USER).unwrap()
    }

    /// All objects of all hospitals, by hospital.
    pub async fn everything(&self) -> BTreeMap<String, Objects> {
        let mut all: BTreeMap<String, Objects> = BTreeMap::new();
        for kind in kinds() {
            let api = Api::<DynamicObject>::all_with(self.admin.clone(), &kind.api_resource());
            let labels = ListParams::default().labels(names::TENANT);
            let list = match api.list(&labels).await {
                Ok(list) => list.items,
                // A foreign kind that is not installed.
                Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                Err(error) => panic!("{kind}: {error}"),
            };
            for object in list {
                let tenant = object.labels()[names::TENANT].clone();
                let at = Ref { kind, namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
                all.entry(tenant).or_default().insert(at, object);
            }
        }
        all
    }
}

/// The proxy's side of TLS: only who has a certificate of this authority gets in.
fn tls(dir: &Path) -> Arc<ServerConfig> {
    let authority = Authority::open(dir).unwrap();
    let pair = authority.issue("proxy", "proxy", &[], &["127.0.0.1"]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(pair.certificate).unwrap()],
            PrivateKeyDer::from_pem_file(pair.key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// One operator process: everything in it ends at once when its runtime does.
pub struct Process {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    pub ended: JoinHandle<Result<(), operator::Error>>,
    pub proxy: Arc<Proxy>,
    _served: JoinSet<()>,
}

impl Process {
    fn start(kubeconfig: PathBuf, candidate: Option<Candidate>, proxy: Arc<Proxy>, served: JoinSet<()>) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("operator").enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = runtime.spawn(async move {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            let mut operator = Operator::new(Connections::to(config).unwrap(), Settings::default());
            // Hospitals that are cut off keep their place until the process ends.
            operator.concurrency = 1024;
            operator.candidate = candidate;
            operator.run(async { drop(stopped.await) }).await
        });
        Self { runtime, stop, ended, proxy, _served: served }
    }

    /// Ends at once, wherever it is.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// Ends as on SIGTERM.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
        self.runtime.shutdown_background();
    }
}
