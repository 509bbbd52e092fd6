//! Bodies in Kubernetes' protobuf, which later versions of `kubectl create` send and don't fall back from.
//!
//! Only what they create is read, and answers are JSON, which they accept. A field that isn't known here and
//! says something is refused by its number: what is left out in silence would be missed later.

use serde_json::{Map, Value, json};

use super::defaults::base64;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is of a kind that is taken as JSON only.
    Kind,
    /// It is damaged, or says something that is not known here.
    Fault(String),
}

/// How a field is to stand in JSON. What is zero or empty is left out, as JSON leaves it out.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    /// A number that is there only if somebody gave it: zero counts.
    Given,
    Flag,
    Texts,
    TextMap,
    /// As base64.
    ByteMap,
    IntOrText,
    One(&'static Message),
    Many(&'static Message),
    /// What the server says, or sets itself.
    Skipped,
}

use Form::{ByteMap, Flag, Given, IntOrText, Many, Number, One, Skipped, Text, TextMap, Texts};

/// A message by the numbers of its fields.
struct Message {
    name: &'static str,
    fields: &'static [(u64, &'static str, Form)],
}

static META: Message = Message {
    name: "ObjectMeta",
    fields: &[
        (1, "name", Text),
        (2, "generateName", Text),
        (3, "namespace", Text),
        (4, "selfLink", Skipped),
        (5, "uid", Text),
        (6, "resourceVersion", Text),
        (7, "generation", Skipped),
        (8, "creationTimestamp", Skipped),
        (11, "labels", TextMap),
        (12, "annotations", TextMap),
        (13, "ownerReferences", Many(&OWNER)),
        (14, "finalizers", Texts),
        (17, "managedFields", Skipped),
    ],
};
static OWNER: Message = Message {
    name: "OwnerReference",
    fields: &[
        (1, "kind", Text),
        (3, "name", Text),
        (4, "uid", Text),
        (5, "apiVersion", Text),
        (6, "controller", Flag),
        (7, "blockOwnerDeletion", Flag),
    ],
};
static CONFIG_MAP: Message = Message {
    name: "ConfigMap",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "data", TextMap),
        (3, "binaryData", ByteMap),
        (4, "immutable", Flag),
    ],
};
static SECRET: Message = Message {
    name: "Secret",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "data", ByteMap),
        (3, "type", Text),
        (4, "stringData", TextMap),
        (5, "immutable", Flag),
    ],
};
static NAMESPACE: Message = Message {
    name: "Namespace",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "spec", Skipped),
        (3, "status", Skipped),
    ],
};
static SERVICE: Message = Message {
    name: "Service",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "spec", One(&SERVICE_SPEC)),
        (3, "status", Skipped),
    ],
};
static SERVICE_SPEC: Message = Message {
    name: "ServiceSpec",
    fields: &[
        (1, "ports", Many(&SERVICE_PORT)),
        (2, "selector", TextMap),
        (3, "clusterIP", Text),
        (4, "type", Text),
        (7, "sessionAffinity", Text),
        (10, "externalName", Text),
    ],
};
static SERVICE_PORT: Message = Message {
    name: "ServicePort",
    fields: &[
        (1, "name", Text),
        (2, "protocol", Text),
        (3, "port", Number),
        (4, "targetPort", IntOrText),
        (5, "nodePort", Number),
        (6, "appProtocol", Text),
    ],
};
static SELECTOR: Message = Message {
    name: "LabelSelector",
    fields: &[(1, "matchLabels", TextMap)],
};
static TEMPLATE: Message = Message {
    name: "PodTemplateSpec",
    fields: &[(1, "metadata", One(&META)), (2, "spec", One(&POD_SPEC))],
};
static POD_SPEC: Message = Message {
    name: "PodSpec",
    fields: &[
        (2, "containers", Many(&CONTAINER)),
        (3, "restartPolicy", Text),
        (4, "terminationGracePeriodSeconds", Given),
        (5, "activeDeadlineSeconds", Given),
        (6, "dnsPolicy", Text),
        (7, "nodeSelector", TextMap),
        (8, "serviceAccountName", Text),
        (9, "serviceAccount", Text),
        (19, "schedulerName", Text),
        (20, "initContainers", Many(&CONTAINER)),
    ],
};
static CONTAINER: Message = Message {
    name: "Container",
    fields: &[
        (1, "name", Text),
        (2, "image", Text),
        (3, "command", Texts),
        (4, "args", Texts),
        (5, "workingDir", Text),
        (6, "ports", Many(&CONTAINER_PORT)),
        (7, "env", Many(&ENV)),
        (13, "terminationMessagePath", Text),
        (14, "imagePullPolicy", Text),
        (20, "terminationMessagePolicy", Text),
    ],
};
static CONTAINER_PORT: Message = Message {
    name: "ContainerPort",
    fields: &[
        (1, "name", Text),
        (2, "hostPort", Number),
        (3, "containerPort", Number),
        (4, "protocol", Text),
    ],
};
static ENV: Message = Message {
    name: "EnvVar",
    fields: &[(1, "name", Text), (2, "value", Text)],
};
static JOB: Message = Message {
    name: "Job",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "spec", One(&JOB_SPEC)),
        (3, "status", Skipped),
    ],
};
static JOB_SPEC: Message = Message {
    name: "JobSpec",
    fields: &[
        (1, "parallelism", Given),
        (2, "completions", Given),
        (3, "activeDeadlineSeconds", Given),
        (4, "selector", One(&SELECTOR)),
        (5, "manualSelector", Flag),
        (6, "template", One(&TEMPLATE)),
        (7, "backoffLimit", Given),
        (8, "ttlSecondsAfterFinished", Given),
        (10, "suspend", Flag),
    ],
};
static DEPLOYMENT: Message = Message {
    name: "Deployment",
    fields: &[
        (1, "metadata", One(&META)),
        (2, "spec", One(&DEPLOYMENT_SPEC)),
        (3, "status", Skipped),
    ],
};
static DEPLOYMENT_SPEC: Message = Message {
    name: "DeploymentSpec",
    fields: &[
        (1, "replicas", Given),
        (2, "selector", One(&SELECTOR)),
        (3, "template", One(&TEMPLATE)),
        (4, "strategy", One(&STRATEGY)),
        (5, "minReadySeconds", Number),
        (6, "revisionHistoryLimit", Given),
        (7, "paused", Flag),
        (9, "progressDeadlineSeconds", Given),
    ],
};
static STRATEGY: Message = Message {
    name: "DeploymentStrategy",
    fields: &[(1, "type", Text), (2, "rollingUpdate", One(&ROLLING))],
};
static ROLLING: Message = Message {
    name: "RollingUpdateDeployment",
    fields: &[(1, "maxUnavailable", IntOrText), (2, "maxSurge", IntOrText)],
};
static DELETE_OPTIONS: Message = Message {
    name: "DeleteOptions",
    fields: &[
        (1, "gracePeriodSeconds", Given),
        (4, "propagationPolicy", Text),
        (5, "dryRun", Texts),
    ],
};

