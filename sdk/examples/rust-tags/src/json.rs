//! As much of JSON as is needed.
use std::collections::BTreeMap;

#[derive(Debug, PartialEq)]
pub enum Value {
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
    Other, // a number, true, false, null
}

impl Value {
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.get(name),
            _ => None,
        }
    }
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }
}

/// The whole of `bytes` as one value; None if it is not well-formed, not UTF-8 or cut short.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader { rest: std::str::from_utf8(bytes).ok()? };
    let value = reader.value(0)?;
    reader.rest.trim_start().is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn mark(&mut self, mark: char) -> bool {
        match self.rest.trim_start().strip_prefix(mark) {
            Some(behind) => {
                self.rest = behind;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        if depth > 32 {
            return None;
        }
        if self.mark('"') {
            return self.text().map(Value::Text);
        }
        if self.mark('[') {
            let mut items = Vec::new();
            if self.mark(']') {
                return Some(Value::List(items));
            }
            loop {
                items.push(self.value(depth + 1)?);
                if !self.mark(',') {
                    return self.mark(']').then_some(Value::List(items));
                }
            }
        }
        if self.mark('{') {
            let mut members = BTreeMap::new();
            if self.mark('}') {
                return Some(Value::Object(members));
            }
            loop {
                if !self.mark('"') {
                    return None;
                }
                let name = self.text()?;
                if !self.mark(':') {
                    return None;
                }
                members.insert(name, self.value(depth + 1)?);
                if !self.mark(',') {
                    return self.mark('}').then_some(Value::Object(members));
                }
            }
        }
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).unwrap_or(text.len());
        let word = &text[..end];
        self.rest = &text[end..];
        (["true", "false", "null"].contains(&word) || word.parse::<f64>().is_ok()).then_some(Value::Other)
    }

    /// Behind the opening quote.
    fn text(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(out);
                }
                '\\' => out.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        // Halves of a pair become U+FFFD: no name that is a tag has them.
                        char::from_u32(code).unwrap_or('\u{fffd}')
                    }
                    other => other,
                }),
                _ => out.push(c),
            }
        }
        None
    }
}

/// `text` as a JSON string, quotes included.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}
