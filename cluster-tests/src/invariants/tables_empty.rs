//! After healing, with no call on its way, every table of pending things is empty.

use super::Violation;

const NAME: &str = "tables_empty";
/// Gauges of what is pending, by the names that nodes publish. One that a node does not publish holds nothing.
const PENDING: [&str; 2] = ["rollcall_calls_in_flight", "rollcall_broadcasts"];

/// No pending gauge in this page of metrics is above zero.
pub fn tables_empty(node: &str, metrics: &str) -> Vec<Violation> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        PENDING.contains(&name).then_some((series, value.parse::<f64>().ok()?))
    });
    samples
        .filter(|(_, value)| *value != 0.0)
        .map(|(series, value)| Violation::of(NAME, format!("{node} still has {series} = {value}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_that_is_left_behind_is_found() {
        let page = |value| {
            format!(
                "# TYPE rollcall_calls_in_flight gauge\nrollcall_calls_in_flight {value}\nup{{a=\"b c\"}} 3\n"
            )
        };
        assert_eq!(tables_empty("n1", &page(0)), []);
        assert_eq!(tables_empty("n1", &page(2)).len(), 1);
        assert_eq!(tables_empty("n1", ""), []);
    }
}
