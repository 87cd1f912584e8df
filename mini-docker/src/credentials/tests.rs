use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const FILE: &str = r#"{
	"HttpHeaders": {"X-Meta": "1"},
	"auths": {
		"https://index.docker.io/v1/": {"auth": "YWxpY2U6c2U6Y3JldA==", "email": "a@b"},
		"localhost:5000": {"auth": "Ym9iOng"},
		"https://old.example/v1/": {"username": "carol", "password": "y"},
		"token.example": {"auth": "ZGF2ZTo=", "identitytoken": "refresh"},
		"empty.example": {},
		"null.example": null
	},
	"psFormat": "table {{.ID}}",
	"answer": 42
}"#;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), text).unwrap();
        Self { folder }
    }

    /// With a helper that keeps one secret in a file beside it.
    fn with_helper(config: &str, script: &str) -> Self {
        let home = Self::new(config);
        let program = home.folder.path().join("docker-credential-box");
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}", home.folder.path().display()))
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        home
    }

    fn config(&self) -> ConfigFile {
        let mut file = ConfigFile::in_folder(self.folder.path());
        file.search = Some(format!("{}:/usr/bin:/bin", self.folder.path().display()).into());
        file
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("config.json")).unwrap()
    }
}

const KEEPS: &str = r#"case $1 in
store) cat >secret ;;
get) cat >asked; [ -e secret ] || { echo credentials not found in native keychain; exit 1; }; cat secret ;;
erase) cat >asked; rm secret ;;
esac
"#;

fn login(username: &str, password: &str, identity_token: &str) -> Login {
    let [username, password, identity_token] =
        [username, password, identity_token].map(str::to_owned);
    Login { username, password, identity_token }
}

#[test]
fn logins_are_found_under_all_their_names() {
    let home = Home::new(FILE);
    for (registry, expected) in [
        ("docker.io", Some(login("alice", "se:cret", ""))),
        ("localhost:5000", Some(login("bob", "x", ""))),
        ("old.example", Some(login("carol", "y", ""))),
        ("token.example", Some(login("dave", "", "refresh"))),
        ("empty.example", None),
        ("null.example", None),
        ("localhost", None),
        ("unknown", None),
    ] {
        assert!(home.config().login(registry).unwrap() == expected, "{registry}");
    }
    let token = home.config().get("token.example").unwrap();
    assert!(token == Some(Credential::IdentityToken("refresh".to_owned())));
    let (username, password) = ("bob".to_owned(), "x".to_owned());
    let pair = home.config().get("localhost:5000").unwrap();
    assert!(pair == Some(Credential::Password { username, password }));
}

#[test]
fn without_a_file_there_is_nothing_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = ConfigFile::in_folder(&folder.path().join("none"));
    assert!(file.login("docker.io").unwrap().is_none());
    file.erase("docker.io").unwrap();
    assert!(!folder.path().join("none").exists());
    for empty in ["", " \n", "{}", r#"{"auths": null, "credHelpers": null, "credsStore": ""}"#] {
        let home = Home::new(empty);
        assert!(home.config().login("docker.io").unwrap().is_none(), "{empty}");
        home.config().erase("docker.io").unwrap();
        assert_eq!(home.text(), empty);
    }
}

#[test]
fn the_rest_of_the_file_stays() {
    let home = Home::new(FILE);
    home.config().store("localhost:5000", &login("eve", "pass:word", "")).unwrap();
    home.config().store("docker.io", &login("alice", "", "token")).unwrap();
    home.config().store("new.example", &login("zoë", "ü", "")).unwrap();
    home.config().erase("old.example").unwrap();
    insta::assert_snapshot!(home.text());
    let found = home.config().login("new.example").unwrap();
    assert!(found == Some(login("zoë", "ü", "")));
    home.config().store("new.example", &login("", "", "only")).unwrap();
    assert!(home.config().login("new.example").unwrap() == Some(login("", "", "only")));
    let files: Vec<_> = fs::read_dir(home.folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn storing_what_is_there_writes_nothing() {
    let home = Home::new(r#"{"auths":{"h":{"auth":"YTpi"}}}"#);
    let before = home.text();
    home.config().store("h", &login("a", "b", "")).unwrap();
    home.config().erase("unknown").unwrap();
    assert_eq!(home.text(), before);
}

#[test]
fn the_file_is_the_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dot = folder.path().join("home/.docker");
    let file = ConfigFile::in_folder(&dot);
    file.store("h", &login("a", "b", "")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&dot), mode(file.path())), (0o700, 0o600));
    // Also a file that everybody could read.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    file.store("h", &login("a", "c", "")).unwrap();
    assert_eq!(mode(file.path()), 0o600);
}

