//! The system calls that a run may make, as two seccomp filters.
//!
//! bubblewrap loads them just before our init begins, so that every process of
//! the run has them, for good. A call must pass both: the first knows calls by
//! number (an allow-list; the rest does not exist, `ENOSYS`), the second refuses
//! some by number or argument (`EPERM`, which outranks the first because it is
//! loaded later: seccomp(2)). Code of another architecture is killed.

use crate::calls;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Namespaces that a run may not make, as flags of clone(2) and unshare(2).
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// The time namespace; in clone(2) its bit belongs to the exit signal.
const CLONE_NEWTIME: libc::c_int = 0x80;

/// Terminal requests that type or paste into a terminal, take over the console's
/// output, or load a line discipline of the kernel's.
const TERMINAL: &[libc::c_ulong] = &[libc::TIOCSTI, TIOCLINUX, libc::TIOCCONS, TIOCSETD];

/// From `asm-generic/ioctls.h`; libc does not name them on every target.
const TIOCLINUX: libc::c_ulong = 0x541C;
const TIOCSETD: libc::c_ulong = 0x5423;

/// Personalities (personality(2)) that a run may take: Linux's own, 32-bit
/// `uname`, an old version number, no address randomisation (sanitizers); and
/// the question which one it is.
const PERSONALITIES: &[u64] = &[0, 0x8, 0x0002_0000, 0x0002_0008, 0x0004_0000, 0xFFFF_FFFF];

/// Protocols of `AF_INET` and `AF_INET6`: the default of the type, ICMP echo,
/// TCP, UDP. Others (SCTP, DCCP, …) are little-used kernel code.
const PROTOCOLS: &[libc::c_int] = &[
    0,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_ICMPV6,
];

/// Calls that give a file its mode, and which argument that is. Set-user-ID and
/// set-group-ID are refused: the file outlives the run, and with it anybody on the
/// machine could act as the user. (`openat2` has its mode in memory, where a filter
/// cannot look, so it does not exist here.)
#[rustfmt::skip]
const MODES: &[(libc::c_long, u8)] = &[
    (libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (libc::SYS_fchmodat2, 2),
    (libc::SYS_mkdirat, 2), (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")] (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")] (libc::SYS_mkdir, 1),
    #[cfg(target_arch = "x86_64")] (libc::SYS_mknod, 1),
    #[cfg(target_arch = "x86_64")] (libc::SYS_creat, 1),
];

/// The same for those whose mode counts only with some flags: flags and mode.
const OPENING: &[(libc::c_long, u8, u8)] = &[
    (libc::SYS_openat, 2, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 1, 2),
];

/// The bit of `O_TMPFILE` that is its own; the rest of it is `O_DIRECTORY`.
const O_TMPFILE: u64 = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;

/// Process and thread numbers up to this one are those of a run's init: it uses
/// them up before the agent begins, and the kernel gives none of them again (it
/// counts up, and begins anew above 300).
pub(crate) const INITS_NUMBERS: i32 = 15;

/// Calls that change how soon, where or by what limits *another* process of the
/// same user runs, and which argument says whose. Of init they are refused: a run
/// ends when its init has died, and one that gets no processor does not die.
#[rustfmt::skip]
const SCHEDULING: &[(libc::c_long, u8)] = &[
    (libc::SYS_sched_setscheduler, 0), (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0), (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_prlimit64, 0), (libc::SYS_setpriority, 1), (libc::SYS_ioprio_set, 1),
];

/// The same for all processes of a user: `PRIO_USER`, and `IOPRIO_WHO_USER`.
const OF_USER: &[(libc::c_long, u64)] = &[(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)];

/// Socket families that a run may use. Others reach past the network namespace
/// (`AF_VSOCK`) or are little-used kernel code.
const FAMILIES: &[libc::c_int] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// Both filters, in the order in which they are to be loaded, each as the bytes
/// that bubblewrap reads: an array of `struct sock_filter` in the machine's
/// byte order.
pub(crate) fn programs() -> Result<[Vec<u8>; 2], BackendError> {
    Ok([bytes(&by_number()?), bytes(&by_argument()?)])
}

fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

