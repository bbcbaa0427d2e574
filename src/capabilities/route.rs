//! A hospital's route as it is in the cluster: where it leads, and what Gateways say of it.

use kube::core::DynamicObject;

use crate::{
    conditions::{Reason, Verdict},
    objects::field,
};

/// Name of the `HTTPRoute`.
pub const ROUTE: &str = "hospital";

/// Names of all Services that the route leads to.
pub fn backends(live: &DynamicObject) -> Vec<&str> {
    let rules = field(live, "/spec/rules").and_then(|rules| rules.as_array());
    let of_rule = |rule| field_of(rule, "backendRefs").into_iter().flatten();
    rules.into_iter().flatten().flat_map(of_rule).filter_map(|backend| backend.get("name")?.as_str()).collect()
}

fn field_of<'a>(value: &'a serde_json::Value, name: &str) -> Option<&'a Vec<serde_json::Value>> {
    value.get(name)?.as_array()
}

/// Every Gateway that answered must have accepted the newest form of the route, and at least one must have answered.
pub fn accepted(live: &DynamicObject, url: &str) -> Verdict {
    let generation = live.metadata.generation.unwrap_or_default();
    let parents = field(live, "/status/parents").and_then(|p| p.as_array()).cloned().unwrap_or_default();
    if parents.is_empty() {
        return Verdict::unknown(Reason::RouteNotAccepted, "no Gateway controller has answered for the route yet");
    }
    for parent in &parents {
        for wanted in ["Accepted", "ResolvedRefs"] {
            let conditions = parent["conditions"].as_array().cloned().unwrap_or_default();
            let Some(condition) = conditions.iter().find(|c| c["type"] == wanted) else {
                return Verdict::unknown(Reason::RouteNotAccepted, format!("the Gateway says nothing of {wanted} yet"));
            };
            if condition["observedGeneration"].as_i64().unwrap_or_default() < generation {
                return Verdict::unknown(Reason::RouteNotAccepted, "the Gateway has not seen the newest route yet");
            }
            if condition["status"] != "True" {
                let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
                return Verdict::failed(
                    Reason::RouteNotAccepted,
                    format!("{wanted} is {}: {}: {}", text("status"), text("reason"), text("message")),
                );
            }
        }
    }
    Verdict::proved(format!("the Gateway has accepted the route for {url}"))
}
