//! The figures: each beside its limit, its goal, and whether it is met.

use std::fmt::Write;

use serde::Serialize;

use crate::machine::Machine;

#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub figures: Vec<Figure>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub part: &'static str,
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What would be possible without what this part adds, and its name.
    pub limit: Option<(f64, &'static str)>,
    /// The value by its limit.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
    pub met: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    RatioAtLeast(f64),
}

impl Figure {
    pub fn new(part: &'static str, name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { part, name: name.into(), value, unit, limit: None, ratio: None, goal: None, met: None }
    }

    pub fn limit(mut self, value: f64, name: &'static str) -> Self {
        self.limit = Some((value, name));
        self.ratio = Some(self.value / value);
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.met = match goal {
            Goal::AtLeast(least) => Some(self.value >= least),
            Goal::AtMost(most) => Some(self.value <= most),
            Goal::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
        };
        self
    }

    fn cells(&self) -> [String; 6] {
        let goal = match self.goal {
            None => String::new(),
            Some(Goal::AtLeast(least)) => format!(">= {}", number(least)),
            Some(Goal::AtMost(most)) => format!("<= {}", number(most)),
            Some(Goal::RatioAtLeast(least)) => format!("ratio >= {least}"),
        };
        let met = match self.met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        [
            format!("{}: {}", self.part, self.name),
            format!("{} {}", number(self.value), self.unit),
            self.limit.map(|(value, name)| format!("{} {name}", number(value))).unwrap_or_default(),
            self.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            goal,
            met.to_owned(),
        ]
    }
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let head = ["figure", "value", "limit", "ratio", "goal", ""].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head).chain(self.figures.iter().map(Figure::cells)).collect();
        let widths: [usize; 6] =
            std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
        let mut text = String::new();
        for row in rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text
    }
}

/// With thousands parted, and so many decimals as the size needs.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
    let mut parted = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && !parted.ends_with('-') {
            parted.push(',');
        }
        parted.push(digit);
    }
    fraction.map_or(parted.clone(), |fraction| format!("{parted}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0.0, 9.876, 12.34, 999.6, 150_000.0, -1234.0, 1_234_567.0].map(number);
        assert_eq!(written, ["0.00", "9.88", "12.3", "1,000", "150,000", "-1,234", "1,234,567"]);
    }

    #[test]
    fn a_figure_is_held_against_its_goal() {
        let figure = Figure::new("p", "n", 50.0, "x").limit(100.0, "other");
        assert_eq!(figure.ratio, Some(0.5));
        assert_eq!(figure.clone().goal(Goal::AtLeast(50.0)).met, Some(true));
        assert_eq!(figure.clone().goal(Goal::AtMost(49.0)).met, Some(false));
        assert_eq!(figure.clone().goal(Goal::RatioAtLeast(0.6)).met, Some(false));
        assert_eq!(Figure::new("p", "n", 50.0, "x").goal(Goal::RatioAtLeast(0.6)).met, None);
    }
}
