//! The health check of a container: that of the image, as the flags change it.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::duration::parse_duration;
use super::options::HealthFlags;
use crate::failure::Failure;
use crate::record::{HealthCheck, OnUnhealthy};

/// A check, in two shapes.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// For the monitor. None: there is nothing to check.
    pub(super) check: Option<HealthCheck>,
    /// Docker's `Healthcheck` of the container's config, if the flags have changed it.
    pub(super) given: Option<Value>,
}

/// Joins flags and the image's own `Healthcheck`: what a flag does not say, the image does. `image` is what
/// the config of the image says beyond the OCI specification.
///
/// # Errors
/// A flag that cannot be read, or flags that contradict each other.
pub(super) fn health_check(
    image: &Map<String, Value>,
    flags: &HealthFlags,
    rm: bool,
) -> Result<Checks> {
    let given = from_flags(flags)?;
    let mut merged = match (&given, image.get("Healthcheck")) {
        (None, Some(Value::Object(of_image))) => of_image.clone(),
        (Some(given), Some(Value::Object(of_image))) => {
            let mut merged = of_image.clone();
            merged.extend(given.clone());
            merged
        }
        (Some(given), _) => given.clone(),
        (None, _) => Map::new(),
    };
    let test: Vec<String> =
        serde_json::from_value(merged.remove("Test").unwrap_or_default()).unwrap_or_default();
    if given.is_some() && test.is_empty() {
        return Err(Failure::new("there is no health check to change")
            .hint("the image has none: give the command with --health-cmd")
            .into());
    }
    let is_test = test.len() > 1 && matches!(test[0].as_str(), "CMD" | "CMD-SHELL");
    let on_unhealthy = on_unhealthy(flags.on_unhealthy.as_deref(), is_test, rm)?;
    let milliseconds = |key: &str, default: u64| {
        let nanoseconds = merged.get(key).and_then(Value::as_u64).unwrap_or_default();
        // Docker reads 0 as "the default", and an image may say less than a millisecond.
        if nanoseconds == 0 { default } else { (nanoseconds / 1_000_000).max(1) }
    };
    let retries = merged.get("Retries").and_then(Value::as_u64).unwrap_or_default();
    let check = is_test.then(|| HealthCheck {
        interval: milliseconds("Interval", 30_000),
        timeout: milliseconds("Timeout", 30_000),
        retries: u32::try_from(retries).unwrap_or(u32::MAX).max(if retries == 0 { 3 } else { 1 }),
        start_period: milliseconds("StartPeriod", 0),
        start_interval: milliseconds("StartInterval", 5_000),
        shell: image
            .get("Shell")
            .and_then(|shell| serde_json::from_value(shell.clone()).ok())
            .unwrap_or_default(),
        test: test.clone(),
        on_unhealthy,
    });
    let given = given.map(|_| {
        merged.insert("Test".to_owned(), json!(test));
        Value::Object(merged)
    });
    Ok(Checks { check, given })
}

