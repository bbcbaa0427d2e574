//! The embedded database, run for real: what its start script guarantees, what it refuses, and what it never lets out.
//! Needs root (namespaces) and a Postgres server in `/usr/lib/postgresql`. Every connection is to a pod's own loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_debug_implementations,
    reason = "a failed expectation is how a test speaks"
)]

#[path = "embedded_postgres/pod.rs"]
mod pod;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pod::{PASSWORDS, Pod, binaries, major};

const PATIENT: &str = "Ehrlich^Westphall^19341102";

fn assert_refused(result: Result<String, String>, because: &str) {
    let error = result.expect_err(because);
    assert!(error.contains(because), "refused for another reason than {because:?}: {error}");
}

// ---- first start

#[test]
fn first_start_makes_a_checksummed_utf8_database_with_three_narrow_roles() {
    let pod = Pod::ready();
    assert_eq!(pod.superuser("show data_checksums"), "on");
    assert_eq!(
        pod.superuser("select pg_encoding_to_char(encoding), datcollate, pg_get_userbyid(datdba) from pg_database where datname = current_database()"),
        "UTF8|C.UTF-8|st_owner"
    );
    let powers = "select rolname from pg_roles where (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolcanlogin) \
                  and not (rolname ~ '^st_' and not (rolsuper or rolcreatedb or rolcreaterole or rolreplication))";
    assert_eq!(pod.superuser(powers), "postgres");
    assert_eq!(
        pod.superuser("select count(*) from pg_authid where rolname ~ '^st_' and rolpassword like 'SCRAM-SHA-256$%'"),
        "3"
    );
    assert_eq!(
        pod.superuser("select count(*) from pg_authid where rolname !~ '^st_' and rolpassword is not null"),
        "0"
    );
}

#[test]
fn app_has_data_but_no_definitions_on_everything_that_owner_makes_later() {
    let pod = Pod::ready();
    pod.sql("owner", "create table patient (id serial primary key, name text)").unwrap();
    pod.sql("owner", "create schema lab; create table lab.result (id int); create function lab.two() returns int language sql as 'select 2'").unwrap();

    pod.sql("app", "insert into patient (name) values ('a'), ('b'); update patient set name = 'c' where id = 1; delete from patient where id = 2").unwrap();
    assert_eq!(pod.sql("app", "select id, name from patient").unwrap(), "1|c");
    assert_eq!(pod.sql("app", "select lab.two() + count(*) from lab.result").unwrap(), "2");

    for definition in [
        "create table public.t (i int)",
        "create schema s",
        "create temporary table t (i int)",
        "create table lab.t (i int)",
    ] {
        assert_refused(pod.sql("app", definition), "permission denied");
    }
    for definition in ["drop table patient", "alter table patient add column x int"] {
        assert_refused(pod.sql("app", definition), "must be owner");
    }
    assert_refused(pod.sql("app", "truncate patient"), "permission denied");
    assert_refused(pod.sql("app", "set role st_owner"), "permission denied");
    assert_refused(pod.sql("app", "copy patient to program 'true'"), "external program");
}

#[test]
fn a_right_that_a_migration_took_from_app_stays_taken_after_a_restart() {
    let mut pod = Pod::ready();
    pod.sql("owner", "create table audit_log (entry text); revoke update, delete on audit_log from st_app").unwrap();
    pod.restart();
    pod.sql("app", "insert into audit_log values ('x')").unwrap();
    assert_refused(pod.sql("app", "delete from audit_log"), "permission denied");
}

