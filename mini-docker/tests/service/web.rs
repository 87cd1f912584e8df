//! A web server: pages from a volume, a line in the log for each request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Outcome, Sandbox, Test};

use crate::Host;
use crate::support::{Result, wait_until};

pub const TESTS: &[Test] =
    &[("nginx_serves_and_logs_every_request", nginx_serves_and_logs_every_request)];

const CONFIGURATION: &str = "
user www-data;
worker_processes 2;
daemon off;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 64; }
http {
    log_format line '$request_uri $status';
    access_log /dev/stdout line;
    server {
        listen 80;
        root /srv/site;
    }
}
";

fn fetch(path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&"127.0.0.1:18080".parse()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(status.to_owned().into()) }
}

fn nginx_serves_and_logs_every_request(sandbox: &Sandbox) -> Outcome {
    let host = Host::with_services(sandbox)?;
    let file = sandbox.path("nginx.conf");
    std::fs::write(&file, CONFIGURATION)?;
    // Another container fills the volume.
    let script = "mkdir -p /srv/site && echo hello > /srv/site/index.html && head -c 3000000 /dev/zero | tr '\\0' x > /srv/site/large";
    host.done(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "site:/srv",
        "services",
        "sh",
        "-c",
        script,
    ])?;
    let mount = format!("{}:/etc/nginx/nginx.conf:ro", file.display());
    host.done(&[
        "run",
        "-d",
        "--name",
        "web",
        "-v",
        "site:/srv:ro",
        "-v",
        &mount,
        "-p",
        "127.0.0.1:18080:80",
        "--read-only",
        "--tmpfs",
        "/run",
        "--tmpfs",
        "/var/lib/nginx",
        "--stop-signal",
        "QUIT",
        "services",
        "nginx",
    ])?;
    wait_until("the page is served", || Ok(fetch("/").is_ok_and(|page| page == "hello\n")))?;
    let requests = |from: usize, to: usize| -> Result<()> {
        for number in from..to {
            assert_eq!(fetch(&format!("/?{number}"))?, "hello\n");
        }
        Ok(())
    };
    requests(0, 200)?;
    assert_eq!(fetch("/large")?.len(), 3_000_000);
    assert_eq!(fetch("/nosuch").unwrap_err().to_string(), "404");
    // What it does not say goes to the page of the other side.
    host.done(&["restart", "web"])?;
    wait_until("the page is served again", || Ok(fetch("/").is_ok()))?;
    requests(200, 300)?;
    // Asked politely it finishes what it has begun.
    host.done(&["stop", "web"])?;
    assert_eq!(host.inspect("web", "{{.State.ExitCode}}")?, "0");
    assert!(fetch("/").is_err());
    let log = host.docker.ran(["logs", "web"])?;
    let lines: Vec<&str> = log.stdout.lines().filter(|line| line.starts_with("/?")).collect();
    let expected: Vec<String> = (0..300).map(|number| format!("/?{number} 200")).collect();
    assert_eq!(lines, expected, "each request once and in order");
    assert!(log.stdout.contains("/nosuch 404\n"));
    assert_eq!(log.stderr.matches("gracefully shutting down").count() % 2, 0, "{}", log.stderr);
    assert!(
        log.stderr.contains("signal 3 (SIGQUIT) received"),
        "its own stop signal: {}",
        log.stderr
    );
    Ok(())
}
