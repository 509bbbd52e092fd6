//! From the parser's events to a value and its positions, with an explicit stack.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

use super::marks::{Children, Mark, Marks, clamp};
use super::{MAX_DEPTH, MAX_NODES, MAX_TEXT_BYTES, scalar};
use crate::diagnostic::{Diagnostic, Place, codes};

/// A finished value with what its copy would cost.
#[derive(Clone)]
struct Node {
    value: Value,
    marks: Marks,
    nodes: usize,
    bytes: usize,
    /// How many lists and mappings stand within one another, this one included.
    height: usize,
}

/// A list or mapping whose end has not come yet.
struct Frame {
    start: Mark,
    anchor: usize,
    nodes: usize,
    bytes: usize,
    height: usize,
    items: Items,
}

enum Items {
    List(Vec<Value>, Vec<Marks>),
    Map {
        fields: Map<String, Value>,
        marks: BTreeMap<String, Marks>,
        key: Option<(String, Mark)>,
    },
}

struct Builder<'a> {
    file: &'a str,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    bytes: usize,
}

/// Builds the one document of a file.
pub(super) fn build(file: &str, text: &str) -> Result<(Value, Marks), Diagnostic> {
    let mut builder = Builder {
        file,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        bytes: 0,
    };
    let mut documents = 0_u32;
    let mut parser = Parser::new_from_str(text);
    // Every event moves the parser on, and the text is bounded: the loop ends.
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| syntax(file, text, &e))?;
        let at = mark(&span.start);
        match event {
            Event::DocumentStart(_) => {
                documents = documents.saturating_add(1);
                if documents > 1 {
                    return Err(builder
                        .fault(
                            codes::SEVERAL_DOCUMENTS,
                            "the file holds more than one document",
                            at,
                        )
                        .expected("one document")
                        .hint("put each document into a file of its own"));
                }
            }
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            other => builder.take(other, at)?,
        }
    }
    match builder.root {
        Some(node) if !node.value.is_null() => Ok((node.value, node.marks)),
        _ => Err(
            Diagnostic::new(codes::EMPTY_DOCUMENT, "the file holds no value").at(Place::file(file)),
        ),
    }
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Mark) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let key = self.awaits_key();
                if key && style == ScalarStyle::Plain && text == "<<" {
                    return Err(self
                        .fault(codes::MERGE_KEY, "merge keys are not read", at)
                        .found("`<<`")
                        .hint("write the fields out, or use an alias for the whole value"));
                }
                let value = self.scalar(&text, style, tag.as_deref(), at)?;
                let bytes = text.len();
                self.count(1, bytes, at)?;
                let node = Node {
                    value,
                    marks: Marks::leaf(at),
                    nodes: 1,
                    bytes,
                    height: 0,
                };
                self.finish(node, anchor, at)
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(self
                        .fault(
                            codes::ALIAS_EXPLOSION,
                            "an alias stands within the value that it refers to",
                            at,
                        )
                        .hint("write the value out"));
                };
                self.count_copy(&node, at)?;
                self.check_depth(self.stack.len().saturating_add(node.height), at)?;
                let marks = Marks {
                    value: at,
                    ..node.marks
                };
                self.finish(Node { marks, ..node }, 0, at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", at)?;
                self.open(Items::List(Vec::new(), Vec::new()), anchor, at)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", at)?;
                self.open(
                    Items::Map {
                        fields: Map::new(),
                        marks: BTreeMap::new(),
                        key: None,
                    },
                    anchor,
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(frame) => self.close(frame),
                None => Err(self.fault(
                    codes::YAML_SYNTAX,
                    "a list or mapping ends that never began",
                    at,
                )),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, items: Items, anchor: usize, at: Mark) -> Result<(), Diagnostic> {
        if self.awaits_key() {
            return Err(self.bad_key("a list or a mapping", at));
        }
        self.count(1, 0, at)?;
        self.check_depth(self.stack.len().saturating_add(1), at)?;
        self.stack.push(Frame {
            start: at,
            anchor,
            nodes: 1,
            bytes: 0,
            height: 1,
            items,
        });
        Ok(())
    }

    fn close(&mut self, frame: Frame) -> Result<(), Diagnostic> {
        let Frame {
            start,
            anchor,
            nodes,
            bytes,
            height,
            items,
        } = frame;
        let (value, children) = match items {
            Items::List(values, marks) => (Value::Array(values), Children::List(marks)),
            Items::Map { fields, marks, .. } => (Value::Object(fields), Children::Map(marks)),
        };
        let marks = Marks {
            value: start,
            key: None,
            children,
        };
        self.finish(
            Node {
                value,
                marks,
                nodes,
                bytes,
                height,
            },
            anchor,
            start,
        )
    }

    /// Remembers an anchored value, and puts the value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, at: Mark) -> Result<(), Diagnostic> {
        if anchor != 0 {
            // The copy that is kept counts too: nested anchors would hold many.
            self.count_copy(&node, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let file = self.file;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes = frame.nodes.saturating_add(node.nodes);
        frame.bytes = frame.bytes.saturating_add(node.bytes);
        frame.height = frame.height.max(node.height.saturating_add(1));
        match &mut frame.items {
            Items::List(values, marks) => {
                values.push(node.value);
                marks.push(node.marks);
                Ok(())
            }
            Items::Map { fields, marks, key } => match key.take() {
                Some((name, key_at)) => {
                    fields.insert(name.clone(), node.value);
                    marks.insert(
                        name,
                        Marks {
                            key: Some(key_at),
                            ..node.marks
                        },
                    );
                    Ok(())
                }
                None => match node.value {
                    Value::String(name) => match marks.get(&name).and_then(|first| first.key) {
                        Some(first) => Err(duplicate(file, &name, first, at)),
                        None => {
                            *key = Some((name, at));
                            Ok(())
                        }
                    },
                    other => Err(self.bad_key(kind(&other), at)),
                },
            },
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        at: Mark,
    ) -> Result<Value, Diagnostic> {
        let plain = style == ScalarStyle::Plain;
        let resolved = |text: &str| {
            scalar::resolve(text).map_err(|expected| {
                self.fault(codes::INVALID_VALUE, "this number can't be read", at)
                    .expected(expected)
                    .found(format!("`{text}`"))
            })
        };
        let Some(tag) = tag else {
            return if plain {
                resolved(text)
            } else {
                Ok(Value::String(text.to_owned()))
            };
        };
        let name = if tag.is_yaml_core_schema() {
            tag.suffix.as_str()
        } else {
            ""
        };
        let value = match name {
            "str" => return Ok(Value::String(text.to_owned())),
            "null" | "bool" | "int" | "float" => resolved(text)?,
            _ => return Err(self.unknown_tag(tag, at)),
        };
        let fits = match name {
            "null" => value.is_null(),
            "bool" => value.is_boolean(),
            "int" => value.is_i64() || value.is_u64(),
            _ => value.is_number(),
        };
        if fits {
            Ok(value)
        } else {
            Err(self
                .fault(
                    codes::INVALID_VALUE,
                    format!("the tag `!!{name}` does not fit the value"),
                    at,
                )
                .found(format!("`{text}`")))
        }
    }

    fn check_tag(&self, tag: Option<&Tag>, own: &str, at: Mark) -> Result<(), Diagnostic> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => {
                Err(self.unknown_tag(tag, at))
            }
            _ => Ok(()),
        }
    }

    fn unknown_tag(&self, tag: &Tag, at: Mark) -> Diagnostic {
        self.fault(codes::YAML_TAG, "this YAML tag is not known", at)
            .found(format!("`{}{}`", tag.handle, tag.suffix))
            .hint("remove the tag and write the value plainly")
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                items: Items::Map { key: None, .. },
                ..
            })
        )
    }

    fn bad_key(&self, found: &str, at: Mark) -> Diagnostic {
        self.fault(codes::KEY_NOT_STRING, "a key is not a string", at)
            .expected("a string")
            .found(found)
            .hint("put the key in quotes if it is meant as a name")
    }

    fn count(&mut self, nodes: usize, bytes: usize, at: Mark) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES {
            return Err(self
                .fault(codes::TOO_MANY_NODES, "the file holds too many values", at)
                .expected(format!("at most {MAX_NODES} values")));
        }
        Ok(())
    }

    fn count_copy(&mut self, node: &Node, at: Mark) -> Result<(), Diagnostic> {
        self.nodes = self.nodes.saturating_add(node.nodes);
        self.bytes = self.bytes.saturating_add(node.bytes);
        if self.nodes > MAX_NODES || self.bytes > MAX_TEXT_BYTES {
            return Err(self
                .fault(codes::ALIAS_EXPLOSION, "anchors and aliases make the file too large", at)
                .expected(format!("at most {MAX_NODES} values and {MAX_TEXT_BYTES} bytes of text once aliases are expanded"))
                .hint("write the values out, or use fewer aliases"));
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize, at: Mark) -> Result<(), Diagnostic> {
        if depth > MAX_DEPTH {
            Err(too_deep(self.file, at))
        } else {
            Ok(())
        }
    }

    fn fault(
        &self,
        code: crate::diagnostic::Code,
        message: impl Into<String>,
        at: Mark,
    ) -> Diagnostic {
        Diagnostic::new(code, message).at(Place::file(self.file).line(at.line, at.column))
    }
}

