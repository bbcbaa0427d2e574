//! Pictures of a graph: peers that connect to the hospital on the left, its components in the middle, whom they connect to on
//! the right.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Graph;
use crate::capabilities::network::graph::is_component;

/// Pixels of one letter of the picture's font.
const LETTER: usize = 7;
/// In a label, which is smaller.
const SMALL_LETTER: usize = 6;
const HEIGHT: usize = 28;
const GAP: usize = 26;
const BETWEEN: usize = 190;
const MARGIN: usize = 20;
const HEAD: usize = 50;

/// A flowchart in Mermaid's language.
pub fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    let ends: Vec<&str> = graph.ends().into_iter().collect();
    for (number, end) in ends.iter().enumerate() {
        let name = graph.short(end).replace('"', "#quot;");
        let (left, right) = if is_component(end) { ("[", "]") } else { ("([", "])") };
        text.push_str(&format!("  n{number}{left}\"{name}\"{right}\n"));
    }
    let number = |end: &str| ends.iter().position(|known| *known == end).unwrap_or_default();
    for ((from, to), label) in arrows(graph) {
        text.push_str(&format!("  n{} -- \"{label}\" --> n{}\n", number(from), number(to)));
    }
    text
}

/// Edges between the same ends, with all their ports.
fn arrows(graph: &Graph) -> BTreeMap<(&str, &str), String> {
    let mut arrows: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for edge in graph.edges() {
        let label = arrows.entry((&edge.flow.from, &edge.flow.to)).or_default();
        if !label.is_empty() {
            label.push_str(", ");
        }
        label.push_str(&edge.label());
    }
    arrows
}

/// Where a box stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    column: usize,
    left: usize,
    top: usize,
    width: usize,
}

impl Place {
    fn right(self) -> usize {
        self.left + self.width
    }

    fn middle(self) -> usize {
        self.top + HEIGHT / 2
    }
}

/// A picture that needs no font and no script but those of any browser.
pub fn svg(graph: &Graph) -> String {
    let (places, width, height) = laid_out(graph);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"ui-monospace, monospace\" font-size=\"12\">\n\
         <title>Allowed connections of HospitalTenant {tenant}</title>\n\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#57606a\"/></marker></defs>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"28\" font-size=\"14\" fill=\"#24292f\">{tenant}: everything that is not drawn is denied{until}</text>\n",
        tenant = escaped(&graph.tenant),
        until = graph.network.open_until.as_ref().map_or(String::new(), |until| format!(" after {}", escaped(until))),
    );
    for ((from, to), label) in arrows(graph) {
        if let (Some(from), Some(to)) = (places.get(from), places.get(to)) {
            text.push_str(&arrow(*from, *to, &label));
        }
    }
    for (end, place) in &places {
        text.push_str(&node(&graph.short(end), *place, is_component(end)));
    }
    text + "</svg>\n"
}

/// Boxes in three columns, each in the order of names.
fn laid_out(graph: &Graph) -> (BTreeMap<&str, Place>, usize, usize) {
    let senders: BTreeSet<&str> = graph.network.flows.iter().map(|flow| flow.from.as_str()).collect();
    let column = |end: &str| match (is_component(end), senders.contains(end)) {
        (true, _) => 1,
        (false, true) => 0,
        (false, false) => 2,
    };
    let (mut places, mut left, mut bottom) = (BTreeMap::new(), MARGIN, HEAD);
    for number in 0..3 {
        let ends: Vec<&str> = graph.ends().into_iter().filter(|end| column(end) == number).collect();
        let widest = ends.iter().map(|end| graph.short(end).chars().count() * LETTER + 2 * LETTER).max();
        let Some(width) = widest else { continue };
        for (row, end) in ends.into_iter().enumerate() {
            let top = HEAD + row * (HEIGHT + GAP);
            bottom = bottom.max(top + HEIGHT);
            places.insert(end, Place { column: number, left, top, width });
        }
        left += width + BETWEEN;
    }
    let width = places.values().map(|place| place.right()).max().unwrap_or(left);
    // Curves between components of one column go out to the right.
    (places, width.max(left.saturating_sub(BETWEEN)) + BETWEEN / 2 + MARGIN, bottom + MARGIN)
}

fn arrow(from: Place, to: Place, label: &str) -> String {
    let (start, height, goal) = (from.right(), from.middle(), to.middle());
    let forward = from.column < to.column;
    // Back, or within a column: out to the right and in from the right, further out the further it goes.
    let far = start.max(to.right()) + BETWEEN / 6 + height.abs_diff(goal) / 6;
    let (end, out, bend) =
        if forward { (to.left, start + BETWEEN / 2, to.left - BETWEEN / 2) } else { (to.right(), far, far) };
    let (height, goal) = if from.top == to.top && !forward { (height - 8, goal + 8) } else { (height, goal) };
    // Where the curve is halfway.
    let (x, y) = ((start + 3 * out + 3 * bend + end) / 8, usize::midpoint(height, goal));
    let width = SMALL_LETTER * label.chars().count() + 4;
    format!(
        "<path d=\"M{start} {height}C{out} {height} {bend} {goal} {end} {goal}\" fill=\"none\" stroke=\"#57606a\" marker-end=\"url(#head)\"/>\n\
         <rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"12\" fill=\"#ffffff\"/>\n\
         <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10\" fill=\"#57606a\">{}</text>\n",
        x.saturating_sub(width / 2),
        y.saturating_sub(6),
        y + 3,
        escaped(label)
    )
}

fn node(name: &str, place: Place, component: bool) -> String {
    let Place { left, top, width, .. } = place;
    let (fill, stroke, round) = if component { ("#ddf4ff", "#0969da", 4) } else { ("#f6f8fa", "#8c959f", 14) };
    format!(
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#24292f\">{}</text>\n",
        left + width / 2,
        place.middle() + 4,
        escaped(name)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
