//! A notice as a message of Slack: its title, and an attachment in the colour of its severity with
//! blocks. Colours exist on attachments only.

use phasegate_plugin::notifier::Severity;
use phasegate_plugin::{Call, Link, Notice, Pair};
use serde_json::{Value, json};

/// Most characters of a message's text; Slack asks for no more.
const TEXT: usize = 4_000;
/// Most characters of a section's text.
const SECTION: usize = 3_000;
/// Most characters of a field.
const FIELD: usize = 2_000;
/// Most characters of a field's name, of the field.
const FIELD_NAME: usize = 200;
/// Most fields of a section.
const FIELDS: usize = 10;
/// Most sections of fields: a message has 50 blocks at most, and nobody reads as many.
const FIELD_SECTIONS: usize = 4;
/// What stands for what was cut.
const CUT: char = '…';

/// What Slack's Web API and its incoming webhooks have in common.
pub(crate) fn body(call: &Call, notice: &Notice) -> Value {
    let mut body = json!({
        "text": escaped(&notice.title, TEXT),
        "unfurl_links": false,
        "unfurl_media": false,
        // A notice may come more than once; the key tells.
        "metadata": {
            "event_type": "phasegate_notice",
            "event_payload": {
                "key": call.key,
                "run": call.release.run,
                "event": notice.event,
                "severity": notice.severity.as_str(),
            },
        },
    });
    let blocks = blocks(notice);
    if !blocks.is_empty()
        && let Some(body) = body.as_object_mut()
    {
        let attachment = json!({
            "color": colour(notice.severity),
            "fallback": escaped(&notice.title, TEXT),
            "blocks": blocks,
        });
        body.insert("attachments".to_owned(), json!([attachment]));
    }
    body
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "#439fe0",
        Severity::Success => "#2eb67d",
        Severity::Warning => "#ecb22e",
        Severity::Critical => "#e01e5a",
    }
}

fn blocks(notice: &Notice) -> Vec<Value> {
    let mut blocks = Vec::new();
    // The engine's texts often begin with the title, which stands above already.
    if !notice.text.trim().is_empty() && notice.text != notice.title {
        let text = mrkdwn(escaped(&notice.text, SECTION));
        blocks.push(json!({ "type": "section", "text": text }));
    }
    let sections = notice.fields.chunks(FIELDS).take(FIELD_SECTIONS);
    blocks.extend(sections.map(|fields| {
        let fields: Vec<_> = fields.iter().map(field).collect();
        json!({ "type": "section", "fields": fields })
    }));
    let links = links(&notice.links);
    if !links.is_empty() {
        blocks.push(json!({ "type": "section", "text": mrkdwn(links) }));
    }
    blocks
}

fn mrkdwn(text: String) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

fn field(pair: &Pair) -> Value {
    let name = escaped(&pair.name, FIELD_NAME);
    let room = FIELD - name.chars().count() - "**\n".len();
    mrkdwn(format!("*{name}*\n{}", escaped(&pair.value, room)))
}

/// As many links as fit, each whole.
fn links(links: &[Link]) -> String {
    let mut all = String::new();
    for link in links {
        let one = linked(link);
        let between = if all.is_empty() { "" } else { "  ·  " };
        let length = all.chars().count() + between.chars().count() + one.chars().count();
        if length <= SECTION {
            all.push_str(between);
            all.push_str(&one);
        }
    }
    all
}

/// `<https://…|title>`. What ends an address or a title early is written otherwise.
fn linked(link: &Link) -> String {
    let url: String = link
        .url
        .chars()
        .map(|c| match c {
            '|' => "%7C".to_owned(),
            '<' => "%3C".to_owned(),
            '>' => "%3E".to_owned(),
            c if c.is_whitespace() => "%20".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let is_address = url.starts_with("http://") || url.starts_with("https://");
    let title = link.title.replace(['\n', '\r', '|'], " ");
    let title = escaped(title.trim(), FIELD_NAME);
    match (is_address, title.is_empty()) {
        (false, _) => title,
        (true, true) => format!("<{}>", url.replace('&', "&amp;")),
        (true, false) => format!("<{}|{title}>", url.replace('&', "&amp;")),
    }
}

/// A text in which `&`, `<` and `>` mean themselves, so that it can mention nobody, of at most so
/// many characters.
fn escaped(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    // Where the text would have to be cut to make room for the sign that says so.
    let mut cut_at = 0;
    for c in text.chars() {
        let written = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        length += written.len().max(1);
        if length > most {
            escaped.truncate(cut_at);
            escaped.push(CUT);
            return escaped;
        }
        if written.is_empty() {
            escaped.push(c);
        } else {
            escaped.push_str(written);
        }
        if length < most {
            cut_at = escaped.len();
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_has_a_meaning_for_slack() {
        assert_eq!(
            escaped("a < b && c > d", 100),
            "a &lt; b &amp;&amp; c &gt; d"
        );
        assert_eq!(
            escaped("<!channel> <@U1>", 100),
            "&lt;!channel&gt; &lt;@U1&gt;"
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_whole_character() {
        assert_eq!(escaped("abcd", 4), "abcd");
        assert_eq!(escaped("abcde", 4), "abc…");
        assert_eq!(escaped("äöüß€", 4), "äöü…");
        // An entity is kept whole or left out.
        assert_eq!(escaped("ab<", 6), "ab&lt;");
        assert_eq!(escaped("ab<c", 6), "ab…");
        assert_eq!(escaped("abc<", 6), "abc…");
        for most in 1..30 {
            assert!(escaped("a<b>c&d<e>f&g", most).chars().count() <= most);
        }
    }

    #[test]
    fn links_stay_whole() {
        let link = |title: &str, url: &str| linked(&Link::new(title, url));
        assert_eq!(
            link("p95 > 1 | s", "https://g.example/d?a=1&b=|x> y"),
            "<https://g.example/d?a=1&amp;b=%7Cx%3E%20y|p95 &gt; 1   s>"
        );
        assert_eq!(link("", "https://g.example"), "<https://g.example>");
        assert_eq!(link("mail", "javascript:alert(1)"), "mail");

        let many: Vec<_> = (0..100)
            .map(|n| Link::new(format!("link {n}"), "https://g.example/".repeat(5)))
            .collect();
        let text = links(&many);
        assert!(text.chars().count() <= SECTION);
        assert!(text.ends_with('>') && text.starts_with('<'));
    }
}