#[test]
fn backup_dumps_everything_and_writes_nothing() {
    let pod = Pod::ready();
    pod.sql(
        "owner",
        "create schema lab; create table lab.result (v text); insert into lab.result values ('dumped-row')",
    )
    .unwrap();
    pod.sql("owner", "create table hidden (v text); insert into hidden values ('row-security-row'); alter table hidden enable row level security, force row level security").unwrap();
    pod.sql("app", "select lo_from_bytea(0, 'large-object')").unwrap();
    let dump = pod.client("pg_dump", "backup", "verify-full").output().unwrap();
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    for part in ["dumped-row", "row-security-row", "6c617267652d6f626a656374"] {
        assert!(text.contains(part), "the dump lacks {part}");
    }
    assert_refused(pod.sql("backup", "insert into lab.result values ('x')"), "read-only transaction");
    assert_refused(pod.sql("backup", "begin read write; insert into lab.result values ('x')"), "permission denied");
    assert_refused(pod.sql("backup", "begin read write; create table public.t (i int)"), "permission denied");
}

// ---- network

fn takes_plain_connections(pod: &Pod) -> bool {
    ["owner", "app", "backup"].iter().any(|role| match pod.sql_over("disable", role, "select 1") {
        Ok(_) => true,
        Err(error) => {
            assert!(error.contains("pg_hba.conf rejects connection"), "{error}");
            false
        }
    })
}

#[test]
fn only_verified_tls_and_only_the_three_roles_get_in() {
    let mut pod = Pod::ready();
    assert!(!takes_plain_connections(&pod));
    for role in ["owner", "app", "backup"] {
        let tls = "select version, bits >= 128 from pg_stat_ssl where pid = pg_backend_pid()";
        assert_eq!(pod.sql(role, tls).unwrap(), "TLSv1.3|t");
    }
    let older = pod
        .client("psql", "app", "verify-full")
        .env("PGSSLMAXPROTOCOLVERSION", "TLSv1.2")
        .args(["-XAtc", "select cipher from pg_stat_ssl where pid = pg_backend_pid()"])
        .output()
        .unwrap();
    let cipher = String::from_utf8_lossy(&older.stdout);
    assert!(cipher.starts_with("ECDHE-ECDSA-AES") && cipher.contains("GCM"), "{cipher}");

    fs::copy(Pod::new().path("ca.crt"), pod.path("ca.crt")).unwrap();
    assert_refused(pod.sql("app", "select 1"), "certificate verify failed");
    fs::copy(pod.path("secrets/tls/ca.crt"), pod.path("ca.crt")).unwrap();

    // A superuser with a password, a stranger with a password: neither passes.
    pod.superuser("alter role postgres password 'known'");
    pod.superuser("create role stranger login password 'known'");
    pod.superuser("grant connect on database st_elsewhere to stranger");
    for role in ["postgres", "stranger"] {
        for sslmode in ["verify-full", "disable"] {
            assert_refused(pod.sql_over(sslmode, role, "select 1"), "pg_hba.conf rejects connection");
        }
    }
    pod.set_database("postgres");
    assert_refused(pod.sql("app", "select 1"), "permission denied for database");
}

#[test]
fn a_plain_connection_in_pg_hba_would_be_seen() {
    let mut pod = Pod::new();
    pod.mutate("pg_hba.conf", "hostssl   all", "host      all");
    pod.start();
    pod.wait_ready();
    assert!(takes_plain_connections(&pod));
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    let mut pod = Pod::ready();
    let session = pod.superuser("select pg_postmaster_start_time()");
    pod.renew_certificate();
    pod.wait_for("the new certificate", |pod| pod.sql("app", "select 1").is_ok());
    assert_eq!(pod.superuser("select pg_postmaster_start_time()"), session);
}

// ---- passwords and names

#[test]
fn a_changed_password_or_role_name_holds_from_the_next_start_and_data_survives() {
    let mut pod = Pod::ready();
    pod.sql("owner", "create table patient (name text); insert into patient values ('kept')").unwrap();

    pod.set_secret("app", &[("username", "st_app"), ("password", "second")]);
    assert_refused(pod.sql("app", "select 1"), "password authentication failed");
    pod.restart();
    assert_eq!(pod.sql("app", "select name from patient").unwrap(), "kept");

    pod.set_secret("app", &[("username", "st_app_2"), ("password", "third")]);
    pod.restart();
    assert_eq!(pod.sql("app", "select name from patient").unwrap(), "kept");
    pod.set_secret("former", &[("username", "st_app"), ("password", "second")]);
    assert_refused(pod.sql("former", "select 1"), "pg_hba.conf rejects connection");
}

