//! Which manage.py is the project's.

use std::path::Path;

use super::Error;

/// How many folders deep it is searched.
const DEPTH: usize = 2;

/// The path of manage.py among `paths`: the configured one, else the only one at the top or two folders deep.
pub fn find(paths: &[String], configured: Option<&str>, project: &Path, looked: &'static str) -> Result<String, Error> {
    if let Some(configured) = configured {
        let wanted = configured.trim_start_matches("./");
        let found = paths.iter().find(|path| *path == wanted);
        return found.cloned().ok_or_else(|| Error::WrongManage(configured.to_owned()));
    }
    let is_one = |path: &&String| path.rsplit('/').next() == Some("manage.py") && path.matches('/').count() <= DEPTH;
    let found: Vec<&String> = paths.iter().filter(is_one).collect();
    match found.as_slice() {
        [] => Err(Error::NoManage { project: project.to_owned(), looked }),
        [only] => Ok((*only).clone()),
        several => Err(Error::ManyManage(several.iter().map(|path| (*path).clone()).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::told;

    fn among(paths: &[&str], configured: Option<&str>) -> Result<String, Error> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        find(&paths, configured, Path::new("/site"), "what git tracks")
    }

    #[test]
    fn it_is_found_at_the_top_and_two_folders_deep() {
        for path in ["manage.py", "site/manage.py", "src/site/manage.py"] {
            assert_eq!(among(&["README.md", path], None).unwrap(), path);
        }
        assert!(among(&["a/b/c/manage.py"], None).is_err());
    }

    #[test]
    fn none_says_where_it_was_searched() {
        insta::assert_snapshot!(told(&among(&["x.py"], None).unwrap_err()), @"there is no manage.py in `/site`: looked at its top and two folders deep, in what git tracks");
    }

    #[test]
    fn two_are_named_and_the_key_is_said() {
        let error = among(&["a/manage.py", "b/manage.py"], None).unwrap_err();
        insta::assert_snapshot!(told(&error), @"there are 2 manage.py: `a/manage.py` and `b/manage.py`");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"say which one in pannier.toml: `manage = "a/manage.py"`"#);
        assert_eq!(among(&["a/manage.py", "b/manage.py"], Some("./b/manage.py")).unwrap(), "b/manage.py");
    }

    #[test]
    fn a_configured_one_must_be_there() {
        insta::assert_snapshot!(told(&among(&["manage.py"], Some("x/manage.py")).unwrap_err()), @"`x/manage.py`, configured as `manage`, is not among the files of the project");
    }
}
