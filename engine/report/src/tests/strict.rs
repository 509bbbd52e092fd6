//! A strict reader of markup: what it takes is well-formed XML, so far as our pages use it.

use std::collections::BTreeSet;

/// The elements of a page, in order, and its text.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) elements: Vec<(String, Vec<(String, String)>)>,
    pub(super) text: String,
}

impl Read {
    pub(super) fn count(&self, name: &str, attribute: &str, value: &str) -> usize {
        let has = |attributes: &[(String, String)]| {
            attributes.iter().any(|(a, v)| a == attribute && v == value)
        };
        let elements = self.elements.iter();
        elements
            .filter(|(e, attributes)| e == name && has(attributes))
            .count()
    }
}

/// Elements that HTML doesn't close, and shapes of SVG: nothing else may close itself.
const SELF_CLOSING: [&str; 5] = ["meta", "rect", "line", "circle", "polyline"];

/// Reads a page. Panics where it is not well-formed.
pub(super) fn read(page: &str) -> Read {
    let mut read = Read::default();
    let mut ids = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    while !rest.is_empty() {
        let Some(inside) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            let text = unescaped(text);
            assert!(
                !open.is_empty() || text.trim().is_empty(),
                "text at the top: {text}"
            );
            read.text.push_str(&text);
            rest = after;
            continue;
        };
        let (tag, after) = inside.split_at(end_of_tag(inside));
        rest = &after[1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(name),
                "closed in the wrong order"
            );
            continue;
        }
        let (tag, closed) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            name.chars().all(|c| c.is_ascii_alphanumeric()),
            "element {name:?}"
        );
        assert!(!closed || SELF_CLOSING.contains(&name), "<{name}/>");
        assert!(closed || name != "meta", "<meta> is never closed");
        let attributes = read_attributes(attributes);
        for (attribute, value) in &attributes {
            assert!(!attribute.starts_with("on"), "a script in {attribute}");
            if attribute == "id" {
                assert!(
                    ids.insert(value.clone()),
                    "two elements have the id {value}"
                );
            }
        }
        if name == "style" {
            let (css, after) = rest.split_once("</style>").expect("a style that ends");
            assert!(
                !css.contains(['<', '&']),
                "a style sheet that must be escaped"
            );
            rest = after;
        } else if !closed {
            open.push(name.to_owned());
        }
        read.elements.push((name.to_owned(), attributes));
    }
    assert_eq!(open, Vec::<String>::new(), "left open");
    read
}

/// Where a tag ends: at the first `>` outside of quotes.
fn end_of_tag(text: &str) -> usize {
    let mut quoted = false;
    for (index, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' => panic!("a `<` within a tag"),
            '>' if !quoted => return index,
            _ => {}
        }
    }
    panic!("a tag without an end: {text:.60}");
}

fn read_attributes(mut text: &str) -> Vec<(String, String)> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a value in double quotes");
        let (value, rest) = rest.split_once('"').expect("a value that ends");
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(
            !name.is_empty() && name.chars().all(fits),
            "attribute {name:?}"
        );
        assert!(
            attributes.iter().all(|(known, _)| known != name),
            "{name} twice"
        );
        attributes.push((name.to_owned(), unescaped(value)));
        text = rest.strip_prefix(' ').unwrap_or(rest);
        assert!(
            rest.is_empty() || rest.starts_with(' '),
            "after {name}: {rest:.20}"
        );
    }
    attributes
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, after) = after.split_once(';').expect("an entity that ends");
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => panic!("an entity that XML doesn't know: {other}"),
        });
        rest = after;
    }
    assert!(!rest.contains('>'), "a `>` in text");
    out.push_str(rest);
    let allowed = |c: char| !c.is_control() || c == '\n' || c == '\t';
    assert!(out.chars().all(allowed), "a control character in {out:?}");
    out
}

#[test]
fn it_is_strict() {
    let good = "<!DOCTYPE html>\n<p a=\"1 &lt; 2\">x<rect x=\"1\"/></p>";
    assert_eq!(read(good).elements.len(), 2);
    for bad in [
        "<p>",
        "<p></q>",
        "<p a=1></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p>&nbsp;</p>",
        "<p/>",
        "<meta a=\"1\">",
        "<p onclick=\"x\"></p>",
        "<p id=\"a\"><b id=\"a\"></b></p>",
    ] {
        let page = format!("<!DOCTYPE html>\n{bad}");
        assert!(std::panic::catch_unwind(|| read(&page)).is_err(), "{bad}");
    }
}
