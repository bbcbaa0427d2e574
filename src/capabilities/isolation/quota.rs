//! How much a hospital may use, unless its spec says otherwise: three times what it asks for, so that a surge fits.

use crate::capabilities::Demand;

const SURGE: i64 = 3;

/// Sum of all demands: CPU in millicores, memory in MiB, pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Millicores.
    pub cpu: i64,
    /// MiB.
    pub memory: i64,
    /// Pods.
    pub pods: i64,
}

/// Adds up and multiplies by the surge factor.
pub fn total(demands: &[Demand]) -> Total {
    let sum = demands.iter().fold(Total::default(), |sum, demand| {
        let pods = i64::from(demand.pods);
        Total {
            cpu: sum.cpu + pods * millicores(&demand.cpu),
            memory: sum.memory + pods * mebibytes(&demand.memory),
            pods: sum.pods + pods,
        }
    });
    Total { cpu: sum.cpu * SURGE, memory: sum.memory * SURGE, pods: sum.pods * SURGE }
}

/// `500m`, `2` or `0.5` in millicores, rounded up; what is not a number counts as nothing.
pub fn millicores(quantity: &str) -> i64 {
    match quantity.strip_suffix('m') {
        Some(millis) => millis.parse().unwrap_or_default(),
        None => decimal_thousandths(quantity),
    }
}

/// `256Mi`, `2Gi` or `1Ti` in MiB.
pub fn mebibytes(quantity: &str) -> i64 {
    let scaled = |suffix: &str, factor: i64| {
        quantity.strip_suffix(suffix).and_then(|number| number.parse::<i64>().ok()).map(|number| number * factor)
    };
    scaled("Mi", 1).or_else(|| scaled("Gi", 1024)).or_else(|| scaled("Ti", 1024 * 1024)).unwrap_or_default()
}

fn decimal_thousandths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.parse::<i64>().unwrap_or_default() * 1000 + fraction.parse::<i64>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        assert_eq!(
            [millicores("500m"), millicores("2"), millicores("0.5"), millicores("1.25")],
            [500, 2000, 500, 1250]
        );
        assert_eq!([mebibytes("256Mi"), mebibytes("2Gi"), mebibytes("1Ti")], [256, 2048, 1_048_576]);
    }

    #[test]
    fn a_surge_of_every_component_fits_into_the_quota() {
        let web = Demand { cpu: "1".to_owned(), memory: "512Mi".to_owned(), pods: 2 };
        assert_eq!(total(&[web]), Total { cpu: 6000, memory: 3072, pods: 6 });
    }
}
