//! The compiled program, run by an interpreter of its nine instructions, against a plain evaluation of the rules.

use proptest::prelude::*;

use super::*;
use crate::default_device_rules;

/// A question to the device list.
#[derive(Debug, Clone, Copy)]
struct Request {
    kind: i32,
    wanted: i32,
    major: i32,
    minor: i32,
}

/// Runs a program as the kernel would; `None` if it runs off its end.
fn interpret(program: &[Insn], request: Request) -> Option<u64> {
    let context = [(request.wanted << 16) | request.kind, request.major, request.minor];
    let mut registers = [0u64; 11];
    let mut at = 0;
    loop {
        let insn = program.get(at)?;
        let (dst, src) = (usize::from(insn.regs & 15), usize::from(insn.regs >> 4));
        let imm = insn.imm as i64 as u64;
        let mut skip = false;
        match insn.code {
            LOAD_WORD => {
                assert_eq!(src, 1, "only the context is readable");
                registers[dst] = u64::from(context[insn.off as usize / 4] as u32);
            }
            MOVE => registers[dst] = registers[src],
            MOVE_VALUE => registers[dst] = imm,
            AND => registers[dst] = u64::from(registers[dst] as u32 & imm as u32),
            SHIFT_RIGHT => registers[dst] = u64::from((registers[dst] as u32) >> insn.imm),
            JUMP_NOT_EQUAL => skip = registers[dst] != imm,
            JUMP_IF_SET => skip = registers[dst] & imm != 0,
            JUMP => skip = true,
            EXIT => return Some(registers[0]),
            code => panic!("unknown instruction {code:#x}"),
        }
        if skip {
            assert!(insn.off >= 0, "only forward");
            at += insn.off as usize;
        }
        at += 1;
    }
}

/// What the rules mean: each wanted bit by itself, the last rule that names it decides, otherwise allowed.
fn allowed(rules: &[DeviceRule], request: Request) -> bool {
    [MKNOD, READ, WRITE].into_iter().filter(|bit| request.wanted & bit != 0).all(|bit| {
        rules
            .iter()
            .rev()
            .find(|rule| {
                let kind = match rule.kind {
                    'b' => request.kind == BLOCK,
                    'c' => request.kind == CHAR,
                    _ => true,
                };
                let same =
                    |rule: Option<i64>, asked: i32| rule.is_none_or(|n| n == i64::from(asked));
                kind && same(rule.major, request.major)
                    && same(rule.minor, request.minor)
                    && access_bits(&rule.access) & bit != 0
            })
            .is_none_or(|rule| rule.allow)
    })
}

fn check(rules: &[DeviceRule], request: Request) -> u64 {
    let answer = interpret(&compile(rules), request).expect("every path ends with a return");
    assert_eq!(answer == 1, allowed(rules, request), "{rules:?} {request:?}");
    answer
}

#[test]
fn dockers_list() {
    let rules = default_device_rules();
    let ask = |kind, wanted, major, minor| check(&rules, Request { kind, wanted, major, minor });
    assert_eq!(ask(CHAR, READ | WRITE, 1, 3), 1, "/dev/null");
    assert_eq!(ask(CHAR, READ | WRITE, 136, 77), 1, "a terminal");
    assert_eq!(ask(BLOCK, MKNOD, 8, 0), 1, "the node of a disk may be made");
    assert_eq!(ask(BLOCK, READ, 8, 0), 0, "but not opened");
    assert_eq!(ask(CHAR, READ, 1, 1), 0, "/dev/mem");
    assert_eq!(ask(BLOCK, READ | WRITE, 1, 3), 0, "same numbers, other type");
}

#[test]
fn a_later_deny_of_one_access_counts() {
    let rule = |allow, access: &str| DeviceRule {
        allow,
        kind: 'c',
        major: Some(1),
        minor: None,
        access: access.into(),
    };
    let rules = [rule(true, "rwm"), rule(false, "w")];
    let ask = |wanted| check(&rules, Request { kind: CHAR, wanted, major: 1, minor: 5 });
    assert_eq!((ask(READ), ask(WRITE), ask(READ | WRITE), ask(MKNOD)), (1, 0, 0, 1));
}

fn rule() -> impl Strategy<Value = DeviceRule> {
    let number = || proptest::option::of(0i64..3);
    (any::<bool>(), "[abc]", number(), number(), "[rwm]{0,3}").prop_map(
        |(allow, kind, major, minor, access)| DeviceRule {
            allow,
            kind: kind.chars().next().expect("one letter"),
            major,
            minor,
            access,
        },
    )
}

proptest! {
    #[test]
    fn the_program_means_what_the_rules_mean(
        rules in proptest::collection::vec(rule(), 0..8),
        kind in 1..3, wanted in 0..8, major in 0..4, minor in 0..4,
    ) {
        check(&rules, Request { kind, wanted, major, minor });
    }
}
