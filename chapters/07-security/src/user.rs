//! Who `USER` and `--user` mean: Docker's grammar against the image's own /etc/passwd and
//! /etc/group.
//!
//! Both files are data of the image and are passed as text: whoever reads them resolves their paths
//! inside the container's root. Nothing here asks the host who anybody is.

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// The primary group first, then the supplementary ones, each once. The primary group is listed
    /// too, or a process could leave it with setgid(2) where being in a group *denies* access
    /// (CVE-2022-36109).
    pub groups: Vec<u32>,
    /// Home folder; `/` if nothing says otherwise.
    pub home: String,
}

/// Why there is no such user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither a number nor a name in passwd.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// Neither a number nor a name in group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// A number that is no id, 0 to 2147483647.
    #[error("{0}: uids and gids must be in range 0-2147483647")]
    Range(String),
}

/// One line of passwd(5) that has the fields which matter.
struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// One line of group(5).
struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `uid`, `name`, `uid:gid` or `name:group`; the empty text is root. A number is always an
/// id, never a name.
///
/// Without a group the primary group is the one of passwd (0 for a number that is not there) and
/// the supplementary groups are those that list the name; with a group, it alone counts.
/// `additional` (`--group-add`) comes on top. Lines that cannot be read are passed over, as the C
/// library does.
///
/// # Errors
/// A name that is not in the files, a number out of range.
pub fn resolve(
    spec: &str,
    passwd: Option<&str>,
    group: Option<&str>,
    additional: &[String],
) -> Result<Resolved, UserError> {
    let (user, group_name) = spec.split_once(':').unwrap_or((spec, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user)?;
    let found = passwd_lines(passwd).find(|line| match number {
        Some(uid) => line.uid == uid,
        None => line.name == user,
    });
    let (uid, mut gid, home) = match (&found, number) {
        (Some(line), _) => (line.uid, line.gid, line.home),
        (None, Some(uid)) => (uid, 0, ""),
        (None, None) => return Err(UserError::User(user.to_owned())),
    };
    let mut supplementary = Vec::new();
    if !group_name.is_empty() {
        gid = group_id(group_name, group)?;
    } else if let Some(line) = &found {
        let lists = |group: &GroupLine<'_>| group.members.split(',').any(|name| name == line.name);
        supplementary.extend(group_lines(group).filter(lists).map(|group| group.gid));
    }
    for name in additional {
        supplementary.push(group_id(name, group)?);
    }
    let mut groups = vec![gid];
    for gid in supplementary {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(Resolved { uid, gid, groups, home: home.to_owned() })
}

/// The id of a number, `None` for a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id as u32)),
        _ => Err(UserError::Range(text.to_owned())),
    }
}

fn group_id(text: &str, group: Option<&str>) -> Result<u32, UserError> {
    if let Some(gid) = number(text)? {
        return Ok(gid);
    }
    let found = group_lines(group).find(|line| line.name == text);
    found.map(|line| line.gid).ok_or_else(|| UserError::Group(text.to_owned()))
}

/// `name:password:uid:gid:comment:home:shell`
fn passwd_lines(text: Option<&str>) -> impl Iterator<Item = PasswdLine<'_>> {
    text.unwrap_or_default().lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdLine { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// `name:password:gid:member,member`
fn group_lines(text: Option<&str>) -> impl Iterator<Item = GroupLine<'_>> {
    text.unwrap_or_default().lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupLine { name, gid, members: fields.next().unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken:line\n\
        app:x:1000:1001::/home/app:/bin/sh\n\
        homeless:x:1002:1002:::\n\
        4242:x:7:7::/odd:\n";
    const GROUP: &str = "root:x:0:\n\
        wheel:x:10:root,app\n\
        audio:x:20:app\n\
        app:x:1001:\n\
        bad:x:nan:app\n";

    fn answer(spec: &str, additional: &[&str]) -> String {
        let additional: Vec<String> = additional.iter().map(|name| (*name).to_owned()).collect();
        match resolve(spec, Some(PASSWD), Some(GROUP), &additional) {
            Ok(Resolved { uid, gid, groups, home }) => format!("{uid}:{gid} {groups:?} {home}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn dockers_grammar() {
        for (spec, expected) in [
            ("", "0:0 [0, 10] /root"),
            ("root", "0:0 [0, 10] /root"),
            ("0", "0:0 [0, 10] /root"),
            ("app", "1000:1001 [1001, 10, 20] /home/app"),
            ("1000", "1000:1001 [1001, 10, 20] /home/app"),
            ("app:audio", "1000:20 [20] /home/app"),
            ("app:99", "1000:99 [99] /home/app"),
            (":audio", "0:20 [20] /root"),
            ("app:", "1000:1001 [1001, 10, 20] /home/app"),
            ("homeless", "1002:1002 [1002] /"),
            ("12345", "12345:0 [0] /"),
            ("12345:54321", "12345:54321 [54321] /"),
            // A number is an id even where somebody is called so.
            ("4242", "4242:0 [0] /"),
            ("7", "7:7 [7] /odd"),
            ("nobody", "unable to find user nobody: no matching entries in passwd file"),
            ("broken", "unable to find user broken: no matching entries in passwd file"),
            ("app:video", "unable to find group video: no matching entries in group file"),
            ("app:bad", "unable to find group bad: no matching entries in group file"),
            ("-1", "-1: uids and gids must be in range 0-2147483647"),
            ("2147483648", "2147483648: uids and gids must be in range 0-2147483647"),
            ("1:99999999999", "99999999999: uids and gids must be in range 0-2147483647"),
        ] {
            assert_eq!(answer(spec, &[]), expected, "USER {spec:?}");
        }
    }

    #[test]
    fn more_groups_come_last_and_once() {
        assert_eq!(answer("app:audio", &["wheel", "77", "20"]), "1000:20 [20, 10, 77] /home/app");
        let error = "unable to find group video: no matching entries in group file";
        assert_eq!(answer("app", &["video"]), error);
    }

    #[test]
    fn an_image_without_files_has_numbers_only() {
        let resolved = resolve("", None, None, &[]).unwrap();
        assert_eq!((resolved.uid, resolved.gid, resolved.home.as_str()), (0, 0, "/"));
        assert_eq!(resolve("5:6", None, None, &[]).unwrap().groups, [6]);
        assert_eq!(resolve("root", None, None, &[]), Err(UserError::User("root".into())));
    }
}
