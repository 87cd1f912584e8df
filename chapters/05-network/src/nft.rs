//! nftables without the `nft` command: tables, chains, maps and rules as the kernel takes them.
//!
//! A rule is a small program for a machine with sixteen registers of four bytes: an expression loads a field of the
//! packet into a register, the next compares it and gives up the rule if it differs, the last does something.
//! `nft --debug=netlink` shows the same programs. In
//!
//! ```text
//! fib daddr type local  dnat to  meta l4proto . th dport  map @any_address
//! [ fib daddr type => reg 1 ] [ cmp eq reg 1 2 ]  [ meta l4proto => reg 1 ] [ payload 2b @ transport + 2 => reg 9 ]
//! [ lookup reg 1 set any_address dreg 1 ]         [ nat dnat ip addr reg 1 proto reg 9 ]
//! ```
//!
//! registers 1 and 9 are neighbours, so that they make one key of two parts. Everything between "begin" and "end" is
//! one transaction: the next packet sees all of it or nothing. Numbers in attributes are big-endian, register contents
//! are as the packet or the kernel has them. Source: linux/netfilter/nf_tables.h; the names here are its names.

use syscalls::KernelError;

use crate::netlink::{Batch, Socket, question};

/// `NFPROTO_IPV4`.
const FAMILY: u8 = 2;
/// Message types of the subsystem "nftables" (10) of netfilter's netlink.
const SUBSYSTEM: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYSTEM;
const GETTABLE: u16 = SUBSYSTEM | 1;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
const NEWSET: u16 = SUBSYSTEM | 9;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const DELSETELEM: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const CREATE_NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const APPEND: u16 = (libc::NLM_F_CREATE | libc::NLM_F_APPEND) as u16;

/// First register of 16 bytes; a key of several parts begins here and continues in [`REG_SECOND`], [`REG_THIRD`].
pub(crate) const REG_FIRST: u32 = 1;
/// The four bytes after the first four of [`REG_FIRST`] (`NFT_REG32_01`).
pub(crate) const REG_SECOND: u32 = 9;
/// The four bytes after those (`NFT_REG32_02`).
pub(crate) const REG_THIRD: u32 = 10;

/// Where a chain is hooked into the packet's path (`NF_INET_*`), and in which order among the chains there.
#[derive(Clone, Copy)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// One step of a rule's program.
#[derive(Clone)]
pub(crate) enum Expr {
    /// Loads something known about the packet: [`META_IIFNAME`] and so on.
    Meta {
        key: u32,
        reg: u32,
    },
    /// Loads bytes of the network (1) or transport (2) header.
    Payload {
        base: u32,
        offset: u32,
        len: u32,
        reg: u32,
    },
    /// Loads a property of the packet's connection: [`CT_STATE`], [`CT_STATUS`].
    Ct {
        key: u32,
    },
    /// Loads the kind of the destination address as the routing table has it (`RTN_LOCAL` = 2).
    FibDestinationType,
    /// Keeps the bits of a mask.
    Mask(Vec<u8>),
    /// Goes on if the first register begins with these bytes, or with others.
    Is(Vec<u8>),
    IsNot(Vec<u8>),
    /// Looks the key in the registers up in a map; goes on with the value in the same registers, if there is one.
    Lookup(&'static str),
    /// Rewrites destination address (first register) and port (second).
    Dnat,
    /// Rewrites the source address to that of the outgoing interface.
    Masquerade,
    /// Ends the packet's way through this chain: [`DROP`], [`ACCEPT`], or a jump into another chain.
    Verdict(i32),
    Jump(&'static str),
}

pub(crate) const META_IIFNAME: u32 = 6;
pub(crate) const META_OIFNAME: u32 = 7;
pub(crate) const META_L4PROTO: u32 = 16;
pub(crate) const CT_STATE: u32 = 0;
pub(crate) const CT_STATUS: u32 = 2;
pub(crate) const DROP: i32 = 0;
pub(crate) const ACCEPT: i32 = 1;
const JUMP: i32 = -3;

/// Types of map keys and values: only the `nft` command reads them, to print elements well.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    Address = 7,
    Protocol = 12,
    Port = 13,
}

/// A map element: key and value, each part padded to four bytes.
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// A sequence of netlink attributes: length, kind, value, padded to four bytes.
#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn nest(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | libc::NLA_F_NESTED as u16, &inner.0)
    }

    /// NFTA_DATA_VALUE, as an attribute of another.
    fn value(self, kind: u16, value: &[u8]) -> Self {
        self.nest(kind, Attributes::default().bytes(1, value))
    }
}

