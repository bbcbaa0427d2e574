//! The goals, and what this run says of each.

use super::contestant::Contestant::{self, ControllerRuntime, HisOperator, Raw};
use super::model::{Results, Run, precise};

pub(super) const HEAD: [&str; 4] = ["goal", "N", "measured", "met"];

/// A measured value that should be small.
struct Verdict {
    goal: String,
    tenants: usize,
    value: f64,
    limit: f64,
    unit: &'static str,
}

/// One row per goal that this run can judge.
pub(super) fn rows(results: &Results) -> Vec<Vec<String>> {
    verdicts(results)
        .into_iter()
        .map(|verdict| {
            let met = if verdict.value <= verdict.limit { "yes" } else { "no" };
            let measured = format!("{:.2}{}", verdict.value, verdict.unit);
            vec![verdict.goal, verdict.tenants.to_string(), measured, met.to_owned()]
        })
        .collect()
}

fn verdicts(results: &Results) -> Vec<Verdict> {
    let Some(run) = results.of(HisOperator).last() else { return Vec::new() };
    let at = |goal: &str, value: f64, limit: f64, unit: &'static str| Verdict {
        goal: goal.to_owned(),
        tenants: run.tenants,
        value,
        limit,
        unit,
    };
    let mut all = vec![at("writes ≤ 1.05× needed", run.write_ratio(), 1.05, "×")];
    all.extend(beside(results, Raw, "wall time ≤ 1.25× raw", 1.25, |run| Some(run.wall_seconds)));
    all.extend(beside(results, ControllerRuntime, "CPU ≤ 0.33× controller-runtime", 0.33, |run| {
        Some(run.cpu_seconds)
    }));
    all.extend(beside(results, ControllerRuntime, "settled memory ≤ 0.25× controller-runtime", 0.25, |run| {
        run.settled_mib
    }));
    if let Some(settled) = run.settled_mib {
        let limit = 20.0 + precise(run.tenants * results.children) / 1024.0;
        all.push(at(&format!("settled memory ≤ 20 MiB + 1 KiB per object = {limit:.1} MiB"), settled, limit, " MiB"));
    }
    if let Some(steady) = &run.steady {
        let idle = precise(steady.idle.reads + steady.idle.writes);
        let window = results.idle_window_seconds;
        all.push(at(&format!("idle requests in {window} s beyond watches and lease: 0"), idle, 0.0, ""));
        all.push(at("edit to object p99 ≤ 100 ms", steady.edit.p99_ms, 100.0, " ms"));
        all.push(at("drift repaired p99 ≤ 250 ms", steady.drift.p99_ms, 250.0, " ms"));
    }
    let points: Vec<(f64, f64)> = results.of(HisOperator).map(|run| (precise(run.tenants), run.wall_seconds)).collect();
    all.extend(exponent(&points).map(|exponent| at("wall time grows as N^x, x ≤ 1.05", exponent, 1.05, "")));
    // 20 MB are 19.07 MiB.
    all.push(at("binary ≤ 20 MB", run.binary_mib * 1.048_576, 20.0, " MB"));
    all.extend(run.cold_start_ms.map(|time| at("start to first list ≤ 150 ms", time, 150.0, " ms")));
    all
}

/// The operator in relation to another, at the largest number of hospitals that both have.
fn beside(
    results: &Results,
    other: Contestant,
    goal: &str,
    limit: f64,
    of: impl Fn(&Run) -> Option<f64>,
) -> Option<Verdict> {
    let pairs = results.of(HisOperator).filter_map(|run| {
        let peer = results.of(other).find(|peer| peer.tenants == run.tenants)?;
        Some((run.tenants, of(run)? / of(peer)?))
    });
    let (tenants, value) = pairs.last()?;
    Some(Verdict { goal: goal.to_owned(), tenants, value, limit, unit: "×" })
}

/// Slope of the line of least squares through the logarithms; needs three sizes.
pub(super) fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 3 {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = precise(logs.len());
    let mean = |part: fn(&(f64, f64)) -> f64| logs.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = logs.iter().map(|point| (point.0 - x).powi(2)).sum();
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::exponent;

    #[test]
    fn exponent_of_a_power_law_is_its_power() {
        let points: Vec<(f64, f64)> = [10.0_f64, 100.0, 300.0].iter().map(|n| (*n, 3.0 * n.powf(1.5))).collect();
        assert!((exponent(&points).unwrap() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn two_sizes_say_nothing_about_growth() {
        assert_eq!(exponent(&[(10.0, 1.0), (100.0, 10.0)]), None);
    }
}
