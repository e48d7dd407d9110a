//! The tables of `pannier.toml` that say how the release is run on a node; they travel in its statement.
//!
//! A command is a list of words, or a text that is split as a shell does; where nothing else is to be said, it stands alone.

use std::collections::BTreeMap;
use std::fmt;

use pannier_shared::id::ProcessName;
use pannier_shared::statement::{Hook, HookName, Process, Seconds, Words};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The table `[processes]`.
pub type Processes = BTreeMap<ProcessName, ProcessSetting>;

/// One process: its command alone, or a table with more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Either<ProcessTable>")]
pub struct ProcessSetting {
    command: Words,
    order: Option<u16>,
    socket: bool,
    stop_timeout: Option<Seconds>,
}

impl ProcessSetting {
    /// A scheduler (`celery beat`) is the last unless it is said otherwise: what it sends is then for new workers.
    fn order(&self, name: &ProcessName) -> u16 {
        let says_beat =
            self.command.program() == "celery" && self.command.arguments().iter().any(|word| word == "beat");
        self.order.unwrap_or(if says_beat || name.as_str() == "beat" { u16::MAX } else { 0 })
    }
}

/// A process as a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessTable {
    command: Command,
    /// Lower ones are started first; by name where it is the same.
    order: Option<u16>,
    #[serde(default)]
    socket: bool,
    stop_timeout: Option<Seconds>,
}

impl From<Either<ProcessTable>> for ProcessSetting {
    fn from(said: Either<ProcessTable>) -> Self {
        match said {
            Either::Command(Command(command)) => Self { command, order: None, socket: false, stop_timeout: None },
            Either::Table(ProcessTable { command, order, socket, stop_timeout }) => {
                Self { command: command.0, order, socket, stop_timeout }
            }
        }
    }
}

/// The table `[hooks]`.
pub type Hooks = BTreeMap<HookName, HookSetting>;

/// One hook: its command alone, or a table with more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Either<HookTable>")]
pub struct HookSetting(Hook);

/// A hook as a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HookTable {
    command: Command,
    #[serde(default)]
    timeout: Seconds,
}

impl From<Either<HookTable>> for HookSetting {
    fn from(said: Either<HookTable>) -> Self {
        Self(match said {
            Either::Command(Command(command)) => Hook { command, timeout: Seconds::default() },
            Either::Table(HookTable { command, timeout }) => Hook { command: command.0, timeout },
        })
    }
}

/// The hooks as the statement has them.
pub fn hooks(said: &Hooks) -> BTreeMap<HookName, Hook> {
    said.iter().map(|(name, hook)| (*name, hook.0.clone())).collect()
}

/// The processes in the order in which they are started.
pub fn processes(said: &Processes) -> Vec<Process> {
    let mut sorted: Vec<_> = said.iter().collect();
    // Stable: equal ones stay in the order of their names.
    sorted.sort_by_key(|(name, process)| process.order(name));
    let process = |(name, said): (&ProcessName, &ProcessSetting)| Process {
        name: name.clone(),
        command: said.command.clone(),
        socket: said.socket,
        stop_timeout: said.stop_timeout,
    };
    sorted.into_iter().map(process).collect()
}

/// A command: a list of words, or a text.
#[derive(Debug)]
struct Command(Words);

/// A command alone, or a table with one in it.
#[derive(Debug)]
enum Either<T> {
    Command(Command),
    Table(T),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfCommand)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Either<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfEither(std::marker::PhantomData))
    }
}

struct OfCommand;

impl<'de> Visitor<'de> for OfCommand {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a command as a text or a list of words")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Command, E> {
        let words = shlex::split(text).ok_or_else(|| E::custom("a quote in this command is not closed"))?;
        Words::try_from(words).map(Command).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Command, A::Error> {
        let words = Vec::<String>::deserialize(SeqAccessDeserializer::new(seq))?;
        Words::try_from(words).map(Command).map_err(A::Error::custom)
    }
}

