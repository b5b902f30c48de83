//! Arguments, medians and the lines that are printed.

use std::time::Duration;

/// Whether the benchmark is only to tell that it still works.
pub fn is_smoke() -> bool {
    std::env::args().any(|argument| argument == "--smoke")
}

/// What follows `name` on the command line.
pub fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    Some(arguments.next().unwrap_or_else(|| panic!("{name} needs a value")))
}

/// [`option`] as counts, divided by commas.
pub fn counts(name: &str, default: &[usize]) -> Vec<usize> {
    let Some(text) = option(name) else { return default.to_vec() };
    let count = |part: &str| part.trim().replace('_', "").parse().ok().filter(|count| *count > 0);
    let counts: Option<Vec<usize>> = text.split(',').map(count).collect();
    counts.unwrap_or_else(|| panic!("{name} takes counts, as in 10000,1000000"))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The figure below which `share` of all lie.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A figure, with its ratio to a peer's in the same run.
pub fn line(what: &str, value: f64, unit: &str, beside: Option<(f64, &str)>) {
    let digits = if value < 100.0 { 2 } else { 0 };
    match beside {
        Some((peer, whose)) => {
            println!("  {what:<52} {value:>11.digits$} {unit:<12} {:.2} {whose}", value / peer);
        }
        None => println!("  {what:<52} {value:>11.digits$} {unit}"),
    }
}

/// What this process has taken of the processors since its start, all threads together; `None` where the system does not
/// say. Unlike time it does not depend on who else is busy.
pub fn processor() -> Option<Duration> {
    /// Linux counts in hundredths of a second here, on every machine.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // What stands in parentheses is the program's name, and may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}