/// What is not on the list does not exist.
fn by_number() -> Result<BpfProgram, BackendError> {
    SeccompFilter::new(
        calls::allowed().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

/// What is on the list, but not with these arguments.
fn by_argument() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls::REFUSED
        .iter()
        .map(|call| (*call, Vec::new()))
        .collect();
    let one =
        |argument, operator, value| SeccompRule::new(vec![condition(argument, operator, value)?]);
    let flags = |more: &[libc::c_int]| {
        let flags = NAMESPACES.iter().chain(more).map(|flag| *flag as u64);
        flags
            .map(|flag| one(0, SeccompCmpOp::MaskedEq(flag), flag))
            .collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_clone, flags(&[])?);
    rules.insert(libc::SYS_unshare, flags(&[CLONE_NEWTIME])?);
    rules.insert(
        libc::SYS_ioctl,
        TERMINAL
            .iter()
            .map(|request| one(1, SeccompCmpOp::Eq, *request))
            .collect::<Result<_, _>>()?,
    );
    rules.insert(libc::SYS_personality, vec![none_of(0, PERSONALITIES, &[])?]);
    let family = |family: libc::c_int| (0, family as u64);
    let unsigned =
        |values: &[libc::c_int]| values.iter().map(|value| *value as u64).collect::<Vec<_>>();
    let protocols = unsigned(PROTOCOLS);
    rules.insert(
        libc::SYS_socket,
        vec![
            none_of(0, &unsigned(FAMILIES), &[])?,
            none_of(2, &protocols, &[family(libc::AF_INET)])?,
            none_of(2, &protocols, &[family(libc::AF_INET6)])?,
            // Of netlink, only what lists addresses and routes.
            none_of(
                2,
                &[libc::NETLINK_ROUTE as u64],
                &[family(libc::AF_NETLINK)],
            )?,
        ],
    );
    for (call, mode) in MODES {
        rules.insert(*call, special(*mode, None)?);
    }
    for (call, flags, mode) in OPENING {
        rules.insert(*call, special(*mode, Some(*flags))?);
    }
    for (call, whose) in SCHEDULING {
        rules.insert(*call, inits(*whose)?);
    }
    for (call, user) in OF_USER {
        let all = SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, *user)?])?;
        rules.entry(*call).or_default().push(all);
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let mut program = prologue();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// Matches a mode that makes whoever starts the file somebody else; where there
/// are flags, only with those that make the mode count.
fn special(mode: u8, flags: Option<u8>) -> Result<Vec<SeccompRule>, BackendError> {
    const MAKING: [u64; 2] = [libc::O_CREAT as u64, O_TMPFILE];
    let holds = |argument, bit| condition(argument, SeccompCmpOp::MaskedEq(bit), bit);
    let mut rules = Vec::new();
    for bit in [u64::from(libc::S_ISUID), u64::from(libc::S_ISGID)] {
        match flags {
            None => rules.push(SeccompRule::new(vec![holds(mode, bit)?])?),
            Some(flags) => {
                for flag in MAKING {
                    let both = vec![holds(flags, flag)?, holds(mode, bit)?];
                    rules.push(SeccompRule::new(both)?);
                }
            }
        }
    }
    Ok(rules)
}

/// Matches a process of init's; 0 is the caller.
fn inits(argument: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let of_init = vec![
        condition(argument, SeccompCmpOp::Ne, 0)?,
        condition(argument, SeccompCmpOp::Le, INITS_NUMBERS as u64)?,
    ];
    Ok(vec![SeccompRule::new(of_init)?])
}

/// Matches when the argument is none of the values, and each other argument is
/// what is said of it.
fn none_of(argument: u8, values: &[u64], when: &[(u8, u64)]) -> Result<SeccompRule, BackendError> {
    let when = when
        .iter()
        .map(|(argument, value)| condition(*argument, SeccompCmpOp::Eq, *value));
    let not = values
        .iter()
        .map(|value| condition(argument, SeccompCmpOp::Ne, *value));
    SeccompRule::new(when.chain(not).collect::<Result<_, _>>()?)
}

/// Arguments of these calls are 32 bits wide; what a caller puts above them
/// the kernel ignores, and so does the filter.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// What seccompiler does not express. `clone3` passes its flags in memory,
/// where a filter cannot look, so it does not exist here (C libraries fall back
/// to `clone`). x32 numbers (bit 30) would be a second, unfiltered door to
/// every call under the same architecture.
fn prologue() -> BpfProgram {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const NUMBER: u32 = 0; // offset of `nr` in struct seccomp_data
    const X32: u32 = 0x4000_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, NUMBER),
        step(IF_AT_LEAST, 1, 0, X32),
        step(IF_EQUAL, 0, 1, libc::SYS_clone3 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_whole_instructions_and_small_enough_for_the_kernel() {
        for bytes in programs().unwrap() {
            assert_eq!(bytes.len() % 8, 0);
            assert!(bytes.len() / 8 < 4096);
        }
    }
}