impl Expr {
    /// The expression's name and its attributes.
    fn encode(&self) -> (&'static str, Attributes) {
        let attributes = Attributes::default();
        match self {
            Expr::Meta { key, reg } => ("meta", attributes.u32(1, *reg).u32(2, *key)),
            Expr::Payload { base, offset, len, reg } => {
                ("payload", attributes.u32(1, *reg).u32(2, *base).u32(3, *offset).u32(4, *len))
            }
            Expr::Ct { key } => ("ct", attributes.u32(1, REG_FIRST).u32(2, *key)),
            // NFT_FIB_RESULT_ADDRTYPE of NFTA_FIB_F_DADDR.
            Expr::FibDestinationType => ("fib", attributes.u32(1, REG_FIRST).u32(2, 3).u32(3, 2)),
            Expr::Mask(mask) => {
                let registers = attributes.u32(1, REG_FIRST).u32(2, REG_FIRST);
                let sized = registers.u32(3, mask.len() as u32);
                ("bitwise", sized.value(4, mask).value(5, &vec![0; mask.len()]))
            }
            Expr::Is(value) => ("cmp", attributes.u32(1, REG_FIRST).u32(2, 0).value(3, value)),
            Expr::IsNot(value) => ("cmp", attributes.u32(1, REG_FIRST).u32(2, 1).value(3, value)),
            Expr::Lookup(map) => {
                ("lookup", attributes.text(1, map).u32(2, REG_FIRST).u32(3, REG_FIRST))
            }
            Expr::Dnat => {
                let kind = attributes.u32(1, 1).u32(2, u32::from(FAMILY));
                ("nat", kind.u32(3, REG_FIRST).u32(5, REG_SECOND))
            }
            Expr::Masquerade => ("masq", attributes),
            Expr::Verdict(code) => {
                ("immediate", verdict(Attributes::default().u32(1, *code as u32)))
            }
            Expr::Jump(chain) => {
                let code = Attributes::default().u32(1, JUMP as u32);
                ("immediate", verdict(code.text(2, chain)))
            }
        }
    }
}

/// Puts a verdict into the register for verdicts (0).
fn verdict(code: Attributes) -> Attributes {
    Attributes::default().u32(1, 0).nest(2, Attributes::default().nest(2, code))
}

