//! The plugin on a real API server: what is watched, paused, and what the operator really would change.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use e2e::control_plane::{AuditEvent, ControlPlane};
use his_operator::{api::v1alpha1::HospitalTenant, operator, settings::Settings};
use k8s_openapi::api::{apps::v1::StatefulSet, networking::v1::NetworkPolicy};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::{Ran, case, command, plugin};

const DEADLINE: Duration = Duration::from_secs(60);

static WORLD: LazyLock<World> = LazyLock::new(World::start);

struct World {
    runtime: Runtime,
    plane: ControlPlane,
    /// Held by whom no operator may disturb, and by each operator: one works on the hospitals of all tests.
    still: Mutex<()>,
}

impl World {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let plane = runtime.block_on(ControlPlane::start()).unwrap();
        let world = Self { runtime, plane, still: Mutex::default() };
        world.kubectl(&["apply", "--server-side", "--filename", "crds/"]);
        let definitions = case("definitions.yaml");
        eventually("the CRDs are served", || {
            world.try_kubectl(&["apply", "--server-side", "--filename", &definitions])
        });
        world
    }

    fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut kubectl = Command::new(ControlPlane::kubectl().unwrap());
        kubectl.args(arguments).env("KUBECONFIG", self.plane.kubeconfig_path()).current_dir(env!("CARGO_MANIFEST_DIR"));
        let ran: Ran = kubectl.output().unwrap().into();
        if ran.code == Some(0) { Ok(ran.out) } else { Err(ran.err) }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    fn admin(&self) -> Client {
        self.plane.client()
    }

    /// `kubectl his` as a user who may do everything, or nothing.
    fn call(&self, user: &str, may: bool, arguments: &[&str]) -> Ran {
        self.command(user, may, arguments).output().unwrap().into()
    }

    fn command(&self, user: &str, may: bool, arguments: &[&str]) -> Command {
        let groups: &[&str] = if may { &["system:masters"] } else { &["system:authenticated"] };
        let mut command = command(arguments);
        command.env("KUBECONFIG", self.plane.kubeconfig_for(user, groups).unwrap());
        command
    }

    fn hospital(&self, name: &str) {
        let api: Api<HospitalTenant> = Api::all(self.admin());
        let body = json!({
            "apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalTenant", "metadata": {"name": name},
            "spec": {"application": {"name": "records", "version": "5.0"}, "host": format!("{name}.example.org"), "database": {"embedded": {}}},
        });
        let body = serde_json::from_value(body).unwrap();
        self.runtime.block_on(api.create(&PostParams::default(), &body)).unwrap();
    }

    /// As the operator would write it.
    fn ready(&self, name: &str, status: &str) {
        let api: Api<HospitalTenant> = Api::all(self.admin());
        let condition = json!({"type": "Ready", "status": status, "reason": "Progressing", "message": format!("is {status}"), "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let body = json!({"status": {"observedGeneration": 1, "conditions": [condition]}});
        self.runtime.block_on(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&body))).unwrap();
    }

    fn requests(&self, user: &str) -> Vec<AuditEvent> {
        self.plane.requests_by(user).unwrap()
    }

    /// Nobody operates until this is dropped; a test that has failed meanwhile changes nothing of that.
    fn still(&self) -> MutexGuard<'_, ()> {
        self.still.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the operator until there is no complaint.
    fn operate<E: ToString>(&self, what: &str, complaint: impl FnMut() -> Result<(), E>) {
        let _alone = self.still();
        let (stop, stopped) = oneshot::channel::<()>();
        let running =
            self.runtime.spawn(operator::run(self.admin(), Settings::default(), async { drop(stopped.await) }));
        eventually(what, complaint);
        stop.send(()).unwrap();
        self.runtime.block_on(running).unwrap().unwrap();
    }

    /// Runs the operator until this hospital's first step is written.
    fn open(&self, name: &str) {
        let api: Api<StatefulSet> = Api::namespaced(self.admin(), &format!("his-{name}"));
        self.operate("the first step is written and reported", || {
            let tenant = self.runtime.block_on(Api::<HospitalTenant>::all(self.admin()).get(name)).unwrap();
            tenant.status.and_then(|status| status.observed_generation).ok_or("no status")?;
            self.runtime.block_on(api.get("database")).map(drop).map_err(|error| error.to_string())
        });
    }
}

