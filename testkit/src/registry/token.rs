//! A token server, as registries with accounts have it: the "token authentication specification" of the distribution
//! project (GET), and its OAuth2 form (POST).

use std::io::{self, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::forward::basic;
use super::http::{Body, Head, pairs, respond};
use super::server::{Server, lock};
use super::{Result, certificates};
use crate::Sandbox;

const SERVICE: &str = "testkit registry";
const ISSUER: &str = "testkit tokens";

/// The name of the field that has the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenField {
    /// `token` and `access_token`, as the specification recommends.
    #[default]
    Both,
    /// `token` only.
    Token,
    /// `access_token` only.
    AccessToken,
}

/// What a token server is like.
#[derive(Debug, Clone, Copy)]
pub struct TokenOptions<'a> {
    /// Users and their passwords. They get what they ask for.
    pub users: &'a [(&'a str, &'a str)],
    /// Repositories that anybody may pull; `*` for all. What is not granted is left out of the token, as Docker Hub
    /// does it.
    pub anonymous_pull: &'a [&'a str],
    /// What it says about a token's life in seconds; None leaves it out (it is then 60). Tokens are really good for an
    /// hour.
    pub expires_in: Option<u64>,
    /// How many of the first tokens are over for the registry from the beginning, whatever `expires_in` says.
    pub stale: usize,
    /// Field names of the answer to GET.
    pub field: TokenField,
    /// Whether there is POST; without it the answer is 404, as of servers older than OAuth2.
    pub oauth: bool,
}

impl Default for TokenOptions<'_> {
    fn default() -> Self {
        Self {
            users: &[],
            anonymous_pull: &[],
            expires_in: Some(300),
            stale: 0,
            field: TokenField::Both,
            oauth: true,
        }
    }
}

/// What a token server was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// Names and values of the query or the form, in their order, decoded.
    pub parameters: Vec<(String, String)>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// For whom a token was given; empty for an anonymous one, None if it was refused.
    pub user: Option<String>,
    /// 200, or why not.
    pub status: u16,
}

impl TokenRequest {
    /// The values of a parameter.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let found = self.parameters.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The scopes asked for: of every `scope` parameter, parted at spaces (as OAuth2 does it).
    pub fn scopes(&self) -> Vec<&str> {
        self.values("scope").into_iter().flat_map(|value| value.split(' ')).collect()
    }
}

#[derive(Debug)]
struct Shared {
    users: Vec<(String, String)>,
    anonymous_pull: Vec<String>,
    expires_in: Option<u64>,
    stale: Mutex<usize>,
    field: TokenField,
    oauth: bool,
    requests: Mutex<Vec<TokenRequest>>,
    /// Refresh tokens and whose they are.
    refresh: Mutex<Vec<(String, String)>>,
    key: PathBuf,
    /// The certificate as `x5c` wants it: DER in base64.
    x5c: String,
}

/// A running token server: plain HTTP.
#[derive(Debug)]
pub struct TokenServer {
    shared: Arc<Shared>,
    server: Server,
    certificate: PathBuf,
}

impl TokenServer {
    /// Starts one.
    ///
    /// # Errors
    /// Skips without openssl.
    pub fn start(sandbox: &Sandbox, options: TokenOptions<'_>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("tokens-").tempdir_in(&sandbox.dir)?.keep();
        let pair = certificates::self_signed(&dir, "tokens")?;
        let pem = std::fs::read_to_string(&pair.certificate)?;
        let owned = |(user, password): &(&str, &str)| ((*user).into(), (*password).into());
        let shared = Arc::new(Shared {
            users: options.users.iter().map(owned).collect(),
            anonymous_pull: options.anonymous_pull.iter().map(|&name| name.into()).collect(),
            expires_in: options.expires_in,
            stale: Mutex::new(options.stale),
            field: options.field,
            oauth: options.oauth,
            requests: Mutex::default(),
            refresh: Mutex::default(),
            key: pair.key,
            x5c: pem.lines().filter(|line| !line.starts_with("-----")).collect(),
        });
        let own = Arc::clone(&shared);
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), move |stream, _stop| {
            serve(&own, stream);
        })?;
        Ok(Self { shared, server, certificate: pair.certificate })
    }

    /// Where clients are sent: `http://127.0.0.1:PORT/token`.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.server.address)
    }

    /// What it was asked for, in the order it came.
    pub fn requests(&self) -> Vec<TokenRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets what it was asked for.
    pub fn reset(&self) {
        lock(&self.shared.requests).clear();
    }

    /// A refresh token for a user, as from an earlier login: the `identitytoken` of Docker's `config.json`.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn identity_token(&self, user: &str) -> Result<String> {
        Ok(refresh_token(&self.shared, user)?)
    }

    /// Makes all refresh tokens worthless, as a logout elsewhere does.
    pub fn revoke(&self) {
        lock(&self.shared.refresh).clear();
    }

    /// The part of docker-registry's configuration that names this server.
    pub(super) fn configuration(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: {}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            self.realm(),
            self.certificate.display()
        )
    }

    pub(super) fn first_user(&self) -> Option<(&str, &str)> {
        self.shared.users.first().map(|(user, password)| (user.as_str(), password.as_str()))
    }
}

