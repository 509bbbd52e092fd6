//! Gate `window`: whether it is a time at which releases may go forward.

mod calendar;
mod config;
mod schedule;

use jiff::Timestamp;
use phasegate_plugin::{
    Error, Gate, Measurement, Problem, Question, Result, Status, Verdict, clock,
};

use config::BreakGlass;
pub use config::Window;

impl Gate for Window {
    const NAME: &'static str = "window";
    const SUMMARY: &'static str =
        "weekdays, hours, holidays and freezes in a time zone, with a way to break the glass";

    fn validate(&self) -> Vec<Problem> {
        self.problems()
    }

    fn evaluate(&self, _question: &Question) -> Result<Verdict> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let now = i64::try_from(clock::now_ms()).ok();
        let now = now.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let now = now.ok_or_else(|| Error::permanent("the clock shows no time"))?;
        Ok(self.judge(now))
    }
}

impl Window {
    fn judge(&self, now: Timestamp) -> Verdict {
        let change = self.next_change(now);
        let Some(closed) = self.closed(now) else {
            let until = match change {
                Some(at) => format!("open until {}", self.shown(at)),
                None => "open, and no end is in sight".to_owned(),
            };
            return self.verdict(Status::Pass, "normal", until);
        };
        let opens = match change {
            Some(at) => format!("it opens {}", self.shown(at)),
            None => "no opening is in sight".to_owned(),
        };
        let closed = format!("closed: {closed}; {opens}");
        match &self.break_glass {
            None => self.verdict(Status::Fail, "alert", closed),
            Some(glass) if now < glass.until.0 => {
                let reason = format!("{}; {closed}", self.broken(glass, "counts until"));
                self.verdict(Status::Pass, "warn", reason)
            }
            Some(glass) => {
                let reason = format!("{closed}; {}", self.broken(glass, "ended"));
                self.verdict(Status::Fail, "alert", reason)
            }
        }
    }

    /// `break-glass by ada counts until …: the shop is down`.
    fn broken(&self, glass: &BreakGlass, verb: &str) -> String {
        let by = match &glass.by {
            Some(by) => format!(" by {by}"),
            None => String::new(),
        };
        let until = self.shown(glass.until.0);
        format!("break-glass{by} {verb} {until}: {}", glass.reason)
    }

    fn verdict(&self, status: Status, band: &str, reason: String) -> Verdict {
        let open = if band == "normal" { 1.0 } else { 0.0 };
        let measured = Measurement::new("open", Some(open), status)
            .limit(self.words())
            .band(band);
        Verdict::new(status, reason).measured(measured)
    }
}

phasegate_plugin::export! {
    name: "window",
    summary: "Judges whether it is a time for releases",
    gates: [Window],
}

#[cfg(test)]
mod tests;