fn eventually<T, E: ToString>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(reason) => assert!(Instant::now() < until, "{what}: not within {DEADLINE:?}: {}", reason.to_string()),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A command that goes on, and its lines as they come.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { child, lines }
    }

    fn sees(&self, words: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now()));
            if line.unwrap_or_else(|_| panic!("{words:?} was never printed")).contains(words) {
                return;
            }
        }
    }

    fn interrupt(self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.ends()
    }

    fn ends(mut self) -> Option<i32> {
        eventually("the command ends", || self.child.try_wait().unwrap().ok_or("it still runs")).code()
    }
}

#[test]
fn a_pipeline_waits_until_the_hospital_is_ready_and_asks_for_nothing_meanwhile() {
    let world = &*WORLD;
    world.hospital("watched");
    world.ready("watched", "False");
    let arguments = ["status", "watched", "--watch", "--until-ready", "--timeout", "5m"];
    let following = Following::start(&mut world.command("pipeline", true, &arguments));
    following.sees("is False");
    // Who polls never comes to rest; who watches does as soon as each watch has been answered once.
    eventually("it comes to rest", || {
        let before = world.requests("pipeline").len();
        std::thread::sleep(Duration::from_secs(4));
        let after = world.requests("pipeline").len();
        if after == before { Ok(()) } else { Err(format!("{} requests in four seconds", after - before)) }
    });
    world.ready("watched", "True");
    assert_eq!(following.ends(), Some(0));
}