/// What is wrong with a request: status and words.
type Refusal = (u16, &'static str);

fn serve(shared: &Shared, stream: TcpStream) {
    let mut client = BufReader::new(stream);
    while let Ok(Some(head)) = Head::read(&mut client) {
        if answer(shared, &mut client, &head).is_err() || head.says("connection", "close") {
            return;
        }
    }
}

fn answer(shared: &Shared, client: &mut BufReader<TcpStream>, head: &Head) -> io::Result<()> {
    let (method, target) = head.request()?;
    let mut form = String::new();
    Body::new(&mut *client, head.request_framing()?).read_to_string(&mut form)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = TokenRequest {
        method: method.to_owned(),
        parameters: pairs(if method == "POST" { &form } else { query }),
        authorization: head.get("authorization").map(str::to_owned),
        user: None,
        status: 200,
    };
    let user = match (path, method) {
        ("/token", "GET") => by_password(shared, &request),
        ("/token", "POST") if shared.oauth => by_grant(shared, &request),
        _ => Err((404, "not here")),
    };
    let result = match user {
        Ok(user) => {
            let document = document(shared, &request, &user)?;
            request.user = Some(user);
            Ok(document)
        }
        Err((status, words)) => {
            request.status = status;
            Err(words)
        }
    };
    let (status, json) = (request.status, [("Content-Type", "application/json")]);
    // Before the answer: who has it finds the request in the list.
    lock(&shared.requests).push(request);
    let body = match result {
        Ok(document) => document,
        Err(words) => json!({"errors": [{"code": "UNAUTHORIZED", "message": words}]}),
    };
    respond(client.get_mut(), status, &json, body.to_string().as_bytes())
}

/// Who asks with GET: a user with the right password, or nobody (empty).
fn by_password(shared: &Shared, request: &TokenRequest) -> std::result::Result<String, Refusal> {
    if request.values("service") != [SERVICE] {
        return Err((400, "unknown service"));
    }
    let Some(authorization) = &request.authorization else { return Ok(String::new()) };
    let mut users = shared.users.iter();
    let found = users.find(|(user, password)| basic(user, password) == *authorization);
    found.map(|(user, _)| user.clone()).ok_or((401, "incorrect username or password"))
}

/// Who asks with POST.
fn by_grant(shared: &Shared, request: &TokenRequest) -> std::result::Result<String, Refusal> {
    let value = |name| request.values(name).first().copied().unwrap_or_default();
    if value("service") != SERVICE || value("client_id").is_empty() {
        return Err((400, "service and client_id are required"));
    }
    match value("grant_type") {
        "password" => {
            let given = (value("username").to_owned(), value("password").to_owned());
            let found = shared.users.contains(&given);
            found.then_some(given.0).ok_or((401, "incorrect username or password"))
        }
        "refresh_token" => {
            let refresh = lock(&shared.refresh);
            let found = refresh.iter().find(|(token, _)| token == value("refresh_token"));
            found.map(|(_, user)| user.clone()).ok_or((401, "unknown refresh token"))
        }
        _ => Err((400, "unsupported grant_type")),
    }
}

/// The answer to somebody who is known, or anonymous.
fn document(shared: &Shared, request: &TokenRequest, user: &str) -> io::Result<Value> {
    let access: Vec<Value> =
        request.scopes().into_iter().filter_map(|scope| grant(shared, scope, user)).collect();
    let token = sign(shared, user, access)?;
    let mut answer = json!({});
    let post = request.method == "POST";
    if !post && shared.field != TokenField::AccessToken {
        answer["token"] = token.clone().into();
    }
    if post || shared.field != TokenField::Token {
        answer["access_token"] = token.into();
    }
    if let Some(seconds) = shared.expires_in {
        answer["expires_in"] = seconds.into();
    }
    if post {
        answer["scope"] = request.scopes().join(" ").into();
    }
    let offline =
        request.values("offline_token") == ["true"] || request.values("access_type") == ["offline"];
    if request.values("grant_type") == ["refresh_token"] {
        answer["refresh_token"] = request.values("refresh_token").join("").into();
    } else if offline && !user.is_empty() {
        answer["refresh_token"] = refresh_token(shared, user)?.into();
    }
    Ok(answer)
}

/// What is granted of `TYPE:NAME:ACTION,ACTION`; a name may have a colon (`localhost:5000/a`).
fn grant(shared: &Shared, scope: &str, user: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let mut actions: Vec<&str> = actions.split(',').collect();
    if user.is_empty() {
        let open = shared.anonymous_pull.iter().any(|open| open == "*" || open == name);
        actions.retain(|action| open && kind == "repository" && *action == "pull");
    }
    (!actions.is_empty()).then(|| json!({"type": kind, "name": name, "actions": actions}))
}

/// A JSON Web Token (RFC 7519), signed with RS256 by openssl.
fn sign(shared: &Shared, user: &str, access: Vec<Value>) -> io::Result<String> {
    let stale = {
        let mut stale = lock(&shared.stale);
        let now = *stale > 0;
        *stale = stale.saturating_sub(1);
        now
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The registry allows clocks to differ by a minute.
    let (from, to) = if stale { (now - 7200, now - 3600) } else { (now - 10, now + 3600) };
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [shared.x5c]});
    let claims = json!({
        "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": to, "nbf": from, "iat": from,
        "jti": random()?, "access": access,
    });
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = openssl_sign(&shared.key, text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn openssl_sign(key: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        io::Write::write_all(&mut stdin, bytes)?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(io::Error::other(format!("openssl: {}", output.status)))
    }
}

fn refresh_token(shared: &Shared, user: &str) -> io::Result<String> {
    let token = random()?;
    lock(&shared.refresh).push((token.clone(), user.to_owned()));
    Ok(token)
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}
