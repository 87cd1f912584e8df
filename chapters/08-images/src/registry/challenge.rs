//! `WWW-Authenticate`: how a registry asks who is there (RFC 9110, section 11.6.1).
//!
//! `Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull"`

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// `bearer`, `basic`: lower case.
    pub(super) scheme: String,
    /// Parameters with lower-case names, in the order of the header.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Reads all challenges of one header; there may be several such headers too. What is no challenge is skipped: another
/// one behind it may be good.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || c.is_whitespace());
        if rest.0.is_empty() {
            return challenges;
        }
        let word = rest.take(is_token);
        if word.is_empty() {
            rest.0 = &rest.0[rest.0.chars().next().map_or(1, char::len_utf8)..];
            continue;
        }
        let behind = rest.0.trim_start();
        match challenges.last_mut() {
            Some(challenge) if behind.starts_with('=') => {
                rest.0 = behind[1..].trim_start();
                challenge.parameters.push((word.to_ascii_lowercase(), rest.value()));
            }
            _ => {
                let scheme = word.to_ascii_lowercase();
                challenges.push(Challenge { scheme, parameters: Vec::new() });
                rest.skip_token68();
            }
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    /// A token, or a quoted string without its quotes. One that is not closed ends with the header.
    fn value(&mut self) -> String {
        let Some(quoted) = self.0.strip_prefix('"') else {
            // Some servers leave the quotes off a URL, which is no token.
            return self.take(|c| c != ',' && !c.is_whitespace()).to_owned();
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        self.0 = "";
        value
    }

    /// `Negotiate YII=`: data in place of parameters.
    fn skip_token68(&mut self) {
        let data = self.0.trim_start();
        let end = data.find(|c: char| !c.is_ascii_alphanumeric() && !"-._~+/".contains(c));
        let end = end.unwrap_or(data.len());
        let behind = data[end..].trim_start_matches('=').trim_start();
        if end > 0 && (behind.is_empty() || behind.starts_with(',')) {
            self.0 = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(header: &str) -> String {
        let one = |challenge: &Challenge| {
            let parameters: Vec<_> = challenge
                .parameters
                .iter()
                .map(|(name, value)| format!("{name}=[{value}]"))
                .collect();
            format!("{} {}", challenge.scheme, parameters.join(" ")).trim().to_owned()
        };
        parse(header).iter().map(one).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn challenges() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://a/t",service="r",scope="repository:a:pull,push""#,
                "bearer realm=[https://a/t] service=[r] scope=[repository:a:pull,push]",
            ),
            (r#"Basic realm="Registry Realm""#, "basic realm=[Registry Realm]"),
            (r#"BASIC REALM=x , charset = "UTF-8""#, "basic realm=[x] charset=[UTF-8]"),
            (
                r#"Negotiate, Negotiate YIIg==, Basic realm="a, \"b\"", Bearer realm="c""#,
                r#"negotiate | negotiate | basic realm=[a, "b"] | bearer realm=[c]"#,
            ),
            (
                "Bearer realm=https://a/t?x=y,service=r",
                "bearer realm=[https://a/t?x=y] service=[r]",
            ),
            (r#"Bearer realm="open"#, "bearer realm=[open]"),
            ("Basic", "basic"),
            (r#"Basic realm="""#, "basic realm=[]"),
            (r#" ,, "x" Basic realm="y""#, "x | basic realm=[y]"),
            ("", ""),
        ] {
            assert_eq!(read(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_answered(text in any::<String>()) {
            parse(&text);
        }

        #[test]
        fn what_is_written_is_read(
            list in proptest::collection::vec(
                ("[A-Z][a-z]{1,8}", proptest::collection::vec(("[a-z]{1,8}", any::<String>()), 1..4)),
                0..4,
            ),
        ) {
            let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
            let header: Vec<String> = list.iter().map(|(scheme, parameters)| {
                let parameters: Vec<_> =
                    parameters.iter().map(|(n, v)| format!("{n}=\"{}\"", quoted(v))).collect();
                format!("{scheme} {}", parameters.join(", "))
            }).collect();
            let expected: Vec<Challenge> = list.into_iter().map(|(scheme, parameters)| {
                Challenge { scheme: scheme.to_ascii_lowercase(), parameters }
            }).collect();
            prop_assert_eq!(parse(&header.join(", ")), expected);
        }
    }
}