struct OfEither<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OfEither<T> {
    type Value = Either<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a command as a text or a list of words, or a table with `command`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Either<T>, E> {
        OfCommand.visit_str(text).map(Either::Command)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Either<T>, A::Error> {
        OfCommand.visit_seq(seq).map(Either::Command)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Either::Table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FILE, parse};
    use crate::testing::told;

    fn refused(text: &str) -> String {
        told(&parse(text, FILE).unwrap_err())
    }

    #[test]
    fn processes_come_in_their_order_and_then_by_name() {
        let text = r#"
            [processes]
            worker = "celery -A 'my shop' worker"
            mail = ["python", "-m", "mail"]
            [processes.web]
            command = "gunicorn shop.wsgi"
            socket = true
            [processes.beat]
            command = ["celery", "-A", "shop", "beat"]
            [processes.slow]
            command = "celery -A shop worker -Q slow"
            order = 9
            stop_timeout = 900
        "#;
        let running = parse(text, FILE).unwrap().running();
        let told: Vec<String> = running
            .processes
            .iter()
            .map(|process| format!("{} {} {}", process.name, process.command, process.socket))
            .collect();
        assert_eq!(
            told,
            [
                "mail python -m mail false",
                "web gunicorn shop.wsgi true",
                "worker celery -A 'my shop' worker false",
                "slow celery -A shop worker -Q slow false",
                "beat celery -A shop beat false"
            ]
        );
    }

    #[test]
    fn a_process_says_how_long_it_may_take_to_end() {
        let text = "[processes.worker]\ncommand = \"celery worker\"\nstop_timeout = 900";
        assert_eq!(parse(text, FILE).unwrap().running().processes[0].stop_timeout.map(u32::from), Some(900));
        let long = refused(&text.replace("900", "3601"));
        assert!(long.contains("a time limit must have 1 to 3600 seconds, not 3601"), "{long}");
    }

    #[test]
    fn hooks_have_a_minute_unless_they_say_otherwise() {
        let text = r#"
            [hooks]
            before_switch = "manage.py check --deploy"
            [hooks.after_switch]
            command = ["manage.py", "warm"]
            timeout = 300
        "#;
        let hooks = parse(text, FILE).unwrap().running().hooks;
        let told: Vec<String> =
            hooks.iter().map(|(name, hook)| format!("{name} {} {}", hook.command, u32::from(hook.timeout))).collect();
        assert_eq!(told, ["before_switch manage.py check --deploy 60", "after_switch manage.py warm 300"]);
        insta::assert_snapshot!(refused("[hooks]\nbefore_swich = \"x\""), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 1
          |
        2 | before_swich = "x"
          | ^^^^^^^^^^^^
        unknown variant `before_swich`, expected one of `before_switch`, `after_switch`, `on_failure`, `after_rollback`
        "#);
        insta::assert_snapshot!(refused("[hooks.on_failure]\ncommand = \"x\"\ntimeout = 0"), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 3, column 11
          |
        3 | timeout = 0
          |           ^
        a time limit must have 1 to 3600 seconds, not 0
        ");
    }

    #[test]
    fn what_is_no_process_is_shown_where_it_stands() {
        insta::assert_snapshot!(refused("[processes]\nweb = \"gunicorn 'x\""), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 7
          |
        2 | web = "gunicorn 'x"
          |       ^^^^^^^^^^^^^
        a quote in this command is not closed
        "#);
        insta::assert_snapshot!(refused("[processes]\nweb = []"), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 7
          |
        2 | web = []
          |       ^^
        a command needs a program
        ");
        insta::assert_snapshot!(refused("[processes]\nweb = 5"), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 7
          |
        2 | web = 5
          |       ^
        invalid type: integer `5`, expected a command as a text or a list of words, or a table with `command`
        ");
        insta::assert_snapshot!(refused("[processes]\nWeb = \"gunicorn\""), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 1
          |
        2 | Web = "gunicorn"
          | ^^^
        `Web` is not a valid process name: only lower-case letters, digits and `-` are allowed
        "#);
        insta::assert_snapshot!(refused("[processes.web]\ncommand = \"gunicorn\"\nsockets = true"), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 3, column 1
          |
        3 | sockets = true
          | ^^^^^^^
        unknown field `sockets`, expected one of `command`, `order`, `socket`, `stop_timeout`
        ");
        insta::assert_snapshot!(refused("[processes.web]\nsocket = true"), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 1, column 1
          |
        1 | [processes.web]
          | ^^^^^^^^^^^^^^^
        missing field `command`
        ");
    }
}
