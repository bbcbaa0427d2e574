//! Line plots with logarithmic axes, as SVG.

use super::contestant::Contestant;
use super::model::{Results, Run, precise};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// From a value's logarithm to a place on the paper.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = values.fold(f64::NEG_INFINITY, f64::max).log10().ceil();
        Self { low, high: high.max(low + 1.0), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Powers of ten.
    fn marks(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low, self.high);
        (0..)
            .map(move |step| low + f64::from(step))
            .take_while(move |power| *power <= high)
            .map(|power| 10_f64.powf(power))
    }
}

fn colour(contestant: Contestant) -> &'static str {
    match contestant {
        Contestant::HisOperator => "#0b6e4f",
        Contestant::Raw => "#888888",
        Contestant::ControllerRuntime => "#1f77b4",
        Contestant::Kro => "#9467bd",
        Contestant::Helm => "#d95f02",
    }
}

/// One line per contestant over the number of hospitals; `None` without a point.
pub(super) fn svg(results: &Results, title: &str, of: impl Fn(&Run) -> Option<f64>) -> Option<String> {
    let line = |contestant: Contestant| -> Vec<(f64, f64)> {
        results
            .of(contestant)
            .filter_map(|run| Some((precise(run.tenants), of(run)?)))
            .filter(|point| point.1 > 0.0)
            .collect()
    };
    let lines: Vec<(Contestant, Vec<(f64, f64)>)> =
        Contestant::ALL.iter().map(|one| (*one, line(*one))).filter(|(_, points)| !points.is_empty()).collect();
    if lines.is_empty() {
        return None;
    }
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let x = Axis::over(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Axis::over(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"14\">{title}</text>\n"
    );
    svg.push_str(&grid(&x, &y));
    for (contestant, points) in &lines {
        svg.push_str(&drawn(*contestant, points, &x, &y));
    }
    svg.push_str(&legend(lines.iter().map(|(contestant, _)| *contestant)));
    svg.push_str("</svg>\n");
    Some(svg)
}

fn grid(x: &Axis, y: &Axis) -> String {
    let mut svg = String::new();
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for mark in x.marks() {
        let at = x.at(mark);
        svg.push_str(&format!(
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\n"
        ));
        svg.push_str(&format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{mark}</text>\n", bottom + 18.0));
    }
    for mark in y.marks() {
        let at = y.at(mark);
        svg.push_str(&format!(
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#dddddd\"/>\n"
        ));
        svg.push_str(&format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>\n", LEFT - 8.0, at + 4.0));
    }
    let middle = f64::midpoint(LEFT, right);
    svg.push_str(&format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">hospitals</text>\n", HEIGHT - 12.0));
    svg
}

fn drawn(contestant: Contestant, points: &[(f64, f64)], x: &Axis, y: &Axis) -> String {
    let places: Vec<(f64, f64)> = points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
    let path = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    let colour = colour(contestant);
    let mut svg = format!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n");
    for (x, y) in places {
        svg.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"));
    }
    svg
}

fn legend(contestants: impl Iterator<Item = Contestant>) -> String {
    let mut svg = String::new();
    let mut at = TOP + 10.0;
    for contestant in contestants {
        let left = WIDTH - RIGHT + 14.0;
        let colour = colour(contestant);
        svg.push_str(&format!("<circle cx=\"{left}\" cy=\"{at}\" r=\"4\" fill=\"{colour}\"/>\n"));
        svg.push_str(&format!("<text x=\"{}\" y=\"{}\">{contestant}</text>\n", left + 10.0, at + 4.0));
        at += 20.0;
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn equal_factors_are_equal_distances() {
        let axis = Axis::over([10.0, 1000.0].into_iter(), 0.0, 200.0);
        assert!((axis.at(10.0) - 0.0).abs() < 1e-9);
        assert!((axis.at(100.0) - 100.0).abs() < 1e-9);
        assert_eq!(axis.marks().count(), 3);
    }
}