/// Docker's `Healthcheck` as far as flags say it: times in nanoseconds. None: no flag says anything.
fn from_flags(flags: &HealthFlags) -> Result<Option<Map<String, Value>>> {
    let times = [
        ("Interval", "--health-interval", &flags.health_interval),
        ("Timeout", "--health-timeout", &flags.health_timeout),
        ("StartPeriod", "--health-start-period", &flags.health_start_period),
        ("StartInterval", "--health-start-interval", &flags.health_start_interval),
    ];
    let mut object = Map::new();
    if let Some(command) = flags.health_cmd.as_ref().filter(|command| !command.is_empty()) {
        object.insert("Test".to_owned(), json!(["CMD-SHELL", command]));
    }
    for (key, flag, text) in times {
        let Some(text) = text else { continue };
        let wrong = |reason: &str| {
            Failure::new(format!("invalid {flag} `{text}`: {reason}"))
                .hint("as in 500ms, 30s, 1m30s or 1.5h")
        };
        let time = parse_duration(text).map_err(|reason| wrong(&reason))?;
        if time.is_zero() {
            continue;
        }
        if time < Duration::from_millis(1) {
            return Err(wrong("it cannot be less than 1ms").into());
        }
        object.insert(key.to_owned(), json!(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
    }
    if let Some(retries) = flags.health_retries.filter(|retries| *retries > 0) {
        object.insert("Retries".to_owned(), json!(retries));
    }
    if !flags.no_healthcheck {
        return Ok((!object.is_empty()).then_some(object));
    }
    if !object.is_empty() {
        return Err(Failure::new("--no-healthcheck conflicts with --health-* options")
            .hint("leave out one of them")
            .into());
    }
    object.insert("Test".to_owned(), json!(["NONE"]));
    Ok(Some(object))
}

fn on_unhealthy(text: Option<&str>, is_test: bool, rm: bool) -> Result<OnUnhealthy> {
    let action = match text {
        None | Some("" | "none") => OnUnhealthy::None,
        Some("restart") => OnUnhealthy::Restart,
        Some("kill") => OnUnhealthy::Kill,
        Some("stop") => OnUnhealthy::Stop,
        Some(other) => {
            return Err(Failure::new(format!("invalid --on-unhealthy `{other}`"))
                .hint("one of none, restart, kill, stop")
                .into());
        }
    };
    if action != OnUnhealthy::None && !is_test {
        return Err(Failure::new("--on-unhealthy without a health check says nothing")
            .hint("give the command with --health-cmd")
            .into());
    }
    if action == OnUnhealthy::Restart && rm {
        return Err(Failure::new("conflicting options: --rm and --on-unhealthy restart")
            .hint("what is removed when it ends cannot be started again")
            .into());
    }
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(image: &Value, flags: &HealthFlags) -> Result<Checks> {
        health_check(image.as_object().unwrap(), flags, false)
    }

    #[test]
    fn flags_change_what_the_image_says() {
        let image = json!({
            "Healthcheck": {"Test": ["CMD", "check"], "Interval": 2_000_000_000_u64, "Retries": 7},
            "Shell": ["/bin/ash", "-c"],
        });
        let plain = checks(&image, &HealthFlags::default()).unwrap();
        let check = plain.check.unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (2000, 30_000, 7));
        assert_eq!((check.start_period, check.start_interval), (0, 5000));
        assert_eq!(
            (check.test, check.shell.len()),
            (vec!["CMD".to_owned(), "check".to_owned()], 2)
        );
        assert_eq!(plain.given, None);

        let flags = HealthFlags {
            health_cmd: Some("other".to_owned()),
            health_timeout: Some("1m30s".to_owned()),
            health_start_period: Some("0".to_owned()),
            on_unhealthy: Some("kill".to_owned()),
            ..HealthFlags::default()
        };
        let changed = checks(&image, &flags).unwrap();
        let check = changed.check.unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (2000, 90_000, 7));
        assert_eq!(check.test, ["CMD-SHELL", "other"]);
        assert_eq!(check.on_unhealthy, OnUnhealthy::Kill);
        let given = json!({
            "Test": ["CMD-SHELL", "other"],
            "Interval": 2_000_000_000_u64,
            "Timeout": 90_000_000_000_u64,
            "Retries": 7,
        });
        assert_eq!(changed.given, Some(given));
    }

    #[test]
    fn none_is_no_check() {
        let flags = HealthFlags { no_healthcheck: true, ..HealthFlags::default() };
        let image = json!({"Healthcheck": {"Test": ["CMD", "check"]}});
        let checks_of = |image: &Value, flags: &HealthFlags| checks(image, flags).unwrap();
        let off = checks_of(&image, &flags);
        assert_eq!((off.check, off.given), (None, Some(json!({"Test": ["NONE"]}))));
        for test in [
            json!(["NONE"]),
            json!([]),
            json!(null),
            json!(["CMD"]),
            json!("CMD"),
            json!(["X", "y"]),
        ] {
            let image = json!({"Healthcheck": {"Test": test}});
            assert_eq!(checks_of(&image, &HealthFlags::default()).check, None, "{image}");
        }
        assert_eq!(checks_of(&json!({}), &HealthFlags::default()).check, None);
    }

    #[test]
    fn contradictions_are_found() {
        let flags = |text: &str| {
            let mut flags =
                HealthFlags { health_cmd: Some("true".to_owned()), ..HealthFlags::default() };
            match text.split_once('=').unwrap() {
                ("interval", value) => flags.health_interval = Some(value.to_owned()),
                ("action", value) => flags.on_unhealthy = Some(value.to_owned()),
                (_, value) => {
                    (flags.health_cmd, flags.health_timeout) = (None, Some(value.to_owned()));
                }
            }
            flags
        };
        for (text, words) in [
            ("interval=5", "a duration is"),
            ("interval=-5s", "negative"),
            ("interval=1us", "less than 1ms"),
            ("action=reboot", "invalid --on-unhealthy"),
            ("timeout=5s", "no health check to change"),
        ] {
            let error = checks(&json!({}), &flags(text)).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let mut both = flags("interval=5s");
        both.no_healthcheck = true;
        assert!(checks(&json!({}), &both).unwrap_err().to_string().contains("conflicts"));
        let action =
            HealthFlags { on_unhealthy: Some("stop".to_owned()), ..HealthFlags::default() };
        assert!(checks(&json!({}), &action).unwrap_err().to_string().contains("says nothing"));
        let rm = health_check(&Map::new(), &flags("action=restart"), true).unwrap_err();
        assert!(rm.to_string().contains("--rm"), "{rm}");
    }
}
