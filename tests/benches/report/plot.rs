//! A picture of the table, made from its JSON, for the README.
//!
//! An SVG without anything from outside. Its background is see-through and its text follows
//! the reader's colours, so that it can be read on light and on dark pages. All scales are
//! logarithmic: what costs ten times as much is one step further, whatever the size.

use crate::row::Row;
use crate::table::Report;
use crate::variable::{SIZES, text};
use std::fmt::Write;

/// A line of the upper two pictures: the row of each size, and how it is drawn.
struct Line {
    row: &'static str,
    label: &'static str,
    class: &'static str,
}

const fn line(row: &'static str, label: &'static str, class: &'static str) -> Line {
    Line { row, label, class }
}

/// One of the upper two pictures.
struct Panel {
    group: &'static str,
    title: &'static str,
    lines: &'static [Line],
    left: f64,
}

const PANELS: [Panel; 2] = [
    Panel {
        group: "variable, one process",
        title: "Latest value, one process, ns",
        lines: &[
            line("memcpy", "memcpy", "limit"),
            line("iceoryx2 read", "iceoryx2 read", "peer read"),
            line("iceoryx2 write", "iceoryx2 write", "peer write"),
            line("read", "read", "ours read"),
            line("write", "write", "ours write"),
            line(
                "exclusive write, no time",
                "the same, exclusive, no time",
                "ours only",
            ),
            line("borrow", "borrow, loan", "ours borrow"),
        ],
        left: 0.0,
    },
    Panel {
        group: "variable, across cores",
        title: "Writer and reader on two cores, flat out, ns",
        lines: &[
            line("iceoryx2 read", "iceoryx2 read", "peer read"),
            line("iceoryx2 write", "iceoryx2 write", "peer write"),
            line("read", "read", "ours read"),
            line("write", "write", "ours write"),
            line(
                "exclusive write",
                "the same, exclusive, no time",
                "ours only",
            ),
        ],
        left: 440.0,
    },
];

/// The bars of the lower picture: group, row, label, class.
const BARS: &[[&str; 4]] = &[
    [
        HOT,
        "spin, two cores, p50",
        "a word, both look all the time",
        "limit",
    ],
    [HOT, "call, 8 B, two cores, p50", "call, 8 B", "ours"],
    [HOT, "call, 4096 B, two cores, p50", "call, 4 KiB", "ours"],
    [
        HOT,
        "iceoryx2, 8 B, p50",
        "iceoryx2, 8 B, both poll",
        "peer",
    ],
    [
        HOT,
        "iceoryx2, 4096 B, p50",
        "iceoryx2, 4 KiB, both poll",
        "peer",
    ],
    [
        IDLE,
        "futex, two cores, p50",
        "futex, both slept 10 ms",
        "limit",
    ],
    [
        IDLE,
        "call, 8 B, two cores, p50",
        "call, 8 B, both slept 10 ms",
        "ours",
    ],
    [
        IDLE,
        "named pipe, two cores, p50",
        "named pipes, both slept 10 ms",
        "peer",
    ],
    [PYTHON, PYTHON_CALL, "Python, f(dict) → dict", "ours"],
    [
        PYTHON,
        "pyzmq REQ/REP, ipc",
        "Python, pyzmq REQ/REP",
        "peer",
    ],
    [
        PYTHON,
        "multiprocessing.Manager(), a method",
        "Python, a Manager's method",
        "peer",
    ],
];
const HOT: &str = "function, call after call";
const IDLE: &str = "function, after 10 ms";
const PYTHON: &str = "Python: call a function of another process";
const PYTHON_CALL: &str = "f(dict) → dict, each side on a processor of its own";

const WIDTH: f64 = 880.0;
/// The inner part of an upper picture.
const INNER: [f64; 4] = [62.0, 34.0, 350.0, 250.0];
const BAR_HEIGHT: f64 = 18.0;
const BAR_LEFT: f64 = 250.0;

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #8b949e; stroke-opacity: .25 }
path { fill: none; stroke-width: 2 }
.read { stroke: #2f81f7 } .write { stroke: #e5534b } .borrow { stroke: #2da44e } .only { stroke: #e08600 }
.peer { stroke-dasharray: 6 4; stroke-opacity: .75; stroke-width: 1.5 }
.limit { stroke: #8b949e; stroke-width: 1.5; stroke-dasharray: 2 3 }
rect.ours { fill: #2f81f7 } rect.peer { fill: #bf8700 } rect.limit { fill: #8b949e }
rect.ours, rect.peer, rect.limit { stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
";

/// The picture.
pub(crate) fn draw(report: &Report) -> String {
    let mut picture = String::new();
    for panel in &PANELS {
        picture += &draw_panel(report, panel);
    }
    let top = INNER[1] + INNER[3] + 50.0;
    let (bars, height) = draw_bars(report, top);
    picture += &bars;
    let host = &report.host;
    let foot = format!(
        "{}, {} cores, Linux {}, {}",
        host.processor, host.cores, host.kernel, host.date
    );
    let height = height + 26.0;
    picture += &label(0.0, height - 8.0, "", &foot);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"Times of robot-ipc beside memcpy and peers\">\n\
         <style>{STYLE}</style>\n{picture}</svg>\n"
    )
}

fn find<'a>(report: &'a Report, group: &str, name: &str) -> Option<&'a Row> {
    let mut rows = report.rows.iter();
    rows.find(|row| row.group == group && row.name == name)
}

fn say_absent(group: &str, name: &str) {
    println!("not in the picture, since it was not measured: {group}: {name}");
}

fn label(x: f64, y: f64, class: &str, what: &str) -> String {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{what}</text>\n")
}

fn grid(x: [f64; 2], y: [f64; 2]) -> String {
    let ([x1, x2], [y1, y2]) = (x, y);
    format!("<path class=\"grid\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>\n")
}

/// A power of ten as people write it.
fn power(exponent: i32) -> String {
    match exponent {
        6.. => format!("{}M", 10u64.pow(exponent as u32 - 6)),
        3..6 => format!("{}k", 10u64.pow(exponent as u32 - 3)),
        0..3 => 10u64.pow(exponent as u32).to_string(),
        _ => format!("{:.*}", -exponent as usize, 10f64.powi(exponent)),
    }
}

/// The whole powers of ten around values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> [i32; 2] {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    let [first, last] = [least.log10().floor() as i32, most.log10().ceil() as i32];
    [first, last.max(first + 1)]
}

