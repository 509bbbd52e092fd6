//! The live view: finished lines scroll above, and on a terminal a region below them shows where the
//! run is. Elsewhere there are plain lines only.
//!
//! The region is drawn in place with a handful of ANSI sequences, without an alternate screen, so
//! that what was said stays in the terminal's history. It is drawn at most ten times a second, and
//! anew for each change of the terminal's size.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::run::{Level, Run};
use phasegate_core::time::Span;
use phasegate_runtime::ports::Clock;
use phasegate_world::clock::SystemClock;
use tokio::task::JoinHandle;

use crate::console::Console;
use crate::show::{self, Marks};
use crate::stream::StreamLine;

/// Time between two frames.
const FRAME: Span = Span::from_millis(100);
/// Rows of the region at most, whatever the terminal has.
const MAX_ROWS: usize = 40;
/// Columns of a progress bar.
const BAR: usize = 24;
/// What stands before the rest of a row that was broken.
const INDENT: &str = "      ";
/// The size of a terminal that doesn't say.
const FALLBACK: (usize, usize) = (80, 24);
/// Columns of the time and of where a line belongs, before its message.
const WHERE: usize = 18;

/// The live view of a run.
pub(crate) struct Live {
    screen: Mutex<Screen>,
    frames: Mutex<Option<JoinHandle<()>>>,
}

/// A row of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    text: String,
    /// The parameters of its colour; empty for none.
    style: &'static str,
}

impl Row {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style: "",
        }
    }
}

/// What is on the screen and what is to get there.
struct Screen {
    terminal: bool,
    colour: bool,
    quiet: bool,
    marks: Marks,
    waiting: Vec<String>,
    region: Vec<Row>,
    /// How wide the rows of the region are that are on the screen now.
    drawn: Vec<usize>,
    size: (usize, usize),
    dirty: bool,
}