#[test]
fn a_hospital_that_is_not_ready_in_time_ends_with_2() {
    let world = &*WORLD;
    world.hospital("late");
    world.ready("late", "False");
    let ran = world.call("late", true, &["status", "late", "--watch", "--until-ready", "--timeout", "2s"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("not Ready after 2s"), "{}", ran.err);
    assert_eq!(plugin(&["status", "--timeout", "2s"]).code, Some(1), "without --until-ready a timeout means nothing");
}

#[test]
fn events_are_appended_as_they_come_until_ctrl_c() {
    let world = &*WORLD;
    world.hospital("told");
    let following = Following::start(&mut world.command("events", true, &["events", "told", "--watch"]));
    following.sees("There are no events");
    let about = json!({"kind": "HospitalTenant", "name": "told", "uid": world.kubectl(&["get", "ht", "told", "-o", "jsonpath={.metadata.uid}"]).trim()});
    for message in ["first words", "second words"] {
        let body = json!({"metadata": {"generateName": "told-", "namespace": "default"}, "involvedObject": about, "type": "Warning", "reason": "Told", "message": message, "lastTimestamp": "2026-01-01T00:00:00Z"});
        let event = serde_json::from_value(body).unwrap();
        let api = Api::<k8s_openapi::api::core::v1::Event>::namespaced(world.admin(), "default");
        world.runtime.block_on(api.create(&PostParams::default(), &event)).unwrap();
        following.sees(message);
    }
    assert!(following.lines.try_iter().all(|line| !line.contains("first words")), "what was printed is not repeated");
    assert_eq!(following.interrupt(), Some(0));
}

#[test]
fn a_pause_has_an_end_and_a_reason_and_a_resume_removes_both() {
    let world = &*WORLD;
    world.hospital("calm");
    let annotations = || {
        let tenant = world.runtime.block_on(Api::<HospitalTenant>::all(world.admin()).get("calm")).unwrap();
        tenant.metadata.annotations.unwrap_or_default()
    };
    for (arguments, words) in [
        (&["pause", "calm"][..], "--until <TIME>|--for <DURATION>"),
        (&["pause", "calm", "--until", "2020-01-01T00:00:00Z"], "has passed already"),
        (&["pause", "calm", "--for", "soon"], "is not a duration"),
    ] {
        let ran = world.call("operator-on-call", true, arguments);
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(words), "{words:?} is not in {}", ran.err);
    }
    assert!(annotations().is_empty());
    let ran = world.call("operator-on-call", true, &["pause", "calm", "--for", "2h", "--reason", "vendor on site"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("(for 2h): vendor on site") && ran.out.contains("is not repaired"), "{}", ran.out);
    let paused = annotations();
    assert_eq!(paused["his-operator.io/pause-reason"], "vendor on site");
    assert!(chrono::DateTime::parse_from_rfc3339(&paused["his-operator.io/pause-until"]).is_ok());
    assert!(world.call("operator-on-call", true, &["resume", "calm"]).out.contains("is no longer paused"));
    assert!(annotations().is_empty());
    assert!(world.call("operator-on-call", true, &["resume", "calm"]).out.contains("nothing was changed"));
}

#[test]
fn who_may_not_pause_is_told_which_right_is_missing() {
    let world = &*WORLD;
    world.hospital("shut");
    world.kubectl(&[
        "create",
        "clusterrole",
        "reader",
        "--verb=get,list",
        "--resource=hospitaltenants.his-operator.io",
    ]);
    world.kubectl(&["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=reader"]);
    let ran = eventually("the right to read has arrived", || {
        let ran = world.call("reader", false, &["pause", "shut", "--for", "1h"]);
        if ran.err.contains("grant get and list") { Err(ran.err) } else { Ok(ran) }
    });
    assert_eq!(ran.code, Some(3));
    assert!(ran.err.contains("grant patch on hospitaltenants"), "{}", ran.err);
}

#[test]
fn the_difference_is_what_the_operator_then_writes() {
    let world = &*WORLD;
    world.hospital("drift");
    let new = world.call("differ", true, &["diff", "drift", "-o", "json"]);
    assert_eq!(new.code, Some(4), "{}", new.err);
    assert!(changed(&new).iter().any(|change| change == "Create Deployment/web-blue"), "{}", new.out);
    world.open("drift");
    let now = world.call("differ", true, &["diff", "drift", "--first-step"]);
    assert_eq!(now.code, Some(0), "{}{}", now.out, now.err);
    let later = changed(&world.call("differ", true, &["diff", "drift", "-o", "json"]));
    assert!(later.iter().all(|change| !change.contains("NetworkPolicy")), "{later:?}");
    assert!(later.contains(&"Create Deployment/web-blue".to_owned()), "{later:?}");

    let policies: Api<NetworkPolicy> = Api::namespaced(world.admin(), "his-drift");
    let still = world.still();
    world.kubectl(&["-n", "his-drift", "delete", "networkpolicy", "default-deny"]);
    world.kubectl(&["-n", "his-drift", "scale", "statefulset", "database", "--replicas", "0"]);
    let ran = world.call("differ", true, &["diff", "drift", "--first-step", "-o", "json"]);
    assert_eq!(ran.code, Some(4));
    assert_eq!(changed(&ran), ["Create NetworkPolicy/default-deny", "Change StatefulSet/database .spec.replicas"]);
    let table = world.call("differ", true, &["diff", "drift", "--first-step"]).out;
    assert!(table.contains("    .spec.replicas: 0 -> 1"), "{table}");

    drop(still);

    // The operator makes of it exactly what was shown.
    let diff = || world.call("differ", true, &["diff", "drift", "--first-step"]);
    world.operate("nothing is left", || {
        let ran = diff();
        if ran.code == Some(0) { Ok(()) } else { Err(ran.out) }
    });
    world.runtime.block_on(policies.get("default-deny")).unwrap();
    assert!(world.requests("differ").iter().all(|event| matches!(event.verb.as_str(), "get" | "list")));
}

/// One line for each object, with the fields that change.
fn changed(ran: &Ran) -> Vec<String> {
    let all: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |change: &Value| {
        let fields = change["fields"].as_array().unwrap().iter().map(|field| format!(" {}", text(&field["path"])));
        let what = format!("{} {}/{}", text(&change["action"]), text(&change["kind"]), text(&change["name"]));
        what + &fields.collect::<String>()
    };
    all[0]["changes"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_file_is_compared_with_the_cluster_before_it_is_applied() {
    let world = &*WORLD;
    world.hospital("edited");
    world.open("edited");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edited.yaml");
    let edited = world.kubectl(&["get", "ht", "edited", "-o", "json"]);
    let mut edited: Value = serde_json::from_str(&edited).unwrap();
    let spec = edited["spec"].take();
    let mut body = json!({"apiVersion": "his-operator.io/v1alpha1", "kind": "HospitalTenant", "metadata": {"name": "edited"}, "spec": spec});
    body["spec"]["isolation"] = json!({"quota": {"cpu": "40", "memory": "80Gi", "pods": 80}});
    std::fs::write(&file, body.to_string()).unwrap();
    let ran = world.call("differ", true, &["diff", "-f", file.to_str().unwrap(), "--first-step", "-o", "json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    let changed = changed(&ran);
    assert!(changed.iter().all(|change| change.starts_with("Change ResourceQuota/")), "{changed:?}");
    body["spec"]["host"] = json!("drift.example.org.");
    std::fs::write(&file, body.to_string()).unwrap();
    let refused = world.call("differ", true, &["diff", "-f", file.to_str().unwrap()]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
}

#[test]
fn who_may_not_read_secrets_sees_everything_else_and_is_told() {
    let world = &*WORLD;
    world.hospital("discreet");
    world.open("discreet");
    let kinds = "hospitaltenants.his-operator.io,hospitalplatforms.his-operator.io,hospitalapplications.his-operator.io,\
        namespaces,resourcequotas,limitranges,serviceaccounts,configmaps,services,persistentvolumeclaims,\
        rolebindings.rbac.authorization.k8s.io,networkpolicies.networking.k8s.io,deployments.apps,statefulsets.apps,\
        jobs.batch,poddisruptionbudgets.policy,horizontalpodautoscalers.autoscaling";
    let kinds = format!("--resource={kinds}");
    world.kubectl(&["create", "clusterrole", "engineer", "--verb=get,list", &kinds]);
    world.kubectl(&["create", "clusterrolebinding", "engineer", "--clusterrole=engineer", "--user=engineer"]);
    let arguments = ["diff", "discreet", "--first-step", "-o", "json"];
    let ran = eventually("the rights have arrived", || {
        let ran = world.call("engineer", false, &arguments);
        if ran.err.contains("networkpolicies could not be read") || ran.out.is_empty() { Err(ran.err) } else { Ok(ran) }
    });
    assert_eq!(ran.code, Some(3), "what could not be looked at is not as it must be: {}", ran.err);
    assert_eq!(changed(&ran), Vec::<String>::new());
    let unread: Value = serde_json::from_str(&ran.out).unwrap();
    let unread = unread[0]["unread"].as_array().unwrap().clone();
    assert_eq!(unread.len(), 1, "kinds that are not served are not unread: {unread:?}");
    assert!(ran.err.contains("warning: secrets could not be read"), "{}", ran.err);
    world.kubectl(&["-n", "his-discreet", "delete", "networkpolicy", "default-deny"]);
    let ran = world.call("engineer", false, &arguments);
    assert_eq!((ran.code, changed(&ran)), (Some(4), vec!["Create NetworkPolicy/default-deny".to_owned()]));
}

#[test]
fn no_value_that_the_operator_generated_is_in_a_bundle() {
    use k8s_openapi::api::core::v1::Secret;
    let world = &*WORLD;
    world.hospital("bundled");
    world.open("bundled");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar.gz");
    let ran = world.call("helper", true, &["support-bundle", "bundled", "--to", file.to_str().unwrap()]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let files = super::bundle::unpacked(&file);
    for path in ["plan.yaml", "diff.txt", "objects/StatefulSet/database.yaml", "objects/Secret/app-session.yaml"] {
        assert!(files.contains_key(path), "{path} is not in {:?}", files.keys());
    }
    assert!(files["objects/StatefulSet/database.yaml"].contains("kind: StatefulSet"));
    let api: Api<Secret> = Api::namespaced(world.admin(), "his-bundled");
    let secrets = world.runtime.block_on(api.list(&kube::api::ListParams::default())).unwrap();
    let open = ["username", "host", "port", "dbname", "ca.crt", "tls.crt"];
    let all = secrets.items.iter().flat_map(|secret| secret.data.iter().flatten());
    let mut searched = 0;
    for (key, value) in all.filter(|(key, _)| !open.contains(&key.as_str())) {
        let value = std::str::from_utf8(&value.0).unwrap();
        for (path, text) in &files {
            assert!(!text.contains(value.trim()), "the value of {key} is in {path}");
            assert!(!text.contains(&super::bundle::base64(value)), "the value of {key} is in {path}");
        }
        searched += 1;
    }
    assert!(searched >= 4, "only {searched} values were searched for");
}
