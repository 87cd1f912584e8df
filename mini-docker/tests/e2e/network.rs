//! Addresses, names and published ports of whole containers.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use testkit::{Outcome, Sandbox, Test};

use crate::support::{Docker, Result, wait_until};

pub const TESTS: &[Test] = &[
    (
        "containers_reach_each_other_and_the_host_reaches_them",
        containers_reach_each_other_and_the_host_reaches_them,
    ),
    ("a_network_can_be_shared_or_the_hosts", a_network_can_be_shared_or_the_hosts),
    ("names_and_resolvers_are_in_their_files", names_and_resolvers_are_in_their_files),
    ("linked_containers_know_each_other_by_name", linked_containers_know_each_other_by_name),
    ("udp_and_ranges_are_published", udp_and_ranges_are_published),
];

/// A container in the background; ended and removed when dropped.
struct Background {
    child: Child,
}

impl Background {
    fn start(docker: &Docker, arguments: &[&str]) -> Result<Self> {
        let fixed = ["run", "--rm", "--init"];
        let child = docker.command(fixed.iter().chain(arguments)).stdout(Stdio::null()).spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        self.child.wait().ok();
    }
}

const SERVE: &str = "mkdir -p /www && echo \"page of $(hostname)\" > /www/index.html && exec httpd -f -p 80 -h /www";

fn fetch(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse()?, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
}

fn containers_reach_each_other_and_the_host_reaches_them(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let web = Background::start(
        &docker,
        &["-h", "web", "-p", "18081:80", "--name", "web", "busybox", "sh", "-c", SERVE],
    )?;
    wait_until("the page is served", || Ok(fetch("127.0.0.1:18081").is_ok()))?;
    assert_eq!(fetch("127.0.0.1:18081")?, "page of web\n");
    let listed = docker.ran(["ps"])?.stdout;
    assert!(listed.contains("0.0.0.0:18081->80/tcp"), "{listed}");
    // Address of the first container, as its own hosts file has it.
    let client = docker.ran([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "ip -o -4 addr show eth0; ip route | head -1",
    ])?;
    let gateway = client
        .stdout
        .split("via ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .to_owned();
    let network: Vec<&str> = gateway.split('.').collect();
    let address = format!("{}.{}.{}.2", network[0], network[1], network[2]);
    assert_eq!(fetch(&format!("{address}:80"))?, "page of web\n", "from the host");
    let script = format!(
        "ping -c 1 -W 2 {address} > /dev/null && wget -q -O - http://{address}/ && wget -q -O - http://{gateway}:18081/"
    );
    let ran = docker.ran(["run", "--rm", "busybox", "sh", "-c", &script])?;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "page of web\npage of web\n"), "{ran:?}");
    // A port is published once.
    let refused = docker.ran(["run", "--rm", "-p", "18081:80", "busybox", "true"])?;
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("port is already allocated"), "{refused:?}");
    drop(web);
    assert!(fetch("127.0.0.1:18081").is_err());
    Ok(())
}

fn a_network_can_be_shared_or_the_hosts(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let _web =
        Background::start(&docker, &["-h", "web", "--name", "web", "busybox", "sh", "-c", SERVE])?;
    let share = [
        "run",
        "--rm",
        "--network",
        "container:web",
        "--pid",
        "container:web",
        "busybox",
        "sh",
        "-c",
    ];
    wait_until("the page is served to a neighbour on loopback", || {
        let script = [
            "wget -q -O - http://127.0.0.1/; ps | grep -c '[r]oot     httpd'; cat /etc/hosts | tail -1",
        ];
        Ok(docker.ran(share.iter().chain(&script))?.stdout.starts_with("page of web\n1\n172."))
    })?;
    let inside = docker.ran([
        "run",
        "--rm",
        "--network",
        "host",
        "busybox",
        "readlink",
        "/proc/self/ns/net",
    ])?;
    assert_eq!(inside.stdout.trim(), std::fs::read_link("/proc/self/ns/net")?.to_string_lossy());
    Ok(())
}

