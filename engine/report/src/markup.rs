//! Markup that can't be wrong: what is opened is closed, names are ours, and text from outside can get
//! into a page as text only.
//!
//! There is no way to write a string as it stands but [`Markup::style`], which takes one of ours.
//! What comes out is HTML and well-formed XML at once.

use std::fmt::Write as _;

/// Attributes: names are ours, values may be anybody's.
pub(crate) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// A page in the making.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    out: String,
}

impl Markup {
    /// A page with what HTML needs before its first element.
    pub(crate) fn document() -> Self {
        Self {
            out: "<!DOCTYPE html>\n".to_owned(),
        }
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// An element with others in it.
    pub(crate) fn el(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes);
        self.out.push('>');
        inside(self);
        let _ = write!(self.out, "</{name}>");
        if is_block(name) {
            self.out.push('\n');
        }
    }

    /// An element with nothing but text in it.
    pub(crate) fn leaf(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.el(name, attributes, |m| m.text(text));
    }

    /// An element with text from outside in it, whose direction of writing stays in it.
    pub(crate) fn foreign(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.el(name, attributes, |m| m.leaf("bdi", &[], text));
    }

    /// An element that is always empty: `meta`, and the shapes of SVG.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.open(name, attributes);
        self.out.push_str("/>");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        escape(&mut self.out, text);
    }

    /// The style sheet, which has no character in it that markup would have to escape.
    pub(crate) fn style(&mut self, css: &'static str) {
        self.open("style", &[]);
        self.out.push('>');
        self.out.push_str(css);
        self.out.push_str("</style>\n");
    }

    fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        let _ = write!(self.out, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.out, " {attribute}=\"");
            escape(&mut self.out, value);
            self.out.push('"');
        }
    }
}

/// Elements after which a line ends, so that a page can be read and compared as text.
fn is_block(name: &str) -> bool {
    !matches!(
        name,
        "bdi" | "a" | "span" | "strong" | "time" | "text" | "title" | "desc" | "th" | "td" | "dt"
    )
}

/// Writes text so that it stays text wherever it stands. What can't be seen and changes how the rest
/// is read is spelled out.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            _ if deceives(c) => {
                let _ = write!(out, "\u{27e8}U+{:04X}\u{27e9}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
}

/// Control characters, marks that turn the direction of writing, what has no width, and what XML forbids.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        escape(&mut out, text);
        out
    }

    #[test]
    fn text_stays_text_in_elements_and_in_attributes() {
        let mut page = Markup::default();
        let nasty = "\"><script>alert('x')</script>&amp;";
        page.leaf("td", &[("title", nasty)], nasty);
        let kept = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;";
        assert_eq!(page.finish(), format!("<td title=\"{kept}\">{kept}</td>"));
    }

    #[test]
    fn what_can_not_be_seen_is_spelled_out() {
        assert_eq!(escaped("a\u{202e}b"), "a⟨U+202E⟩b");
        assert_eq!(escaped("\u{0}\u{1b}[31m"), "⟨U+0000⟩⟨U+001B⟩[31m");
        assert_eq!(
            escaped("\u{feff}\u{ffff}\u{2066}"),
            "⟨U+FEFF⟩⟨U+FFFF⟩⟨U+2066⟩"
        );
        assert_eq!(escaped("one\ttwo\nüñí שלום 🚀"), "one\ttwo\nüñí שלום 🚀");
    }
}
