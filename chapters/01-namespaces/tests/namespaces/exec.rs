//! The last step, and the words where it fails.

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use namespaces::exec::{Command, exec, exit_code};
use namespaces::{Exit, KernelError, Plan, spawn};
use testkit::{Outcome, Sandbox};

fn run(argv: &[&str], path: &str) -> Result<Exit, KernelError> {
    let words = |list: &[&str]| list.iter().map(|word| CString::new(*word).unwrap()).collect();
    let command = Command { argv: words(argv), env: words(&[&format!("PATH={path}")]) };
    let mut init = spawn(&Plan::default(), None, |_| Err(exec(&command)))?;
    init.wait_exec()?;
    init.wait()
}

fn file(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    std::fs::write(path, content)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// A program of this machine's own kind, with another machine or another loader.
fn program(machine: u16, loader: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[20] = 1;
    bytes[32] = 64;
    bytes[52] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = 3;
    bytes[72] = 120;
    bytes[96] = loader.len() as u8 + 1;
    bytes.extend(loader.bytes());
    bytes.push(0);
    bytes
}

pub(crate) fn a_failed_start_says_why(sandbox: &Sandbox) -> Outcome {
    let own = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let dir = &sandbox.dir;
    file(&dir.join("loader"), &program(own, "/lib/ld-musl-none.so.1"), 0o755)?;
    file(&dir.join("foreign"), &program(22, "/lib/ld.so"), 0o755)?;
    file(&dir.join("crlf"), b"#!/bin/sh\r\necho hello\r\n", 0o755)?;
    file(&dir.join("script"), b"#!/usr/bin/no-such-python\n", 0o755)?;
    file(&dir.join("second"), format!("#!{}/script\n", dir.display()).as_bytes(), 0o755)?;
    file(&dir.join("plain"), b"echo hello\n", 0o755)?;
    file(&dir.join("empty"), b"", 0o755)?;
    file(&dir.join("mode"), b"#!/bin/sh\n", 0o644)?;
    file(&dir.join("no-interpreter"), b"#!/etc/passwd\n", 0o755)?;
    std::fs::create_dir(dir.join("folder"))?;
    symlink("/no/where", dir.join("dangling"))?;
    let (path, mut told) = (format!("/none:{}", dir.display()), String::new());
    let names = [
        "missing",
        "loader",
        "foreign",
        "crlf",
        "script",
        "second",
        "plain",
        "empty",
        "mode",
        "no-interpreter",
        "folder",
        "dangling",
        "./nothing",
        "/etc/passwd/x",
        "",
    ];
    for name in names {
        let error = run(&[name], &path).unwrap_err();
        writeln!(told, "{}  {error}", exit_code(error.errno))?;
    }
    let error = run(&[&format!("{}/crlf", dir.display())], &path).unwrap_err();
    writeln!(told, "{}  {error}", exit_code(error.errno))?;
    let told = told.replace(&dir.display().to_string(), "DIR");
    insta::assert_snapshot!(told);
    Ok(())
}

pub(crate) fn path_is_searched_as_execvp_does(sandbox: &Sandbox) -> Outcome {
    for (folder, code, mode) in [("a", 1, 0o644), ("b", 2, 0o755), ("c", 3, 0o755)] {
        std::fs::create_dir(sandbox.path(folder))?;
        let script = format!("#!/bin/sh\nexit {code}\n");
        file(&sandbox.path(folder).join("tool"), script.as_bytes(), mode)?;
    }
    let dir = sandbox.dir.display();
    // Not executable in a, so b; and c is not reached.
    assert_eq!(run(&["tool"], &format!("/none:{dir}/a:{dir}/b:{dir}/c"))?, Exit::Code(2));
    assert_eq!(run(&["tool"], &format!("{dir}/c:{dir}/b"))?, Exit::Code(3));
    assert_eq!(run(&[&format!("{dir}/b/tool")], "")?, Exit::Code(2));
    Ok(())
}