#[test]
fn a_link_stays_a_link() {
    let home = Home::new(FILE);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("dotfiles.json");
    let dot = home.folder.path();
    fs::rename(dot.join("config.json"), &target).unwrap();
    symlink(&target, dot.join("second")).unwrap();
    symlink("second", dot.join("config.json")).unwrap();
    home.config().store("h", &login("a", "b", "")).unwrap();
    assert!(fs::symlink_metadata(dot.join("config.json")).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("YTpi"));
    // Its target need not exist.
    fs::remove_file(&target).unwrap();
    home.config().store("h", &login("a", "b", "")).unwrap();
    assert!(fs::read_to_string(&target).unwrap().contains("YTpi"));
}

#[test]
fn two_at_the_same_time_both_stay() {
    let home = Home::new(FILE);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let file = home.config();
            scope.spawn(move || file.store(&format!("h{number}"), &login("a", "b", "")).unwrap());
        }
    });
    for number in 0..8 {
        assert!(home.config().login(&format!("h{number}")).unwrap().is_some(), "{number}");
    }
}

#[test]
fn a_helper_keeps_secrets_out_of_the_file() {
    let home =
        Home::with_helper(r#"{"credsStore": "box", "auths": {"h": {"auth": "YTpi"}}}"#, KEEPS);
    let file = home.config();
    assert_eq!(file.helper("h").unwrap().as_deref(), Some("docker-credential-box"));
    assert!(file.login("docker.io").unwrap().is_none());
    let asked = || fs::read_to_string(home.folder.path().join("asked")).unwrap();
    assert_eq!(asked(), "https://index.docker.io/v1/");
    for kept in [login("alice", "secret", ""), login("", "", "token")] {
        file.store("h", &kept).unwrap();
        assert!(file.login("h").unwrap() == Some(kept));
        assert_eq!(asked(), "h");
        let document: Value = serde_json::from_str(&home.text()).unwrap();
        assert_eq!(document["auths"]["h"], serde_json::json!({}));
    }
    let secret = fs::read_to_string(home.folder.path().join("secret")).unwrap();
    assert_eq!(secret, r#"{"ServerURL":"h","Username":"<token>","Secret":"token"}"#);
    file.erase("h").unwrap();
    assert!(!home.folder.path().join("secret").exists());
    assert!(file.login("h").unwrap().is_none());
    assert!(!home.text().contains("\"h\""));
}

#[test]
fn a_registrys_own_helper_comes_first() {
    let config = r#"{
        "credsStore": "missing",
        "credHelpers": {"h": "box", "plain.example": "", "index.docker.io": "box"},
        "auths": {"plain.example": {"auth": "YTpi"}}
    }"#;
    let home = Home::with_helper(config, "echo '{\"Username\":\"u\",\"Secret\":\"s\"}'");
    for (registry, expected) in [("h", ("u", "s")), ("docker.io", ("u", "s"))] {
        let found = home.config().login(registry).unwrap();
        assert!(found == Some(login(expected.0, expected.1, "")), "{registry}");
    }
    assert!(home.config().login("plain.example").unwrap() == Some(login("a", "b", "")));
    home.config().login("other").map(drop).unwrap_err();
}

#[test]
fn damage_is_told_and_stays() {
    let mut text = String::new();
    for wrong in [
        "{\n  \"auths\": {\n    \"h\": {\"auth\": \"YTpi\",}\n  }\n}",
        "{\"auths\": {",
        "[]",
        r#"{"auths": []}"#,
        r#"{"auths": {"h": "YTpi"}}"#,
        r#"{"auths": {"h": {"auth": 5}}}"#,
        r#"{"auths": {"h": {"auth": "!!!"}}}"#,
        r#"{"auths": {"h": {"auth": "YWJj"}}}"#,
        r#"{"auths": {"h": {"registrytoken": "x"}}}"#,
        r#"{"credHelpers": "box"}"#,
        r#"{"credsStore": 7}"#,
        r#"{"credsStore": "../box"}"#,
        r#"{"credsStore": "nosuch"}"#,
        r#"{"credHelpers": {"h": "nosuch"}}"#,
    ] {
        let home = Home::new(wrong);
        let error = home.config().get("h").map(drop).expect_err(wrong);
        let failure = crate::failure::explain(&error.into());
        let hint = failure.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        let told = format!("{}\n  {}{hint}\n", wrong.replace('\n', ""), failure.message);
        text.push_str(&told.replace(&*home.folder.path().to_string_lossy(), "[HOME]"));
        // A login may put an entry right, and nothing else.
        if !wrong.contains(r#"{"auth""#) || wrong.contains(",}") {
            home.config().store("h", &login("a", "b", "")).err();
            let repairable = wrong.contains("registrytoken");
            assert_eq!(home.text() == wrong, !repairable, "{wrong}");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_a_helper_complains_about_is_told() {
    let mut text = String::new();
    for script in
        ["echo 'the vault is locked'; exit 1", "exit 3", "printf '\\033[31mred'; exit 1", "echo hm"]
    {
        let home = Home::with_helper(r#"{"credsStore": "box"}"#, script);
        let error = home.config().login("h").map(drop).expect_err(script);
        text.push_str(&format!("{error:#}\n"));
    }
    insta::assert_snapshot!(text);
}