fn duplicate(file: &str, name: &str, first: Mark, second: Mark) -> Diagnostic {
    Diagnostic::new(
        codes::DUPLICATE_KEY,
        format!("the key `{name}` is given twice"),
    )
    .at(Place::file(file).line(second.line, second.column))
    .found(format!(
        "`{name}` on line {} and again on line {}",
        first.line, second.line
    ))
    .hint("remove or rename one of the two")
}

fn too_deep(file: &str, at: Mark) -> Diagnostic {
    Diagnostic::new(codes::TOO_DEEP, "lists and mappings are nested too deeply")
        .at(Place::file(file).line(at.line, at.column))
        .expected(format!("at most {MAX_DEPTH} levels, aliases expanded"))
}

/// A parser's error in our words, with a hint where its cause is a known trap.
fn syntax(file: &str, text: &str, error: &ScanError) -> Diagnostic {
    let at = mark(error.marker());
    let info = error.info();
    if info.contains("recursion limit") {
        return too_deep(file, at);
    }
    let fault = Diagnostic::new(codes::YAML_SYNTAX, "the file is not valid YAML")
        .at(Place::file(file).line(at.line, at.column))
        .because(info);
    let line = text
        .lines()
        .nth(error.marker().line().saturating_sub(1))
        .unwrap_or_default();
    let indentation: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    if indentation.contains('\t') {
        return fault
            .found("a tab in the indentation")
            .hint("indent with spaces only");
    }
    if info.contains("anchor") {
        return fault.hint("define the anchor with `&name` above the place where `*name` uses it");
    }
    fault.hint("look at this line and the one above: indentation, colons, quotes and brackets")
}

fn mark(marker: &Marker) -> Mark {
    Mark {
        line: clamp(marker.line().max(1)),
        column: clamp(marker.col().saturating_add(1)),
    }
}

/// What a value is, in a user's words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
