//! How much a hospital may use, unless its spec says otherwise: three times what it asks for, so that a surge fits, and room for
//! the operator's own Jobs.

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

/// Adds up, with room for a surge of what may be there twice, and none for errands.
pub fn total(demands: &[Demand], errands: &[Demand]) -> Total {
    let sum = demands.iter().fold(Total::default(), |sum, demand| sum.and(demand, SURGE));
    errands.iter().fold(sum, |sum, errand| sum.and(errand, 1))
}

impl Total {
    fn and(self, demand: &Demand, times: i64) -> Self {
        let pods = i64::from(demand.pods).saturating_mul(times);
        Self {
            cpu: self.cpu.saturating_add(pods.saturating_mul(millicores(&demand.cpu))),
            memory: self.memory.saturating_add(pods.saturating_mul(mebibytes(&demand.memory))),
            pods: self.pods.saturating_add(pods),
        }
    }
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
        let number = quantity.strip_suffix(suffix)?;
        // The rules let digits through and nothing else, so what does not fit is too large, not malformed.
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| number.parse::<i64>().map_or(i64::MAX, |number| number.saturating_mul(factor)))
    };
    scaled("Mi", 1).or_else(|| scaled("Gi", 1024)).or_else(|| scaled("Ti", 1024 * 1024)).unwrap_or_default()
}

fn decimal_thousandths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole = whole.parse::<i64>().unwrap_or_default().saturating_mul(1000);
    whole.saturating_add(fraction.parse::<i64>().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::job;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        assert_eq!(
            [millicores("500m"), millicores("2"), millicores("0.5"), millicores("1.25")],
            [500, 2000, 500, 1250]
        );
        assert_eq!([mebibytes("256Mi"), mebibytes("2Gi"), mebibytes("1Ti")], [256, 2048, 1_048_576]);
    }

    #[test]
    fn amounts_beyond_all_measure_are_the_largest_and_not_a_crash() {
        assert_eq!([mebibytes("99999999999999999Gi"), mebibytes("999999999999999999999Mi")], [i64::MAX, i64::MAX]);
        assert_eq!(millicores("9223372036854775807"), i64::MAX);
        let huge = Demand { cpu: "9223372036854775807".to_owned(), memory: "9999999999999999Gi".to_owned(), pods: 100 };
        assert_eq!(total(&[huge.clone(), huge], &[]), Total { cpu: i64::MAX, memory: i64::MAX, pods: 600 });
    }

    #[test]
    fn a_surge_of_every_component_fits_into_the_quota() {
        let web = Demand { cpu: "1".to_owned(), memory: "512Mi".to_owned(), pods: 2 };
        assert_eq!(total(std::slice::from_ref(&web), &[]), Total { cpu: 6000, memory: 3072, pods: 6 });
        assert_eq!(total(&[web], &[job::agents(2)]), Total { cpu: 7000, memory: 3200, pods: 7 });
    }
}
