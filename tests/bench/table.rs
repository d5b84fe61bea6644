//! Figures, their goals, and whether they are met.

use std::fmt::Write as _;

/// Whether a goal is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// The median misses it, but a quarter of the rounds meet it: on this
    /// machine, now, nobody can say.
    Noise,
    Missed,
    /// There is no goal: it is there to compare with.
    Beside,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Noise => "noise",
            Self::Missed => "MISSED",
            Self::Beside => "",
        }
    }
}

/// Which way is better, and how far is far enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(goal) => figure >= goal,
            Self::AtMost(goal) => figure <= goal,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal}{unit}"),
            Self::AtMost(goal) => format!("≤ {goal}{unit}"),
        }
    }
}

/// One line of the table.
struct Row {
    what: String,
    figure: String,
    goal: String,
    verdict: Verdict,
}

/// All of them, in the order measured.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    /// A figure that was measured once in each round: its median counts.
    pub(crate) fn rounds(&mut self, what: &str, each: &[f64], unit: &str, goal: Option<Goal>) {
        let spread = spread(each);
        let [low, middle, high] = spread;
        let digits = if middle >= 100.0 { 0 } else { 2 };
        let verdict = match goal {
            None => Verdict::Beside,
            Some(goal) if goal.is_met(middle) => Verdict::Met,
            Some(goal) if spread.iter().any(|quartile| goal.is_met(*quartile)) => Verdict::Noise,
            Some(_) => Verdict::Missed,
        };
        self.rows.push(Row {
            what: what.to_owned(),
            figure: format!("{middle:.digits$}{unit} ({low:.digits$}–{high:.digits$})"),
            goal: goal.map_or_else(String::new, |goal| goal.text(unit)),
            verdict,
        });
    }

    /// A figure that is not a matter of chance.
    pub(crate) fn once(&mut self, what: &str, figure: f64, unit: &str, goal: Option<Goal>) {
        let verdict = match goal {
            None => Verdict::Beside,
            Some(goal) if goal.is_met(figure) => Verdict::Met,
            Some(_) => Verdict::Missed,
        };
        self.rows.push(Row {
            what: what.to_owned(),
            figure: format!("{figure:.1}{unit}"),
            goal: goal.map_or_else(String::new, |goal| goal.text(unit)),
            verdict,
        });
    }

    /// As [`Table::once`], of what is small.
    pub(crate) fn precise(&mut self, what: &str, figure: f64, unit: &str, goal: Option<Goal>) {
        self.once(what, figure, unit, goal);
        if let Some(row) = self.rows.last_mut() {
            row.figure = format!("{figure:.2}{unit}");
        }
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Whether a goal is missed, and not by chance.
    pub(crate) fn misses(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Missed)
    }

    /// The whole, as text in columns.
    pub(crate) fn text(&self) -> String {
        let head = Row {
            what: "what".into(),
            figure: "median (quartiles)".into(),
            goal: "goal".into(),
            verdict: Verdict::Beside,
        };
        let all: Vec<&Row> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: fn(&Row) -> &str| {
            let lengths = all.iter().map(|row| column(row).chars().count());
            lengths.max().unwrap_or(0)
        };
        let (what, figure, goal) = (width(|r| &r.what), width(|r| &r.figure), width(|r| &r.goal));
        let mut text = String::new();
        for row in &all {
            let line = format!(
                "{:what$}  {:figure$}  {:goal$}  {}",
                row.what,
                row.figure,
                row.goal,
                row.verdict.word()
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for note in &self.notes {
            let _never_fails = write!(text, "\n{note}");
        }
        text.push('\n');
        text
    }
}

/// The lower quartile, the median and the upper quartile.
fn spread(each: &[f64]) -> [f64; 3] {
    let mut sorted = each.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = part * sorted.len().saturating_sub(1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        match (sorted.get(below), sorted.get(above)) {
            (Some(a), Some(b)) => a + (b - a) * place.fract(),
            _ => f64::NAN,
        }
    };
    [at(0.25), at(0.5), at(0.75)]
}
