//! The configuration file: TOML 1.0, one key for each setting, named as its flag with underscores (`history_count = 1000`).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    Fault,
    table::{self, Setting},
    values::shown,
};

/// The texts of a configuration file by the key of their setting, and its errors.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    texts: BTreeMap<&'static str, String>,
    pub(super) faults: Vec<Fault>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    pub(super) fn read(path: &str) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) => Self::invalid(format!("cannot read {}: {error}", shown(path))),
        }
    }

    fn invalid(message: String) -> Self {
        Self { faults: vec![Fault::new(&table::CONFIG, message)], ..Self::default() }
    }

    fn parse(text: &str, path: &str) -> Self {
        let entries = match text.parse::<Table>() {
            Ok(entries) => entries,
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                // Not the line itself, which may contain a key.
                return Self::invalid(format!("{} is not valid TOML: line {line}: {}", shown(path), error.message()));
            }
        };
        let mut file = Self::default();
        for (name, value) in entries {
            if let Err(message) = file.insert(&name, &value) {
                file.faults.push(Fault::new(&table::CONFIG, format!("{}: {message}", shown(path))));
            }
        }
        file
    }

    fn insert(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let setting = table::ALL.iter().find(|setting| setting.name_in_file() == name);
        let Some(setting) = setting else {
            let near = table::near(name, Setting::name_in_file);
            let hint = near.map_or_else(
                || "`--help` lists all settings; `--history-count` is `history_count` here".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(format!("unknown setting {}; {hint}", shown(name)));
        };
        if setting.key == table::CONFIG.key {
            return Err("a configuration file cannot name another one".to_owned());
        }
        let text = text(value)
            .ok_or_else(|| format!("`{name}`: expected a text, a whole number, true, false, or a list of texts"))?;
        self.texts.insert(setting.key, text);
        Ok(())
    }

    /// The text of a setting; `None` if the file does not set it.
    pub(super) fn text(&self, setting: &Setting) -> Option<&str> {
        self.texts.get(setting.key).map(String::as_str)
    }
}

/// A value as the text of a flag.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(on) => Some(if *on { "on" } else { "off" }.to_owned()),
        Value::Array(list) => {
            let parts: Option<Vec<_>> = list.iter().map(|part| part.as_str().map(str::to_owned)).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        ConfigFile::parse(text, "/etc/trident.toml").faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_type_of_value_becomes_the_text_of_a_flag() {
        let file = ConfigFile::parse(
            "max_body = \"1KiB\"\nhistory_count = 5\ndemo = false\norigins = [\"https://a.example\", \"https://b.example\"]",
            "f",
        );
        assert_eq!(file.faults, []);
        let texts = [&table::MAX_BODY, &table::HISTORY_COUNT, &table::DEMO, &table::ORIGINS, &table::LOG]
            .map(|setting| file.text(setting));
        assert_eq!(texts, [Some("1KiB"), Some("5"), Some("off"), Some("https://a.example,https://b.example"), None]);
    }

    #[test]
    fn errors_name_the_file_and_the_place() {
        let at = "TRIDENT_CONFIG (--config): `/etc/trident.toml`";
        assert_eq!(
            faults("keep_alive = \"15s\"\nzzzzzzz = 1"),
            [
                format!("{at}: unknown setting `keep_alive`; did you mean `keepalive`?"),
                format!(
                    "{at}: unknown setting `zzzzzzz`; `--help` lists all settings; `--history-count` is `history_count` here"
                ),
            ]
        );
        assert_eq!(faults("config = \"other\""), [format!("{at}: a configuration file cannot name another one")]);
        for value in ["1.5", "[1]", "2026-01-01", "{ a = 1 }"] {
            let expected =
                format!("{at}: `max_body`: expected a text, a whole number, true, false, or a list of texts");
            assert_eq!(faults(&format!("max_body = {value}")), [expected]);
        }
        let broken = &faults("demo = true\nsecret = \"0123456789abcdef")[0];
        assert!(broken.starts_with(&format!("{at} is not valid TOML: line 2: ")), "{broken}");
        assert!(!broken.contains("0123456789"), "{broken}");
        let absent = ConfigFile::read("/nowhere/at/all.toml").faults;
        assert!(absent[0].to_string().starts_with("TRIDENT_CONFIG (--config): cannot read `/nowhere"), "{absent:?}");
    }

    #[test]
    fn the_file_in_the_documentation_is_valid() {
        let page = include_str!("../../../docs/OPERATIONS.md");
        let (_, file) = page.split_once("```toml\n").unwrap();
        let (file, _) = file.split_once("```").unwrap();
        assert!(file.starts_with("# /etc/trident/trident.toml\n"), "{file}");
        assert_eq!(ConfigFile::parse(file, "f").faults, []);
    }
}
