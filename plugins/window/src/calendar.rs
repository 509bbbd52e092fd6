//! Days, times and zones as a release file writes them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    pub(crate) fn of(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

/// A time of day to the minute, from `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay {
    hour: i8,
    minute: i8,
}

impl TimeOfDay {
    /// When it is this time on a day in a zone. A time that the clocks jump over is moved forward
    /// by as much as they jump; of a time that comes twice the first is meant.
    pub(crate) fn on(self, date: Date, zone: &TimeZone) -> Option<Timestamp> {
        let (date, hour) = match self.hour {
            24 => (date.tomorrow().ok()?, 0),
            hour => (date, hour),
        };
        zone.to_timestamp(date.at(hour, self.minute, 0, 0)).ok()
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let two = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            two.then(|| part.parse::<i8>().ok()).flatten()
        };
        let time = text.split_once(':').and_then(|(hour, minute)| {
            Some(Self {
                hour: number(hour)?,
                minute: number(minute)?,
            })
        });
        time.filter(|time| time.minute < 60 && (time.hour, time.minute) <= (24, 0))
            .ok_or_else(|| format!("`{text}` is not a time of day; write it as 09:30"))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holiday(pub(crate) Date);

impl FromStr for Holiday {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A date with a time behind it can be read too; a holiday is a day.
        let date = (text.len() == "2026-12-25".len()).then(|| text.parse().ok());
        let fault = || format!("`{text}` is not a day; write it as 2026-12-25");
        date.flatten().map(Self).ok_or_else(fault)
    }
}

/// A point in time, with its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!(
                "`{text}` is not a point in time; write it with its offset, as 2026-12-20T00:00:00+01:00"
            )
        })
    }
}

/// A time zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone(pub(crate) TimeZone);

impl Zone {
    /// Its name: `America/New_York`.
    pub(crate) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        TimeZone::get(text).map(Self).map_err(|_| {
            format!("there is no time zone `{text}`; write its IANA name, as America/New_York")
        })
    }
}

/// Types that are texts in files.
macro_rules! text_type {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text_type!(TimeOfDay, {
    "type": "string",
    "description": "Hours and minutes: 09:30.",
    "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
});
text_type!(Holiday, {
    "type": "string",
    "description": "A day: 2026-12-25.",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
});
text_type!(Moment, {
    "type": "string",
    "description": "A point in time with its offset: 2026-12-20T00:00:00+01:00.",
});
text_type!(Zone, {
    "type": "string",
    "description": "A time zone by its IANA name: America/New_York.",
});
