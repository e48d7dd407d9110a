//! One line of a trust file: `PRINCIPAL[,PRINCIPAL] [OPTION[,OPTION]] ssh-ed25519 BASE64 [COMMENT]`.
//!
//! Everything accepted here means the same to `ssh-keygen -Y verify`; not everything that `ssh-keygen` takes is
//! accepted. What it would read in local time, what matches more than it names (patterns, a key without namespaces)
//! and what Pannier does not check (certificates) is refused with the line's number rather than understood differently.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::public::{PublicKey, PublicKeyError};
use super::trust::{Grant, Validity};

/// Why a line is refused.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// There is nothing after the principals.
    #[error("it has no key: expected `PRINCIPAL namespaces=\"...\" ssh-ed25519 BASE64`")]
    NoKey,
    /// A principal is not a plain name.
    #[error("the principal `{0}` is not a plain name: patterns (`*`, `?`, `!`), quotes and empty names are not taken")]
    Principal(String),
    /// The key may sign anything.
    #[error(
        "its key is not limited to kinds of documents: put `namespaces=\"release@pannier\"` (or another, or several \
         with commas) before `ssh-ed25519`"
    )]
    NoNamespaces,
    /// A namespace is not a plain name.
    #[error("the namespace `{0}` is not a plain name: patterns (`*`, `?`, `!`), spaces and empty names are not taken")]
    Namespace(String),
    /// The option is none that Pannier knows.
    #[error("the option `{0}` is not known: expected `namespaces`, `valid-after` or `valid-before`")]
    UnknownOption(String),
    /// The option's value is missing or not in quotes.
    #[error("the option `{0}` needs a value in double quotes, without `\\` and `\"` in it")]
    Unquoted(String),
    /// The option stands twice.
    #[error("the option `{0}` stands there twice")]
    Twice(String),
    /// It is a certificate authority.
    #[error("`cert-authority` is not taken: Pannier trusts keys, not certificates")]
    CertAuthority,
    /// A time without `Z`.
    #[error(
        "the time `{0}` has no `Z` at its end: `ssh-keygen` would read it in the local time of each machine, so write it \
         in UTC as `{0}Z`"
    )]
    LocalTime(String),
    /// A time that does not exist, or in another form.
    #[error("`{0}` is not a time: expected YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ")]
    Time(String),
    /// The span of time is empty.
    #[error("its `valid-before` is not after its `valid-after`")]
    EmptyValidity,
    /// The key cannot be used.
    #[error("its key cannot be used")]
    Key(#[source] PublicKeyError),
}

/// Parses a line; blank lines and comments give nothing.
pub(super) fn parse_line(line: &str) -> Result<Option<Grant>, LineError> {
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (principals, rest) = line.split_once([' ', '\t']).ok_or(LineError::NoKey)?;
    let principals = names(principals).map_err(LineError::Principal)?;
    let (options, key) = Options::parse_before_key(rest.trim_start_matches([' ', '\t']))?;
    let key = key.parse().map_err(LineError::Key)?;
    options.grant(principals, key).map(Some)
}

/// Comma-separated plain names, or the first part that is none.
fn names(list: &str) -> Result<Vec<String>, String> {
    let plain = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() && !matches!(c, '*' | '?' | '!' | '"' | '\\');
    let name = |name: &str| match !name.is_empty() && name.chars().all(plain) {
        true => Ok(name.to_owned()),
        false => Err(name.to_owned()),
    };
    list.split(',').map(name).collect()
}

/// The options of a line, as far as they stand there.
#[derive(Default)]
struct Options {
    namespaces: Option<Vec<String>>,
    validity: Validity,
}

impl Options {
    /// Reads the options, if any, and gives what follows them: the key.
    fn parse_before_key(mut text: &str) -> Result<(Self, &str), LineError> {
        let mut options = Self::default();
        if is_key_type(text) {
            return Ok((options, text));
        }
        loop {
            let end = text.find([',', ' ', '\t', '=']).unwrap_or(text.len());
            let name = text[..end].to_ascii_lowercase();
            let rest = options.take(&name, &text[end..])?;
            match rest.strip_prefix(',') {
                Some(more) => text = more,
                None if rest.starts_with([' ', '\t']) => return Ok((options, rest.trim_start_matches([' ', '\t']))),
                None if rest.is_empty() => return Err(LineError::NoKey),
                None => return Err(LineError::Unquoted(name)),
            }
        }
    }

