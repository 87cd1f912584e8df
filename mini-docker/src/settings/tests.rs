use super::*;

fn parse(text: &str) -> Result<Settings> {
    Settings::parse(Path::new("/etc/mini-docker/daemon.json"), text.as_bytes())
}

#[test]
fn a_file_for_docker_is_taken() {
    let settings = parse(
        r#"{
            "data-root": "/srv", "log-driver": "json-file", "log-opts": {"max-size": "10m"},
            "registry-mirrors": ["https://mirror.example/", "http://127.0.0.1:5000"],
            "insecure-registries": ["host", "host:5000", "10.0.0.0/8", "fd00::/8", "[::1]:5000"],
            "max-concurrent-downloads": 2, "max-concurrent-uploads": 0, "max-download-attempts": 9
        }"#,
    )
    .unwrap();
    let insecure = ["host", "host:5000", "10.0.0.0/8", "fd00::/8", "[::1]:5000"];
    assert_eq!(settings.registry.mirrors, ["https://mirror.example", "http://127.0.0.1:5000"]);
    assert_eq!(settings.registry.insecure, insecure);
    assert_eq!(settings.registry.attempts, 9);
    assert_eq!((settings.downloads, settings.uploads), (2, usize::MAX));
}

#[test]
fn nothing_said_is_the_default() {
    for text in ["", " \n", "{}", r#"{"registry-mirrors": null, "insecure-registries": []}"#] {
        let settings = parse(text).unwrap();
        assert_eq!((settings.downloads, settings.uploads), (8, 5), "{text}");
        assert_eq!(settings.registry.attempts, 5, "{text}");
        assert!(settings.registry.mirrors.is_empty() && settings.registry.insecure.is_empty());
    }
}

#[test]
fn certificates_beside_the_file_come_first() {
    let folders = |path: &str| Settings::parse(Path::new(path), b"").unwrap().registry.certificates;
    let usual = CERTIFICATES.map(PathBuf::from);
    assert_eq!(folders(DEFAULT_FILE), usual);
    let [ours, dockers] = usual;
    assert_eq!(folders("/x/y.json"), [PathBuf::from("/x/certs.d"), ours, dockers]);
}

#[test]
fn a_file_that_is_named_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.json");
    let error = Settings::read(Some(&path)).unwrap_err();
    assert!(format!("{error:#}").contains("daemon.json`: No such file"), "{error:#}");
    fs::write(&path, r#"{"max-concurrent-downloads": 1}"#).unwrap();
    assert_eq!(Settings::read(Some(&path)).unwrap().downloads, 1);
}

#[test]
fn mistakes_are_one_line_with_a_hint() {
    let table = [
        "[]",
        "{\n  \"debug\": true\n  \"icc\": true\n}",
        "{\"debug\": tru",
        r#"{"registry-mirror": ["https://x"]}"#,
        r#"{"insecure_registries": []}"#,
        r#"{"max-downloads": 3}"#,
        r#"{"frobnicate": 3}"#,
        r#"{"es\u001bc": 3}"#,
        r#"{"max-concurrent-downloads": "3"}"#,
        r#"{"max-concurrent-downloads": -1}"#,
        r#"{"max-concurrent-uploads": 1.5}"#,
        r#"{"max-download-attempts": 0}"#,
        r#"{"registry-mirrors": "https://mirror.example"}"#,
        r#"{"registry-mirrors": [1]}"#,
        r#"{"registry-mirrors": ["mirror.example:5000"]}"#,
        r#"{"registry-mirrors": ["ftp://mirror.example"]}"#,
        r#"{"registry-mirrors": ["https://mirror.example/v2/"]}"#,
        r#"{"registry-mirrors": ["https://mirror.example?x=1"]}"#,
        r#"{"registry-mirrors": ["https://me:secret@mirror.example"]}"#,
        r#"{"registry-mirrors": ["https://"]}"#,
        r#"{"insecure-registries": {"host": true}}"#,
        r#"{"insecure-registries": ["http://host:5000"]}"#,
        r#"{"insecure-registries": ["host:5000/team"]}"#,
        r#"{"insecure-registries": ["10.0.0.0/33"]}"#,
        r#"{"insecure-registries": ["host:port"]}"#,
        r#"{"insecure-registries": [""]}"#,
    ];
    let mut text = String::new();
    for wrong in table {
        let error = parse(wrong).expect_err(wrong);
        let failure = crate::failure::explain(&error);
        let hint = failure.hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        text.push_str(&format!("{}\n  {}{hint}\n", wrong.replace('\n', " "), failure.message));
    }
    assert!(!text.contains("secret@mirror.example\n  hint") && !text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}
