//! The few texts needed out of S3's XML: a key, a token, an error's code.
//!
//! No parser: the elements asked for never nest in themselves and hold text only. What comes out is believed as little
//! as the rest of an answer: names must be keys, codes are only shown.

/// The texts of every `<name>...</name>`, in order.
pub(super) fn texts<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        Some(unescaped(text))
    })
}

/// The text of the first `<name>`.
pub(super) fn text(xml: &str, name: &str) -> Option<String> {
    texts(xml, name).next()
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';').and_then(|(name, rest)| Some((entity(name)?, rest))) {
            Some((c, rest)) => {
                plain.push(c);
                plain.push_str(rest);
            }
            None => {
                plain.push('&');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_text_and_undoes_its_escapes() {
        let xml = "<R><Key>a/b</Key><X><Key>c &amp;&lt;&#x41;&#66;&quot;</Key></X><Key/><Keys>no</Keys></R>";
        assert_eq!(texts(xml, "Key").collect::<Vec<_>>(), ["a/b", "c &<AB\""]);
        assert_eq!(text(xml, "Nothing"), None);
    }

    #[test]
    fn broken_xml_is_only_broken_text() {
        assert_eq!(text("<Key>a&b;&#xFFFFFFFF;&</Key>", "Key").unwrap(), "a&b;&#xFFFFFFFF;&");
        assert_eq!(text("<Key>never closed", "Key"), None);
    }
}