    /// Takes the option `name` whose `="value"` begins `rest`; gives what follows.
    fn take<'a>(&mut self, name: &str, rest: &'a str) -> Result<&'a str, LineError> {
        match name {
            "cert-authority" => return Err(LineError::CertAuthority),
            "namespaces" | "valid-after" | "valid-before" => {}
            _ => return Err(LineError::UnknownOption(name.to_owned())),
        }
        let unquoted = || LineError::Unquoted(name.to_owned());
        let quoted = rest.strip_prefix("=\"").ok_or_else(unquoted)?;
        let (value, rest) = quoted.split_once('"').filter(|(v, _)| !v.contains('\\')).ok_or_else(unquoted)?;
        let taken_before = match name {
            "namespaces" => self.namespaces.replace(names(value).map_err(LineError::Namespace)?).is_some(),
            "valid-after" => self.validity.after.replace(time(value)?).is_some(),
            _ => self.validity.before.replace(time(value)?).is_some(),
        };
        if taken_before { Err(LineError::Twice(name.to_owned())) } else { Ok(rest) }
    }

    fn grant(self, principals: Vec<String>, key: PublicKey) -> Result<Grant, LineError> {
        let Validity { after, before } = self.validity;
        if after.zip(before).is_some_and(|(after, before)| after >= before) {
            return Err(LineError::EmptyValidity);
        }
        let namespaces = self.namespaces.ok_or(LineError::NoNamespaces)?;
        Ok(Grant { principals, namespaces, validity: self.validity, key })
    }
}

/// True when a key begins here rather than options: key types hold no `=`, and every one has a known beginning.
fn is_key_type(text: &str) -> bool {
    let word = text.split([' ', '\t']).next().unwrap_or_default();
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind)) && !word.contains('=')
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, and the `Z` that makes it UTC.
fn time(text: &str) -> Result<Timestamp, LineError> {
    let bad = || LineError::Time(text.to_owned());
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    if digits.len() == text.len() {
        return Err(LineError::LocalTime(text.to_owned()));
    }
    let year = part::<i16>(digits, 0, 4);
    let [month, day, hour, minute, second] = [4, 6, 8, 10, 12].map(|at| part::<i8>(digits, at, at + 2));
    let time = DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| bad())?;
    Offset::UTC.to_timestamp(time).map_err(|_| bad())
}

