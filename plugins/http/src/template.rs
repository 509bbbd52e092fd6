//! Variables of the release in a URL and in expected values.

/// What the variables stand for.
pub(crate) struct Variables<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service: &'a str,
    /// The Service that leads to the candidate's pods.
    pub(crate) candidate_service: &'a str,
    pub(crate) version: &'a str,
}

const NAMES: &str = "{namespace}, {service}, {candidateService} and {version}";

impl Variables<'_> {
    /// Variables of which only the names count.
    const NAMED: Variables<'static> = Variables {
        namespace: "",
        service: "",
        candidate_service: "",
        version: "",
    };

    fn get(&self, name: &str) -> Option<&str> {
        match name {
            "namespace" => Some(self.namespace),
            "service" => Some(self.service),
            "candidateService" => Some(self.candidate_service),
            "version" => Some(self.version),
            _ => None,
        }
    }

    /// A URL with its variables filled in; what has a meaning in URLs is encoded.
    pub(crate) fn in_url(&self, template: &str) -> String {
        self.fill(template, encode)
    }

    /// A text with its variables filled in.
    pub(crate) fn in_text(&self, template: &str) -> String {
        self.fill(template, str::to_owned)
    }

    /// Braces around something else stay as they are.
    fn fill(&self, template: &str, with: fn(&str) -> String) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let variable = after.split_once('}');
            match variable.and_then(|(name, tail)| Some((self.get(name)?, tail))) {
                Some((value, tail)) => {
                    filled.push_str(&with(value));
                    rest = tail;
                }
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// Whether a URL uses only variables that there are.
pub(crate) fn check(url: &str) -> Result<(), String> {
    let mut rest = url;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| format!("`{{{after}` is never closed"))?;
        if Variables::NAMED.get(name).is_none() {
            return Err(format!(
                "there is no variable `{{{name}}}`; there are {NAMES}"
            ));
        }
        rest = tail;
    }
    Ok(())
}

/// Percent-encodes what isn't unreserved (RFC 3986): a version may have a `+`.
fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
