//! One control plane, one operator, one runtime for all tests of this binary.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use e2e::control_plane::{AuditEvent, ControlPlane};
use his_operator::{
    cluster::{Candidate, Connections},
    operator::{self, Operator},
    settings::Settings,
};
use kube::{Client, Config};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{RwLock, oneshot},
    task::JoinHandle,
};
use tracing_subscriber::EnvFilter;

use super::{actor::Actor, gate::Gate, install, log::Log};

/// No single test takes that long on any machine.
const LONGEST: Duration = Duration::from_secs(600);

static WORLD: LazyLock<World> = LazyLock::new(World::start);

/// See the module.
pub struct World {
    runtime: Runtime,
    plane: ControlPlane,
    kubeconfig: PathBuf,
    /// A member of `system:masters`.
    pub admin: Client,
    pub actor: Actor,
    operator: tokio::sync::Mutex<Option<Process>>,
    turn: RwLock<()>,
    pub log: Log,
}

/// Runs a test beside others.
pub fn run(test: impl AsyncFnOnce(&'static World)) {
    let world = &*WORLD;
    world.runtime.block_on(async {
        let _turn = world.turn.read().await;
        tokio::time::timeout(LONGEST, test(world)).await.expect("the test takes too long");
    });
}

/// Runs a test while no other runs, because it disturbs them.
pub fn run_alone(test: impl AsyncFnOnce(&'static World)) {
    let world = &*WORLD;
    world.runtime.block_on(async {
        let _turn = world.turn.write().await;
        tokio::time::timeout(LONGEST, test(world)).await.expect("the test takes too long");
    });
}

impl World {
    fn start() -> Self {
        let log = Log::create("reconcile.log");
        let filter = EnvFilter::new("his_operator=trace,kube=info,warn");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log.clone()).init();
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let (plane, actor) = runtime.block_on(async {
            let plane = install::control_plane().await;
            let admin = plane.client();
            (plane, Actor::start(admin))
        });
        let kubeconfig = plane.kubeconfig_for(install::USER, &install::GROUPS).unwrap();
        let world = Self {
            admin: plane.client(),
            kubeconfig,
            runtime,
            plane,
            actor,
            operator: Default::default(),
            turn: RwLock::new(()),
            log,
        };
        let process = world.spawn(None);
        *world.operator.blocking_lock() = Some(process);
        world
    }

    /// Starts another operator process.
    pub fn spawn(&self, candidate: Option<Candidate>) -> Process {
        Process::start(self.kubeconfig.clone(), candidate)
    }

    /// Ends the operator as a crash would and starts the next one.
    pub async fn crash_and_restart(&self) {
        let mut operator = self.operator.lock().await;
        operator.take().unwrap().kill();
        *operator = Some(self.spawn(None));
    }

    /// Ends the operator; the world is without one until [`Self::resume`].
    pub async fn suspend(&self) {
        self.operator.lock().await.take().unwrap().stop().await;
    }

    /// Starts the operator again.
    pub async fn resume(&self) {
        *self.operator.lock().await = Some(self.spawn(None));
    }

    /// The running operator's gate.
    pub async fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.operator.lock().await.as_ref().unwrap().gate)
    }

    /// Everything that the operator has asked for, in the order of the answers.
    pub fn requests(&self) -> Vec<AuditEvent> {
        self.plane.requests_by(install::USER).unwrap()
    }
}

/// One operator process: everything in it ends at once when its runtime does.
pub struct Process {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), operator::Error>>,
    pub gate: Arc<Gate>,
}

impl Process {
    fn start(kubeconfig: PathBuf, candidate: Option<Candidate>) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).thread_name("operator").enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let gate = Arc::<Gate>::default();
        let door = Arc::clone(&gate);
        let ended = runtime.spawn(async move {
            let upstream = e2e::control_plane::client_from(&kubeconfig).await.unwrap();
            let address = door.open(upstream).await;
            let config = Config::new(format!("http://{address}").parse().unwrap());
            let mut operator = Operator::new(Connections::to(config).unwrap(), Settings::default());
            // Hospitals that are cut off keep their place until the process ends.
            operator.concurrency = 256;
            operator.candidate = candidate;
            operator.run(async { drop(stopped.await) }).await
        });
        Self { runtime, stop, ended, gate }
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
