//! Compute resources that a container can have.
//!
//! Guarantees: what passes is accepted by the API server, and bounds something. To Kubernetes a limit of nothing is no limit.

use super::isolation::{mebibytes, millicores};
use crate::{
    api::v1alpha1::Resources,
    conditions::{Reason, Rejection},
};

/// Refuses a limit of zero, and a request above its limit.
pub fn check(field: &str, resources: &Resources) -> Result<(), Rejection> {
    let refused =
        |name: &str, message: String| Err(Rejection::terminal(format!("{field}.{name}"), Reason::OutOfBounds, message));
    let (cpu, limit) = (amount(resources.cpu.as_ref()), amount(resources.cpu_limit.as_ref()));
    if millicores(limit) == 0 {
        return refused("cpuLimit", format!("{limit} is no limit; give at least 1m, for example 500m"));
    }
    if millicores(cpu) == 0 {
        return refused("cpu", format!("{cpu} reserves nothing; give at least 1m, for example 50m"));
    }
    if millicores(cpu) > millicores(limit) {
        return refused("cpu", format!("{cpu} is more than cpuLimit {limit}; lower the one or raise the other"));
    }
    for (name, given) in [("memory", &resources.memory), ("ephemeralStorage", &resources.ephemeral_storage)] {
        let given = amount(given.as_ref());
        if mebibytes(given) == 0 {
            return refused(name, format!("{given} is no limit; give for example 256Mi"));
        }
    }
    Ok(())
}

fn amount(given: Option<&String>) -> &str {
    given.map(String::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu: &str, limit: &str, memory: &str) -> Result<(), Rejection> {
        let text = |text: &str| Some(text.to_owned());
        let disk = text("64Mi");
        check("x", &Resources { cpu: text(cpu), cpu_limit: text(limit), memory: text(memory), ephemeral_storage: disk })
    }

    #[test]
    fn a_request_may_reach_its_limit_and_not_pass_it() {
        assert_eq!(of("500m", "0.5", "1Mi"), Ok(()));
        assert_eq!(of("501m", "0.5", "1Mi").unwrap_err().field, "x.cpu");
    }

    #[test]
    fn nothing_is_no_limit() {
        assert_eq!(of("0m", "0", "1Mi").unwrap_err().field, "x.cpuLimit");
        assert_eq!(of("0", "1", "1Mi").unwrap_err().field, "x.cpu");
        assert_eq!(of("1", "1", "0Gi").unwrap_err().field, "x.memory");
    }
}