fn names_and_resolvers_are_in_their_files(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let flags = [
        "run",
        "--rm",
        "-h",
        "box",
        "--dns",
        "192.0.2.1",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:2",
        "--add-host",
        "db:192.0.2.7",
        "--add-host",
        "gw:host-gateway",
        "--ip",
        "172.17.0.77",
        "--mac-address",
        "02:42:00:00:00:77",
    ];
    let script = [
        "busybox",
        "sh",
        "-c",
        "cat /etc/resolv.conf /etc/hostname /etc/hosts; ip link show eth0 | tail -1",
    ];
    let ran = docker.ran(flags.iter().chain(&script))?;
    insta::assert_snapshot!(ran.stdout);
    Ok(())
}

/// A link is looked up at each start: the other container may have got another address.
fn linked_containers_know_each_other_by_name(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    let ok = |args: &[&str]| -> Result<String> {
        let ran = docker.ran(args)?;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        Ok(ran.stdout.trim().to_owned())
    };
    let id = ok(&[
        "run",
        "-d",
        "--init",
        "--name",
        "web",
        "--ip",
        "172.17.0.9",
        "busybox",
        "sleep",
        "600",
    ])?;
    let script =
        "grep 172.17.0.9 /etc/hosts | tr '\\t' ' '; ping -c 1 -w 5 db > /dev/null && echo reached";
    let hosts =
        ok(&["run", "--name", "client", "--link", "web:db", "busybox", "sh", "-c", script])?;
    let short = &id[..12];
    assert_eq!(hosts, format!("172.17.0.9 db\n172.17.0.9 {short}\n172.17.0.9 web\nreached"));
    let plain =
        ok(&["run", "--rm", "--link", "web", "busybox", "grep", "-c", "172.17.0.9", "/etc/hosts"])?;
    assert_eq!(plain, "2", "its name and its id");

    let mut words = String::new();
    let mut fails = |args: &[&str]| -> Result<()> {
        let ran = docker.ran(args)?;
        words += &format!("{} {}", ran.code, ran.stderr);
        Ok(())
    };
    let run = ["run", "--rm"];
    for flags in [
        &["--link", "nobody"][..],
        &["--link", "web:"],
        &["--link", "web", "--network", "none"],
        &["--network-alias", "x"],
        &["--userns", "auto"],
    ] {
        fails(&[&run[..], flags, &["busybox", "true"]].concat())?;
    }
    ok(&["rm", "-f", "web"])?;
    ok(&["create", "--name", "web", "busybox"])?;
    fails(&["run", "--rm", "--link", "web", "busybox", "true"])?;
    ok(&["run", "--rm", "--userns", "host", "busybox", "true"])?;
    ok(&["rm", "web", "client"])?;
    insta::assert_snapshot!(words);
    Ok(())
}

fn udp_and_ranges_are_published(sandbox: &Sandbox) -> Outcome {
    let docker = Docker::with_busybox(sandbox)?;
    // The busybox of Debian has no UDP server: this test's own program is one, in the container.
    let echo = std::env::current_exe()?;
    let volume = format!("{}:/echo:ro", echo.display());
    let ports =
        ["-p", "127.0.0.1:17001-17002:7001-7002/udp", "-v", &volume, "-e", "UDP_ECHO=7001,7002"];
    let _echo = Background::start(&docker, &[&ports[..], &["busybox", "/echo"]].concat())?;
    for port in [17001, 17002] {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.connect(("127.0.0.1", port))?;
        wait_until("an echo", || {
            socket.send(b"hello").ok();
            let mut buffer = [0; 16];
            Ok(socket.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == b"hello"))
        })?;
    }
    Ok(())
}

/// Sends back what comes, if the environment asks for it: the program inside the container of the test above.
pub fn echo_if_asked() {
    let Ok(ports) = std::env::var("UDP_ECHO") else { return };
    let threads: Vec<_> = ports
        .split(',')
        .map(|port| UdpSocket::bind(("0.0.0.0", port.parse().unwrap())).unwrap())
        .map(|socket| {
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                loop {
                    let (length, from) = socket.recv_from(&mut buffer).unwrap();
                    socket.send_to(&buffer[..length], from).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap_or(());
    }
}