/// Changes to one table that happen all together or not at all.
pub(crate) struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(table: &'a str) -> Self {
        let mut batch = Batch::default();
        // struct nfgenmsg names the subsystem here, in network order.
        let begin = [0, 0, 0, 10];
        batch.raw(BATCH_BEGIN, 0, &begin, false, "begin nftables transaction", table);
        Self { table, batch }
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        attributes: Attributes,
        step: &'static str,
        object: &str,
    ) {
        let payload = payload(FAMILY, &attributes);
        let object = if object.is_empty() {
            format!("ip {}", self.table)
        } else {
            format!("ip {} {object}", self.table)
        };
        self.batch.raw(kind, flags, &payload, true, step, object);
    }

    pub(crate) fn create_table(&mut self) {
        let attributes = Attributes::default().text(1, self.table);
        self.push(NEWTABLE, CREATE_NEW, attributes, "create nftables table", "");
    }

    pub(crate) fn delete_table(&mut self) {
        let attributes = Attributes::default().text(1, self.table);
        self.push(DELTABLE, 0, attributes, "delete nftables table", "");
    }

    /// A chain that packets meet at `hook` (policy: accept), or one that rules jump to.
    pub(crate) fn create_chain(&mut self, name: &str, hook: Option<Hook>) {
        let mut attributes = Attributes::default().text(1, self.table).text(3, name);
        if let Some(hook) = hook {
            let place = Attributes::default().u32(1, hook.number).u32(2, hook.priority as u32);
            attributes = attributes.nest(4, place).u32(5, ACCEPT as u32).text(7, hook.kind);
        }
        self.push(NEWCHAIN, CREATE, attributes, "create nftables chain", name);
    }

    /// A hash map from keys of these parts to values of those parts.
    pub(crate) fn create_map(&mut self, name: &str, key: &[Type], value: &[Type]) {
        const MAP: u32 = 8;
        // Several types are one number to the nft command, six bits each.
        let types = |parts: &[Type]| parts.iter().fold(0, |sum, part| sum << 6 | *part as u32);
        let attributes = Attributes::default()
            .text(1, self.table)
            .text(2, name)
            .u32(3, MAP)
            .u32(4, types(key))
            .u32(5, 4 * key.len() as u32)
            .u32(6, types(value))
            .u32(7, 4 * value.len() as u32)
            .u32(10, 1 + self.batch.len() as u32);
        self.push(NEWSET, CREATE_NEW, attributes, "create nftables map", name);
    }

    pub(crate) fn add_elements(&mut self, map: &str, elements: &[Element]) {
        self.elements(NEWSETELEM, CREATE_NEW, map, elements, "add to nftables map");
    }

    pub(crate) fn delete_elements(&mut self, map: &str, elements: &[Element]) {
        self.elements(DELSETELEM, 0, map, elements, "delete from nftables map");
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        map: &str,
        elements: &[Element],
        step: &'static str,
    ) {
        // An attribute holds at most 64 KiB, and an element takes 44 bytes.
        for some in elements.chunks(1000) {
            let list = some.iter().fold(Attributes::default(), |list, element| {
                let one = Attributes::default().value(1, &element.key).value(2, &element.value);
                list.nest(1, one)
            });
            let attributes = Attributes::default().text(1, self.table).text(2, map).nest(3, list);
            self.push(kind, flags, attributes, step, map);
        }
    }

    pub(crate) fn add_rule(&mut self, chain: &str, program: &[Expr]) {
        let program = program.iter().fold(Attributes::default(), |list, expression| {
            let (name, attributes) = expression.encode();
            list.nest(1, Attributes::default().text(1, name).nest(2, attributes))
        });
        let attributes = Attributes::default().text(1, self.table).text(2, chain).nest(4, program);
        self.push(NEWRULE, APPEND, attributes, "add nftables rule to", chain);
    }

    /// Makes it so.
    ///
    /// # Errors
    /// The first change that the kernel refused; then none was made. `ENOENT`: the table is not there; `EEXIST`: a
    /// table or an element is there already; `EOPNOTSUPP`: the kernel lacks nf_tables, nft_nat, nft_masq or nft_fib.
    pub(crate) fn commit(mut self, socket: &Socket) -> Result<(), KernelError> {
        let end = [0, 0, 0, 10];
        self.batch.raw(BATCH_END, 0, &end, false, "end nftables transaction", self.table);
        socket.send(&self.batch)
    }
}

/// `struct nfgenmsg` (family, version, resource) and the attributes.
fn payload(family: u8, attributes: &Attributes) -> Vec<u8> {
    [&[family, 0, 0, 0], attributes.0.as_slice()].concat()
}

/// Whether the table exists.
///
/// # Errors
/// What the kernel says other than `ENOENT`.
pub(crate) fn table_exists(socket: &Socket, table: &str) -> Result<bool, KernelError> {
    let payload = payload(FAMILY, &Attributes::default().text(1, table));
    let ask = question(GETTABLE, false, &payload, "look for nftables table", format!("ip {table}"));
    match socket.get(&ask) {
        Ok(_) => Ok(true),
        Err(error) if error.errno == nix::errno::Errno::ENOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// A chain at a hook, as the kernel lists it.
pub(crate) struct BaseChain {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) hook: u32,
    pub(crate) policy: u32,
}

/// Every chain of every table that is hooked into the packet's path, other programs' too.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` and `EPERM` above all.
pub(crate) fn base_chains(socket: &Socket) -> Result<Vec<BaseChain>, KernelError> {
    let ask =
        question(GETCHAIN, true, &payload(0, &Attributes::default()), "list nftables chains", "");
    Ok(socket.dump(&ask)?.iter().filter_map(|answer| base_chain(answer)).collect())
}

fn base_chain(answer: &[u8]) -> Option<BaseChain> {
    use netlink_packet_core::NlasIterator;
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?));
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
    let (mut table, mut name, mut hook, mut policy) = (String::new(), String::new(), None, None);
    for attribute in NlasIterator::new(answer.get(4..)?).flatten() {
        let value = attribute.value();
        match attribute.kind() {
            1 => table = text(value),
            3 => name = text(value),
            4 => {
                let inner = NlasIterator::new(value).flatten().find(|inner| inner.kind() == 1)?;
                hook = number(inner.value());
            }
            5 => policy = number(value),
            _ => {}
        }
    }
    Some(BaseChain { family: answer[0], table, name, hook: hook?, policy: policy? })
}
