//! `kubectl his network`: goldens of every form, and what it says of single connections.

use super::{Ran, case, plugin, server, status::golden};

fn planned(file: &str, more: &[&str]) -> Ran {
    let files = [case("definitions.yaml"), case(file)];
    plugin(&[&["network", "-f", &files[0], "-f", &files[1]], more].concat())
}

fn shown(form: &str) -> String {
    let ran = planned("hospital.yaml", &["-o", form]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{form}");
    assert_eq!(ran.out, planned("hospital.yaml", &["-o", form]).out, "{form} differs from one time to the next");
    ran.out
}

fn explained(file: &str, ends: &[&str]) -> String {
    let ran = planned(file, &[&["--explain"], ends].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ends:?}");
    ran.out
}

#[test]
fn every_form_of_the_graph_is_as_agreed() {
    for form in ["table", "yaml", "mermaid", "svg"] {
        golden(&format!("network-{form}"), &shown(form));
    }
    golden("network-external", &planned("external.yaml", &[]).out);
}

#[test]
fn json_has_what_yaml_has() {
    let json: serde_json::Value = serde_json::from_str(&shown("json")).unwrap();
    let yaml: serde_json::Value = serde_yaml_ng::from_str(&shown("yaml")).unwrap();
    assert_eq!(json, yaml);
}

#[test]
fn pictures_have_every_end_and_every_arrow() {
    let graph: serde_json::Value = serde_json::from_str(&shown("json")).unwrap();
    let flows = graph["flows"].as_array().unwrap();
    let (svg, mermaid) = (shown("svg"), shown("mermaid"));
    assert_eq!(svg.matches("<path d=\"M").count() - 1, mermaid.matches("-->").count());
    for flow in flows {
        for end in ["from", "to"] {
            let name = flow[end].as_str().unwrap();
            assert!(svg.contains(&format!(">{name}</text>")) && mermaid.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}

#[test]
fn what_is_allowed_is_explained_with_its_policies() {
    golden("network-explain-allowed", &explained("hospital.yaml", &["web", "database", "5432"]));
    let gateway = explained("hospital.yaml", &["gateway", "web"]);
    assert!(gateway.contains("by NetworkPolicy ingress.web.envoy-gateway-system.gateway.8000"), "{gateway}");
    assert_eq!(
        gateway.replace("gateway may", "x may"),
        explained("hospital.yaml", &["envoy-gateway-system/gateway", "web"])
            .replace("envoy-gateway-system/gateway may", "x may")
    );
    let outside = explained("external.yaml", &["web", "192.0.2.10"]);
    assert!(outside.starts_with("web may connect to 192.0.2.10.\n  TCP 5432"), "{outside}");
}

#[test]
fn what_is_denied_is_explained_with_what_is_allowed_instead() {
    golden("network-explain-denied", &explained("hospital.yaml", &["web", "database", "22"]));
    for ends in [["web", "198.51.100.7"], ["web", "cron"], ["database", "web"], ["gateway", "database"]] {
        let said = explained("hospital.yaml", &ends);
        assert!(said.contains("may not connect") && said.contains("default-deny"), "{said}");
    }
    let said = explained("external.yaml", &["web", "192.0.2.11"]);
    assert!(said.contains("may not connect"), "{said}");
    let nothing = explained("hospital.yaml", &["gateway", "resolver"]);
    assert!(nothing.contains("neither end is a component"), "{nothing}");
    let answer = planned("hospital.yaml", &["-o", "json", "--explain", "web", "cron"]).out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&answer).unwrap()["allowed"], false);
}

#[test]
fn an_end_that_nobody_knows_and_a_port_that_is_none_are_wrong_usage() {
    for (arguments, says) in [
        (&["--explain", "wbe", "database"][..], "\"wbe\" has no flow"),
        (&["--explain", "web", "database", "0"], "is no port"),
        (&["--explain", "web", "database", "http"], "is no port"),
        (&["-o", "svg", "--explain", "web", "database"], "is no picture"),
        (&["nobody"], "no such HospitalTenant"),
    ] {
        let ran = planned("hospital.yaml", arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}");
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn what_is_switched_off_is_not_called_denied() {
    let off = "apiVersion: his-operator.io/v1alpha1\nkind: HospitalTenant\nmetadata: {name: st-elsewhere}\nspec:\n  application: {name: records, version: '5.0'}\n  host: st-elsewhere.example.org\n  database: {embedded: {}}\n  network: {off: {reason: Move of the laboratory, until: '2999-01-01T00:00:00Z'}}\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("off.yaml");
    std::fs::write(&file, off).unwrap();
    let file = file.display().to_string();
    let definitions = case("definitions.yaml");
    let run = |more: &[&str]| plugin(&[&["network", "-f", &definitions, "-f", &file], more].concat()).out;
    assert!(run(&[]).contains("ALL traffic in namespace his-st-elsewhere is allowed until 2999-01-01"), "{}", run(&[]));
    let said = run(&["--explain", "web", "198.51.100.7"]);
    assert!(said.starts_with("web may connect") && said.contains("spec.network.off"), "{said}");
}

#[test]
fn a_hospital_in_the_cluster_shows_what_its_status_says() {
    let server = server::Server::new(server::answers(&["ready", "never-observed"]));
    let ran = server.call("network", &["eligius", "--explain", "web", "database"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.starts_with("web may connect to database.\n"), "{}", ran.out);
    assert!(!server.call("network", &["eligius"]).out.contains("gap"));
    let unseen = server.call("network", &["st-elsewhere"]);
    assert_eq!(unseen.code, Some(3), "{}", unseen.err);
    assert!(unseen.err.contains("names no connection yet"), "{}", unseen.err);
}

#[test]
fn the_last_gap_is_told_below_the_graph() {
    let server = server::Server::new(server::answers(&["opened"]));
    let ran = server.call("network", &["st-elsewhere"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    golden("network-gap", &ran.out);
    let json: serde_json::Value =
        serde_json::from_str(&server.call("network", &["st-elsewhere", "-o", "json"]).out).unwrap();
    let told: Vec<_> = json["gaps"].as_array().unwrap().iter().map(|gap| &gap["policy"]).collect();
    assert_eq!(told, ["default-deny", "egress.web.database.5432"]);
}
