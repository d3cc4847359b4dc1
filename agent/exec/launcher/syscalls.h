/*
 * Every system call with its number on x86-64 and on aarch64 (-1: it has none there), as of Linux 6.17,
 * and what a confined process gets: ALLOW, DENY (EPERM), NOSYS (ENOSYS, so that C libraries take
 * their older way), or CHECK_...: it depends on the arguments (filter.c). The numbers stand here so
 * that a binary knows calls which are newer than the headers that it was built with. What is not in the
 * table gets ENOSYS. Denied is what changes mounts, namespaces, clock, keys, modules or other
 * processes, and large subsystems that no runtime of a task needs (bpf, io_uring, perf, aio).
 */
#ifndef EDGEDAG_SYSCALLS_H
#define EDGEDAG_SYSCALLS_H

#define SYSTEM_CALLS(X) \
  X(read, 0, 63, ALLOW) X(write, 1, 64, ALLOW) X(open, 2, -1, ALLOW) X(close, 3, 57, ALLOW) \
  X(stat, 4, -1, ALLOW) X(fstat, 5, 80, ALLOW) X(lstat, 6, -1, ALLOW) X(poll, 7, -1, ALLOW) \
  X(lseek, 8, 62, ALLOW) X(mmap, 9, 222, ALLOW) X(mprotect, 10, 226, ALLOW) \
  X(munmap, 11, 215, ALLOW) X(brk, 12, 214, ALLOW) X(rt_sigaction, 13, 134, ALLOW) \
  X(rt_sigprocmask, 14, 135, ALLOW) X(rt_sigreturn, 15, 139, ALLOW) \
  X(ioctl, 16, 29, CHECK_IOCTL) X(pread64, 17, 67, ALLOW) X(pwrite64, 18, 68, ALLOW) \
  X(readv, 19, 65, ALLOW) X(writev, 20, 66, ALLOW) X(access, 21, -1, ALLOW) \
  X(pipe, 22, -1, ALLOW) X(select, 23, -1, ALLOW) X(sched_yield, 24, 124, ALLOW) \
  X(mremap, 25, 216, ALLOW) X(msync, 26, 227, ALLOW) X(mincore, 27, 232, ALLOW) \
  X(madvise, 28, 233, ALLOW) X(shmget, 29, 194, ALLOW) X(shmat, 30, 196, ALLOW) \
  X(shmctl, 31, 195, ALLOW) X(dup, 32, 23, ALLOW) X(dup2, 33, -1, ALLOW) X(pause, 34, -1, ALLOW) \
  X(nanosleep, 35, 101, ALLOW) X(getitimer, 36, 102, ALLOW) X(alarm, 37, -1, ALLOW) \
  X(setitimer, 38, 103, ALLOW) X(getpid, 39, 172, ALLOW) X(sendfile, 40, 71, ALLOW) \
  X(socket, 41, 198, CHECK_SOCKET) X(connect, 42, 203, ALLOW) X(accept, 43, 202, ALLOW) \
  X(sendto, 44, 206, ALLOW) X(recvfrom, 45, 207, ALLOW) X(sendmsg, 46, 211, ALLOW) \
  X(recvmsg, 47, 212, ALLOW) X(shutdown, 48, 210, ALLOW) X(bind, 49, 200, ALLOW) \
  X(listen, 50, 201, ALLOW) X(getsockname, 51, 204, ALLOW) X(getpeername, 52, 205, ALLOW) \
  X(socketpair, 53, 199, CHECK_SOCKETPAIR) X(setsockopt, 54, 208, ALLOW) \
  X(getsockopt, 55, 209, ALLOW) X(clone, 56, 220, CHECK_CLONE) X(fork, 57, -1, ALLOW) \
  X(vfork, 58, -1, ALLOW) X(execve, 59, 221, ALLOW) X(exit, 60, 93, ALLOW) \
  X(wait4, 61, 260, ALLOW) X(kill, 62, 129, ALLOW) X(uname, 63, 160, ALLOW) \
  X(semget, 64, 190, ALLOW) X(semop, 65, 193, ALLOW) X(semctl, 66, 191, ALLOW) \
  X(shmdt, 67, 197, ALLOW) X(msgget, 68, 186, ALLOW) X(msgsnd, 69, 189, ALLOW) \
  X(msgrcv, 70, 188, ALLOW) X(msgctl, 71, 187, ALLOW) X(fcntl, 72, 25, ALLOW) \
  X(flock, 73, 32, ALLOW) X(fsync, 74, 82, ALLOW) X(fdatasync, 75, 83, ALLOW) \
  X(truncate, 76, 45, ALLOW) X(ftruncate, 77, 46, ALLOW) X(getdents, 78, -1, ALLOW) \
  X(getcwd, 79, 17, ALLOW) X(chdir, 80, 49, ALLOW) X(fchdir, 81, 50, ALLOW) \
  X(rename, 82, -1, ALLOW) X(mkdir, 83, -1, ALLOW) X(rmdir, 84, -1, ALLOW) \
  X(creat, 85, -1, ALLOW) X(link, 86, -1, ALLOW) X(unlink, 87, -1, ALLOW) \
  X(symlink, 88, -1, ALLOW) X(readlink, 89, -1, ALLOW) X(chmod, 90, -1, ALLOW) \
  X(fchmod, 91, 52, ALLOW) X(chown, 92, -1, ALLOW) X(fchown, 93, 55, ALLOW) \
  X(lchown, 94, -1, ALLOW) X(umask, 95, 166, ALLOW) X(gettimeofday, 96, 169, ALLOW) \
  X(getrlimit, 97, 163, ALLOW) X(getrusage, 98, 165, ALLOW) X(sysinfo, 99, 179, ALLOW) \
  X(times, 100, 153, ALLOW) X(ptrace, 101, 117, DENY) X(getuid, 102, 174, ALLOW) \
  X(syslog, 103, 116, DENY) X(getgid, 104, 176, ALLOW) X(setuid, 105, 146, ALLOW) \
  X(setgid, 106, 144, ALLOW) X(geteuid, 107, 175, ALLOW) X(getegid, 108, 177, ALLOW) \
  X(setpgid, 109, 154, ALLOW) X(getppid, 110, 173, ALLOW) X(getpgrp, 111, -1, ALLOW) \
  X(setsid, 112, 157, ALLOW) X(setreuid, 113, 145, ALLOW) X(setregid, 114, 143, ALLOW) \
  X(getgroups, 115, 158, ALLOW) X(setgroups, 116, 159, ALLOW) X(setresuid, 117, 147, ALLOW) \
  X(getresuid, 118, 148, ALLOW) X(setresgid, 119, 149, ALLOW) X(getresgid, 120, 150, ALLOW) \
  X(getpgid, 121, 155, ALLOW) X(setfsuid, 122, 151, ALLOW) X(setfsgid, 123, 152, ALLOW) \
  X(getsid, 124, 156, ALLOW) X(capget, 125, 90, ALLOW) X(capset, 126, 91, ALLOW) \
  X(rt_sigpending, 127, 136, ALLOW) X(rt_sigtimedwait, 128, 137, ALLOW) \
  X(rt_sigqueueinfo, 129, 138, ALLOW) X(rt_sigsuspend, 130, 133, ALLOW) \
  X(sigaltstack, 131, 132, ALLOW) X(utime, 132, -1, ALLOW) X(mknod, 133, -1, ALLOW) \
  X(uselib, 134, -1, DENY) X(personality, 135, 92, CHECK_PERSONALITY) X(ustat, 136, -1, DENY) \
  X(statfs, 137, 43, ALLOW) X(fstatfs, 138, 44, ALLOW) X(sysfs, 139, -1, DENY) \
  X(getpriority, 140, 141, ALLOW) X(setpriority, 141, 140, CHECK_PRIORITY) \
  X(sched_setparam, 142, 118, CHECK_PID) X(sched_getparam, 143, 121, ALLOW) \
  X(sched_setscheduler, 144, 119, CHECK_PID) X(sched_getscheduler, 145, 120, ALLOW) \
  X(sched_get_priority_max, 146, 125, ALLOW) X(sched_get_priority_min, 147, 126, ALLOW) \
  X(sched_rr_get_interval, 148, 127, ALLOW) X(mlock, 149, 228, ALLOW) \
  X(munlock, 150, 229, ALLOW) X(mlockall, 151, 230, ALLOW) X(munlockall, 152, 231, ALLOW) \
  X(vhangup, 153, 58, DENY) X(modify_ldt, 154, -1, DENY) X(pivot_root, 155, 41, DENY) \
  X(_sysctl, 156, -1, DENY) X(prctl, 157, 167, CHECK_PRCTL) X(arch_prctl, 158, -1, ALLOW) \
  X(adjtimex, 159, 171, DENY) X(setrlimit, 160, 164, ALLOW) X(chroot, 161, 51, DENY) \
  X(sync, 162, 81, ALLOW) X(acct, 163, 89, DENY) X(settimeofday, 164, 170, DENY) \
  X(mount, 165, 40, DENY) X(umount2, 166, 39, DENY) X(swapon, 167, 224, DENY) \
  X(swapoff, 168, 225, DENY) X(reboot, 169, 142, DENY) X(sethostname, 170, 161, DENY) \
  X(setdomainname, 171, 162, DENY) X(iopl, 172, -1, DENY) X(ioperm, 173, -1, DENY) \
  X(create_module, 174, -1, DENY) X(init_module, 175, 105, DENY) \
  X(delete_module, 176, 106, DENY) X(get_kernel_syms, 177, -1, DENY) \
  X(query_module, 178, -1, DENY) X(quotactl, 179, 60, DENY) X(nfsservctl, 180, 42, DENY) \
  X(getpmsg, 181, -1, DENY) X(putpmsg, 182, -1, DENY) X(afs_syscall, 183, -1, DENY) \
  X(tuxcall, 184, -1, DENY) X(security, 185, -1, DENY) X(gettid, 186, 178, ALLOW) \
  X(readahead, 187, 213, ALLOW) X(setxattr, 188, 5, ALLOW) X(lsetxattr, 189, 6, ALLOW) \
  X(fsetxattr, 190, 7, ALLOW) X(getxattr, 191, 8, ALLOW) X(lgetxattr, 192, 9, ALLOW) \
  X(fgetxattr, 193, 10, ALLOW) X(listxattr, 194, 11, ALLOW) X(llistxattr, 195, 12, ALLOW) \
  X(flistxattr, 196, 13, ALLOW) X(removexattr, 197, 14, ALLOW) X(lremovexattr, 198, 15, ALLOW) \
  X(fremovexattr, 199, 16, ALLOW) X(tkill, 200, 130, ALLOW) X(time, 201, -1, ALLOW) \
  X(futex, 202, 98, ALLOW) X(sched_setaffinity, 203, 122, CHECK_PID) \
  X(sched_getaffinity, 204, 123, ALLOW) X(set_thread_area, 205, -1, DENY) \
  X(io_setup, 206, 0, DENY) X(io_destroy, 207, 1, DENY) X(io_getevents, 208, 4, DENY) \
  X(io_submit, 209, 2, DENY) X(io_cancel, 210, 3, DENY) X(get_thread_area, 211, -1, DENY) \
  X(lookup_dcookie, 212, 18, DENY) X(epoll_create, 213, -1, ALLOW) \
  X(epoll_ctl_old, 214, -1, DENY) X(epoll_wait_old, 215, -1, DENY) \
  X(remap_file_pages, 216, 234, DENY) X(getdents64, 217, 61, ALLOW) \
  X(set_tid_address, 218, 96, ALLOW) X(restart_syscall, 219, 128, ALLOW) \
  X(semtimedop, 220, 192, ALLOW) X(fadvise64, 221, 223, ALLOW) X(timer_create, 222, 107, ALLOW) \
  X(timer_settime, 223, 110, ALLOW) X(timer_gettime, 224, 108, ALLOW) \
  X(timer_getoverrun, 225, 109, ALLOW) X(timer_delete, 226, 111, ALLOW) \
  X(clock_settime, 227, 112, DENY) X(clock_gettime, 228, 113, ALLOW) \
  X(clock_getres, 229, 114, ALLOW) X(clock_nanosleep, 230, 115, ALLOW) \
  X(exit_group, 231, 94, ALLOW) X(epoll_wait, 232, -1, ALLOW) X(epoll_ctl, 233, 21, ALLOW) \
  X(tgkill, 234, 131, ALLOW) X(utimes, 235, -1, ALLOW) X(vserver, 236, -1, DENY) \
  X(mbind, 237, 235, DENY) X(set_mempolicy, 238, 237, DENY) X(get_mempolicy, 239, 236, DENY) \
  X(mq_open, 240, 180, ALLOW) X(mq_unlink, 241, 181, ALLOW) X(mq_timedsend, 242, 182, ALLOW) \
  X(mq_timedreceive, 243, 183, ALLOW) X(mq_notify, 244, 184, ALLOW) \
  X(mq_getsetattr, 245, 185, ALLOW) X(kexec_load, 246, 104, DENY) X(waitid, 247, 95, ALLOW) \
  X(add_key, 248, 217, DENY) X(request_key, 249, 218, DENY) X(keyctl, 250, 219, DENY) \
  X(ioprio_set, 251, 30, CHECK_IOPRIO) X(ioprio_get, 252, 31, ALLOW) X(inotify_init, 253, -1, ALLOW) \
  X(inotify_add_watch, 254, 27, ALLOW) X(inotify_rm_watch, 255, 28, ALLOW) \
  X(migrate_pages, 256, 238, DENY) X(openat, 257, 56, ALLOW) X(mkdirat, 258, 34, ALLOW) \
  X(mknodat, 259, 33, ALLOW) X(fchownat, 260, 54, ALLOW) X(futimesat, 261, -1, ALLOW) \
  X(newfstatat, 262, 79, ALLOW) X(unlinkat, 263, 35, ALLOW) X(renameat, 264, 38, ALLOW) \
  X(linkat, 265, 37, ALLOW) X(symlinkat, 266, 36, ALLOW) X(readlinkat, 267, 78, ALLOW) \
  X(fchmodat, 268, 53, ALLOW) X(faccessat, 269, 48, ALLOW) X(pselect6, 270, 72, ALLOW) \
  X(ppoll, 271, 73, ALLOW) X(unshare, 272, 97, DENY) X(set_robust_list, 273, 99, ALLOW) \
  X(get_robust_list, 274, 100, ALLOW) X(splice, 275, 76, ALLOW) X(tee, 276, 77, ALLOW) \
  X(sync_file_range, 277, 84, ALLOW) X(vmsplice, 278, 75, ALLOW) X(move_pages, 279, 239, DENY) \
  X(utimensat, 280, 88, ALLOW) X(epoll_pwait, 281, 22, ALLOW) X(signalfd, 282, -1, ALLOW) \
  X(timerfd_create, 283, 85, ALLOW) X(eventfd, 284, -1, ALLOW) X(fallocate, 285, 47, ALLOW) \
  X(timerfd_settime, 286, 86, ALLOW) X(timerfd_gettime, 287, 87, ALLOW) \
  X(accept4, 288, 242, ALLOW) X(signalfd4, 289, 74, ALLOW) X(eventfd2, 290, 19, ALLOW) \
  X(epoll_create1, 291, 20, ALLOW) X(dup3, 292, 24, ALLOW) X(pipe2, 293, 59, ALLOW) \
  X(inotify_init1, 294, 26, ALLOW) X(preadv, 295, 69, ALLOW) X(pwritev, 296, 70, ALLOW) \
  X(rt_tgsigqueueinfo, 297, 240, ALLOW) X(perf_event_open, 298, 241, DENY) \
  X(recvmmsg, 299, 243, ALLOW) X(fanotify_init, 300, 262, DENY) X(fanotify_mark, 301, 263, DENY) \
  X(prlimit64, 302, 261, CHECK_PID) X(name_to_handle_at, 303, 264, DENY) \
  X(open_by_handle_at, 304, 265, DENY) X(clock_adjtime, 305, 266, DENY) \
  X(syncfs, 306, 267, ALLOW) X(sendmmsg, 307, 269, ALLOW) X(setns, 308, 268, DENY) \
  X(getcpu, 309, 168, ALLOW) X(process_vm_readv, 310, 270, DENY) \
  X(process_vm_writev, 311, 271, DENY) X(kcmp, 312, 272, DENY) X(finit_module, 313, 273, DENY) \
  X(sched_setattr, 314, 274, CHECK_PID) X(sched_getattr, 315, 275, ALLOW) \
  X(renameat2, 316, 276, ALLOW) X(seccomp, 317, 277, ALLOW) X(getrandom, 318, 278, ALLOW) \
  X(memfd_create, 319, 279, ALLOW) X(kexec_file_load, 320, 294, DENY) X(bpf, 321, 280, DENY) \
  X(execveat, 322, 281, ALLOW) X(userfaultfd, 323, 282, DENY) X(membarrier, 324, 283, ALLOW) \
  X(mlock2, 325, 284, ALLOW) X(copy_file_range, 326, 285, ALLOW) X(preadv2, 327, 286, ALLOW) \
  X(pwritev2, 328, 287, ALLOW) X(pkey_mprotect, 329, 288, ALLOW) X(pkey_alloc, 330, 289, ALLOW) \
  X(pkey_free, 331, 290, ALLOW) X(statx, 332, 291, ALLOW) X(io_pgetevents, 333, 292, DENY) \
  X(rseq, 334, 293, ALLOW) X(uretprobe, 335, -1, ALLOW) X(pidfd_send_signal, 424, 424, ALLOW) \
  X(io_uring_setup, 425, 425, DENY) X(io_uring_enter, 426, 426, DENY) \
  X(io_uring_register, 427, 427, DENY) X(open_tree, 428, 428, DENY) \
  X(move_mount, 429, 429, DENY) X(fsopen, 430, 430, DENY) X(fsconfig, 431, 431, DENY) \
  X(fsmount, 432, 432, DENY) X(fspick, 433, 433, DENY) X(pidfd_open, 434, 434, ALLOW) \
  X(clone3, 435, 435, NOSYS) X(close_range, 436, 436, ALLOW) X(openat2, 437, 437, ALLOW) \
  X(pidfd_getfd, 438, 438, DENY) X(faccessat2, 439, 439, ALLOW) \
  X(process_madvise, 440, 440, DENY) X(epoll_pwait2, 441, 441, ALLOW) \
  X(mount_setattr, 442, 442, DENY) X(quotactl_fd, 443, 443, DENY) \
  X(landlock_create_ruleset, 444, 444, ALLOW) X(landlock_add_rule, 445, 445, ALLOW) \
  X(landlock_restrict_self, 446, 446, ALLOW) X(memfd_secret, 447, 447, DENY) \
  X(process_mrelease, 448, 448, DENY) X(futex_waitv, 449, 449, ALLOW) \
  X(set_mempolicy_home_node, 450, 450, DENY) X(cachestat, 451, 451, ALLOW) \
  X(fchmodat2, 452, 452, ALLOW) X(map_shadow_stack, 453, 453, ALLOW) \
  X(futex_wake, 454, 454, ALLOW) X(futex_wait, 455, 455, ALLOW) \
  X(futex_requeue, 456, 456, ALLOW) X(statmount, 457, 457, NOSYS) X(listmount, 458, 458, NOSYS) \
  X(lsm_get_self_attr, 459, 459, NOSYS) X(lsm_set_self_attr, 460, 460, NOSYS) \
  X(lsm_list_modules, 461, 461, NOSYS) X(mseal, 462, 462, ALLOW) X(setxattrat, 463, 463, ALLOW) \
  X(getxattrat, 464, 464, ALLOW) X(listxattrat, 465, 465, ALLOW) \
  X(removexattrat, 466, 466, ALLOW) X(open_tree_attr, 467, 467, DENY) \
  X(file_getattr, 468, 468, ALLOW) X(file_setattr, 469, 469, ALLOW)

#endif
