//! What waiting costs: the same days under the priced policy with more and more patience.

use std::fmt::Write;

use gantry_core::queue::planner::{Policy, Settings};

use crate::compare::{Contender, row};
use crate::{Outcome, Scenario, simulate};

/// The figures for one value of `patience`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The setting.
    pub patience: f64,
    /// Minutes from offer to decision that half of the changes do not exceed.
    pub p50_minutes: f64,
    /// Minutes from offer to decision that 95 in 100 do not exceed.
    pub p95_minutes: f64,
    /// Builds started for each decided change.
    pub builds_per_change: f64,
    /// Minutes of a slot used for each decided change.
    pub processor_minutes: f64,
}

/// Runs the days once for each of these values; everything else is as in `settings`.
#[must_use]
pub fn curve(days: &[Scenario], settings: Settings, patience: &[f64]) -> Vec<Point> {
    let decided = days.iter().map(Scenario::changes).sum::<usize>() as f64 / (days.len() as f64).max(1.0);
    let point = |patience: &f64| {
        let settings = Settings {
            policy: Policy::Priced,
            patience: *patience,
            ..settings
        };
        let runs: Vec<Outcome> = days.iter().map(|day| simulate(day, settings)).collect();
        let row = row(Contender::Policy(Policy::Priced), &runs);
        Point {
            patience: *patience,
            p50_minutes: row.p50_minutes,
            p95_minutes: row.p95_minutes,
            builds_per_change: row.builds_per_change,
            processor_minutes: row.processor_minutes / decided.max(1.0),
        }
    };
    patience.iter().map(point).collect()
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 56.0;

const HEAD: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 420" role="img" aria-labelledby="t d">
<title id="t">Waiting time against cost</title>
<desc id="d">Minutes from offer to decision over builds per change, one point for each value of patience.</desc>
<style>
svg{--paper:#fbf9f4;--ink:#23211d;--faint:#d9d4c7;--soft:#6d675c;--half:#b4552d;--most:#2f6b74;
background:var(--paper);font:12px system-ui,sans-serif}
text{fill:var(--ink)}.soft{fill:var(--soft)}.grid{stroke:var(--faint)}.axis{stroke:var(--soft)}
path{fill:none;stroke-width:2}.half path{stroke:var(--half)}.most path{stroke:var(--most)}
.half circle,.half rect{fill:var(--half)}.most circle,.most rect{fill:var(--most)}
@media(prefers-color-scheme:dark){svg{--paper:#1c1b19;--ink:#ece7db;--faint:#3a3833;--soft:#a49d8e;
--half:#e58a5f;--most:#78b9c3}}
</style>
<rect width="720" height="420" fill="var(--paper)"/>
"#;

/// Draws waiting time over cost, one point for each value of `patience`: a document of its own, light and dark.
///
/// Shape: the points in any order; the line follows `patience`. Waiting times have a logarithmic axis, because they span decades.
#[must_use]
pub fn curve_svg(points: &[Point]) -> String {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.patience.total_cmp(&b.patience));
    let waits = || sorted.iter().flat_map(|p| [p.p50_minutes, p.p95_minutes]);
    let scale = Scale::around(sorted.iter().map(|p| p.builds_per_change), waits());
    let mut svg = HEAD.to_owned();
    axes(&mut svg, &scale);
    series(&mut svg, &scale, &sorted, "half", |p| p.p50_minutes);
    series(&mut svg, &scale, &sorted, "most", |p| p.p95_minutes);
    for point in &sorted {
        let (x, y) = (scale.x(point.builds_per_change), scale.y(point.p95_minutes));
        let patience = point.patience;
        push(
            &mut svg,
            format_args!(
                r#"<text class="soft" x="{x:.1}" y="{:.1}" text-anchor="middle">{patience}</text>"#,
                y - 9.0
            ),
        );
    }
    svg.push_str(
        r#"<text x="64" y="22" font-size="15">Waiting time against cost</text>
<g class="half"><rect x="64" y="34" width="10" height="10"/></g><text x="80" y="43">half of the changes</text>
<g class="most"><rect x="220" y="34" width="10" height="10"/></g><text x="236" y="43">95 in 100</text>
<text class="soft" x="320" y="43">the numbers at the points: patience</text>
</svg>
"#,
    );
    svg
}

/// Where figures are drawn.
struct Scale {
    cost: (f64, f64),
    /// Powers of ten of minutes.
    wait: (f64, f64),
}

impl Scale {
    fn around(costs: impl Iterator<Item = f64>, waits: impl Iterator<Item = f64>) -> Self {
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            })
        };
        let or_unit = |(low, high): (f64, f64)| if low <= high { (low, high) } else { (0.0, 1.0) };
        let (cheap, dear) = or_unit(range(&mut { costs }));
        let (short, long) = or_unit(range(&mut waits.map(|w| w.max(0.1).log10())));
        let room = (dear - cheap).max(0.1) * 0.06;
        Scale {
            cost: (cheap - room, dear + room),
            wait: ((short - 0.08).min(long - 0.3), long + 0.12),
        }
    }

    fn x(&self, cost: f64) -> f64 {
        LEFT + (cost - self.cost.0) / (self.cost.1 - self.cost.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, minutes: f64) -> f64 {
        let share = (minutes.max(0.1).log10() - self.wait.0) / (self.wait.1 - self.wait.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

fn axes(svg: &mut String, scale: &Scale) {
    let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for minutes in [
        1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
    ] {
        let y = scale.y(minutes);
        if (TOP..=floor).contains(&y) {
            push(
                svg,
                format_args!(
                    r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text class="soft" x="{:.1}" y="{:.1}" text-anchor="end">{minutes}</text>"#,
                    LEFT - 8.0,
                    y + 4.0
                ),
            );
        }
    }
    let width = scale.cost.1 - scale.cost.0;
    let step = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .find(|s| width / s <= 9.0);
    let step = step.unwrap_or(10.0);
    let first = (scale.cost.0 / step).ceil();
    for tick in (0..20)
        .map(|n| (first + f64::from(n)) * step)
        .take_while(|t| *t <= scale.cost.1)
    {
        let x = scale.x(tick);
        push(
            svg,
            format_args!(
                r#"<line class="axis" x1="{x:.1}" x2="{x:.1}" y1="{floor}" y2="{:.1}"/><text class="soft" x="{x:.1}" y="{:.1}" text-anchor="middle">{tick:.2}</text>"#,
                floor + 5.0,
                floor + 19.0
            ),
        );
    }
    push(
        svg,
        format_args!(
            r#"<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>
<text x="{:.1}" y="{:.1}" text-anchor="middle">builds per change</text>
<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">minutes from offer to decision</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 14.0,
            f64::midpoint(TOP, floor)
        ),
    );
}

fn series(svg: &mut String, scale: &Scale, points: &[Point], class: &str, wait: impl Fn(&Point) -> f64) {
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|p| (scale.x(p.builds_per_change), scale.y(wait(p))))
        .collect();
    let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    push(svg, format_args!(r#"<g class="{class}">"#));
    if line.len() > 1 {
        push(svg, format_args!(r#"<path d="M{}"/>"#, line.join("L")));
    }
    for (x, y) in places {
        push(svg, format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#));
    }
    push(svg, format_args!("</g>"));
}

/// Writes a line. A text in memory takes every write, so the result says nothing.
fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(svg, "{line}");
}
