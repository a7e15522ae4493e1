//! Scratch: runs days and sorts what broke.
use std::collections::BTreeMap;
fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (from, to) = (args[0], args[1]);
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let verbose = to == from + 1;
    if !verbose {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let mut ok = 0;
    let mut total = gantry_testkit::day::Day::default();
    for seed in from..to {
        match std::panic::catch_unwind(|| gantry_testkit::day::run_day(seed)) {
            Ok(day) => {
                ok += 1;
                total.changes += day.changes;
                total.landed += day.landed;
                total.builds += day.builds;
                total.deaths += day.deaths;
                total.effects += day.effects;
            }
            Err(p) => {
                let text = p.downcast_ref::<String>().cloned().unwrap_or_else(|| {
                    p.downcast_ref::<&str>()
                        .map(|s| s.to_string())
                        .unwrap_or_default()
                });
                let head: String = text
                    .lines()
                    .next()
                    .unwrap_or("")
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '#' } else { c })
                    .take(150)
                    .collect();
                kinds.entry(head).or_default().push(seed);
            }
        }
    }
    for (head, seeds) in kinds {
        println!("{:4} {:?} {head}", seeds.len(), &seeds[..seeds.len().min(6)]);
    }
    println!("{ok} ok, {total:?}");
}