fn draw_panel(report: &Report, panel: &Panel) -> String {
    let of = |line: &Line, size: usize| {
        find(
            report,
            panel.group,
            &format!("{}, {}", line.row, text(size)),
        )
    };
    let values = panel.lines.iter().flat_map(|line| {
        let sizes = SIZES.iter().filter_map(move |size| of(line, *size));
        sizes.map(|row| row.median)
    });
    if values.clone().next().is_none() {
        return String::new();
    }
    let [first, last] = decades(values);
    let [left, top, width, height] = INNER;
    let left = left + panel.left;
    let x = |index: usize| left + width * index as f64 / (SIZES.len() - 1) as f64;
    let y = |value: f64| {
        let part = (value.log10() - f64::from(first)) / f64::from(last - first);
        top + height * (1.0 - part)
    };
    let mut picture = label(panel.left, 16.0, "title", panel.title);
    for exponent in first..=last {
        let at = y(10f64.powi(exponent));
        picture += &grid([left, left + width], [at, at]);
        picture += &label(left - 8.0, at + 4.0, "end", &power(exponent));
    }
    for (index, size) in SIZES.iter().enumerate() {
        picture += &label(x(index), top + height + 18.0, "middle", &text(*size));
    }
    let mut legend = top + 14.0;
    for line in panel.lines {
        let points: Vec<String> = SIZES
            .iter()
            .enumerate()
            .filter_map(|(index, size)| Some((index, of(line, *size)?)))
            .map(|(index, row)| format!("{:.1} {:.1}", x(index), y(row.median)))
            .collect();
        if points.is_empty() {
            say_absent(panel.group, line.row);
            continue;
        }
        let class = line.class;
        let _ = writeln!(
            picture,
            "<path class=\"{class}\" d=\"M{}\"/>",
            points.join("L")
        );
        let (start, end) = (left + 14.0, left + 40.0);
        let _ = writeln!(
            picture,
            "<path class=\"{class}\" d=\"M{start:.1} {:.1}H{end:.1}\"/>",
            legend - 4.0
        );
        picture += &label(end + 8.0, legend, "", line.label);
        legend += 17.0;
    }
    picture
}

/// The bars, and where they end.
fn draw_bars(report: &Report, top: f64) -> (String, f64) {
    let found: Vec<(&Row, &[&str; 4])> = BARS
        .iter()
        .filter_map(|bar| {
            let found = find(report, bar[0], bar[1]);
            if found.is_none() {
                say_absent(bar[0], bar[1]);
            }
            Some((found?, bar))
        })
        .collect();
    if found.is_empty() {
        return (String::new(), top);
    }
    let [first, last] = decades(found.iter().map(|(row, _)| row.median));
    let width = WIDTH - BAR_LEFT - 60.0;
    let x = |value: f64| {
        let part = (value.log10() - f64::from(first)) / f64::from(last - first);
        BAR_LEFT + width * part
    };
    let bottom = top + 26.0 + found.len() as f64 * BAR_HEIGHT;
    let mut picture = label(0.0, top + 10.0, "title", "Round trip of a call, median, µs");
    for exponent in first..=last {
        let at = x(10f64.powi(exponent));
        picture += &grid([at, at], [top + 20.0, bottom]);
        picture += &label(at, bottom + 16.0, "middle", &power(exponent));
    }
    for (index, (row, [_, _, what, class])) in found.iter().enumerate() {
        let at = top + 24.0 + index as f64 * BAR_HEIGHT;
        let end = x(row.median);
        picture += &label(BAR_LEFT - 8.0, at + 12.0, "end", what);
        let _ = writeln!(
            picture,
            "<rect class=\"{class}\" x=\"{BAR_LEFT:.1}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            end - BAR_LEFT,
            BAR_HEIGHT - 5.0
        );
        picture += &label(end + 6.0, at + 12.0, "", &format!("{:.2}", row.median));
    }
    (picture, bottom + 22.0)
}
