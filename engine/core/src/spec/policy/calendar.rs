//! Days, times and stretches of time as they stand in a policy.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::spec::Change;
use crate::time::Timestamp;

/// A stretch of the week in which forward steps are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// The environments that the window is for; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// The kinds of change that the window is for; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The time zone by its IANA name: `America/New_York`.
    pub zone: String,
    /// The days of the week.
    pub days: Vec<Day>,
    /// When it opens.
    pub from: TimeOfDay,
    /// When it closes; `24:00` is the end of the day.
    pub to: TimeOfDay,
    /// Why, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A stretch of time in which nothing goes forward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// When it begins.
    pub from: Moment,
    /// When it ends.
    pub to: Moment,
    /// Why, for people to read.
    pub reason: String,
    /// The environments that it is for; all if it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
}

/// A day of the week.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the days' names say all there is to say")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// The day as the calendar has it.
    #[must_use]
    pub const fn weekday(self) -> jiff::civil::Weekday {
        use jiff::civil::Weekday;
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// A time of day to the minute, from `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    const MINUTES_PER_DAY: u16 = 24 * 60;

    /// Hours and minutes; 24 hours and none is the end of the day.
    #[must_use]
    pub const fn parts(self) -> (u16, u16) {
        (self.0 / 60, self.0 % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let minutes = text
            .split_once(':')
            .filter(|(hours, minutes)| digits(hours) && digits(minutes))
            .and_then(|(hours, minutes)| {
                Some((hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?))
            })
            .filter(|(_, minutes)| *minutes < 60)
            .map(|(hours, minutes)| hours * 60 + minutes);
        match minutes {
            Some(minutes) if minutes <= Self::MINUTES_PER_DAY => Ok(Self(minutes)),
            _ => Err(format!(
                "`{text}` is not a time of day; write hours and minutes, for example 09:30"
            )),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes) = self.parts();
        write!(f, "{hours:02}:{minutes:02}")
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holiday(jiff::civil::Date);

impl Holiday {
    /// The day itself.
    #[must_use]
    pub const fn date(self) -> jiff::civil::Date {
        self.0
    }
}

impl FromStr for Holiday {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault =
            || format!("`{text}` is not a day; write year, month and day, for example 2026-12-25");
        // jiff reads a date with a time behind it too; a holiday is a day.
        if text.len() != 10 {
            return Err(fault());
        }
        text.parse().map(Self).map_err(|_| fault())
    }
}

impl fmt::Display for Holiday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time, written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// The point in time.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        self.0
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("`{text}` is not a point in time; write it with its offset, for example 2026-12-20T00:00:00+01:00"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Types that are texts in files.
macro_rules! text_type {
    ($name:ident, $schema:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text_type!(
    TimeOfDay,
    json_schema!({"type": "string", "description": "Hours and minutes: 09:30. In quotes.", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"})
);
text_type!(
    Holiday,
    json_schema!({"type": "string", "format": "date", "description": "A day: 2026-12-25."})
);
text_type!(
    Moment,
    json_schema!({"type": "string", "format": "date-time", "description": "A point in time with its offset: 2026-12-20T00:00:00+01:00."})
);