/// What may come, by the names that the envelope has.
static KINDS: [(&str, &Message); 7] = [
    ("v1", &CONFIG_MAP),
    ("v1", &SECRET),
    ("v1", &NAMESPACE),
    ("v1", &SERVICE),
    ("v1", &DELETE_OPTIONS),
    ("batch/v1", &JOB),
    ("apps/v1", &DEPLOYMENT),
];

/// What a field holds.
enum Held<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Held<'_> {
    /// Whether it says nothing: an encoder writes fields that nobody set, too.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Number(number) => *number == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<Value, Unread> {
    let body = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it does not begin as protobuf of Kubernetes does"))?;
    let (mut version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, held) in fields(body)? {
        match (number, held) {
            (1, Held::Bytes(bytes)) => {
                for (number, held) in fields(bytes)? {
                    match (number, held) {
                        (1, Held::Bytes(bytes)) => version = text(bytes)?,
                        (2, Held::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Held::Bytes(bytes)) => raw = bytes,
            (3, held) if !held.is_nothing() => return Err(damaged("it is packed")),
            _ => {}
        }
    }
    let known = KINDS
        .iter()
        .find(|(of, message)| *of == version && message.name == kind);
    let (_, known) = known.ok_or(Unread::Kind)?;
    let mut object = message(raw, known)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

fn message(bytes: &[u8], known: &Message) -> Result<Map<String, Value>, Unread> {
    let mut object = Map::new();
    for (number, held) in fields(bytes)? {
        let field = known.fields.iter().find(|(of, _, _)| *of == number);
        let Some((_, name, form)) = field else {
            if held.is_nothing() {
                continue;
            }
            return Err(Unread::Fault(format!(
                "field {number} of {} is not read as protobuf here; send JSON",
                known.name
            )));
        };
        put(&mut object, name, *form, &held)?;
    }
    Ok(object)
}

fn put(
    object: &mut Map<String, Value>,
    name: &str,
    form: Form,
    held: &Held<'_>,
) -> Result<(), Unread> {
    let one = match (form, held) {
        (Skipped, _) => return Ok(()),
        (Given, Held::Number(number)) => json!(number.cast_signed()),
        (IntOrText, Held::Bytes(bytes)) => int_or_text(bytes)?,
        (Text | Number | Flag, held) if held.is_nothing() => return Ok(()),
        (Number, Held::Number(number)) => json!(number.cast_signed()),
        (Flag, Held::Number(_)) => Value::Bool(true),
        (Text, Held::Bytes(bytes)) => text(bytes)?.into(),
        (One(of), Held::Bytes(bytes)) => {
            let inner = message(bytes, of)?;
            if inner.is_empty() {
                return Ok(());
            }
            Value::Object(inner)
        }
        (Texts | Many(_), Held::Bytes(bytes)) => {
            let item = match form {
                Many(of) => Value::Object(message(bytes, of)?),
                _ => text(bytes)?.into(),
            };
            if let Value::Array(list) = object.entry(name).or_insert_with(|| json!([])) {
                list.push(item);
            }
            return Ok(());
        }
        (TextMap | ByteMap, Held::Bytes(bytes)) => {
            let (key, value) = pair(bytes)?;
            let value = match form {
                ByteMap => base64(value),
                _ => text(value)?,
            };
            if let Value::Object(map) = object.entry(name).or_insert_with(|| json!({})) {
                map.insert(key, value.into());
            }
            return Ok(());
        }
        _ => return Err(damaged(&format!("`{name}` is of another type"))),
    };
    object.insert(name.to_owned(), one);
    Ok(())
}

/// An entry of a map.
fn pair(bytes: &[u8]) -> Result<(String, &[u8]), Unread> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for (number, held) in fields(bytes)? {
        match (number, held) {
            (1, Held::Bytes(bytes)) => key = text(bytes)?,
            (2, Held::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

fn int_or_text(bytes: &[u8]) -> Result<Value, Unread> {
    let (mut is_text, mut number, mut words) = (false, 0_u64, String::new());
    for (field, held) in fields(bytes)? {
        match (field, held) {
            (1, Held::Number(kind)) => is_text = kind == 1,
            (2, Held::Number(value)) => number = value,
            (3, Held::Bytes(bytes)) => words = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text {
        words.into()
    } else {
        json!(number.cast_signed())
    })
}

fn text(bytes: &[u8]) -> Result<String, Unread> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a text of it is not UTF-8"))
}

fn damaged(why: &str) -> Unread {
    Unread::Fault(format!("error decoding request: {why}"))
}

/// The fields of a message, in the order in which they were sent.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Held<'_>)>, Unread> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let field = field(&mut bytes).ok_or_else(|| damaged("it is cut off or damaged"))?;
        fields.push(field);
    }
    Ok(fields)
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Held<'a>)> {
    let tag = varint(bytes)?;
    let held = match tag & 7 {
        0 => Held::Number(varint(bytes)?),
        1 => Held::Bytes(taken(bytes, 8)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Held::Bytes(taken(bytes, length)?)
        }
        5 => Held::Bytes(taken(bytes, 4)?),
        _ => return None,
    };
    Some((tag >> 3, held))
}

fn taken<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A number in groups of seven bits, the lowest first, ten of them at most.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let group = u64::from(byte & 0x7f);
        number |= group.checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn bytes(field: u64, held: &[u8]) -> Vec<u8> {
        [
            number(field << 3 | 2),
            number(held.len() as u64),
            held.to_vec(),
        ]
        .concat()
    }

    fn count(field: u64, value: u64) -> Vec<u8> {
        [number(field << 3), number(value)].concat()
    }

    fn entry(field: u64, key: &str, value: &[u8]) -> Vec<u8> {
        bytes(field, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        let rest = [bytes(1, &meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat();
        [MAGIC, &rest].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        // An encoder writes what nobody set, too: an empty name of a generator, and no time.
        let fields = [
            bytes(1, name.as_bytes()),
            bytes(2, b""),
            count(7, 0),
            bytes(8, b""),
        ];
        bytes(1, &fields.concat())
    }

    #[test]
    fn what_kubectl_creates_is_read_as_json_says_it() {
        let map = [named("a"), entry(2, "x", b"1"), entry(3, "raw", b"\xff")].concat();
        assert_eq!(
            read(&body("v1", "ConfigMap", &map)).unwrap(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                "data": {"x": "1"}, "binaryData": {"raw": "/w=="}})
        );
        let secret = [named("b"), entry(2, "y", b"2"), bytes(3, b"Opaque")].concat();
        assert_eq!(
            read(&body("v1", "Secret", &secret)).unwrap(),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"},
                "data": {"y": "Mg=="}, "type": "Opaque"})
        );
        let container = [
            bytes(1, b"app"),
            bytes(2, b"img"),
            bytes(3, b"sh"),
            bytes(3, b"-c"),
            bytes(8, b""),
        ];
        let pod = [bytes(2, &container.concat()), bytes(3, b"")].concat();
        let spec = [
            count(1, 0),
            bytes(3, &bytes(2, &pod)),
            bytes(4, &bytes(1, b"")),
        ]
        .concat();
        let deployment = [named("d"), bytes(2, &spec), bytes(3, &count(1, 7))].concat();
        assert_eq!(
            read(&body("apps/v1", "Deployment", &deployment)).unwrap(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {"replicas": 0, "template": {"spec": {"containers": [
                    {"name": "app", "image": "img", "command": ["sh", "-c"]}]}}}})
        );
        let port = |target: &[u8]| [count(3, 80), bytes(4, target)].concat();
        let ports = [
            bytes(
                1,
                &port(&[count(1, 0), count(2, 8080), bytes(3, b"")].concat()),
            ),
            bytes(
                1,
                &port(&[count(1, 1), count(2, 0), bytes(3, b"http")].concat()),
            ),
        ];
        let service = [named("s"), bytes(2, &ports.concat())].concat();
        assert_eq!(
            read(&body("v1", "Service", &service)).unwrap()["spec"]["ports"],
            json!([{"port": 80, "targetPort": 8080}, {"port": 80, "targetPort": "http"}])
        );
    }

    #[test]
    fn what_is_not_known_is_refused_and_not_left_out() {
        let affinity = bytes(2, &bytes(3, &bytes(2, &bytes(18, b"x"))));
        let told = read(&body("apps/v1", "Deployment", &affinity)).unwrap_err();
        let expected = "field 18 of PodSpec is not read as protobuf here; send JSON";
        assert_eq!(told, Unread::Fault(expected.to_owned()));
        assert_eq!(read(&body("v1", "Pod", b"")), Err(Unread::Kind));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let map = [named("a"), entry(2, "x", b"1")].concat();
        let whole = body("v1", "ConfigMap", &map);
        assert!(read(&whole).is_ok());
        for damaged in [
            b"".to_vec(),
            b"{}".to_vec(),
            whole[..whole.len() - 9].to_vec(),
            body("v1", "ConfigMap", &bytes(1, &bytes(1, b"\xff"))),
            body("v1", "ConfigMap", &count(1, 3)),
            body("v1", "ConfigMap", &[0xff; 12]),
            body(
                "v1",
                "ConfigMap",
                &[bytes(1, b"")[0], 0xff, 0xff, 0xff, 0xff, 0x7f],
            ),
        ] {
            let told = read(&damaged);
            assert!(
                matches!(told, Err(Unread::Fault(_))),
                "{damaged:?}: {told:?}"
            );
        }
    }
}
