//! `cargo bench-operator`: what the operator costs, beside what else could do its work.
//!
//! Every contestant makes the same objects for the same number of hospitals on a fresh etcd and kube-apiserver of its own,
//! one after the other on one machine. Requests are counted by the API server's audit log, CPU and memory by the kernel.
//! Nothing runs in pods, so no contestant waits for one. Numbers of different machines do not compare; ratios of one run do.

mod arena;
mod children;
mod clocked;
mod contestant;
mod helm;
mod judge;
mod kro;
mod kubelets;
mod model;
mod options;
mod plot;
mod publish;
mod raw;
mod run;
mod steady;
mod table;
mod trail;

use anyhow::{Context, Result, bail};
use chrono::SecondsFormat;

use crate::progress;
use children::Children;
use contestant::Program;
pub use options::Options;
pub use raw::{Options as RawOptions, run as raw};

use model::{Left, Results};

/// Measures all wanted contestants and prints a table.
pub async fn run(options: Options) -> Result<()> {
    let wanted = options.contestants();
    let mut results = Results::of_this_machine(options.idle().as_secs())?;
    let operator = match options.operator.clone() {
        Some(file) => file,
        None => tokio::task::spawn_blocking(contestant::build_operator).await??,
    };
    let mut programs = Vec::new();
    for contestant in wanted {
        let operator = operator.clone();
        match tokio::task::spawn_blocking(move || Program::ensure(contestant, &operator)).await? {
            Ok(program) => programs.push(program),
            Err(error) => results.left.push(Left::because(contestant, &error)),
        }
    }
    let children = Children::rendered(&operator, options.flows.into())?;
    (results.children, results.flows) = (children.count(), options.flows);
    for tenants in options.sizes() {
        for program in &programs {
            if tenants > options.most(program.contestant) {
                continue;
            }
            let largest = options.sizes().into_iter().filter(|size| *size <= options.most(program.contestant)).max();
            let steady = (largest == Some(tenants)).then(|| options.steady());
            match run::measure(program, &children, tenants, steady).await {
                Ok(run) => {
                    progress::say(format!("   {}", table::line(&run)));
                    results.runs.push(run);
                }
                Err(error) => {
                    results.left.push(Left { tenants: Some(tenants), ..Left::because(program.contestant, &error) });
                }
            }
        }
    }
    results.taken = trail::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    if results.runs.is_empty() {
        bail!("nothing was measured: {}", results.left.first().map_or("no contestant", |left| left.reason.as_str()));
    }
    print!("{}", table::text(&results));
    publish::write(&results, options.publish).context("the results were measured, and could not be written")
}
