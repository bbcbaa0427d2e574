//! Kubernetes quantities, read by their definition.

/// Thousandths of a quantity, in its base unit; 0 for what is no quantity.
pub fn milli(text: &str) -> i128 {
    const UNITS: [(&str, i128); 10] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("m", 0),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("", 1),
    ];
    let (number, unit) = UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|n| (n, *factor))).unwrap();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let Ok(whole) = whole.parse::<i128>() else { return 0 };
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = whole * 1000 + fraction.parse::<i128>().unwrap_or_default();
    if unit == 0 { thousandths / 1000 } else { thousandths * unit }
}
