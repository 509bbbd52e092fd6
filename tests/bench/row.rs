//! A row of the table.

use std::fmt::Write as _;

use serde::Serialize;

/// What was measured, and what it is compared with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// What.
    pub(crate) name: String,
    /// The engine's figure.
    pub(crate) measured: f64,
    /// Unit of the engine's figure and of the peer's.
    pub(crate) unit: &'static str,
    /// Who does the same without the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Peer>,
    /// What is wanted; a row without is for information.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Target>,
    /// Whether it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

/// A peer's figure from the same run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peer {
    /// What it does.
    pub(crate) name: &'static str,
    /// Its figure.
    pub(crate) measured: f64,
    /// The engine's figure in relation to the peer's.
    pub(crate) ratio: f64,
}

/// What is wanted, of the ratio where there is a peer, else of the figure itself.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            measured,
            unit,
            peer: None,
            target: None,
            met: None,
        }
    }

    pub(crate) fn beside(mut self, name: &'static str, measured: f64) -> Self {
        self.peer = Some(Peer {
            name,
            measured,
            ratio: self.measured / measured,
        });
        self
    }

    /// In place of the quotient of the two figures: the median of the rounds' own ratios.
    pub(crate) fn with_ratio(mut self, ratio: f64) -> Self {
        if let Some(peer) = &mut self.peer {
            peer.ratio = ratio;
        }
        self
    }

    pub(crate) fn wanted(mut self, target: Target) -> Self {
        let judged = self.peer.as_ref().map_or(self.measured, |peer| peer.ratio);
        self.met = Some(match target {
            Target::AtMost(most) => judged <= most,
            Target::AtLeast(least) => judged >= least,
        });
        self.target = Some(target);
        self
    }

    fn cells(&self) -> [String; 6] {
        let (peer, ratio) = match &self.peer {
            Some(peer) => (
                format!("{} ({})", figure(peer.measured), peer.name),
                format!("{:.2}", peer.ratio),
            ),
            None => Default::default(),
        };
        let target = match self.target {
            Some(Target::AtMost(most)) => format!("<= {most}"),
            Some(Target::AtLeast(least)) => format!(">= {least}"),
            None => String::new(),
        };
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        let measured = format!("{} {}", figure(self.measured), self.unit);
        [
            self.name.clone(),
            measured,
            peer,
            ratio,
            target,
            met.to_owned(),
        ]
    }
}

fn figure(value: f64) -> String {
    let digits = if value < 100.0 { 1 } else { 0 };
    format!("{value:.digits$}")
}

/// The rows as a table for people.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["what", "measured", "peer", "ratio", "target", ""].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0_usize; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (cell, width) in line.iter().zip(widths) {
            // Writing into a string doesn't fail.
            let _ = write!(shown, "{cell:<width$}  ");
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}
