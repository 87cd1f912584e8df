//! A compiler from the device list to eBPF, for cgroup v2.
//!
//! v2 has no devices controller. Instead the kernel runs an eBPF program at every open and mknod of a device node and
//! takes its answer, 1 for yes and 0 for no (`BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15). The program gets three words:
//! access and type in one, major, minor (`struct bpf_cgroup_dev_ctx` of linux/bpf.h).
//!
//! The rules are tried from the last to the first, because the last one that matches decides. A request may want
//! several things at once (read *and* write); those still undecided are bits in a register:
//!
//! ```text
//!     r2 = type                r3 = wanted bits       r4 = major       r5 = minor
//!     for each rule, last first:
//!         if type, major or minor differ: next rule
//!         allow: r3 &= ~access; if r3 == 0: return 1
//!         deny:  if r3 & access: return 0
//!     return 1
//! ```

use syscalls::bpf::Insn;

use crate::DeviceRule;

/// Bits of an access, `BPF_DEVCG_ACC_*`.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// Types of a device, `BPF_DEVCG_DEV_*`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

// Operation codes: class | size or operation | source (linux/bpf_common.h, linux/bpf.h).
const LOAD_WORD: u8 = 0x61; // dst = *(u32 *)(src + off)
const MOVE: u8 = 0xbf; // dst = src
const MOVE_VALUE: u8 = 0xb7; // dst = imm
const AND: u8 = 0x54; // (u32) dst &= imm
const SHIFT_RIGHT: u8 = 0x74; // (u32) dst >>= imm
const JUMP_NOT_EQUAL: u8 = 0x55; // if dst != imm: skip off instructions
const JUMP_IF_SET: u8 = 0x45; // if dst & imm: skip off instructions
const JUMP: u8 = 0x05; // skip off instructions
const EXIT: u8 = 0x95; // return r0

const TYPE: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: dst | (src << 4), off, imm }
}

fn returns(answer: i32) -> [Insn; 2] {
    [insn(MOVE_VALUE, 0, 0, 0, answer), insn(EXIT, 0, 0, 0, 0)]
}

/// Compiles the rules. The program is straight: every jump leads forward, so the verifier needs no proof of its end.
pub(crate) fn compile(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut program = vec![
        insn(LOAD_WORD, TYPE, 1, 0, 0),
        insn(MOVE, WANTED, TYPE, 0, 0),
        insn(AND, TYPE, 0, 0, 0xffff),
        insn(SHIFT_RIGHT, WANTED, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, 1, 4, 0),
        insn(LOAD_WORD, MINOR, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
    }
    program.extend(returns(1));
    program
}

/// One rule. What does not match jumps to the end of the block.
fn block(rule: &DeviceRule) -> Vec<Insn> {
    let kind = match rule.kind {
        'b' => Some(BLOCK),
        'c' => Some(CHAR),
        _ => None,
    };
    let number = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
    let tests: Vec<(u8, i32)> =
        [(TYPE, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))]
            .into_iter()
            .filter_map(|(register, value)| Some((register, value?)))
            .collect();
    let access = access_bits(&rule.access);
    let decision = if rule.allow {
        vec![insn(AND, WANTED, 0, 0, !access), insn(JUMP_NOT_EQUAL, WANTED, 0, 2, 0)]
    } else {
        vec![insn(JUMP_IF_SET, WANTED, 0, 1, access), insn(JUMP, 0, 0, 2, 0)]
    };
    let mut block = Vec::new();
    for (index, (register, value)) in tests.iter().enumerate() {
        // Behind this test: the other tests, the decision (2) and the return (2).
        let rest = tests.len() - index - 1 + 4;
        block.push(insn(JUMP_NOT_EQUAL, *register, 0, rest as i16, *value));
    }
    block.extend(decision);
    block.extend(returns(i32::from(rule.allow)));
    block
}

fn access_bits(access: &str) -> i32 {
    let bits = access.chars().fold(0, |bits, letter| match letter {
        'm' => bits | MKNOD,
        'r' => bits | READ,
        'w' => bits | WRITE,
        _ => bits,
    });
    if access.is_empty() { MKNOD | READ | WRITE } else { bits }
}

#[cfg(test)]
#[path = "bpf_tests.rs"]
mod tests;
