//! A stand-in for the database pod: the real files under `src/capabilities/database/embedded`, run by `pod.sh` in
//! namespaces of their own. The only network is that pod's loopback. Dropping a [`Pod`] ends every process in it, and
//! so does the death of the test that made it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const DATABASE: &str = "st_elsewhere";
pub const SERVER_NAME: &str = "db.st-elsewhere.svc";
/// Quotes and a backslash: a password must survive shell, psql and SQL. The first word alone betrays it.
pub const PASSWORDS: [(&str, &str); 3] =
    [("owner", r#"7f3ae1 own'er"\ $(id)"#), ("app", "91bc04 a`p;--%s"), ("backup", "55de92 back:'x'")];
const FILES: [(&str, &str); 6] = [
    ("start.sh", include_str!("../../src/capabilities/database/embedded/start.sh")),
    ("probe.sh", include_str!("../../src/capabilities/database/embedded/probe.sh")),
    ("roles.sql", include_str!("../../src/capabilities/database/embedded/roles.sql")),
    ("postgresql.conf", include_str!("../../src/capabilities/database/embedded/postgresql.conf")),
    ("pg_hba.conf", include_str!("../../src/capabilities/database/embedded/pg_hba.conf")),
    ("passwd", include_str!("../../src/capabilities/database/embedded/passwd")),
];
const POD_SH: &str = include_str!("pod.sh");
const DEADLINE: Duration = Duration::from_secs(90);
const GROUP: u32 = 10001;

pub struct Pod {
    scratch: TempDir,
    /// `unshare`, whose only child is the pod's PID 1.
    running: Option<Child>,
    database: String,
    revision: u32,
}

impl Pod {
    /// Nothing started yet: an empty volume, the shipped files, one Secret per role and a certificate.
    pub fn new() -> Self {
        assert_eq!(fs::metadata("/proc/self").map(|m| owner(&m)).ok(), Some(0), "run as root: the pod needs mounts");
        let scratch = TempDir::with_prefix("his-postgres-").unwrap();
        set_mode(scratch.path(), 0o755);
        for volume in ["data", "run", "tmp"] {
            let path = scratch.path().join(volume);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(0), Some(GROUP)).unwrap();
            set_mode(&path, 0o2770);
        }
        for directory in ["config", "root", "secrets"] {
            fs::create_dir(scratch.path().join(directory)).unwrap();
        }
        let mut pod = Self { scratch, running: None, database: DATABASE.to_owned(), revision: 0 };
        for (name, text) in FILES {
            pod.write_config(name, text);
        }
        fs::write(pod.path("pod.sh"), POD_SH).unwrap();
        for (role, password) in PASSWORDS {
            pod.set_secret(role, &[("username", &format!("st_{role}")), ("password", password)]);
        }
        pod.renew_certificate();
        pod
    }

    /// A running pod that passed its readiness probe.
    pub fn ready() -> Self {
        let mut pod = Self::new();
        pod.start();
        pod.wait_ready();
        pod
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn pgdata(&self, name: &str) -> PathBuf {
        self.path("data/pgdata").join(name)
    }

    pub fn set_database(&mut self, name: &str) {
        name.clone_into(&mut self.database);
    }

    /// Replaces `from` in a shipped file; fails if it is not there, so that a mutant cannot silently be the original.
    pub fn mutate(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("config").join(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write_config(file, &text.replace(from, to));
    }

    fn write_config(&self, name: &str, text: &str) {
        let path = self.path("config").join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, 0o444);
    }

    /// Writes a Secret volume the way kubelet does: root-owned 0440 files behind `..data`, swapped by one rename.
    pub fn set_secret(&mut self, name: &str, entries: &[(&str, &str)]) {
        self.revision += 1;
        let volume = self.path("secrets").join(name);
        let version = format!("..{}", self.revision);
        let directory = volume.join(&version);
        fs::create_dir_all(&directory).unwrap();
        for (key, value) in entries {
            let file = directory.join(key);
            fs::write(&file, value).unwrap();
            chown(&file, Some(0), Some(GROUP)).unwrap();
            set_mode(&file, 0o440);
        }
        symlink(&version, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        for (key, _) in entries {
            if fs::symlink_metadata(volume.join(key)).is_err() {
                symlink(format!("..data/{key}"), volume.join(key)).unwrap();
            }
        }
    }

    pub fn remove_secret(&self, name: &str, key: &str) {
        fs::remove_file(self.path("secrets").join(name).join("..data").join(key)).unwrap();
    }

    /// Puts a new self-signed certificate into the TLS Secret and makes clients trust it alone.
    pub fn renew_certificate(&mut self) {
        let (key, certificate) = (self.path("new.key"), self.path("ca.crt"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/O=st-elsewhere", "-addext", &format!("subjectAltName=DNS:{SERVER_NAME}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl is needed (apt-get install openssl)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (key, certificate) = (fs::read_to_string(key).unwrap(), fs::read_to_string(certificate).unwrap());
        self.set_secret("tls", &[("tls.crt", &certificate), ("tls.key", &key), ("ca.crt", &certificate)]);
    }

    /// The private key as it must never appear in a log: its base64 body.
    pub fn private_key(&self) -> String {
        fs::read_to_string(self.path("new.key")).unwrap().lines().nth(1).unwrap().to_owned()
    }

    pub fn start(&mut self) {
        assert!(self.running.is_none(), "already running");
        let log = OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        self.running = Some(unshare_pod(self.scratch.path(), &self.database, log));
    }

    /// Everything that all starts so far wrote to stdout and stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn wait_ready(&mut self) {
        self.wait_for("readiness", |pod| pod.probe("ready").status.success());
    }

    /// Polls until `met`; fails with the log if the pod ends first or the deadline passes.
    pub fn wait_for(&mut self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !met(self) {
            assert!(self.ended().is_none(), "the pod ended before {what}:\n{}", self.log());
            assert!(Instant::now() < deadline, "no {what} in {DEADLINE:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    /// The pod's PID 1 as seen from here, once it exists.
    pub fn init(&self) -> Option<String> {
        let unshare = self.running.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }

    pub fn signal(&mut self, signal: &str) {
        self.wait_for("its PID 1", |pod| pod.init().is_some());
        let init = self.init().expect("the pod runs");
        assert!(Command::new("kill").args([signal, &init]).status().unwrap().success());
    }

    /// The exit code of the pod, and how long it took to end.
    pub fn wait_end(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        while self.ended().is_none() {
            assert!(began.elapsed() < DEADLINE, "the pod did not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        let code = self.running.take().unwrap().wait().unwrap().code();
        (code, began.elapsed())
    }

    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.wait_end();
    }

    pub fn restart(&mut self) {
        self.signal("-TERM");
        self.wait_end();
        self.start();
        self.wait_ready();
    }

    /// Starts, expects a refusal, and returns what this start said.
    pub fn refusal(&mut self) -> String {
        let before = self.log().len();
        self.start();
        let (code, _) = self.wait_end();
        let said = self.log().split_off(before);
        assert_eq!(code, Some(78), "no refusal:\n{said}");
        said
    }

    /// Runs a command inside the pod the way an exec probe does.
    pub fn exec(&self, command: &[&str]) -> Output {
        let init = self.init().unwrap_or_default();
        Command::new("nsenter")
            .args(["--target", &init, "--mount", "--pid", "--net", "--ipc", "--root", "--wd", "--"])
            .args(["/usr/bin/setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub fn probe(&self, name: &str) -> Output {
        self.exec(&["/bin/sh", "/etc/his/postgres/probe.sh", name])
    }

    /// Command lines and environments of every process in the pod.
    pub fn process_table(&self) -> String {
        let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
        let Some(pod) = self.init().and_then(|init| namespace(&Path::new("/proc").join(init))) else {
            return String::new();
        };
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let inside = processes.filter(|process| namespace(process).as_ref() == Some(&pod));
        let shown = inside.flat_map(|process| ["cmdline", "environ"].map(|file| fs::read(process.join(file))));
        shown.flatten().map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).collect()
    }

    /// One value, asked by the superuser over the pod's local socket.
    pub fn superuser(&self, sql: &str) -> String {
        let psql =
            ["/run/postgresql/bin/psql", "-XAtqw", "-h", "/run/postgresql", "-U", "postgres", "-d", &self.database];
        answer(&self.exec(&[&psql[..], &["-v", "ON_ERROR_STOP=1", "-c", sql]].concat())).unwrap()
    }

    /// A client program of the newest installed Postgres, in the pod's network, connecting as `role` with the password
    /// that its Secret holds now.
    pub fn client(&self, program: &str, role: &str, sslmode: &str) -> Command {
        let user = fs::read_to_string(self.path(&format!("secrets/{role}/username"))).unwrap_or(role.to_owned());
        let password = fs::read_to_string(self.path(&format!("secrets/{role}/password"))).unwrap_or_default();
        let target = format!(
            "host={SERVER_NAME} hostaddr=127.0.0.1 port=5432 dbname={} user={user} sslmode={sslmode} sslrootcert={} connect_timeout=10",
            self.database,
            self.path("ca.crt").display()
        );
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init().unwrap_or_default(), "--net", "--"])
            .args([binaries().join(program).to_str().unwrap(), "-d", &target, "-w"])
            .env("PGPASSWORD", password)
            .stdin(Stdio::null());
        command
    }

    /// One statement over verified TLS: its answer, or the server's error.
    pub fn sql(&self, role: &str, sql: &str) -> Result<String, String> {
        self.sql_over("verify-full", role, sql)
    }

    pub fn sql_over(&self, sslmode: &str, role: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql", role, sslmode);
        answer(&psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // The kernel ends every process of the pod with its PID 1, and unshare returns only then: the scratch directory
        // is quiet when it goes.
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline
            && self.running.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        {
            if let Some(init) = self.init() {
                let _ = Command::new("kill").args(["-KILL", &init]).stderr(Stdio::null()).status();
            }
            thread::sleep(Duration::from_millis(5));
        }
        if let Some(mut unshare) = self.running.take() {
            let _ = unshare.kill();
            let _ = unshare.wait();
        }
    }
}

/// setpriv: should this test die, unshare goes with it.
fn unshare_pod(scratch: &Path, database: &str, log: File) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"])
        .arg("sh")
        .arg(scratch.join("pod.sh"))
        .arg(scratch)
        .arg(database)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The directory with the newest installed server and client programs.
pub fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    installed
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .max_by_key(|bin| major(bin))
        .expect("postgres is needed in /usr/lib/postgresql (apt-get install postgresql-15)")
}

pub fn major(bin: &Path) -> u32 {
    bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn answer(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn owner(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(metadata)
}