// ---- crashes

/// Kills the pod at points of its first start, one after the other on the same volume, then lets it finish. Each point
/// is reached anew: what an interrupted initialisation left is gone once the next one has announced itself.
fn survives_kills_during_first_start(pod: &mut Pod) {
    for file in ["", "PG_VERSION", "global/pg_control", "base/4"] {
        let announced = pod.log().matches("first start").count();
        pod.start();
        pod.wait_for("the initialisation", |pod| pod.log().matches("first start").count() > announced);
        let half_made = pod.path("data/pgdata.initdb").join(file);
        pod.wait_for(file, |pod| half_made.exists() || pod.pgdata(file).exists());
        pod.kill();
        if pod.pgdata("PG_VERSION").exists() {
            break; // a busy machine: it got past the rename before the kill
        }
    }
    let later: [fn(&Pod) -> bool; 3] = [
        |pod| pod.pgdata("PG_VERSION").exists(),
        |pod| pod.path("run/setup/.s.PGSQL.5432").exists(),
        |pod| fs::read_dir(pod.pgdata("base")).unwrap().count() > 3,
    ];
    for reached in later {
        pod.start();
        pod.wait_for("a later point", reached);
        pod.kill();
    }
    pod.start();
    pod.wait_ready();
}

#[test]
fn a_kill_at_any_point_of_the_first_start_converges_on_the_next() {
    let mut pod = Pod::new();
    survives_kills_during_first_start(&mut pod);
    assert!(!pod.path("data/pgdata.initdb").exists());
    assert!(pod.log().matches("first start").count() > 2, "no kill hit the initialisation:\n{}", pod.log());
    pod.sql("owner", "create table patient (name text)").unwrap();
    pod.sql("app", "insert into patient values ('x')").unwrap();
    assert!(pod.client("pg_dump", "backup", "verify-full").output().unwrap().status.success());
}

#[test]
fn initialising_in_place_would_not_survive_the_kills() {
    let mut pod = Pod::new();
    pod.mutate("start.sh", "half_made=$volume/pgdata.initdb", "half_made=$data");
    pod.mutate("start.sh", "mv \"$half_made\" \"$data\"", ":");
    let kills = std::panic::AssertUnwindSafe(|| survives_kills_during_first_start(&mut pod));
    assert!(std::panic::catch_unwind(kills).is_err());
    let log = pod.log();
    assert!(log.contains("is not a Postgres data directory") || log.contains("did not come up"), "{log}");
}

#[test]
fn committed_data_survives_a_kill_of_the_running_server() {
    let mut pod = Pod::ready();
    pod.sql("owner", "create table patient (name text)").unwrap();
    for round in 1..=3 {
        pod.sql("app", &format!("insert into patient values ('row {round}')")).unwrap();
        pod.kill();
        pod.start();
        pod.wait_ready();
        assert_eq!(pod.sql("app", "select count(*) from patient").unwrap(), round.to_string());
    }
}

// ---- stopping

