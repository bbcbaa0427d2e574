//! A hospital on a database that somebody else runs: another PostgreSQL with its own authority and its own roles.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Theatre;
use crate::{
    control_plane::pki::Authority,
    demo::{
        access::Access,
        hospital::Hospital,
        resources::{apply, condition, set, tenants},
    },
};

/// Where the foreign database runs.
const PLACE: &str = "records";
/// Its name inside the cluster, which its certificate is valid for.
const HOST: &str = "database.records.svc";
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What an administrator of that database would do: its own authority, TLS only, one role for the schema and one for rows.
const START: &str = r#"
umask 077
bin=$(echo /usr/lib/postgresql/*/bin)
cp /etc/records/tls.key /tmp/tls.key
"$bin/initdb" -D /tmp/data -U postgres -E UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=reject > /dev/null
printf 'local all postgres trust\nhostssl gnuhealth owner,app all scram-sha-256\n' > /tmp/data/pg_hba.conf
"$bin/pg_ctl" -D /tmp/data -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start > /dev/null
for role in owner app; do
    printf "CREATE ROLE %s LOGIN PASSWORD '%s';\n" "$role" "$(cat "/etc/records/$role")"
done > /tmp/roles.sql
cat >> /tmp/roles.sql <<'SQL'
CREATE DATABASE gnuhealth OWNER owner;
\connect gnuhealth
ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT, USAGE, UPDATE ON SEQUENCES TO app;
SQL
"$bin/psql" -X -q -v ON_ERROR_STOP=1 -h /tmp -U postgres -f /tmp/roles.sql postgres
"$bin/pg_ctl" -D /tmp/data -w -m fast stop > /dev/null
exec "$bin/postgres" -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp \
    -c ssl=on -c ssl_cert_file=/etc/records/tls.crt -c ssl_key_file=/tmp/tls.key -c ssl_min_protocol_version=TLSv1.2
"#;

/// The hospital says which Secret is missing, and serves a login as soon as a person has given it.
pub async fn database(theatre: &Theatre) -> Result<String> {
    let given = foreign_database(theatre).await?;
    // Its data outlives it, so each run needs a name of its own.
    let mut hospital = Hospital::named(&theatre.stage, &format!("county-general-{}", std::process::id())).await?;
    let external = json!({
        "host": HOST,
        "name": "gnuhealth",
        "cidrs": [format!("{}/32", given.address)],
        "appSecret": "records-app",
        "ownerSecret": "records-owner",
    });
    set(&mut hospital.tenant, &["spec", "database"], json!({"external": external}));
    apply(&tenants(&hospital.client), &hospital.tenant).await?;
    let named = |tenant: &kube::core::DynamicObject| {
        condition(tenant, "Ready")
            .is_some_and(|(_, reason, text)| reason == "SecretNotFound" && text.contains("records-"))
    };
    hospital.until("the missing Secret is named", PATIENCE, named).await?;
    for (role, password) in [("app", &given.app), ("owner", &given.owner)] {
        let data = json!({"username": role, "password": password, "ca.crt": given.authority});
        secret(theatre, &hospital.namespace, &format!("records-{role}"), &data).await?;
    }
    hospital.ready().await?;
    let access = Access::to(&hospital, theatre.stage.site.gateway());
    access.login("admin", &hospital.admin_password().await?).await?;
    let psql = "psql -X -At -h /tmp -U postgres -c 'select count(*) from res_user' gnuhealth";
    let rows = theatre.kubectl(&["-n", PLACE, "exec", "database", "--", "/bin/sh", "-c", psql]).await?;
    if rows.trim().parse::<u32>().unwrap_or_default() == 0 {
        bail!("the foreign database holds no user of the hospital: {rows}");
    }
    theatre.kubectl(&["delete", "ht", &hospital.name, "--wait=true", "--timeout=180s"]).await?;
    theatre.kubectl(&["delete", "namespace", PLACE, "--wait=false"]).await?;
    Ok(format!("its Secret was asked for by name; then a login over verified TLS; {} users in it", rows.trim()))
}

struct Given {
    address: String,
    authority: String,
    app: String,
    owner: String,
}

async fn foreign_database(theatre: &Theatre) -> Result<Given> {
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let authority = Authority::open(scratch.path())?;
    let pair = authority.issue("database", "records", &[], &[HOST])?;
    let text = |path| fs::read_to_string(path).context("the certificate was not written");
    let password = |seed: &str| format!("{seed}{}", std::process::id());
    let (app, owner, authority) = (password("app"), password("owner"), text(authority.certificate())?);
    theatre.kubectl(&["create", "namespace", PLACE]).await?;
    let files = json!({
        "tls.crt": text(pair.certificate)?, "tls.key": text(pair.key)?, "app": app, "owner": owner,
        "passwd": "postgres:x:10001:10001:postgres:/tmp:/bin/false\n",
    });
    secret(theatre, PLACE, "database", &files).await?;
    for object in [pod(&theatre.stage.images.postgres.by_digest()), service()] {
        theatre.apply(object.to_string()).await?;
    }
    theatre.kubectl(&["-n", PLACE, "wait", "pod/database", "--for=condition=Ready", "--timeout=180s"]).await?;
    let address = theatre.kubectl(&["-n", PLACE, "get", "pod", "database", "-o", "jsonpath={.status.podIP}"]).await?;
    Ok(Given { address, authority, app, owner })
}

async fn secret(theatre: &Theatre, namespace: &str, name: &str, data: &Value) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(theatre.hospital.client.clone(), namespace);
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let parameters = PatchParams::apply("database-administrator");
    api.patch(name, &parameters, &Patch::Apply(body)).await.with_context(|| format!("cannot give Secret {name}"))?;
    Ok(())
}

fn pod(image: &str) -> Value {
    let file = |name: &str, path: &str| json!({"name": "files", "mountPath": path, "subPath": name, "readOnly": true});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "database", "namespace": PLACE, "labels": {"app": "database"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001},
            "containers": [{
                "name": "database",
                "image": image,
                "command": ["/bin/sh", "-euc", START],
                "ports": [{"name": "postgres", "containerPort": 5432}],
                // Listening on TCP is the last thing that it does.
                "readinessProbe": {"tcpSocket": {"port": "postgres"}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "files", "mountPath": "/etc/records", "readOnly": true},
                    {"name": "scratch", "mountPath": "/tmp"},
                    file("passwd", "/etc/passwd"),
                ],
            }],
            "volumes": [
                {"name": "files", "secret": {"secretName": "database", "defaultMode": 0o440}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "database", "namespace": PLACE},
        "spec": {"selector": {"app": "database"}, "ports": [{"port": 5432, "targetPort": "postgres"}]},
    })
}
