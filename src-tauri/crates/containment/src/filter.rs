//! The system calls that a run may not make, as a seccomp filter.
//!
//! bubblewrap loads it just before our init begins, so that every process of
//! the run has it, for good. Refused calls fail with `EPERM`, except where a
//! program is to fall back to an older call (`ENOSYS`); code of another
//! architecture is killed.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// Refused whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    // other processes' memory, descriptors and secrets
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // wide surfaces of the kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    // other views of the file system
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // the machine
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

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

/// Terminal requests that type or paste into a terminal.
const TYPING: &[libc::c_ulong] = &[libc::TIOCSTI, TIOCLINUX];

/// From `asm-generic/ioctls.h`; libc does not name it on every target.
const TIOCLINUX: libc::c_ulong = 0x541C;

/// Socket families that a run may use. Others reach past the network namespace
/// (`AF_VSOCK`) or are little-used kernel code.
const FAMILIES: &[libc::c_int] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// The filter as the bytes that `bwrap --seccomp` reads: an array of
/// `struct sock_filter` in the machine's byte order.
pub(crate) fn bytes() -> Result<Vec<u8>, seccompiler::BackendError> {
    let program = program()?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in &program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let any_namespace = || {
        NAMESPACES
            .iter()
            .map(|flag| {
                let flag = *flag as u64;
                SeccompRule::new(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
            })
            .collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_clone, any_namespace()?);
    rules.insert(libc::SYS_unshare, any_namespace()?);
    rules.insert(
        libc::SYS_ioctl,
        TYPING
            .iter()
            .map(|request| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, *request)?]))
            .collect::<Result<_, _>>()?,
    );
    rules.insert(
        libc::SYS_socket,
        vec![
            SeccompRule::new(
                FAMILIES
                    .iter()
                    .map(|family| condition(0, SeccompCmpOp::Ne, *family as u64))
                    .collect::<Result<_, _>>()?,
            )?,
            // Of netlink, only what lists addresses and routes.
            SeccompRule::new(vec![
                condition(0, SeccompCmpOp::Eq, libc::AF_NETLINK as u64)?,
                condition(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE as u64)?,
            ])?,
        ],
    );
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

/// Arguments of these calls are 32 bits wide; what a caller puts above them
/// the kernel ignores, and so does the filter.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
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
    fn the_filter_is_whole_instructions_and_small_enough_for_the_kernel() {
        let bytes = bytes().unwrap();
        assert_eq!(bytes.len() % 8, 0);
        assert!(bytes.len() / 8 < 4096);
    }
}