impl Live {
    /// Begins a view. On a terminal it is drawn by a task of its own, until [`Live::end`].
    pub(crate) fn begin(console: &Console) -> Arc<Self> {
        let live = Arc::new(Self {
            screen: Mutex::new(Screen {
                terminal: console.terminal && !console.quiet,
                colour: console.colour,
                quiet: console.quiet,
                marks: Marks::for_locale(),
                waiting: Vec::new(),
                region: Vec::new(),
                drawn: Vec::new(),
                size: FALLBACK,
                dirty: false,
            }),
            frames: Mutex::new(None),
        });
        if live.lock().terminal {
            let drawn = Arc::clone(&live);
            let task = tokio::spawn(async move {
                loop {
                    let now = SystemClock.now();
                    SystemClock.sleep_until(now.plus(FRAME)).await;
                    drawn.lock().frame();
                }
            });
            *live.frames.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
        live
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a record brought about.
    pub(crate) fn take(&self, lines: &[StreamLine], run: &Run) {
        let mut screen = self.lock();
        if screen.quiet {
            return;
        }
        let colour = screen.colour;
        let lines = lines
            .iter()
            .filter(|line| line.level != Level::Debug)
            .map(|line| text(line, colour));
        screen.waiting.extend(lines);
        if screen.terminal {
            screen.region = region(run, screen.marks);
            screen.dirty = true;
        } else {
            screen.scroll();
        }
    }

    /// Says something that no record brought about.
    pub(crate) fn note(&self, words: String) {
        let mut screen = self.lock();
        screen.waiting.push(words);
        screen.dirty = true;
        if !screen.terminal {
            screen.scroll();
        }
    }

    /// Takes the region off the screen; the lines stay.
    pub(crate) fn end(&self) {
        let frames = self
            .frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(frames) = frames {
            frames.abort();
        }
        let mut screen = self.lock();
        screen.region.clear();
        screen.dirty = true;
        screen.frame();
    }
}

impl Screen {
    /// Prints what waits, where there is no region.
    fn scroll(&mut self) {
        let mut out = io::stdout().lock();
        for line in self.waiting.drain(..) {
            // Whoever reads may have left; the run goes on all the same.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }

    /// Draws a frame, if anything has changed.
    fn frame(&mut self) {
        if !self.terminal {
            self.scroll();
            return;
        }
        let size = terminal_size();
        if !self.dirty && size == self.size {
            return;
        }
        self.size = size;
        self.dirty = false;
        let frame = self.compose(size);
        let mut out = io::stdout().lock();
        let _ = out.write_all(frame.as_bytes());
        let _ = out.flush();
    }

    /// The bytes of a frame: the old region is erased, lines scroll above, the new region follows.
    fn compose(&mut self, (columns, rows): (usize, usize)) -> String {
        // Begins a synchronised update, where the terminal knows of it: no half frame is seen.
        let mut frame = String::from("\u{1b}[?2026h");
        // A terminal that grew narrower has wrapped the rows.
        let above: usize = self
            .drawn
            .iter()
            .map(|width| width.div_ceil(columns.max(1)).max(1))
            .sum();
        if above > 0 {
            // To the region's first row, and everything from there on goes.
            frame.push_str(&format!("\u{1b}[{}A\r\u{1b}[J", above.min(rows)));
        }
        for line in self.waiting.drain(..) {
            frame.push_str(&line);
            frame.push_str("\u{1b}[0m\r\n");
        }
        // One row stays free, or the terminal would scroll the region's first row away.
        let room = rows.saturating_sub(2).min(MAX_ROWS);
        let wrapped: Vec<(String, &'static str)> = self
            .region
            .iter()
            .flat_map(|row| {
                let style = row.style;
                wrapped(&row.text, columns)
                    .into_iter()
                    .map(move |text| (text, style))
            })
            .collect();
        // What is lost where there is no room is the rail's beginning: it is long done.
        let hidden = wrapped.len().saturating_sub(room);
        self.drawn.clear();
        for (text, style) in wrapped.iter().skip(hidden) {
            self.drawn.push(text.chars().count());
            frame.push_str(&painted(text, style, self.colour));
            frame.push_str("\r\n");
        }
        frame.push_str("\u{1b}[?2026l");
        frame
    }
}

fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => FALLBACK,
    }
}

/// A line of the stream for people: `HH:MM:SS  phase/step  message`.
pub(crate) fn text(line: &StreamLine, colour: bool) -> String {
    // A step's id begins with its phase.
    let place = line.step.as_ref().or(line.phase.as_ref());
    let place = place.map_or("", String::as_str);
    let attempt = match line.attempt {
        // A gate is asked again and again; that isn't another attempt at something that failed.
        Some(attempt) if attempt > 1 && line.kind != "gate" => format!(" (attempt {attempt})"),
        _ => String::new(),
    };
    let time = show::time_of_day(line.time);
    let message = show::plain(&line.message);
    let text = format!("{time}  {place:<WHERE$}  {message}{attempt}");
    match line.level {
        Level::Error => painted(&text, "31", colour),
        Level::Warn => painted(&text, "33", colour),
        Level::Info | Level::Debug => text,
    }
}

/// What the region shows of a run.
fn region(run: &Run, marks: Marks) -> Vec<Row> {
    let subject = &run.plan().subject;
    let head = format!(
        "{}  {} → {}  {}",
        run.id(),
        subject.previous_version,
        subject.version,
        run.state()
    );
    let mut rows = vec![
        Row::plain(""),
        Row {
            text: show::plain(&head),
            style: "1",
        },
    ];
    rows.extend(show::rail(run, marks).lines().map(Row::plain));
    let below = |line: String| Row::plain(format!("  {}", show::plain(&line)));
    rows.extend(show::world(run).into_iter().map(below));
    if let Some((measured, wanted)) = run.soak() {
        rows.push(below(format!("soak {}", bar(measured, wanted))));
    }
    rows.extend(run.gates().iter().map(|gate| below(show::gate(gate))));
    rows.extend(show::next(run, run, true).into_iter().map(|line| Row {
        text: format!("  {}", show::plain(&line)),
        style: "36",
    }));
    rows
}

/// How much of a time has gone by.
fn bar(done: Span, wanted: Span) -> String {
    let whole = wanted.as_millis().max(1);
    let part = done.as_millis().min(whole);
    let columns = u64::try_from(BAR).unwrap_or_default();
    let full = usize::try_from(part.saturating_mul(columns) / whole).unwrap_or_default();
    let rest = BAR.saturating_sub(full);
    format!(
        "[{}{}] {} of {wanted} measured",
        "#".repeat(full),
        "-".repeat(rest),
        show::about(done.min(wanted))
    )
}

fn painted(text: &str, code: &str, colour: bool) -> String {
    if colour && !code.is_empty() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A row over as many rows as it needs, broken between words. What is wider than a column isn't known
/// here, so that one column stays free.
fn wrapped(row: &str, columns: usize) -> Vec<String> {
    let room = columns.saturating_sub(1).max(1);
    // In a narrow terminal the words need the columns more.
    let indent = INDENT.get(..INDENT.len().min(room / 3)).unwrap_or_default();
    let mut rows = Vec::new();
    let mut rest = row.to_owned();
    while rest.chars().count() > room && rows.len() < MAX_ROWS {
        let head: String = rest.chars().take(room).collect();
        let cut = match head.trim_end().rfind(' ') {
            Some(at) if !head.get(..at).unwrap_or_default().trim().is_empty() => at,
            _ => head.len(),
        };
        let tail = rest.get(cut..).unwrap_or_default().trim_start();
        let tail = format!("{indent}{tail}");
        rows.push(rest.get(..cut).unwrap_or_default().trim_end().to_owned());
        rest = tail;
    }
    rows.push(rest);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(region: &[&str]) -> Screen {
        Screen {
            terminal: true,
            colour: false,
            quiet: false,
            marks: Marks::ASCII,
            waiting: vec!["a line".to_owned()],
            region: region.iter().map(|&row| Row::plain(row)).collect(),
            drawn: Vec::new(),
            size: FALLBACK,
            dirty: true,
        }
    }

    #[test]
    fn lines_scroll_above_and_the_region_is_drawn_in_place() {
        let mut screen = screen(&["one", "two"]);
        let first = screen.compose((80, 24));
        assert!(
            first.contains("a line\u{1b}[0m\r\none\r\ntwo\r\n"),
            "{first:?}"
        );
        let second = screen.compose((80, 24));
        assert!(
            second.starts_with("\u{1b}[?2026h\u{1b}[2A\r\u{1b}[J"),
            "{second:?}"
        );
        assert!(!second.contains("a line"));
    }

    #[test]
    fn a_region_is_no_higher_than_the_terminal() {
        let mut screen = screen(&["1", "2", "3", "4", "5"]);
        let frame = screen.compose((80, 5));
        assert_eq!(screen.drawn.len(), 3);
        assert!(frame.contains('5') && !frame.contains("\r\n1"));
    }

    #[test]
    fn rows_are_broken_between_words_and_never_wider_than_the_terminal() {
        assert_eq!(
            wrapped("  abort would: bring it back", 20),
            ["  abort would:", "      bring it back"]
        );
        for row in wrapped(&"x".repeat(500), 20) {
            assert!(row.chars().count() < 20, "{row}");
        }
        assert_eq!(wrapped("", 20), [""]);
    }

    #[test]
    fn a_terminal_that_grew_narrower_is_cleared_of_the_rows_it_wrapped() {
        let mut screen = screen(&["1234567890123456", "12"]);
        screen.compose((40, 24));
        let frame = screen.compose((10, 24));
        assert!(frame.contains("\u{1b}[3A"), "{frame:?}");
    }

    /// A terminal as far as a frame needs one: rows that scroll, wrap, and are gone over again.
    struct Terminal {
        size: (usize, usize),
        rows: Vec<String>,
        at: (usize, usize),
    }

    impl Terminal {
        fn new(columns: usize, rows: usize) -> Self {
            Self {
                size: (columns, rows),
                rows: vec![String::new(); rows],
                at: (0, 0),
            }
        }

        fn feed(&mut self, frame: &str) {
            let mut rest = frame.chars();
            while let Some(c) = rest.next() {
                match c {
                    '\r' => self.at.0 = 0,
                    '\n' => self.down(),
                    '\u{1b}' => {
                        assert_eq!(rest.next(), Some('['));
                        let mut number = String::new();
                        let last = rest.by_ref().find(|c| {
                            number.push(*c);
                            c.is_ascii_alphabetic()
                        });
                        number.pop();
                        self.obey(last.unwrap(), &number);
                    }
                    c => self.put(c),
                }
            }
        }

        fn obey(&mut self, what: char, number: &str) {
            match what {
                'A' => self.at.1 = self.at.1.saturating_sub(number.parse().unwrap()),
                'J' => {
                    assert_eq!(self.at.0, 0);
                    let from = self.at.1;
                    self.rows[from..].iter_mut().for_each(String::clear);
                }
                // Colours, and the marks around a frame.
                'm' | 'h' | 'l' => {}
                other => panic!("{other}: no terminal is needed for that"),
            }
        }

        fn down(&mut self) {
            if self.at.1 + 1 == self.size.1 {
                self.rows.remove(0);
                self.rows.push(String::new());
            } else {
                self.at.1 += 1;
            }
        }

        fn put(&mut self, c: char) {
            if self.at.0 == self.size.0 {
                self.at.0 = 0;
                self.down();
            }
            let row = &mut self.rows[self.at.1];
            let mut chars: Vec<char> = row.chars().collect();
            chars.resize(chars.len().max(self.at.0 + 1), ' ');
            chars[self.at.0] = c;
            *row = chars.into_iter().collect();
            self.at.0 += 1;
        }
    }

    /// Whatever the window's size, the region stands once on the screen, whole rows of it, below what was said.
    #[test]
    fn a_small_window_is_neither_garbled_nor_overrun() {
        let long = "abort would: bring hello 1.0.0 back in one write, about 20s, 3 of 3 pods on it";
        for (columns, rows) in [(40, 10), (20, 6), (10, 5), (7, 4), (40, 3), (3, 2), (1, 1)] {
            let mut terminal = Terminal::new(columns, rows);
            let mut screen = screen(&[]);
            for round in 0..4 {
                screen.waiting = vec![format!(
                    "16:00:0{round}  deploy  step {round} of the run is done"
                )];
                let mut region = vec![Row::plain("")];
                region.extend(
                    (0..=round * 3).map(|n| Row::plain(format!("  {n} of {round}: {long}"))),
                );
                screen.region = region;
                terminal.feed(&screen.compose((columns, rows)));
                let drawn = screen.drawn.len();
                assert!(drawn <= rows.saturating_sub(2), "{columns}x{rows}: {drawn}");
                assert!(screen.drawn.iter().all(|width| *width < columns.max(2)));
                // The cursor is below the region, and nothing of an earlier one is above it.
                assert_eq!(terminal.at.0, 0);
                let all = terminal.rows.concat();
                for before in 0..round {
                    assert!(
                        !all.contains(&format!("of {before}:")),
                        "{columns}x{rows}: {:?}",
                        terminal.rows
                    );
                }
                let wanted: Vec<String> = screen
                    .region
                    .iter()
                    .flat_map(|row| wrapped(&row.text, columns))
                    .collect();
                let wanted = &wanted[wanted.len() - drawn..];
                let end = terminal.at.1;
                assert_eq!(&terminal.rows[end - drawn..end], wanted, "{columns}x{rows}");
            }
        }
    }

    #[test]
    fn a_bar_fills_with_what_was_measured() {
        let text = bar(Span::from_mins(5), Span::from_mins(10));
        assert_eq!(text, "[############------------] 5m of 10m measured");
        assert!(
            bar(Span::from_mins(50), Span::from_mins(10))
                .contains("[########################] 10m")
        );
    }

    #[test]
    fn what_people_write_neither_colours_a_line_nor_breaks_it() {
        let line = StreamLine {
            schema: crate::stream::SCHEMA,
            seq: 1,
            time: phasegate_core::time::Timestamp::ZERO,
            run: "r".to_owned(),
            kind: "attested".to_owned(),
            phase: None,
            step: None,
            attempt: None,
            level: Level::Info,
            message: "bob attests backup: \u{1b}[31mred\n16:00:00  done".to_owned(),
            data: serde_json::Value::Null,
        };
        let text = text(&line, true);
        assert!(text.ends_with(r"\u{1b}[31mred\n16:00:00  done"), "{text}");
        assert!(!text.contains(['\u{1b}', '\n']), "{text:?}");
    }
}