/// The number in `digits[from..to]`; 0 where the text is shorter.
fn part<N: FromStr + Default>(digits: &str, from: usize, to: usize) -> N {
    digits.get(from..to).and_then(|part| part.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn grant(options: &str) -> Result<Grant, LineError> {
        parse_line(&format!("ci {options} {KEY} a comment")).map(Option::unwrap)
    }

    fn refused(line: &str) -> String {
        parse_line(line).unwrap_err().to_string()
    }

    #[test]
    fn blank_lines_and_comments_are_nothing() {
        for line in ["", "  \t", "# ci namespaces=", "   # x"] {
            assert!(parse_line(line).unwrap().is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_full_line_is_read() {
        let line = format!(
            "\tci,deploy@example.com \t namespaces=\"release@pannier,git\",VALID-AFTER=\"20260102Z\",valid-before=\"202601020304Z\"  {KEY}"
        );
        let grant = parse_line(&line).unwrap().unwrap();
        assert_eq!(grant.principals, ["ci", "deploy@example.com"]);
        assert_eq!(grant.namespaces, ["release@pannier", "git"]);
        assert_eq!(grant.validity.to_string(), "from 2026-01-02T00:00:00Z until 2026-01-02T03:04:00Z");
        assert_eq!(grant.key.to_string(), KEY);
    }

    #[test]
    fn all_lengths_of_times_are_read() {
        let text = |t| time(t).unwrap().to_string();
        assert_eq!(text("20260131Z"), "2026-01-31T00:00:00Z");
        assert_eq!(text("202601312359Z"), "2026-01-31T23:59:00Z");
        assert_eq!(text("20260131235958Z"), "2026-01-31T23:59:58Z");
        for bad in
            ["", "Z", "2026Z", "20261301Z", "20260230Z", "2026013124Z", "202601312400Z", "2026-01-31Z", "2026013é"]
        {
            assert!(matches!(time(bad), Err(LineError::Time(_))), "{bad}");
        }
    }

    #[test]
    fn a_time_without_z_says_why() {
        insta::assert_snapshot!(grant("namespaces=\"a\",valid-before=\"20260131\"").unwrap_err(), @"the time `20260131` has no `Z` at its end: `ssh-keygen` would read it in the local time of each machine, so write it in UTC as `20260131Z`");
    }

    #[test]
    fn a_key_without_namespaces_says_what_to_add() {
        insta::assert_snapshot!(refused(&format!("ci {KEY}")), @r#"its key is not limited to kinds of documents: put `namespaces="release@pannier"` (or another, or several with commas) before `ssh-ed25519`"#);
        insta::assert_snapshot!(grant("valid-after=\"20260131Z\"").unwrap_err(), @r#"its key is not limited to kinds of documents: put `namespaces="release@pannier"` (or another, or several with commas) before `ssh-ed25519`"#);
    }

    #[test]
    fn patterns_are_refused() {
        insta::assert_snapshot!(refused(&format!("ci,!deploy namespaces=\"a\" {KEY}")), @"the principal `!deploy` is not a plain name: patterns (`*`, `?`, `!`), quotes and empty names are not taken");
        insta::assert_snapshot!(grant("namespaces=\"*@pannier\"").unwrap_err(), @"the namespace `*@pannier` is not a plain name: patterns (`*`, `?`, `!`), spaces and empty names are not taken");
        for bad in ["", "a,", "a, b", "!a", "a b", "?"] {
            assert!(matches!(grant(&format!("namespaces=\"{bad}\"")), Err(LineError::Namespace(_))), "{bad}");
        }
        for bad in ["*", "\"ci\"", "a,,b", "\u{feff}ci"] {
            let error = parse_line(&format!("{bad} namespaces=\"a\" {KEY}")).unwrap_err();
            assert!(matches!(error, LineError::Principal(_)), "{bad}");
        }
    }

    #[test]
    fn options_are_checked() {
        insta::assert_snapshot!(grant("cert-authority,namespaces=\"a\"").unwrap_err(), @"`cert-authority` is not taken: Pannier trusts keys, not certificates");
        insta::assert_snapshot!(grant("namespaces=\"a\",touch").unwrap_err(), @"the option `touch` is not known: expected `namespaces`, `valid-after` or `valid-before`");
        insta::assert_snapshot!(grant("namespaces=a").unwrap_err(), @r#"the option `namespaces` needs a value in double quotes, without `\` and `"` in it"#);
        insta::assert_snapshot!(grant("namespaces=\"a\",namespaces=\"b\"").unwrap_err(), @"the option `namespaces` stands there twice");
        insta::assert_snapshot!(
            grant("namespaces=\"a\",valid-after=\"20260102Z\",valid-before=\"20260101Z\"").unwrap_err(),
            @"its `valid-before` is not after its `valid-after`"
        );
        for bad in ["namespaces", "namespaces=", "namespaces=\"a", "namespaces=\"a\"x", "namespaces=\"a\\\"b\""] {
            assert!(matches!(grant(bad), Err(LineError::Unquoted(_) | LineError::Namespace(_))), "{bad}");
        }
    }

    #[test]
    fn keys_are_checked() {
        insta::assert_snapshot!(refused("ci"), @r#"it has no key: expected `PRINCIPAL namespaces="..." ssh-ed25519 BASE64`"#);
        insta::assert_snapshot!(refused("ci namespaces=\"a\""), @r#"it has no key: expected `PRINCIPAL namespaces="..." ssh-ed25519 BASE64`"#);
        for bad in ["ssh-rsa AAAA", "ssh-ed25519 AAAA", "sk-ssh-ed25519@openssh.com AAAA", "ssh-ed25519"] {
            let error = parse_line(&format!("ci namespaces=\"a\" {bad}")).unwrap_err();
            assert!(matches!(error, LineError::Key(_)), "{bad}");
        }
    }
}