/// Clients that sit in an open transaction, as a busy pool does.
/// So many open transactions. A client is started again when the server had no slot for it: the connection of an ended
/// probe holds its slot a moment longer than the probe lives.
fn open_transactions(pod: &mut Pod, number: usize) -> Vec<Child> {
    let open = |pod: &Pod| {
        let mut psql = pod.client("psql", "app", "verify-full");
        psql.args(["-XAtq", "-c", "begin", "-c", "select 1", "-c", "select pg_sleep(600)"]);
        psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut clients: Vec<_> = (0..number).map(|_| open(pod)).collect();
    let asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    pod.wait_for("every client asleep", |pod| {
        for client in &mut clients {
            if client.try_wait().unwrap().is_some() {
                *client = open(pod);
            }
        }
        pod.superuser(asleep) == number.to_string()
    });
    clients
}

fn control_state(pod: &Pod) -> String {
    let report = Command::new(binaries().join("pg_controldata")).arg(pod.path("data/pgdata")).output().unwrap();
    String::from_utf8_lossy(&report.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("Database cluster state:"))
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn sigterm_is_a_fast_clean_shutdown_under_open_transactions() {
    let mut pod = Pod::ready();
    let clients = open_transactions(&mut pod, 3);
    pod.signal("-TERM");
    let (code, took) = pod.wait_end();
    for mut client in clients {
        client.wait().unwrap();
    }
    assert_eq!((code, control_state(&pod).as_str()), (Some(0), "shut down"));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn sigterm_during_the_first_start_ends_it_and_the_next_one_converges() {
    let mut pod = Pod::new();
    for point in ["data/pgdata.initdb/PG_VERSION", "run/setup/.s.PGSQL.5432"] {
        pod.start();
        pod.wait_for(point, |pod| pod.path(point).exists());
        pod.signal("-TERM");
        let (code, took) = pod.wait_end();
        assert_eq!(code, Some(0), "{}", pod.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    pod.start();
    pod.wait_ready();
    assert_eq!(pod.sql("app", "select 1").unwrap(), "1");
}

// ---- probes

/// Holds the setup phase, with psql connected, until [`release`].
fn hold_setup(pod: &mut Pod) {
    pod.mutate("roles.sql", "BEGIN;", "\\! touch /tmp/held; until [ -e /tmp/go ]; do sleep 0.05; done\nBEGIN;");
    pod.start();
    pod.wait_for("the held setup", |pod| pod.path("tmp/held").exists());
}

fn release(pod: &Pod) {
    fs::write(pod.path("tmp/go"), "").unwrap();
}

/// Tells whether TCP or any probe answers while roles and grants are not in place.
fn answers_during_setup(pod: &mut Pod) -> bool {
    hold_setup(pod);
    let probed = ["started", "ready", "alive"].iter().any(|name| pod.probe(name).status.success());
    let refused = pod.sql("app", "select 1").unwrap_err();
    release(pod);
    probed || !refused.contains("Connection refused")
}

#[test]
fn nothing_answers_before_roles_and_grants_are_in_place_then_every_probe_does() {
    let mut pod = Pod::new();
    assert!(!answers_during_setup(&mut pod));
    pod.wait_ready();
    for name in ["started", "ready", "alive"] {
        assert!(pod.probe(name).status.success(), "{name}");
    }
    assert_eq!(pod.probe("else").status.code(), Some(64));
}

#[test]
fn a_setup_server_on_tcp_would_be_seen() {
    let mut pod = Pod::new();
    pod.mutate("start.sh", "-c listen_addresses=''", "");
    assert!(answers_during_setup(&mut pod));
}

#[test]
fn readiness_holds_when_the_application_takes_every_connection() {
    let mut pod = Pod::new();
    pod.mutate("postgresql.conf", "max_connections = 100", "max_connections = 5");
    pod.start();
    pod.wait_ready();
    let clients = open_transactions(&mut pod, 2);
    assert!(pod.sql("app", "select 1").unwrap_err().contains("reserved"));
    assert!(pod.probe("ready").status.success());
    pod.signal("-TERM");
    pod.wait_end();
    for mut client in clients {
        client.wait().unwrap();
    }
}

// ---- refusals

#[test]
fn a_missing_empty_or_unusable_secret_is_refused_by_name() {
    for (role, username, password, message) in [
        ("app", "St_App", "p", "role name in /etc/his/secrets/app/username is not valid"),
        ("app", "a\"; drop role postgres; --", "p", "role name in /etc/his/secrets/app/username is not valid"),
        ("owner", "postgres", "p", "role name 'postgres' in /etc/his/secrets/owner/username is reserved"),
        ("backup", "pg_backup", "p", "role name 'pg_backup' in /etc/his/secrets/backup/username is reserved"),
        ("backup", "st_app", "p", "need three different role names"),
        ("app", "st_app", "", "/etc/his/secrets/app/password is empty"),
        ("app", "st_app", "two\nlines\n", "/etc/his/secrets/app/password has more than one line"),
        ("app", "st_app", "md500112233445566778899aabbccddeeff", "holds a password hash"),
    ] {
        let mut pod = Pod::new();
        pod.set_secret(role, &[("username", username), ("password", password)]);
        let said = pod.refusal();
        assert!(said.contains(message), "{said}");
        assert!(!pod.path("data/pgdata").exists(), "a refusal changes nothing");
    }
    for (secret, key) in [("owner", "password"), ("backup", "username"), ("tls", "tls.key"), ("tls", "tls.crt")] {
        let mut pod = Pod::new();
        pod.remove_secret(secret, key);
        let said = pod.refusal();
        assert!(said.contains(&format!("/etc/his/secrets/{secret}/{key} is missing")), "{said}");
    }
    let mut pod = Pod::new();
    pod.set_database("St-Elsewhere");
    assert!(pod.refusal().contains("PGDATABASE_NAME is not a valid database name"));
}

#[test]
fn a_directory_that_may_hold_data_is_never_touched() {
    let mut pod = Pod::new();
    fs::create_dir_all(pod.pgdata("base/16384")).unwrap();
    fs::write(pod.pgdata("base/16384/2619"), PATIENT).unwrap();
    let said = pod.refusal();
    assert!(said.contains("is not a Postgres data directory"), "{said}");

    let (was, is) = (major(&binaries()) - 1, major(&binaries()));
    fs::write(pod.pgdata("PG_VERSION"), format!("{was}\n")).unwrap();
    let said = pod.refusal();
    assert!(said.contains(&format!("was written by PostgreSQL {was}, this image has PostgreSQL {is}")), "{said}");
    assert!(said.contains(&format!("set the image back to PostgreSQL {was}")), "{said}");
    assert_eq!(fs::read_to_string(pod.pgdata("base/16384/2619")).unwrap(), PATIENT);
}

#[test]
fn a_renamed_database_or_owner_is_refused_instead_of_served_empty() {
    let mut pod = Pod::ready();
    pod.signal("-TERM");
    pod.wait_end();
    let said_by_failed_start = |pod: &mut Pod| {
        let before = pod.log().len();
        pod.start();
        assert_eq!(pod.wait_end().0, Some(1));
        pod.log().split_off(before)
    };
    pod.set_database("other");
    let said = said_by_failed_start(&mut pod);
    assert!(said.contains("this volume holds the database st_elsewhere, but PGDATABASE_NAME is other."), "{said}");
    pod.set_database(pod::DATABASE);
    pod.set_secret("owner", &[("username", "st_owner_2"), ("password", "p")]);
    let said = said_by_failed_start(&mut pod);
    assert!(
        said.contains(
            "database st_elsewhere is owned by role st_owner, but /etc/his/secrets/owner/username says st_owner_2."
        ),
        "{said}"
    );
}

#[test]
fn a_second_instance_on_the_same_volume_is_refused() {
    let pod = Pod::ready();
    let mut second = Pod::new();
    fs::remove_dir(second.path("data")).unwrap();
    std::os::unix::fs::symlink(pod.path("data"), second.path("data")).unwrap();
    let said = second.refusal();
    assert!(said.contains("another instance runs on this volume"), "{said}");
    assert_eq!(pod.sql("app", "select 1").unwrap(), "1");
}

// ---- what never gets out

/// Provokes every kind of error that quotes a row, and tells whether the log quotes one.
fn log_quotes_a_patient(pod: &Pod) -> bool {
    pod.sql("owner", "create table patient (name text primary key, born date, check (born is null))").unwrap();
    let insert = format!("insert into patient values ('{PATIENT}', null)");
    pod.sql("app", &insert).unwrap();
    for statement in [
        insert.clone(),
        format!("insert into patient values ('x', '{PATIENT}')"),
        format!("insert into patient values ('{PATIENT} 2', '1934-11-02')"),
        format!("select '{PATIENT}' from nowhere"),
        format!("do $$ begin raise warning '{PATIENT}'; raise exception '{PATIENT}'; end $$"),
    ] {
        assert!(pod.sql("app", &statement).unwrap_err().contains("ERROR"));
    }
    pod.log().contains(PATIENT)
}

#[test]
fn the_log_names_who_connected_and_quotes_no_patient() {
    let pod = Pod::ready();
    assert!(!log_quotes_a_patient(&pod));
    pod.sql_over("disable", "app", "select 1").unwrap_err();
    for line in
        ["connection authorized: user=st_app", "SSL enabled (protocol=TLSv1.3", "pg_hba.conf rejects connection"]
    {
        assert!(pod.log().contains(line), "{line}");
    }
}

#[test]
fn logging_errors_would_quote_a_patient() {
    let mut pod = Pod::new();
    pod.mutate("postgresql.conf", "log_min_messages = log", "log_min_messages = error");
    pod.start();
    pod.wait_ready();
    assert!(log_quotes_a_patient(&pod));
}

/// The first role whose password `text` shows, were it cut short.
fn quoted_password(text: &str) -> Option<&'static str> {
    PASSWORDS.iter().find(|(_, password)| text.contains(password.split(' ').next().unwrap())).map(|(role, _)| *role)
}

/// Breaks the statement right after the password it carries: psql by default quotes what stands there.
fn fail_at_the_password(pod: &mut Pod) {
    pod.mutate("roles.sql", "PASSWORD :'app_password'", "PASSWORD :'app_password' NOW");
    pod.start();
    assert_eq!(pod.wait_end().0, Some(1));
    assert!(pod.log().contains("unrecognized role option"), "{}", pod.log());
}

#[test]
fn no_secret_reaches_a_log_a_command_line_or_an_environment() {
    let mut pod = Pod::new();
    fail_at_the_password(&mut pod);
    assert_eq!(quoted_password(&pod.log()), None);

    pod.mutate("roles.sql", "PASSWORD :'app_password' NOW", "PASSWORD :'app_password'");
    hold_setup(&mut pod);
    let mut seen = pod.process_table();
    assert!(seen.contains("roles.sql"), "psql is not among {seen}");
    release(&pod);
    pod.wait_for("readiness", |pod| {
        seen += &pod.process_table();
        pod.probe("ready").status.success()
    });
    assert_eq!(quoted_password(&seen), None);
    pod.restart();
    assert_eq!(quoted_password(&pod.log()), None);
    assert!(!pod.log().contains(&pod.private_key()));
}

#[test]
fn a_verbose_psql_would_quote_a_password() {
    let mut pod = Pod::new();
    pod.mutate("roles.sql", "VERBOSITY terse", "VERBOSITY default");
    fail_at_the_password(&mut pod);
    assert_eq!(quoted_password(&pod.log()), Some("app"));
}

// ---- the harness

#[test]
fn a_dropped_pod_leaves_no_process_and_no_directory() {
    let pod = Pod::ready();
    let (init, scratch) = (format!("/proc/{}", pod.init().unwrap()), pod.path(""));
    assert!(fs::exists(&init).unwrap() && scratch.exists());
    drop(pod);
    assert!(!fs::exists(&init).unwrap() && !scratch.exists());
}
