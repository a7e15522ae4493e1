//! The system calls no command of a box may make. Owns the list: doors to the kernel that need no namespace's
//! permission, or none a box should pass. Whatever a program's own sandbox is made of (user namespaces, mounts in
//! them, Landlock, further filters) stays allowed: the kernel itself confines it to the box.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Refused whatever the arguments. Source: Docker's default profile, less what a nested sandbox needs.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];
/// The second form of every call on x86-64, for programs with short pointers.
#[cfg(target_arch = "x86_64")]
const SHORT_POINTERS: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const SHORT_POINTERS: Option<i64> = None;

/// Compiles the filter.
///
/// Errors: in words, what the compiler refused.
pub(super) fn filter() -> Result<BpfProgram, String> {
    let trouble = |source: seccompiler::BackendError| format!("cannot make the filter of calls: {source}");
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(trouble)?;
    let mut rules: Vec<(i64, Vec<SeccompRule>)> = REFUSED
        .iter()
        .chain(REFUSED_HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    // Typing into a terminal, or a console, that the box was handed.
    let mut typing = Vec::new();
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        let masked = SeccompCmpOp::MaskedEq(u64::from(u32::MAX));
        let condition =
            SeccompCondition::new(1, SeccompCmpArgLen::Qword, masked, request).map_err(trouble)?;
        typing.push(SeccompRule::new(vec![condition]).map_err(trouble)?);
    }
    rules.push((libc::SYS_ioctl, typing));
    if let Some(bit) = SHORT_POINTERS {
        let second: Vec<_> = rules
            .iter()
            .map(|(call, rule)| (call | bit, rule.clone()))
            .collect();
        rules.extend(second);
    }
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let filter = SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, refuse, arch)
        .map_err(trouble)?;
    BpfProgram::try_from(filter).map_err(trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_within_the_kernels_bound() {
        let filter = filter().expect("a filter");
        assert!(filter.len() < 4096, "{} instructions", filter.len());
    }
}
