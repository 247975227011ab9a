//! Numbers as people read them, and cells of a given width.

use crate::model::{HolderRow, Seen, WaitRow};

/// A size, in at most six characters.
pub(super) fn bytes(n: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 10.0 { format!("{value:.0}{}", units[unit]) } else { format!("{value:.1}{}", units[unit]) }
}

/// A time, in at most six characters.
pub(super) fn time(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{:.1}s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{}m{:02}", ms / 60_000, ms / 1000 % 60),
        _ => format!("{}h{:02}", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// For how long something has been seen; with a mark if it may be longer.
pub(super) fn seen(seen: Seen) -> String {
    let mark = if seen.is_older { ">" } else { "" };
    format!("{mark}{}", time(seen.ms))
}

/// A thread by its process's pid, its own id if that is another, and its name.
fn thread(name: &str, pid: Option<u32>, tid: u32) -> String {
    match pid.filter(|pid| *pid != tid) {
        Some(pid) => format!("{name} ({pid}:{tid})"),
        None => format!("{name} ({tid})"),
    }
}

pub(super) fn holder(holder: &HolderRow) -> String {
    thread(&holder.name, holder.pid, holder.tid)
}

pub(super) fn waiter(wait: &WaitRow) -> String {
    thread(&wait.name, Some(wait.pid), wait.tid)
}

/// A number a second; `-` if it is not known.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(n) if n >= 999_950.0 => format!("{:.1}M", n / 1e6),
        Some(n) if n >= 9_999.5 => format!("{:.0}k", n / 1e3),
        Some(n) if n >= 100.0 || n == 0.0 => format!("{n:.0}"),
        Some(n) => format!("{n:.1}"),
    }
}

/// As much of a text as fits into so many columns, with a mark where it was cut.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:width$}");
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A text as lines of so many columns, cut between words; those after the first are indented.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    const INDENT: usize = 10;
    let (mut lines, mut rest) = (Vec::new(), text.to_owned());
    let width = width.max(2 * INDENT);
    while rest.chars().count() > width {
        let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        // Not inside the indentation, or there would be no end.
        let at = rest[..end].rfind(' ').filter(|at| !rest[..*at].trim().is_empty()).unwrap_or(end);
        let next = format!("{:INDENT$}{}", "", rest[at..].trim_start());
        rest.truncate(at);
        lines.push(std::mem::replace(&mut rest, next));
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_words() {
        assert_eq!(wrap("short", 80), ["short"]);
        let lines = wrap("a name, and all that it waits for", 20);
        assert_eq!(lines, ["a name, and all", "          that it", "          waits for"]);
        let lines = wrap(&"ä".repeat(35), 20);
        assert_eq!(lines.iter().map(|line| line.trim().chars().count()).collect::<Vec<_>>(), [20, 10, 5]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1024, 12 << 20, 5 << 30].map(bytes), ["0B", "999B", "1.0K", "12M", "5.0G"]);
        assert!([u64::MAX, 999 << 10, 1_048_000].into_iter().all(|n| bytes(n).len() <= 6));
        assert_eq!([7, 1500, 61_000, 3_700_000].map(time), ["7ms", "1.5s", "1m01", "1h01"]);
        let rates = [None, Some(0.0), Some(2.5), Some(123.4), Some(12_345.0), Some(2.5e6)];
        assert_eq!(rates.map(rate), ["-", "0", "2.5", "123", "12k", "2.5M"]);
        assert_eq!((cut("abcdef", 4).as_str(), cut("ab", 4).as_str()), ("abc…", "ab  "));
    }
}
