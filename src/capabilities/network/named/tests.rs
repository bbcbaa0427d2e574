use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn open(range: &str, except: &[&str]) -> Declared {
    Declared { range: cidr(range), except: except.iter().map(|text| cidr(text)).collect() }
}

/// As `cidr` or `cidr-except-except`.
fn denied(never: &[&str], declared: &[Declared]) -> Vec<String> {
    let never: Vec<Cidr> = never.iter().map(|text| cidr(text)).collect();
    let words = |range: Range| std::iter::once(range.cidr).chain(range.except).collect::<Vec<_>>().join("-");
    except(&never, declared).into_iter().map(words).collect()
}

const NEVER: [&str; 4] = ["10.0.0.0/8", "10.1.0.0/16", "169.254.0.0/16", "169.254.169.254/32"];

#[test]
fn what_nobody_declared_is_denied_in_as_few_lines_as_possible() {
    assert_eq!(denied(&NEVER, &[]), ["10.0.0.0/8", "169.254.0.0/16"]);
    assert_eq!(denied(&NEVER, &[open("1.2.3.4/32", &[])]), ["10.0.0.0/8", "169.254.0.0/16"]);
    assert_eq!(denied(&[], &[open("1.2.3.4/32", &[])]), [""; 0]);
}

#[test]
fn what_is_declared_is_not_denied() {
    let hole = |range: &str| denied(&NEVER, &[open(range, &[])]);
    assert_eq!(hole("10.2.0.0/16"), ["10.0.0.0/8-10.2.0.0/16", "169.254.0.0/16"]);
    assert_eq!(hole("10.0.0.0/8"), ["169.254.0.0/16"]);
    assert_eq!(hole("10.1.2.0/24"), ["10.0.0.0/8-10.1.2.0/24", "10.1.0.0/16-10.1.2.0/24", "169.254.0.0/16"]);
    let two = [open("10.2.0.0/16", &[]), open("10.3.0.0/16", &[]), open("10.2.0.0/16", &[])];
    assert_eq!(denied(&NEVER[..1], &two), ["10.0.0.0/8-10.2.0.0/16-10.3.0.0/16"]);
}

#[test]
fn what_stays_denied_inside_of_what_is_declared_is_denied_here_too() {
    let whole = open("0.0.0.0/0", &["10.1.0.0/16", "169.254.169.254/32"]);
    assert_eq!(denied(&NEVER, &[whole]), ["10.1.0.0/16", "169.254.169.254/32"]);
    let local = open("169.254.169.0/24", &["169.254.169.254/32"]);
    let expected = ["169.254.0.0/16-169.254.169.0/24", "169.254.169.254/32"];
    assert_eq!(denied(&NEVER[2..], &[local]), expected);
}

/// Ranges of few addresses, so that they meet.
fn range() -> impl Strategy<Value = Cidr> {
    (0..32_u8, 27..=32_u8).prop_map(|(last, length)| Cidr::new(IpAddr::from([10, 0, 0, last]), length).unwrap())
}

proptest! {
    #[test]
    fn an_address_is_denied_if_it_never_is_outside_and_no_policy_allows_it(
        never in prop::collection::vec(range(), 0..6),
        declared in prop::collection::vec(range(), 0..5),
    ) {
        // As a NetworkPolicy has it: what never is outside stays denied where it is a part of what is declared.
        let own: Vec<Cidr> = never.iter().copied().take(2).collect();
        let of = |range: Cidr| {
            let except = own.iter().copied().filter(|own| range.covers(*own) && range != *own).collect();
            Declared { range, except }
        };
        let declared: Vec<Declared> = declared.into_iter().map(of).collect();
        let lines = except(&never, &declared);
        for last in 0..32 {
            let address = IpAddr::from([10, 0, 0, last]);
            let has = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
            let allowed = declared.iter().any(|one| one.range.contains(address) && !has(&one.except));
            let holds = |text: &String| cidr(text).contains(address);
            let denied = lines.iter().any(|line| holds(&line.cidr) && !line.except.iter().any(holds));
            prop_assert!(!(denied && allowed), "{} is declared", address);
            prop_assert!(denied || allowed || !has(&never), "{} is open", address);
        }
        for line in &lines {
            prop_assert!(line.except.iter().all(|hole| cidr(&line.cidr).covers(cidr(hole)) && *hole != line.cidr));
        }
    }
}
